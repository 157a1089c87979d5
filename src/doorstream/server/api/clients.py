"""Clients: programs that call us. Only administrators of all sites manage them."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request, Response

from doorstream.auth import api_key, hash_secret, new_generation, new_secret
from doorstream.directory import Directory, NotFound
from doorstream.directory.rules import MAX_SECRET, MIN_SECRET
from doorstream.events.entities import Client
from doorstream.server.api.access import Access
from doorstream.server.api.bodies import json_response, patched, read_form, read_patch
from doorstream.server.api.documentation import body_of, patch_of, problems
from doorstream.server.api.forms import ClientCreated, ClientForm, ClientSecret, ClientView, shown, values
from doorstream.server.api.lists import Cursor, Limit, NameFilter, listing
from doorstream.server.api.problems import invalid

_NO_STORE = {"Cache-Control": "no-store"}


def clients_router(directory: Directory, access: Access) -> APIRouter:
    """The routes below ``/api/clients``."""
    router = APIRouter(prefix="/api/clients", tags=["clients"])
    _add_collection(router, directory, access)
    _add_single(router, directory, access)
    return router


def _add_collection(router: APIRouter, directory: Directory, access: Access) -> None:
    @router.get("", summary="List the clients", responses=problems("invalid-parameter"))
    async def get_list(
        request: Request, *, limit: Limit = 100, cursor: Cursor = None, name: NameFilter = None
    ) -> Response:
        access.everywhere(request, "admin")
        return listing(
            directory.clients, lambda client: shown(client, ClientView), limit=limit, cursor=cursor, name=name
        )

    @router.post(
        "",
        summary="Create a client",
        status_code=201,
        response_model=ClientCreated,
        openapi_extra=body_of(ClientForm),
        responses=problems("already-exists", "invalid-request", "log-unavailable"),
    )
    async def create(request: Request) -> Response:
        """The secret is in this answer and never shown again."""
        principal = access.everywhere(request, "admin")
        form = await read_form(request, ClientForm)
        secret = _judged(form.secret) if form.secret is not None else new_secret()
        client = Client(
            **values(form, "id", "secret"),
            id=form.id if form.id is not None else directory.new_id(),
            created=directory.now(),
            generation=new_generation(),
            secret_hash=hash_secret(secret),
        )
        created = await directory.create(client, principal.actor)
        answer = shown(created, ClientView) | {"secret": secret, "api_key": api_key(created.id, secret)}
        return json_response(answer, 201, {"Location": f"/api/clients/{created.id}"} | _NO_STORE)


def _add_single(router: APIRouter, directory: Directory, access: Access) -> None:
    def find(client_id: str) -> Client:
        client = directory.clients.get(client_id)
        if client is None:
            raise NotFound("client", client_id)
        return client

    @router.get("/{client_id}", summary="Read a client", response_model=ClientView, responses=problems("not-found"))
    async def get_one(client_id: str, request: Request) -> Response:
        access.everywhere(request, "admin")
        return json_response(shown(find(client_id), ClientView))

    @router.patch(
        "/{client_id}",
        summary="Change a client",
        response_model=ClientView,
        openapi_extra=patch_of(ClientForm),
        responses=problems("not-found", "invalid-request", "conflict", "log-unavailable"),
    )
    async def change(client_id: str, request: Request) -> Response:
        """Change it by a JSON merge patch (RFC 7396). Disabling it ends its tokens and connections for good."""
        principal = access.everywhere(request, "admin")
        patch = await read_patch(request)
        if "secret" in patch:
            raise invalid([{"where": "body.secret", "what": "POST to …/secret makes a new one"}])

        def update(old: Client) -> Client:
            form = patched(shown(old, ClientView), patch, ClientForm)
            ends = form.disabled and not old.disabled
            generation = new_generation() if ends else old.generation
            return replace(old, **values(form, "id", "secret"), generation=generation)

        changed = await directory.change(find(client_id), update, principal.actor)
        return json_response(shown(changed, ClientView))

    @router.delete(
        "/{client_id}",
        summary="Delete a client",
        status_code=204,
        responses=problems("not-found", "log-unavailable"),
    )
    async def delete(client_id: str, request: Request) -> Response:
        """Delete it; its tokens and connections end."""
        principal = access.everywhere(request, "admin")
        await directory.delete(find(client_id), principal.actor)
        return Response(status_code=204)

    @router.post(
        "/{client_id}/secret",
        summary="Make a new secret",
        response_model=ClientSecret,
        responses=problems("not-found", "log-unavailable"),
    )
    async def rotate(client_id: str, request: Request) -> Response:
        """The old secret, its tokens and its connections end at once. The new one is never shown again."""
        principal = access.everywhere(request, "admin")
        secret = new_secret()

        def update(old: Client) -> Client:
            return replace(old, secret_hash=hash_secret(secret), generation=new_generation())

        client = await directory.change(find(client_id), update, principal.actor)
        answer = ClientSecret(id=client.id, secret=secret, api_key=api_key(client.id, secret))
        return json_response(answer, headers=_NO_STORE)


def _judged(secret: str) -> str:
    """A secret that the caller brings along."""
    if not MIN_SECRET <= len(secret) <= MAX_SECRET or not secret.isascii() or not secret.isprintable():
        what = f"{MIN_SECRET} to {MAX_SECRET} printable ASCII characters"
        raise invalid([{"where": "body.secret", "what": what}])
    return secret
