"""What an entity's values and references must be, whoever sends them: the API, an import file, a command.

Each check raises InvalidEntity with the path of the field.
"""

from __future__ import annotations

import re
import zoneinfo
from datetime import datetime
from functools import lru_cache
from uuid import UUID

import msgspec

from doorstream.directory.errors import InvalidEntity
from doorstream.directory.mirror import Mirror
from doorstream.directory.scopes import SCOPES
from doorstream.directory.site import SiteView
from doorstream.directory.webhook_rules import check_webhook
from doorstream.events.entities import (
    ALL_SITES,
    Client,
    CloudNode,
    Connection,
    Device,
    Entity,
    Holder,
    Module,
    Site,
    System,
    User,
    Webhook,
    Zone,
)

MIN_SECRET = 20
"""Characters that a secret of a client has at least: it is not hashed as slowly as a password."""
MAX_SECRET = 256

MAX_NAME = 256
MAX_TEXT = 2000
MAX_LIST = 1000
MAX_SETTINGS = 100_000
_MAX_INTEGER = 2**53 - 1  # what JavaScript clients can hold exactly
_OFFLINE_POLICIES = (0, 1, 2)

_ID = re.compile(r"[A-Za-z0-9._~@:=+-]{1,128}")
_CLIENT_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")  # no underscore: it ends the id in an API key
_USERNAME = re.compile(r"[^\s\x00-\x1f\x7f]{1,320}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LOCALE = re.compile(r"[A-Za-z]{2,8}([_-][A-Za-z0-9]{1,8})*")
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_MODULE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}")
_LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_PIN = re.compile(r"[0-9]{1,16}")
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")


def check(entity: Entity, mirror: Mirror) -> None:
    """Judge one entity against the rules and against what exists; raises InvalidEntity."""
    match entity:
        case Site():
            _check_site(entity)
        case CloudNode():
            _check_cloud_node(entity)
        case Connection():
            _check_connection(entity, _view(mirror, entity.site_id))
        case Device():
            _check_device(entity, _view(mirror, entity.site_id))
        case Holder():
            _check_holder(entity)
        case Module() | Zone() | System():
            _check_control(entity, _view(mirror, entity.site_id))
        case Webhook():
            _identity(entity.id, entity.name)
            check_webhook(entity, mirror)
        case User():
            _check_user(entity, mirror)
        case Client():
            _check_client(entity, mirror)


def site_id_of(text: str) -> str:
    """A site's id in its one spelling; raises InvalidEntity for what is no UUID."""
    try:
        return str(UUID(text))
    except ValueError:
        raise InvalidEntity("id", "a site's id is a UUID") from None


def _check_site(site: Site) -> None:
    if site_id_of(site.id) != site.id:
        raise InvalidEntity("id", "a UUID in lower case, with its dashes")
    _name(site.name)
    _text("description", site.description)
    _timezone(site.timezone)
    _match("locale", site.locale, _LOCALE, "a language tag such as en or pt-BR")


def _check_cloud_node(node: CloudNode) -> None:
    _identity(node.id, node.name)
    _text("description", node.description)
    _text("serial_number", node.serial_number, MAX_NAME)
    if node.timezone is not None:
        _timezone(node.timezone)
    if node.locale is not None:
        _match("locale", node.locale, _LOCALE, "a language tag such as en or pt-BR")
    if node.offline_policy not in _OFFLINE_POLICIES:
        raise InvalidEntity("offline_policy", "0, 1 or 2")
    _integer("kill_timer", node.kill_timer)
    _unique("card_format", [card_format.id for card_format in node.card_format])
    for at, card_format in enumerate(node.card_format):
        _text(f"card_format[{at}].description", card_format.description)
        _integer(f"card_format[{at}].min_input_bits", card_format.min_input_bits)
        _integer(f"card_format[{at}].max_input_bits", card_format.max_input_bits)
        _integer(f"card_format[{at}].facility_code", card_format.facility_code)


def _check_connection(connection: Connection, view: SiteView | None) -> None:
    _identity(connection.id, connection.name)
    _match("type", connection.type, _TYPE, "a word such as ethernet or aperio")
    if view is None or view.cloud_nodes.get(connection.cloud_node_id) is None:
        raise InvalidEntity("cloud_node_id", "the site has no such cloud node")
    wired = (device for device in view.devices if device.connection_id == connection.id)
    if any(device.cloud_node_id != connection.cloud_node_id for device in wired):
        raise InvalidEntity("cloud_node_id", "devices are wired to this connection and belong to another cloud node")


def _check_device(device: Device, view: SiteView | None) -> None:
    _identity(device.id, device.name)
    _match("type", device.type, _TYPE, "a word such as primaryReader")
    for field in ("reader_type", "serial_number", "firmware_version", "hardware_version"):
        _text(field, getattr(device, field), MAX_NAME)
    for field in ("port", "dwell", "delay", "prop_delay"):
        _integer(field, getattr(device, field))
    if device.cloud_node_id is not None and (view is None or view.cloud_nodes.get(device.cloud_node_id) is None):
        raise InvalidEntity("cloud_node_id", "the site has no such cloud node")
    if device.connection_id is not None:
        connection = view.connections.get(device.connection_id) if view is not None else None
        if connection is None:
            raise InvalidEntity("connection_id", "the site has no such connection")
        if connection.cloud_node_id != device.cloud_node_id:
            raise InvalidEntity("cloud_node_id", "the connection belongs to another cloud node")


def _check_holder(holder: Holder) -> None:
    _id("id", holder.id)
    if not holder.name:
        raise InvalidEntity("first_name", "a holder has a name")
    for field in ("first_name", "last_name"):
        _text(field, getattr(holder, field), MAX_NAME)
    if holder.email is not None:
        _match("email", holder.email, _EMAIL, "an e-mail address")
        _text("email", holder.email, MAX_NAME)
    for field in ("active_date", "expire_date"):
        _local_time(field, getattr(holder, field))
    if holder.pin is not None:
        _match("pin", holder.pin, _PIN, "1 to 16 digits")
    _unique("groups", [group.id for group in holder.groups])
    for at, group in enumerate(holder.groups):
        _name(group.name, f"groups[{at}].name")
    _unique("credentials", [credential.id for credential in holder.credentials])
    for at, credential in enumerate(holder.credentials):
        where = f"credentials[{at}]"
        _integer(f"{where}.credential_number", credential.credential_number)
        _integer(f"{where}.facility_code", credential.facility_code)
        _text(f"{where}.description", credential.description)
        if len(credential.types) > MAX_LIST:
            raise InvalidEntity(f"{where}.types", f"at most {MAX_LIST}")
        for kind in credential.types:
            _match(f"{where}.types", kind, _TYPE, "words such as card, touch or token")


def _check_module(module: Module, view: SiteView | None) -> None:
    """Whether there is such a driver, and whether it takes the settings, is for the runtime: drivers come and go."""
    _id("id", module.id)
    _match("name", module.name, _MODULE_NAME, "a letter, then up to 127 letters, digits, dashes and underscores")
    _match("driver", module.driver, _TYPE, "the name of a driver, such as simulated_door")
    _text("notes", module.notes)
    if module.device_id is not None and (view is None or view.devices.get(module.device_id) is None):
        raise InvalidEntity("device_id", "the site has no such device")
    if len(msgspec.json.encode(module.settings)) > MAX_SETTINGS:
        raise InvalidEntity("settings", f"at most {MAX_SETTINGS} bytes")


def _check_control(entity: Module | Zone | System, view: SiteView | None) -> None:
    if isinstance(entity, Module):
        _check_module(entity, view)
    else:
        _check_place(entity)


def _check_place(place: Zone | System) -> None:
    """Zones and modules that are named need not exist: PlaceOS keeps references to what is gone."""
    _identity(place.id, place.name)
    for field in ("display_name", "description", "code", "type", "map_id"):
        _text(field, getattr(place, field))
    _integer("capacity", place.capacity)
    if place.timezone is not None:
        _timezone(place.timezone)
    lists = ("features", "images", "zones", "modules") if isinstance(place, System) else ("tags", "images", "triggers")
    for field in lists:
        values = getattr(place, field)
        if len(values) > MAX_LIST or len(set(values)) < len(values):
            raise InvalidEntity(field, f"at most {MAX_LIST}, none twice")
        for value in values:
            _text(field, value)


def _check_user(user: User, mirror: Mirror) -> None:
    _identity(user.id, user.name)
    _match("username", user.username, _USERNAME, "1 to 320 characters without spaces")
    for site_id, role in user.roles.items():
        if mirror.site(site_id) is None:
            raise InvalidEntity("roles", f"there is no site {site_id}")
        _match(f"roles.{site_id}", role, _TYPE, "a word such as site_admin")
    for site_id, holder_id in user.holder_ids.items():
        view = mirror.site(site_id)
        if view is None or view.holders.get(holder_id) is None:
            raise InvalidEntity(f"holder_ids.{site_id}", "the site has no such holder")


def _check_client(client: Client, mirror: Mirror) -> None:
    _match("id", client.id, _CLIENT_ID, "1 to 64 letters, digits, dots and dashes")
    _name(client.name)
    for at, scope in enumerate(client.scopes):
        if scope not in SCOPES:
            raise InvalidEntity(f"scopes[{at}]", f"one of {', '.join(SCOPES)}")
    if client.sites == ALL_SITES:
        return
    for at, site_id in enumerate(client.sites):
        if mirror.site(site_id) is None:
            raise InvalidEntity(f"sites[{at}]", f"there is no site {site_id}")


def _view(mirror: Mirror, site_id: str) -> SiteView | None:
    return mirror.site(site_id)


def _identity(entity_id: str, name: str) -> None:
    _id("id", entity_id)
    _name(name)


def _id(where: str, value: str) -> None:
    _match(where, value, _ID, "1 to 128 letters, digits and . _ ~ @ : = + -")


def _name(value: str, where: str = "name") -> None:
    if not value.strip():
        raise InvalidEntity(where, "must not be empty")
    _text(where, value, MAX_NAME)
    if _CONTROL.search(value):
        raise InvalidEntity(where, "no control characters")


def _text(where: str, value: str | None, most: int = MAX_TEXT) -> None:
    if value is not None and len(value) > most:
        raise InvalidEntity(where, f"at most {most} characters")


def _integer(where: str, value: int | None) -> None:
    if value is not None and not 0 <= value <= _MAX_INTEGER:
        raise InvalidEntity(where, f"from 0 to {_MAX_INTEGER}")


def _match(where: str, value: str, pattern: re.Pattern[str], what: str) -> None:
    if not pattern.fullmatch(value):
        raise InvalidEntity(where, what)


def _unique(where: str, ids: list[str]) -> None:
    if len(ids) > MAX_LIST:
        raise InvalidEntity(where, f"at most {MAX_LIST}")
    for at, entity_id in enumerate(ids):
        _id(f"{where}[{at}].id", entity_id)
    if len(set(ids)) < len(ids):
        raise InvalidEntity(where, "the same id twice")


def _local_time(where: str, value: str | None) -> None:
    if value is None:
        return
    what = "a time without zone, as in 2026-01-31T08:00:00"
    _match(where, value, _LOCAL_TIME, what)
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise InvalidEntity(where, what) from None


def _timezone(value: str) -> None:
    if not _is_timezone(value):
        raise InvalidEntity("timezone", "an IANA name such as Europe/Amsterdam")


@lru_cache(maxsize=1024)
def _is_timezone(name: str) -> bool:
    if name == "UTC":  # also where the system has no time zone data
        return True
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
