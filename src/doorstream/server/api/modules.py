"""Modules: the drivers at work for a site, and what drivers there are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, with_config

from doorstream.auth import Principal
from doorstream.directory import AlreadyExists, Directory, NotFound
from doorstream.drivers import Drivers, InvalidSettings, ModuleView
from doorstream.events.entities import Module, ModuleFields
from doorstream.server.api.access import Access
from doorstream.server.api.bodies import json_response, patched, read_form, read_patch
from doorstream.server.api.documentation import body_of, patch_of, problems
from doorstream.server.api.forms import values
from doorstream.server.api.problems import invalid

_READ, _WRITE = "directory:read", "directory:write"
_MANY, _ONE = "/api/sites/{site_id}/modules", "/api/sites/{site_id}/modules/{module_id}"


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleForm(ModuleFields):
    """A module to be created."""

    id: str | None = None


class _Desk:
    """What the routes share."""

    def __init__(self, directory: Directory, drivers: Drivers, access: Access) -> None:
        self.directory, self.drivers, self.access = directory, drivers, access

    def show(self, module: ModuleView, principal: Principal) -> dict[str, Any]:
        """A module as it is shown. Settings may hold passwords: only who may change them sees them."""
        shown: dict[str, Any] = msgspec.to_builtins(module)
        if not principal.may(_WRITE, module.site_id):
            shown["settings"] = None
        return shown

    def find(self, site_id: str, module_id: str) -> ModuleView:
        """The module; raises NotFound."""
        module = self.drivers.module(module_id)
        if module is None or module.site_id != site_id:
            raise NotFound("module", module_id)
        return module

    def check_driver(self, name: str) -> None:
        """Raise Problem unless there is a driver of that name that works."""
        known = sorted(each.name for each in self.drivers.drivers() if each.fault is None)
        if name not in known:
            raise invalid([{"where": "body.driver", "what": f"no driver that works; there are {', '.join(known)}"}])


def modules_router(directory: Directory, drivers: Drivers, access: Access) -> APIRouter:
    """The routes of modules and drivers."""
    router = APIRouter(tags=["modules"])
    desk = _Desk(directory, drivers, access)
    _add_reading(router, desk)
    _add_writing(router, desk)
    return router


def _add_reading(router: APIRouter, desk: _Desk) -> None:
    @router.get("/api/drivers", summary="List the drivers that modules can have", responses=problems("unauthenticated"))
    async def get_drivers(request: Request) -> Response:
        """Every driver with the JSON schema of its settings; ``fault`` says why one cannot be used."""
        desk.access.caller(request)
        return json_response({"items": [msgspec.to_builtins(each) for each in desk.drivers.drivers()]})

    @router.get(_MANY, summary="List the modules", responses=problems("not-found"))
    async def get_list(site_id: str, request: Request) -> Response:
        """All of a site, those of its doors included, which need not be created; by name and in their order."""
        principal, _ = desk.access.caller_at(request, site_id, _READ)
        return json_response({"items": [desk.show(module, principal) for module in desk.drivers.modules(site_id)]})

    @router.get(_ONE, summary="Read a module", responses=problems("not-found"))
    async def get_one(site_id: str, module_id: str, request: Request) -> Response:
        """How it is configured, whether it runs, and what went wrong last."""
        principal, _ = desk.access.caller_at(request, site_id, _READ)
        return json_response(desk.show(desk.find(site_id, module_id), principal))


def _add_writing(router: APIRouter, desk: _Desk) -> None:
    @router.post(
        _MANY,
        summary="Create a module",
        status_code=201,
        openapi_extra=body_of(ModuleForm),
        responses=problems("not-found", "already-exists", "invalid-request", "log-unavailable"),
    )
    async def create(site_id: str, request: Request) -> Response:
        """With a ``device_id`` it takes the place of the module that the device has by itself."""
        principal, _ = desk.access.caller_at(request, site_id, _WRITE)
        form = await read_form(request, ModuleForm)
        desk.check_driver(form.driver)
        now = desk.directory.now()
        if form.id is not None and desk.drivers.module(form.id) is not None:
            raise AlreadyExists("module", form.id)  # ids of modules are unique over all sites
        module_id = form.id if form.id is not None else f"mod-{desk.directory.new_id()}"
        entity = Module(**values(form, "id"), id=module_id, site_id=site_id, created=now, updated=now)
        await desk.directory.create(entity, principal.actor)
        location = f"/api/sites/{site_id}/modules/{module_id}"
        return json_response(desk.show(desk.find(site_id, module_id), principal), 201, {"Location": location})

    @router.patch(
        _ONE,
        summary="Change a module",
        openapi_extra=patch_of(ModuleForm),
        responses=problems("not-found", "invalid-request", "conflict", "log-unavailable"),
    )
    async def change(site_id: str, module_id: str, request: Request) -> Response:
        """Change it by a JSON merge patch (RFC 7396); ``{"running": false}`` stops it."""
        principal, _ = desk.access.caller_at(request, site_id, _WRITE)
        desk.find(site_id, module_id)
        patch = await read_patch(request)
        if "driver" in patch:
            desk.check_driver(str(patch["driver"]))

        def update(old: Module) -> Module:
            form = patched(values(old, "site_id", "created", "updated"), patch, ModuleForm)
            return replace(old, **values(form, "id"))

        try:
            await desk.drivers.change(module_id, update, principal.actor)
        except InvalidSettings as error:
            raise invalid([{"where": f"body.settings.{error.where}".rstrip("."), "what": error.what}]) from None
        return json_response(desk.show(desk.find(site_id, module_id), principal))

    @router.delete(_ONE, summary="Delete a module", status_code=204, responses=problems("not-found", "log-unavailable"))
    async def delete(site_id: str, module_id: str, request: Request) -> Response:
        """Delete what was stored of it; the module that a device has by itself is there again then."""
        principal, view = desk.access.caller_at(request, site_id, _WRITE)
        stored = view.modules.get(module_id)
        if stored is None:
            raise NotFound("stored module", module_id)
        await desk.directory.delete(stored, principal.actor)
        return Response(status_code=204)

    @router.post(
        _ONE + "/restart",
        summary="Restart a module",
        status_code=204,
        responses=problems("not-found", "log-unavailable"),
    )
    async def restart(site_id: str, module_id: str, request: Request) -> Response:
        """Stop it if it runs and start it anew, also after it was given up."""
        desk.access.caller_at(request, site_id, _WRITE)
        await desk.drivers.restart(desk.find(site_id, module_id).id)
        return Response(status_code=204)
