"""REST of systems, and of modules as a system addresses them (vendor-apis.md 2.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from doorstream.dialects.placeos import entities as shapes
from doorstream.dialects.placeos.catalogue import SYSTEM, ZONE, Catalogue, Slug, is_of_site
from doorstream.dialects.placeos.errors import RestError, invalid
from doorstream.dialects.placeos.paging import Wanted, number, page, texts, truth, whole
from doorstream.dialects.placeos.requests import Call, PlaceOS, Routes, empty, json_answer, raw_answer
from doorstream.drivers import Function, ModuleView
from doorstream.events.entities import System, SystemFields

KIND = "sys"


def systems_router(placeos: PlaceOS) -> APIRouter:
    """All routes of this module. What has a fixed name comes before what may have any."""
    routes = Routes(placeos, "/api/engine/v2/systems", "systems")
    routes.add("GET", "", list_systems)
    routes.add("POST", "", create_system)
    routes.add("GET", "/control", control)
    routes.add("GET", "/with_emails", systems_with_emails)
    routes.add("GET", "/{system_id}", show_system)
    routes.add("PATCH", "/{system_id}", change_system)
    routes.add("PUT", "/{system_id}", change_system)
    routes.add("DELETE", "/{system_id}", delete_system)
    routes.add("GET", "/{system_id}/zones", zones_of_system)
    routes.add("GET", "/{system_id}/metadata", metadata_of_system)
    routes.add("GET", "/{system_id}/settings", settings_of_system)
    routes.add("PUT", "/{system_id}/module/{module_id}", add_module)
    routes.add("DELETE", "/{system_id}/module/{module_id}", remove_module)
    routes.add("POST", "/{system_id}/start", start_system)
    routes.add("POST", "/{system_id}/stop", stop_system)
    routes.add("GET", "/{system_id}/types", count_modules, resource="control")
    routes.add("GET", "/{system_id}/count", count_modules, resource="control")  # as the browser client asks
    routes.add("GET", "/{system_id}/functions/{slug}", functions_of_module, resource="control")
    routes.add("GET", "/{system_id}/{slug}", state_of_module, resource="control")
    routes.add("GET", "/{system_id}/{slug}/{key}", variable_of_module, resource="control")
    routes.add("POST", "/{system_id}/{slug}/{method}", execute_on_module, resource="control")
    return routes.router


async def list_systems(call: Call) -> Response:
    """List the systems."""
    query = call.query
    wanted = Wanted.of(query)
    catalogue = call.placeos.catalogue
    found = [each for each in catalogue.systems(call.sight.sites()) if _matches(each, query, catalogue)]
    found = [each for each in found if wanted.matches(each.name, each.display_name, each.email)]
    return page(KIND, found, lambda each: shapes.system(catalogue.whole(each)), wanted, call.request)


async def create_system(call: Call) -> Response:
    """Create a system."""
    directory = call.placeos.directory
    given = shapes.read_fields(SystemFields, await call.body())
    site_id = site_for(call, given.zones)
    call.need(site_id, "support")
    now = directory.now()
    zones = given.zones or (ZONE + site_id,)
    values = asdict(replace(given, zones=zones)) | {"version": 0, "created": now, "updated": now}
    new = System(id=SYSTEM + directory.new_id(), site_id=site_id, **values)
    return json_answer(shapes.system(await directory.create(_checked(call, new), call.actor)), 201)


async def control(_: Call) -> Response:
    """Only a WebSocket is opened here."""
    response = RestError(426, "only a WebSocket can be opened here").response()
    response.headers["Upgrade"] = "websocket"
    return response


async def systems_with_emails(call: Call) -> Response:
    """The systems with these e-mail addresses."""
    wanted = {email.lower() for email in texts(call.query, "in")}
    catalogue = call.placeos.catalogue
    found = [each for each in catalogue.systems(call.sight.sites()) if each.email and each.email.lower() in wanted]
    return whole(KIND, [shapes.system(catalogue.whole(each)) for each in found])


async def show_system(call: Call) -> Response:
    """A system."""
    found = call.system()
    shown = shapes.system(found)
    return json_answer(shown | _complete(call, found) if truth(call.query, "complete") else shown)


async def change_system(call: Call) -> Response:
    """Change a system."""
    found, given = call.system(needed="support"), await call.body()
    now = call.placeos.directory.now()
    await call.store(found, lambda old: _checked(call, shapes.changed(old, given, now)))
    return json_answer(shapes.system(call.system()))


async def delete_system(call: Call) -> Response:
    """Delete a system."""
    found = call.system(needed="administrator")
    if is_of_site(found):
        raise invalid({"id": "this system is its site: it goes with the site"})
    await call.placeos.directory.delete(found, call.actor)
    return empty(202)


async def zones_of_system(call: Call) -> Response:
    """The zones of a system."""
    found = map(call.placeos.catalogue.zone, call.system().zones)
    return whole("zone", [shapes.zone(zone) for zone in found if zone is not None])


async def metadata_of_system(call: Call) -> Response:
    """The metadata of a system: none."""
    call.system()
    return json_answer({})


async def settings_of_system(call: Call) -> Response:
    """The settings of a system's modules."""
    found = call.placeos.catalogue.modules(call.system(needed="administrator"))
    return json_answer([each for view in found for each in shapes.settings(view)])


async def add_module(call: Call) -> Response:
    """Put a module into a system."""
    call.module("administrator")
    return await _with_modules(call, is_in=True)


async def remove_module(call: Call) -> Response:
    """Take a module out of a system."""
    response = await _with_modules(call, is_in=False)
    response.status_code = 202
    return response


async def start_system(call: Call) -> Response:
    """Start the modules of a system."""
    return await _run_all(call, running=True)


async def stop_system(call: Call) -> Response:
    """Stop the modules of a system."""
    return await _run_all(call, running=False)


async def count_modules(call: Call) -> Response:
    """How many modules of each name a system has."""
    counts = Counter(view.name for view in call.placeos.catalogue.modules(call.system()))
    only = call.query.get("module")
    return json_answer(dict(counts) if only is None else {"count": counts[only]})


async def functions_of_module(call: Call) -> Response:
    """What the caller may execute on a module."""
    return json_answer(shapes.functions(_permitted(call, _module(call))))


async def state_of_module(call: Call) -> Response:
    """The status of a module, each variable as the text of its JSON."""
    view = _module(call)
    call.need(view.site_id, "support")
    return json_answer(state_of(call.placeos, view))


async def variable_of_module(call: Call) -> Response:
    """One status variable of a module."""
    view = _module(call)
    call.need(view.site_id, "support")
    return raw_answer(call.placeos.drivers.status.value(view.id, call.part("key")) or b"null")


async def execute_on_module(call: Call) -> Response:
    """Execute a function of a module."""
    return await run(call, _module(call))


async def run(call: Call, view: ModuleView) -> Response:
    """Execute the function of the path with the body's arguments."""
    caller = call.sight.identity.caller_at(view.site_id)
    arguments = await call.arguments()
    return raw_answer(await call.placeos.drivers.execute(view.id, call.part("method"), arguments, caller))


def state_of(placeos: PlaceOS, view: ModuleView) -> dict[str, str]:
    """All variables of a module, each as the text of its JSON (vendor-apis.md 2.4, fact 9)."""
    return {name: json.decode() for name, json in sorted(placeos.drivers.status.all(view.id).items())}


def _matches(system: System, query: Mapping[str, str], catalogue: Catalogue) -> bool:
    """Whether all filters match (vendor-apis.md 2.4, fact 6). Triggers there are none."""
    for name in ("bookable", "public", "signage"):
        wanted = truth(query, name)
        if wanted is not None and getattr(system, name) is not wanted:
            return False
    emails = {email.lower() for email in texts(query, "email")}
    tests = (
        system.capacity >= number(query, "capacity", 0),
        not emails or (system.email or "").lower() in emails,
        set(texts(query, "features")) <= set(system.features),
        "module_id" not in query or catalogue.has_module(system.id, query["module_id"]),
        "zone_id" not in query or query["zone_id"] in system.zones,
        "trigger_id" not in query,
    )
    return all(tests)


def site_for(call: Call, zones: tuple[str, ...]) -> str:
    """To which site something new belongs: that of its zones, or the only one there is. Raises RestError."""
    catalogue = call.placeos.catalogue
    known = [zone for zone in map(catalogue.zone, zones) if zone is not None and call.sight.sees(zone)]
    sites = {zone.site_id for zone in known}
    if not sites:
        sites = {site_id for site_id in call.sight.sites() if call.placeos.directory.sites.get(site_id) is not None}
    if len(sites) != 1:
        raise invalid({"zones": "must name zones of one site, which it will belong to"})
    return sites.pop()


def _checked(call: Call, new: Any) -> System:
    """A system is of one site, with all that it has; raises RestError."""
    system: System = new
    for module_id in system.modules:
        view = call.placeos.drivers.module(module_id)
        if view is not None and view.site_id != system.site_id:
            raise invalid({"modules": f"{module_id} belongs to another site"})
    for zone_id in system.zones:
        zone = call.placeos.catalogue.zone(zone_id)
        if zone is not None and zone.site_id != system.site_id:
            raise invalid({"zones": f"{zone_id} belongs to another site"})
    return system


async def _run_all(call: Call, *, running: bool) -> Response:
    for view in call.placeos.catalogue.modules(call.system(needed="administrator")):
        await call.placeos.drivers.change(view.id, lambda old: replace(old, running=running), call.actor)
    return empty()


async def _with_modules(call: Call, *, is_in: bool) -> Response:
    found, module_id = call.system(needed="administrator"), call.part("module_id")
    if is_of_site(found):
        raise invalid({"modules": "this system has all modules of its site"})

    def update(old: System) -> System:
        others = tuple(each for each in old.modules if each != module_id)
        modules = old.modules if is_in and module_id in old.modules else (*others, *((module_id,) if is_in else ()))
        if modules == old.modules:
            return old
        return _checked(call, shapes.changed(old, {"modules": list(modules)}, call.placeos.directory.now()))

    await call.store(found, update, check_version=False)
    return json_answer(shapes.system(call.system()))


def _complete(call: Call, found: System) -> dict[str, Any]:
    catalogue = call.placeos.catalogue
    zones = [zone for zone in map(catalogue.zone, found.zones) if zone is not None]
    modules = [shapes.module(view, SYSTEM + view.site_id) | driver_of(view) for view in catalogue.modules(found)]
    return {"zone_data": [shapes.zone(zone) for zone in zones], "module_data": modules}


def driver_of(view: ModuleView) -> dict[str, Any]:
    """What a module that is read tells of its driver."""
    return {"driver": {"name": view.driver, "description": view.description, "module_name": view.name}}


def _module(call: Call) -> ModuleView:
    """The module that the path names by system, name and index; raises RestError."""
    system_id, place = call.system().id, Slug.parse(call.part("slug"))
    module_id = call.placeos.catalogue.module_at(system_id, place.name, place.index)
    view = call.placeos.drivers.module(module_id) if module_id is not None else None
    if view is None:
        raise RestError(404, f"{system_id} has no module {place.name} {place.index}")
    return view


def _permitted(call: Call, view: ModuleView) -> dict[str, Function]:
    """The functions without those above the caller's rights (POS-10)."""
    caller = call.sight.identity.caller_at(view.site_id)
    return {name: each for name, each in call.placeos.drivers.functions(view.id).items() if caller.may(each.level)}
