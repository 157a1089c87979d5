"""Who asks, over the socket or by REST (POS-1, POS-2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from fastapi import Request as HttpRequest

from doorstream.auth import Auth, AuthError, InvalidCredentials
from doorstream.dialects.placeos.catalogue import Catalogue
from doorstream.dialects.placeos.credentials import Asking, Credential, find
from doorstream.dialects.placeos.errors import Code, RestError, SocketError
from doorstream.dialects.placeos.messages import Address, Form
from doorstream.dialects.placeos.rights import Access, Identity, reaches
from doorstream.dialects.placeos.tokens import Tokens
from doorstream.drivers import Caller, Level
from doorstream.events.entities import System, Zone
from doorstream.protocols.websocket import UpgradeRequest

_logger = structlog.get_logger(__name__)

_OUR_KEY = "ds_"


@dataclass(frozen=True, slots=True)
class Door:
    """Lets callers in. ``own_origins`` are those whose pages may use a cookie; ``clock`` gives unix seconds."""

    auth: Auth
    tokens: Tokens
    own_origins: Sequence[str]
    clock: Callable[[], float]

    def identify(self, asking: Asking) -> tuple[Identity, Credential]:
        """Who asks, and how; raises RestError 401."""
        credential = find(asking, self.own_origins)
        if credential is None:
            return self._of_session(asking)
        try:
            if credential.kind == "api-key" or credential.text.startswith(_OUR_KEY):
                return Identity(self.auth.by_api_key(credential.text)), credential
            return self.tokens.check(credential.text, self.clock()), credential
        except (AuthError, InvalidCredentials):
            raise RestError(401, "the credential is not valid, or no longer") from None

    def _of_session(self, asking: Asking) -> tuple[Identity, Credential]:
        """Who is signed in to the dashboard, for its own requests only (D11); raises RestError 401."""
        try:
            signed = self.auth.sessions.authenticate(asking.headers, self.clock())
        except InvalidCredentials:
            raise RestError(401, "no credential: send X-API-Key, or Authorization: Bearer") from None
        return Identity(signed.principal), Credential("api-key", "", Form.JSON)

    def admit(self, asking: Asking, resource: str, access: Access) -> tuple[Identity, Credential]:
        """Who asks, if it has anything to do with PlaceOS and its token is for that; raises RestError 401 or 403."""
        identity, credential = self.identify(asking)
        if not identity.is_known or not identity.may_use(resource, access):
            raise RestError(403)
        return identity, credential

    def stands(self, identity: Identity) -> bool:
        """Tell whether the caller was not revoked and may the same as when it was identified."""
        was, now = identity.principal, self.auth.current(identity.principal)
        return now is not None and (now.scopes, now.sites, now.roles) == (was.scopes, was.sites, was.roles)


@dataclass(frozen=True, slots=True)
class Sight:
    """What one caller sees of the catalogue; ``session.Sight`` for the socket."""

    identity: Identity
    catalogue: Catalogue
    _callers: dict[str, Caller] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The caller as modules of a site see it: an identity is the same for as long as it stands."""

    def level(self, system_id: str) -> Level:
        """What the caller may do in a system; raises SocketError 5 or 2."""
        return self.caller(system_id).level

    def caller(self, system_id: str) -> Caller:
        """The caller as the modules of a system see it; raises SocketError 5 or 2."""
        site_id = self.catalogue.site_of(system_id)
        if site_id is None:
            raise SocketError(Code.SYSTEM_NOT_FOUND, f"there is no system {system_id[:64]}")
        known = self._callers.get(site_id)
        if known is not None:
            return known
        if self.identity.level_at(site_id) is None:
            _logger.warning("access to a system denied", system=system_id, caller=self.identity.principal.id)
            raise SocketError(Code.ACCESS_DENIED, "no permission to access this system")
        caller = self._callers[site_id] = self.identity.caller_at(site_id)
        return caller

    def module_at(self, address: Address) -> str | None:
        """The id of the module at that name and index."""
        return self.catalogue.module_at(address.sys, address.mod, address.ordinal)

    def module_of(self, system_id: str, module_id: str) -> bool:
        """Whether the system has a module of that id."""
        return self.catalogue.has_module(system_id, module_id)

    def sites(self) -> list[str]:
        """The ids of the sites where the caller may do anything; those of people and of most clients are few."""
        principal = self.identity.principal
        candidates = sorted(principal.sites) if principal.sites is not None else self.catalogue.sites()
        return [site_id for site_id in candidates if self.identity.level_at(site_id) is not None]

    def sees(self, place: System | Zone) -> bool:
        """Whether the caller may know of a system or zone."""
        return self.identity.level_at(place.site_id) is not None

    def reaches(self, site_id: str, needed: Level) -> bool:
        """Whether the caller's level at a site is enough."""
        return reaches(self.identity.level_at(site_id), needed)


def asking_http(request: HttpRequest) -> Asking:
    """The parts of a request of REST."""
    return Asking(request.headers, request.query_params.multi_items(), request.cookies)


def asking_upgrade(request: UpgradeRequest) -> Asking:
    """The parts of an upgrade."""
    return Asking(request.headers, request.query, request.cookies)
