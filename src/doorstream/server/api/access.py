"""Who may use a route of our own."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request

from doorstream.auth import Auth, Principal
from doorstream.directory import Directory, NotFound, SiteView


class Access:
    """Judges requests by ``Authorization: Bearer <api key>`` or ``X-API-Key``.

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
        return self.auth.authenticate(request.headers)

    def everywhere(self, request: Request, scope: str) -> Principal:
        """Who asks, if it has the scope for all sites."""
        principal = self.caller(request)
        principal.require(scope)
        return principal

    def caller_at(self, request: Request, site_id: str, scope: str) -> tuple[Principal, SiteView]:
        """Who asks, if it has the scope at that site, and the site."""
        principal = self.caller(request)
        principal.require(scope, site_id)
        return principal, self._site(site_id)

    def site(self, request: Request, site_id: str, scope: str) -> SiteView:
        """The site, if the caller has the scope there."""
        return self.caller_at(request, site_id, scope)[1]

    def reader(self, request: Request, site_id: str, ticket: str | None) -> Callable[[], bool]:
        """Let in who follows a site's events, by a header or a one-time ticket.

        What it returns tells whether the reader still may: ask again when the directory changes.
        """
        if ticket is not None:
            principal = self.auth.tickets.redeem(ticket, site_id, self.clock())
        else:
            principal = self.caller(request)
        principal.require("events:read", site_id)
        self._site(site_id)

        def still_allowed() -> bool:
            now = self.auth.current(principal)
            return now is not None and now.may("events:read", site_id) and self._directory.site(site_id) is not None

        return still_allowed

    def _site(self, site_id: str) -> SiteView:
        view = self._directory.site(site_id)
        if view is None:
            raise NotFound("site", site_id)
        return view
