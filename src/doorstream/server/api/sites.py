"""Sites themselves, and tokens for them."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request, Response

from doorstream.auth import TICKET_TTL
from doorstream.directory import Directory, Table
from doorstream.directory.rules import site_id_of
from doorstream.events.entities import Site
from doorstream.server.api.access import Access
from doorstream.server.api.bodies import json_response, patched, read_form, read_patch
from doorstream.server.api.documentation import body_of, patch_of, problems
from doorstream.server.api.forms import Granted, SiteForm, TokenForm, values
from doorstream.server.api.lists import Cursor, Limit, NameFilter, listing
from doorstream.server.api.problems import invalid

_SCOPES = {"system": "pdk", "ticket": "events:read"}


def sites_router(directory: Directory, access: Access) -> APIRouter:
    """The routes ``/api/sites`` and ``/api/sites/{site_id}``."""
    router = APIRouter(tags=["directory"])
    _add_collection(router, directory, access)
    _add_single(router, directory, access)
    _add_tokens(router, directory, access)
    return router


def _add_collection(router: APIRouter, directory: Directory, access: Access) -> None:
    @router.get("/api/sites", summary="List the sites", responses=problems("invalid-parameter"))
    async def get_list(
        request: Request, *, limit: Limit = 100, cursor: Cursor = None, name: NameFilter = None
    ) -> Response:
        """The sites that the caller may see."""
        principal = access.caller(request)
        table = directory.sites
        if principal.sites is not None:
            table = Table()
            for site_id in principal.sites:
                if (site := directory.sites.get(site_id)) is not None:
                    table.put(site)
        return listing(table, values, limit=limit, cursor=cursor, name=name)

    @router.post(
        "/api/sites",
        summary="Create a site",
        status_code=201,
        response_model=Site,
        openapi_extra=body_of(SiteForm),
        responses=problems("already-exists", "invalid-request", "log-unavailable"),
    )
    async def create(request: Request) -> Response:
        principal = access.everywhere(request, "admin")
        form = await read_form(request, SiteForm)
        site_id = site_id_of(form.id) if form.id is not None else directory.new_id()
        site = Site(**values(form, "id"), id=site_id, created=directory.now())
        created = await directory.create(site, principal.actor)
        return json_response(values(created), 201, {"Location": f"/api/sites/{site_id}"})


def _add_single(router: APIRouter, directory: Directory, access: Access) -> None:
    one = "/api/sites/{site_id}"

    @router.get(one, summary="Read a site", response_model=Site, responses=problems("not-found"))
    async def get_one(site_id: str, request: Request) -> Response:
        return json_response(values(access.site(request, site_id, "directory:read").site))

    @router.patch(
        one,
        summary="Change a site",
        response_model=Site,
        openapi_extra=patch_of(SiteForm),
        responses=problems("not-found", "invalid-request", "conflict", "log-unavailable"),
    )
    async def change(site_id: str, request: Request) -> Response:
        """Change it by a JSON merge patch (RFC 7396)."""
        principal, view = access.caller_at(request, site_id, "admin")
        patch = await read_patch(request)

        def update(old: Site) -> Site:
            return replace(old, **values(patched(values(old), patch, SiteForm), "id"))

        assert view.site is not None  # noqa: S101 - only sites that exist are found
        return json_response(values(await directory.change(view.site, update, principal.actor)))

    @router.delete(one, summary="Delete a site", status_code=204, responses=problems("not-found", "log-unavailable"))
    async def delete(site_id: str, request: Request) -> Response:
        """Delete it and all that belongs to it. Its events stay as long as all events are kept."""
        principal = access.everywhere(request, "admin")
        view = access.site(request, site_id, "admin")
        assert view.site is not None  # noqa: S101 - only sites that exist are found
        await directory.delete(view.site, principal.actor)
        return Response(status_code=204)


def _add_tokens(router: APIRouter, directory: Directory, access: Access) -> None:
    @router.post(
        "/api/sites/{site_id}/tokens",
        summary="Get a token",
        status_code=201,
        response_model=Granted,
        openapi_extra=body_of(TokenForm),
        responses=problems("not-found", "invalid-request"),
        tags=["tokens"],
    )
    async def grant(site_id: str, request: Request) -> Response:
        """A PDK system token (``system``), or a one-time ``ticket`` of 60 s for browsers, which cannot send headers."""
        access.caller(request)
        form = await read_form(request, TokenForm)
        scope = _SCOPES.get(form.kind)
        if scope is None:
            raise invalid([{"where": "body.kind", "what": "system or ticket"}])
        principal, _ = access.caller_at(request, site_id, scope)
        now = access.clock()
        if form.kind == "ticket":
            token, lifetime = access.auth.tickets.issue(principal, site_id, now, access.signed(request)[1]), TICKET_TTL
        else:
            client = directory.clients.get(principal.id)
            assert client is not None  # noqa: S101 - it was authenticated just now
            token = access.auth.tokens.issue_system_token(client, site_id, now)
            lifetime = access.auth.tokens.system_token_ttl
        granted = Granted(token=token, expires_at=now + lifetime)
        return json_response(granted, 201, {"Cache-Control": "no-store"})
