"""What belongs to a site: cloud nodes, connections, devices, holders. All have the same five routes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

from fastapi import APIRouter, Request, Response

from doorstream.directory import Directory, NotFound, SiteView, Table
from doorstream.events.entities import CloudNode, Connection, Device, Holder
from doorstream.server.api.access import Access
from doorstream.server.api.bodies import json_response, patched, read_form, read_patch
from doorstream.server.api.documentation import body_of, patch_of, problems
from doorstream.server.api.forms import (
    CloudNodeForm,
    CloudNodeView,
    ConnectionForm,
    DeviceForm,
    HolderForm,
    HolderView,
    shown,
    values,
)
from doorstream.server.api.lists import Cursor, Limit, NameFilter, listing

E = TypeVar("E", CloudNode, Connection, Device, Holder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource(Generic[E]):
    """One kind of thing that belongs to a site: its place in the API and in the directory, its form and its view."""

    path: str
    kind: str
    entity: type[E]
    form: type[Any]
    view: type[Any]
    table: Callable[[SiteView], Table[E]]
    show: Callable[[SiteView, E], dict[str, Any]]

    def find(self, view: SiteView, entity_id: str) -> E:
        """The one of that id; raises NotFound."""
        found = self.table(view).get(entity_id)
        if found is None:
            raise NotFound(self.kind, entity_id)
        return found

    def changed(self, view: SiteView, old: E, patch: dict[str, Any]) -> E:
        """What it becomes by a merge patch; what cannot be read stays unless the patch has it. Raises Problem."""
        form = patched(self.show(view, old), patch, self.form)
        readable = {each.name for each in fields(self.view)}
        new = values(form, "id")
        return replace(old, **{name: new[name] for name in new if name in readable or name in patch})


def _show_cloud_node(view: SiteView, node: CloudNode) -> dict[str, Any]:
    status = view.status_of(node)
    return values(node) | {"connected": status.connected, "connection_changed": status.since}


CLOUD_NODES: Resource[CloudNode] = Resource(
    path="cloud-nodes",
    kind="cloud-node",
    entity=CloudNode,
    form=CloudNodeForm,
    view=CloudNodeView,
    table=lambda view: view.cloud_nodes,
    show=_show_cloud_node,
)
CONNECTIONS: Resource[Connection] = Resource(
    path="connections",
    kind="connection",
    entity=Connection,
    form=ConnectionForm,
    view=Connection,
    table=lambda view: view.connections,
    show=lambda _, connection: values(connection),
)
DEVICES: Resource[Device] = Resource(
    path="devices",
    kind="device",
    entity=Device,
    form=DeviceForm,
    view=Device,
    table=lambda view: view.devices,
    show=lambda _, device: values(device),
)
HOLDERS: Resource[Holder] = Resource(
    path="holders",
    kind="holder",
    entity=Holder,
    form=HolderForm,
    view=HolderView,
    table=lambda view: view.holders,
    show=lambda _, holder: shown(holder, HolderView),
)


def owned_router(directory: Directory, access: Access) -> APIRouter:
    """The routes of everything that belongs to a site."""
    router = APIRouter(prefix="/api/sites/{site_id}", tags=["directory"])
    _add_routes(router, CLOUD_NODES, directory, access)
    _add_registration(router, directory, access)
    _add_routes(router, CONNECTIONS, directory, access)
    _add_routes(router, DEVICES, directory, access)
    _add_routes(router, HOLDERS, directory, access)
    return router


def _add_routes(router: APIRouter, resource: Resource[E], directory: Directory, access: Access) -> None:
    path, one = f"/{resource.path}", f"/{resource.path}/{{entity_id}}"
    word = resource.kind.replace("-", " ")

    @router.get(path, summary=f"List the {word}s", responses=problems("not-found", "invalid-parameter"))
    async def get_list(
        site_id: str, request: Request, *, limit: Limit = 100, cursor: Cursor = None, name: NameFilter = None
    ) -> Response:
        view = access.site(request, site_id, "directory:read")
        return listing(
            resource.table(view), lambda item: resource.show(view, item), limit=limit, cursor=cursor, name=name
        )

    @router.post(
        path,
        summary=f"Create a {word}",
        status_code=201,
        response_model=resource.view,
        openapi_extra=body_of(resource.form),
        responses=problems("not-found", "already-exists", "invalid-request", "log-unavailable"),
    )
    async def create(site_id: str, request: Request) -> Response:
        principal, view = access.caller_at(request, site_id, "directory:write")
        form = await read_form(request, resource.form)
        entity_id = form.id if form.id is not None else directory.new_id()
        entity = resource.entity(**values(form, "id"), id=entity_id, site_id=site_id, created=directory.now())
        created = await directory.create(entity, principal.actor)
        location = f"/api/sites/{site_id}/{resource.path}/{created.id}"
        return json_response(resource.show(view, created), 201, {"Location": location})

    @router.get(one, summary=f"Read a {word}", response_model=resource.view, responses=problems("not-found"))
    async def get_one(site_id: str, entity_id: str, request: Request) -> Response:
        view = access.site(request, site_id, "directory:read")
        return json_response(resource.show(view, resource.find(view, entity_id)))

    @router.patch(
        one,
        summary=f"Change a {word}",
        response_model=resource.view,
        openapi_extra=patch_of(resource.form),
        responses=problems("not-found", "invalid-request", "conflict", "log-unavailable"),
    )
    async def change(site_id: str, entity_id: str, request: Request) -> Response:
        """Change it by a JSON merge patch (RFC 7396)."""
        principal, view = access.caller_at(request, site_id, "directory:write")
        current = resource.find(view, entity_id)
        patch = await read_patch(request)
        changed = await directory.change(current, lambda old: resource.changed(view, old, patch), principal.actor)
        return json_response(resource.show(view, changed))

    @router.delete(one, summary=f"Delete a {word}", status_code=204, responses=problems("not-found", "log-unavailable"))
    async def delete(site_id: str, entity_id: str, request: Request) -> Response:
        """Delete it, and what belongs to it."""
        principal, view = access.caller_at(request, site_id, "directory:write")
        await directory.delete(resource.find(view, entity_id), principal.actor)
        return Response(status_code=204)


def _add_registration(router: APIRouter, directory: Directory, access: Access) -> None:
    async def register(site_id: str, entity_id: str, request: Request, *, registered: bool) -> Response:
        principal, view = access.caller_at(request, site_id, "directory:write")
        node = CLOUD_NODES.find(view, entity_id)
        changed = await directory.change(node, lambda old: replace(old, registered=registered), principal.actor)
        return json_response(CLOUD_NODES.show(view, changed))

    one = "/cloud-nodes/{entity_id}"
    answers = problems("not-found", "log-unavailable")

    @router.post(one + "/register", summary="Register a panel", response_model=CloudNodeView, responses=answers)
    async def post_register(site_id: str, entity_id: str, request: Request) -> Response:
        """Associate a panel with the cloud node; doing it again changes nothing."""
        return await register(site_id, entity_id, request, registered=True)

    @router.post(one + "/unregister", summary="Unregister the panel", response_model=CloudNodeView, responses=answers)
    async def post_unregister(site_id: str, entity_id: str, request: Request) -> Response:
        """Disassociate the panel from the cloud node; doing it again changes nothing."""
        return await register(site_id, entity_id, request, registered=False)
