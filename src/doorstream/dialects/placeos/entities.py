"""The shapes of REST's objects (vendor-apis.md 2.4), and how people's changes are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, replace
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from doorstream.dialects.placeos.errors import RestError, invalid
from doorstream.drivers import DriverView, Function, ModuleView
from doorstream.events.entities import System, SystemFields, Zone, ZoneFields

DRIVER = "driver-"

DEVICE, LOGIC = 1, 99
"""Roles of modules: with a device of its own, or standing on other modules."""

_F = TypeVar("_F", SystemFields, ZoneFields)


def epoch(rfc3339: str) -> int:
    """Seconds since 1970."""
    return int(datetime.fromisoformat(rfc3339).timestamp())


def system(found: System) -> dict[str, Any]:
    """A system."""
    return _stored(found) | {"playlists": []}


def zone(found: Zone) -> dict[str, Any]:
    """A zone."""
    return _stored(found)


def _stored(found: System | Zone) -> dict[str, Any]:
    shown = asdict(found)
    del shown["site_id"]
    return shown | {"created_at": epoch(shown.pop("created")), "updated_at": epoch(shown.pop("updated"))}


def module(view: ModuleView, system_id: str) -> dict[str, Any]:
    """A module; ``system_id`` is that of its site."""
    is_logic = view.device_id is None
    return {
        "id": view.id,
        "name": view.name,
        "custom_name": None,
        "driver_id": DRIVER + view.driver,
        "control_system_id": system_id if is_logic else None,
        "role": LOGIC if is_logic else DEVICE,
        "ip": "",
        "port": 0,
        "tls": False,
        "udp": False,
        "makebreak": False,
        "uri": "",
        "connected": view.connected,
        "running": view.wanted,
        "notes": view.notes,
        "ignore_connected": False,
        "ignore_startstop": False,
        "has_runtime_error": view.has_runtime_error,
        "error_timestamp": view.error_at,
        "launch_on_execute": False,
        "edge_id": None,
        "core_node": None,
        "created_at": epoch(view.created),
        "updated_at": epoch(view.updated),
    }


def driver(view: DriverView) -> dict[str, Any]:
    """A driver."""
    return {
        "id": DRIVER + view.name,
        "name": view.name,
        "description": view.description,
        "module_name": view.module_name,
        "role": LOGIC,
        "json_schema": view.settings_schema,
        "default_uri": None,
        "default_port": None,
        "file_name": view.origin,
        "class_name": view.klass,
        "implements": list(view.implements),
        "commit": "HEAD",
        "compilation_output": view.fault,
    }


def functions(found: Mapping[str, Function]) -> dict[str, Any]:
    """What can be executed: ``{name: {arity, params, order}}``."""
    return {
        name: {"arity": each.arity, "params": each.params, "order": list(each.order), "doc": each.doc}
        for name, each in found.items()
    }


def settings(view: ModuleView) -> list[dict[str, Any]]:
    """A module's settings in the vendor's wrapping; JSON is YAML."""
    text = msgspec.json.format(msgspec.json.encode(view.settings)).decode()
    wrapped = {
        "id": f"sets-{view.id}",
        "parent_id": view.id,
        "encryption_level": 0,
        "settings_string": text,
        "keys": list(view.settings),
        "created_at": epoch(view.created),
        "updated_at": epoch(view.updated),
    }
    return [wrapped]


def read_fields(form: type[_F], given: Any, current: Mapping[str, Any] | None = None) -> _F:
    """What is sent, over what is there; other members are ignored, null is the default. Raises RestError."""
    if not isinstance(given, dict):
        raise RestError(400, "the body must be a JSON object")
    values = dict(current or {})
    for each in fields(form):
        if each.name in given:
            value = given[each.name]
            if value is None and each.default is not MISSING:
                value = each.default
            values[each.name] = value
    try:
        return msgspec.convert(values, form)
    except msgspec.ValidationError as error:
        raise invalid(_failure(str(error))) from None


def changed(found: System | Zone, given: Any, now: str) -> System | Zone:
    """What an entity becomes: the next version, with the members that are sent. Raises RestError."""
    form: type[Any] = SystemFields if isinstance(found, System) else ZoneFields
    new: Any = read_fields(form, given, {each.name: getattr(found, each.name) for each in fields(form)})
    values = {each.name: getattr(new, each.name) for each in fields(form)}
    return replace(found, **values, version=found.version + 1, updated=now)


def _failure(message: str) -> dict[str, str]:
    """``Expected `int`, got `str` - at `$.capacity` `` or ``… missing required field `name` `` by field."""
    what, _, path = message.partition(" - at `$.")
    field = path.rstrip("`") or message.rpartition("field `")[2].rstrip("`")
    return {field: what[:1].lower() + what[1:]}
