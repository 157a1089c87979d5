"""Who may see what (seed 003, "Authorization"). Roles come from the directory, never from the token (SAL-6)."""

from __future__ import annotations

from typing import NamedTuple

from doorstream.auth import FULL_ACCESS, AccessToken, of_client, stands
from doorstream.directory import Directory, SiteView
from doorstream.events.entities import User

SITE_ADMIN = "site_admin"
SITE_SUPER_USER = "site_super_user"
SITE_USER = "site_user"

_SEE_THE_SITE = frozenset({SITE_ADMIN, SITE_SUPER_USER})


class Refused(Exception):
    """The caller may not do this; ``status`` is that of the HTTP answer, the message is for the caller."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Member(NamedTuple):
    """The caller at one site: the role, and which of the site's holders it is. ``user`` None: a client by itself."""

    view: SiteView
    role: str
    holder_id: str | None
    user: User | None

    @property
    def sees_the_site(self) -> bool:
        """Whether everybody's entries are shown; else only the caller's own."""
        return self.role in _SEE_THE_SITE


def member(directory: Directory, token: AccessToken, site_id: str) -> Member:
    """The caller at a site; raises Refused.

    A site that does not exist is refused as a foreign one is: whether it exists is nobody else's business.
    """
    if not stands(directory, token):
        raise Refused(401, "the token is no longer valid")
    if FULL_ACCESS not in token.scopes:
        raise Refused(403, f"the token needs the scope {FULL_ACCESS}")
    found = _member(directory, token, site_id)
    if found is None:
        raise Refused(403, "not permitted at this site")
    return found


def visible(directory: Directory, token: AccessToken, site_id: str, user_id: str | None) -> str | None:
    """Whose entries or incidents the caller gets: a holder's id, or None for everybody's. Raises Refused.

    ``user_id`` is what was asked for: a holder's id, or that of a user who is one (vendor-apis.md 4.7).
    """
    caller = member(directory, token, site_id)
    holder_id = _holder_of(directory, caller.view, site_id, user_id) if user_id is not None else None
    if caller.sees_the_site:
        return holder_id
    if caller.role == SITE_USER and holder_id is not None and holder_id == caller.holder_id:
        return holder_id
    raise Refused(403, "the role at this site does not permit this")


def sites_of(directory: Directory, token: AccessToken) -> list[Member]:
    """The caller at each of its sites."""
    found = [_member(directory, token, site.id) for site in directory.sites]
    return [each for each in found if each is not None]


def _member(directory: Directory, token: AccessToken, site_id: str) -> Member | None:
    view = directory.site(site_id)
    if view is None or view.site is None:
        return None
    if token.client_id is not None:
        client = directory.clients.get(token.client_id)
        principal = of_client(client) if client is not None else None
        if principal is None or not principal.sees(site_id):
            return None
        if token.user_id is None:
            return Member(view, SITE_ADMIN, None, None) if principal.may("events:read", site_id) else None
    user = directory.users.get(token.user_id) if token.user_id is not None else None
    role = user.roles.get(site_id) if user is not None else None
    if user is None or role is None:
        return None
    return Member(view, role, user.holder_ids.get(site_id), user)


def _holder_of(directory: Directory, view: SiteView, site_id: str, user_id: str) -> str:
    if view.holders.get(user_id) is None:
        user = directory.users.get(user_id)
        if user is not None:
            return user.holder_ids.get(site_id, user_id)
    return user_id
