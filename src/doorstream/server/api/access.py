"""Who may use a route of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastapi import Request

from doorstream.auth import Auth, NotPermitted, Principal, Signed
from doorstream.directory import Directory, NotFound, SiteView


class Reader(NamedTuple):
    """Who follows a site's events, and whether they still may: ask again when the directory changes.

    ``ends`` is when the reader's session ends (unix seconds).
    """

    principal: Principal
    still_allowed: Callable[[], bool]
    ends: float | None = None


class Access:
    """Judges requests by ``Authorization: Bearer <api key>`` or ``X-API-Key``, or by the dashboard's session.

    Raises InvalidCredentials, NotPermitted, or NotFound for a site that the caller could see if it existed: a caller
    that is bound to some sites does not learn which others there are.
    """

    def __init__(self, directory: Directory, auth: Auth, clock: Callable[[], float]) -> None:
        """``clock`` gives unix seconds."""
        self._directory = directory
        self.auth = auth
        self.clock = clock

    def caller(self, request: Request) -> Principal:
        """Who asks."""
        return self.signed(request).principal

    def signed(self, request: Request) -> Signed:
        """Who asks, and until when their session lasts, if it is one."""
        return self.auth.caller(request.headers, self.clock())

    def everywhere(self, request: Request, scope: str) -> Principal:
        """Who asks, if it has the scope for all sites."""
        principal = self.caller(request)
        principal.require(scope)
        return principal

    def somewhere(self, request: Request, scope: str) -> Principal:
        """Who asks, if it has the scope at any site; what it may see of others is for the route to decide."""
        principal = self.caller(request)
        if scope not in principal.scopes and "admin" not in principal.scopes:
            raise NotPermitted(f"this needs the scope {scope}")
        return principal

    def caller_at(self, request: Request, site_id: str, scope: str) -> tuple[Principal, SiteView]:
        """Who asks, if it has the scope at that site, and the site."""
        principal = self.caller(request)
        principal.require(scope, site_id)
        return principal, self._site(site_id)

    def site(self, request: Request, site_id: str, scope: str) -> SiteView:
        """The site, if the caller has the scope there."""
        return self.caller_at(request, site_id, scope)[1]

    def reader(self, request: Request, site_id: str, ticket: str | None) -> Reader:
        """Let in who follows a site's events, by a header, the dashboard's session or a one-time ticket."""
        if ticket is not None:
            principal, ends = self.auth.tickets.redeem(ticket, site_id, self.clock())
        else:
            principal, ends = self.signed(request)
        principal.require("events:read", site_id)
        self._site(site_id)

        def still_allowed() -> bool:
            now = self.auth.current(principal)
            return now is not None and now.may("events:read", site_id) and self._directory.site(site_id) is not None

        return Reader(principal, still_allowed, ends)

    def _site(self, site_id: str) -> SiteView:
        view = self._directory.site(site_id)
        if view is None:
            raise NotFound("site", site_id)
        return view
