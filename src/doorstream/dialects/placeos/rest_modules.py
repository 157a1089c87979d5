"""REST of modules and drivers (vendor-apis.md 2.4, facts 12 and 14).

Drivers are code: they are listed and read here, and their modules can be started anew. They are changed where their
files are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from doorstream.dialects.placeos import entities as shapes
from doorstream.dialects.placeos.catalogue import MODULE, SYSTEM
from doorstream.dialects.placeos.errors import RestError, invalid
from doorstream.dialects.placeos.paging import Wanted, number, page, truth, whole
from doorstream.dialects.placeos.requests import Call, PlaceOS, Routes, empty, json_answer, raw_answer
from doorstream.dialects.placeos.rest_systems import driver_of, run, state_of
from doorstream.drivers import DriverView, Level, ModuleView
from doorstream.events.entities import Module

KIND = "mod"


def modules_router(placeos: PlaceOS) -> APIRouter:
    """All routes of modules."""
    routes = Routes(placeos, "/api/engine/v2/modules", "modules")
    routes.add("GET", "", list_modules)
    routes.add("POST", "", create_module)
    routes.add("GET", "/{module_id}", show_module)
    routes.add("PATCH", "/{module_id}", change_module)
    routes.add("PUT", "/{module_id}", change_module)
    routes.add("DELETE", "/{module_id}", delete_module)
    routes.add("GET", "/{module_id}/state", show_state)
    routes.add("GET", "/{module_id}/state/{key}", show_variable)
    routes.add("GET", "/{module_id}/settings", show_settings)
    routes.add("GET", "/{module_id}/error", show_error)
    routes.add("POST", "/{module_id}/exec/{method}", execute)
    routes.add("POST", "/{module_id}/ping", ping)
    routes.add("POST", "/{module_id}/load", load)
    routes.add("POST", "/{module_id}/start", start)
    routes.add("POST", "/{module_id}/stop", stop)
    return routes.router


def drivers_router(placeos: PlaceOS) -> APIRouter:
    """All routes of drivers."""
    routes = Routes(placeos, "/api/engine/v2/drivers", "drivers")
    routes.add("GET", "", list_drivers)
    routes.add("GET", "/{driver_id}", show_driver)
    routes.add("POST", "/{driver_id}/reload", reload_driver)
    return routes.router


async def list_modules(call: Call) -> Response:
    """List the modules."""
    _need_anywhere(call)
    query = call.query
    system_id = query.get("control_system_id")
    if system_id is not None:  # in the system's own order, as a whole
        found = call.placeos.catalogue.modules(call.system(system_id, "support"))
        return whole(KIND, [_shown(view) for view in found])
    wanted, drivers = Wanted.of(query), call.placeos.drivers
    connected = truth(query, "connected")

    def view_of(module: Module) -> ModuleView:
        view = drivers.module(module.id)
        assert view is not None  # noqa: S101 - nothing goes within one turn of the loop
        return view

    seen = [module for module in _seen(call, "support") if _matches(module, query)]
    named = [module for module in seen if wanted.matches(module.name, module.driver)]
    if connected is not None:  # the only filter that needs more than a page's views
        named = [module for module in named if view_of(module).connected is connected]
    return page(KIND, named, lambda module: _shown(view_of(module)), wanted, call.request)


async def create_module(call: Call) -> Response:
    """Create a module of a driver, for the site of a system."""
    placeos, given = call.placeos, await call.body()
    changes = _changes(given)
    driver = _driver(placeos, str(given.get("driver_id")))
    system = call.system(str(given.get("control_system_id")), "administrator")
    device_id = given.get("device_id")
    now = placeos.directory.now()
    values: dict[str, Any] = {"name": driver.module_name, "settings": {}, "running": True} | changes
    module = Module(
        id=MODULE + placeos.directory.new_id(),
        site_id=system.site_id,
        driver=driver.name,
        device_id=device_id if isinstance(device_id, str) else None,
        created=now,
        updated=now,
        **values,
    )
    await placeos.directory.create(module, call.actor)
    view = placeos.drivers.module(module.id)
    return json_answer(_shown(view) if view is not None else {"id": module.id}, 201)


async def show_module(call: Call) -> Response:
    """A module."""
    return json_answer(_shown(call.module("support")))


async def change_module(call: Call) -> Response:
    """Change a module's name, notes, settings, or whether it runs."""
    view = call.module("administrator")
    changes = _changes(await call.body())
    await call.placeos.drivers.change(view.id, lambda old: replace(old, **changes), call.actor)
    return json_answer(_shown(call.module("administrator")))


async def delete_module(call: Call) -> Response:
    """Delete a module."""
    view = call.module("administrator")
    site = call.placeos.directory.site(view.site_id)
    entity = site.modules.get(view.id) if site is not None else None
    if entity is None:
        raise invalid({"id": "this module is there of itself: stop it instead"})
    await call.placeos.directory.delete(entity, call.actor)
    return empty(202)


async def show_state(call: Call) -> Response:
    """The status of a module, each variable as the text of its JSON."""
    return json_answer(state_of(call.placeos, call.module("support")))


async def show_variable(call: Call) -> Response:
    """One status variable of a module."""
    view = call.module("support")
    return raw_answer(call.placeos.drivers.status.value(view.id, call.part("key")) or b"null")


async def show_settings(call: Call) -> Response:
    """The settings of a module."""
    return json_answer(shapes.settings(call.module("administrator")))


async def show_error(call: Call) -> Response:
    """What went wrong with a module."""
    found = call.module("administrator").error
    return json_answer([] if found is None else [found])


async def execute(call: Call) -> Response:
    """Execute a function of a module."""
    return await run(call, call.module("administrator"))


async def ping(call: Call) -> Response:
    """Whether a module reaches what it drives."""
    view = call.module("support")
    if view.device_id is None:
        raise RestError(406, "this module has no device of its own")
    return json_answer({"host": view.device_id, "pingable": view.connected, "warning": None, "exception": None})


async def load(call: Call) -> Response:
    """Start a module anew if it does not run."""
    view = call.module("administrator")
    if not view.running:
        await call.placeos.drivers.restart(view.id)
    return raw_answer(b"true")


async def start(call: Call) -> Response:
    """Start a module."""
    return await _set_running(call, running=True)


async def stop(call: Call) -> Response:
    """Stop a module."""
    return await _set_running(call, running=False)


async def list_drivers(call: Call) -> Response:
    """List the drivers."""
    _need_anywhere(call)
    wanted = Wanted.of(call.query)
    found = [view for view in call.placeos.drivers.drivers() if wanted.matches(view.name, view.module_name)]
    return page("driver", found, shapes.driver, wanted, call.request)


async def show_driver(call: Call) -> Response:
    """A driver."""
    _need_anywhere(call)
    return json_answer(shapes.driver(_driver(call.placeos, call.part("driver_id"))))


async def reload_driver(call: Call) -> Response:
    """Start the modules of a driver anew."""
    if call.sight.identity.level != "administrator":
        raise RestError(403)
    driver = _driver(call.placeos, call.part("driver_id"))
    for module in _seen(call, "administrator"):
        if module.driver == driver.name and module.running:
            await call.placeos.drivers.restart(module.id)
    return empty()


def _driver(placeos: PlaceOS, driver_id: str) -> DriverView:
    found = {shapes.DRIVER + view.name: view for view in placeos.drivers.drivers()}
    if driver_id not in found:
        raise RestError(404, f"there is no driver {driver_id}")
    return found[driver_id]


def _need_anywhere(call: Call) -> None:
    """Drivers are of no site: who has support rights at one reads them."""
    if call.sight.identity.level == "user":
        raise RestError(403)


async def _set_running(call: Call, *, running: bool) -> Response:
    view = call.module("administrator")
    await call.placeos.drivers.change(view.id, lambda old: replace(old, running=running), call.actor)
    return empty()


def _seen(call: Call, needed: Level) -> list[Module]:
    """The modules of the sites where the caller has that level."""
    sites = [site_id for site_id in call.sight.sites() if call.sight.reaches(site_id, needed)]
    return [module for site_id in sites for module in call.placeos.drivers.entities(site_id)]


def _matches(module: Module, query: Mapping[str, str]) -> bool:
    running = truth(query, "running")
    tests = (
        query.get("driver_id") in (None, shapes.DRIVER + module.driver),
        not truth(query, "no_logic") or module.device_id is not None,
        running is None or module.running is running,
        "as_of" not in query or shapes.epoch(module.updated) <= number(query, "as_of", 0),
    )
    return all(tests)


def _shown(view: ModuleView) -> dict[str, Any]:
    return shapes.module(view, SYSTEM + view.site_id) | driver_of(view)


def _changes(given: Any) -> dict[str, Any]:
    """What of a module can be changed; the other members are ignored. Raises RestError."""
    if not isinstance(given, dict):
        raise RestError(400, "the body must be a JSON object")
    changes: dict[str, Any] = {}
    for name, field, kind in (
        ("name", "name", str),
        ("custom_name", "name", str),
        ("notes", "notes", str),
        ("running", "running", bool),
        ("settings", "settings", dict),
    ):
        value = given.get(name)
        if value in (None, "") and name != "notes":
            continue
        if not isinstance(value, kind):
            if value is None:
                continue
            raise invalid({name: f"must be a {kind.__name__}"})
        changes[field] = value
    return changes
