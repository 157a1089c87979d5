"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from doorstream.auth.errors import NotPermitted
from doorstream.directory import Actor
from doorstream.events.entities import ALL_SITES, Client, User


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller: who it is, and what it may do where.

    ``sites`` None stands for every site. ``generation`` is that of the client or user when it was authenticated.
    """

    id: str
    name: str
    kind: Literal["client", "user", "system-token"]
    scopes: frozenset[str]
    sites: frozenset[str] | None
    generation: str
    roles: dict[str, str] = field(default_factory=dict)

    @property
    def actor(self) -> Actor:
        """The caller as events name who did something."""
        return Actor(self.id, self.name)

    def may(self, scope: str, site_id: str | None = None) -> bool:
        """Tell whether the caller has a scope (``admin`` has all) at a site; without a site: at all sites."""
        if self.sites is not None and (site_id is None or site_id not in self.sites):
            return False
        return scope in self.scopes or "admin" in self.scopes

    def require(self, scope: str, site_id: str | None = None) -> None:
        """Raise NotPermitted unless ``may``."""
        if not self.may(scope, site_id):
            where = "for this site" if site_id is not None else "for all sites"
            raise NotPermitted(f"this needs the scope {scope} {where}")

    def sees(self, site_id: str) -> bool:
        """Tell whether the site is among the caller's, whatever it may do there."""
        return self.sites is None or site_id in self.sites


def of_client(client: Client) -> Principal:
    """The principal that a client is."""
    sites = None if client.sites == ALL_SITES else frozenset(client.sites)
    return Principal(client.id, client.name, "client", frozenset(client.scopes), sites, client.generation)


def of_user(user: User) -> Principal:
    """The principal that a user is: no scopes of its own, a role at each of its sites."""
    return Principal(user.id, user.name, "user", frozenset(), frozenset(user.roles), user.generation, dict(user.roles))
