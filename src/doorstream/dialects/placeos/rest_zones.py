"""REST of zones (vendor-apis.md 2.4, fact 13)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from doorstream.dialects.placeos import entities as shapes
from doorstream.dialects.placeos.catalogue import ZONE, Slug, is_of_site
from doorstream.dialects.placeos.errors import invalid
from doorstream.dialects.placeos.paging import Wanted, page, texts
from doorstream.dialects.placeos.requests import Call, PlaceOS, Routes, empty, json_answer
from doorstream.dialects.placeos.rest_systems import site_for
from doorstream.drivers import DriversError
from doorstream.events.entities import Zone, ZoneFields

KIND = "zone"
ROOT = "root"


def zones_router(placeos: PlaceOS) -> APIRouter:
    """All routes of this module."""
    routes = Routes(placeos, "/api/engine/v2/zones", "zones")
    routes.add("GET", "", list_zones)
    routes.add("POST", "", create_zone)
    routes.add("GET", "/{zone_id}", show_zone)
    routes.add("PATCH", "/{zone_id}", change_zone)
    routes.add("PUT", "/{zone_id}", change_zone)
    routes.add("DELETE", "/{zone_id}", delete_zone)
    routes.add("GET", "/{zone_id}/metadata", metadata_of_zone)
    routes.add("POST", "/{zone_id}/exec/{method}/{slug}", execute_in_zone, resource="control")
    return routes.router


async def list_zones(call: Call) -> Response:
    """List the zones."""
    query = call.query
    wanted = Wanted.of(query)
    seen = [zone for zone in call.placeos.catalogue.zones(call.sight.sites()) if _matches(zone, query)]
    found = [zone for zone in seen if wanted.matches(zone.name, zone.display_name, " ".join(zone.tags))]
    return page(KIND, found, shapes.zone, wanted, call.request)


async def create_zone(call: Call) -> Response:
    """Create a zone."""
    directory = call.placeos.directory
    given = shapes.read_fields(ZoneFields, await call.body())
    site_id = site_for(call, (given.parent_id,) if given.parent_id is not None else ())
    call.need(site_id, "support")
    now = directory.now()
    values = asdict(given) | {"version": 0, "created": now, "updated": now}
    new = Zone(id=ZONE + directory.new_id(), site_id=site_id, **values)
    return json_answer(shapes.zone(await directory.create(_checked(call, new), call.actor)), 201)


async def show_zone(call: Call) -> Response:
    """A zone."""
    return json_answer(shapes.zone(call.zone()))


async def change_zone(call: Call) -> Response:
    """Change a zone."""
    found, given = call.zone("support"), await call.body()
    now = call.placeos.directory.now()
    await call.store(found, lambda old: _checked(call, shapes.changed(old, given, now)))
    return json_answer(shapes.zone(call.zone()))


async def delete_zone(call: Call) -> Response:
    """Delete a zone."""
    found = call.zone("administrator")
    if is_of_site(found):
        raise invalid({"id": "this zone is its site: it goes with the site"})
    await call.placeos.directory.delete(found, call.actor)
    return empty(202)


async def metadata_of_zone(call: Call) -> Response:
    """The metadata of a zone: none."""
    call.zone()
    return json_answer({})


async def execute_in_zone(call: Call) -> Response:
    """Execute a function in every system of a zone: ``{success, failure, module_missing}`` with their ids."""
    zone, placeos, arguments = call.zone(), call.placeos, await call.arguments()
    method, slug = call.part("method"), Slug.parse(call.part("slug"))
    caller = call.sight.identity.caller_at(zone.site_id)
    outcome: dict[str, list[str]] = {"success": [], "failure": [], "module_missing": []}
    for system in placeos.catalogue.systems((zone.site_id,)):  # a system is in zones of its own site only
        if zone.id not in system.zones:
            continue
        module_id = placeos.catalogue.module_at(system.id, slug.name, slug.index)
        if module_id is None:
            outcome["module_missing"].append(system.id)
            continue
        try:
            await placeos.drivers.execute(module_id, method, arguments, caller)
            outcome["success"].append(system.id)
        except DriversError:
            outcome["failure"].append(system.id)
    return json_answer(outcome)


def _matches(zone: Zone, query: Mapping[str, str]) -> bool:
    parent = query.get("parent_id")
    is_there = parent is None or zone.parent_id == (None if parent == ROOT else parent)
    return is_there and set(texts(query, "tags")) <= set(zone.tags)


def _checked(call: Call, new: Any) -> Zone:
    """A zone lies in zones of its own site, and not in itself; raises RestError."""
    zone: Zone = new
    parent, above = zone.parent_id, {zone.id}
    while parent is not None:
        if parent in above:
            raise invalid({"parent_id": "a zone cannot lie in itself"})
        above.add(parent)
        found = call.placeos.catalogue.zone(parent)
        if found is not None and found.site_id != zone.site_id:
            raise invalid({"parent_id": "belongs to another site"})
        parent = found.parent_id if found is not None else None
    return zone
