"""From events to entries and incidents, the same objects in REST and in the stream (D9, vendor-apis.md 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any, ClassVar, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from doorstream.directory import SiteView
from doorstream.events import Event, Retention
from doorstream.events.bodies import CloudNodeRef
from doorstream.events.entities import CloudNode
from doorstream.events.event import iso_utc
from doorstream.live import Entry
from doorstream.protocols.signalr import Encoding, json_protocol, msgpack_protocol

Hub = Literal["entries", "incidents"]

TARGET = "ReceiveMessage"
"""The method of the client that every message of a hub calls (seed 003)."""

RETENTION = Retention(7_776_000)
"""Seconds that the vendor keeps entries; it is in each of them (vendor-apis.md 4.4)."""

START, END = "start", "end"


class Kind(NamedTuple):
    """What an event is for Salto KS. ``is_rejection``: the vendor names no user then. ``access_by`` None: no access."""

    hub: Hub
    category: str
    detail: str | None = None
    access_by: str | None = None
    is_rejection: bool = False


# Which events are entries and incidents; an event that is not here is neither. The categories of entries are those
# seen on the wire, those of incidents the vendor's documented enumeration (vendor-apis.md 4.4 and 4.7).
KINDS: dict[str, Kind] = {
    # Accesses
    "device.request.allowed": Kind("entries", "lock_opened", access_by="tag"),
    "device.request.ecard.allowed": Kind("entries", "lock_opened", access_by="digital_key"),
    "device.request.multiallowed": Kind("entries", "lock_opened", access_by="tag"),
    "device.input.rex.on": Kind("entries", "lock_opened", access_by="inside_handle"),
    "device.input.relay.on": Kind("entries", "lock_opened", access_by="remote"),  # only by a command, see below
    # Rejections
    "device.request.denied": Kind("entries", "lock_rejected", access_by="tag", is_rejection=True),
    "device.request.unknown": Kind("entries", "lock_rejected", access_by="tag", is_rejection=True),
    "device.request.filtered": Kind("entries", "lock_rejected", access_by="tag", is_rejection=True),
    "device.request.ecard.denied": Kind("entries", "lock_rejected", access_by="digital_key", is_rejection=True),
    # Modes of a door
    "device.forceopen.on": Kind("entries", "office_mode", START),
    "device.forceopen.off": Kind("entries", "office_mode", END),
    "device.autoopen.on": Kind("entries", "easy_office_mode", START),
    "device.autoopen.off": Kind("entries", "easy_office_mode", END),
    "device.forceclose.on": Kind("entries", "privacy_mode", START),
    "device.forceclose.off": Kind("entries", "privacy_mode", END),
    # Incidents
    "device.alarm.forced": Kind("incidents", "intrusion_alarm"),
    "device.alarm.forced.cleared": Kind("incidents", "end_of_intrusion_alarm"),
    "device.alarm.tamper.on": Kind("incidents", "tamper_alarm"),
    "device.alarm.tamper.off": Kind("incidents", "end_of_tamper_alarm"),
    "device.alarm.propped.on": Kind("incidents", "door_left_open_alarm"),
    "device.alarm.propped.off": Kind("incidents", "end_of_door_left_open_alarm"),
    "device.battery.low": Kind("incidents", "low_battery_warning"),
    "controller.alarm.comloss.on": Kind("incidents", "lock_connection_lost"),
    "controller.alarm.comloss.off": Kind("incidents", "lock_connection_restored"),
    "cloudnode.disconnected": Kind("incidents", "iq_connection_lost"),
    "cloudnode.connected": Kind("incidents", "iq_connection_restored"),
}

TABLE_VERSION = 1
"""Raise it whenever ``KINDS`` or ``kind_of`` changes: clients with stateful reconnect count messages by them."""

_ONLY_BY_COMMAND = "device.input.relay.on"  # D17: any other cause is told by an event of its own
_FACTORS = {"PIN_ONLY": "pin", "CARD_AND_PIN": "tag_and_pin"}

TOPICS: dict[Hub, frozenset[str]] = {
    hub: frozenset(topic for topic, kind in KINDS.items() if kind.hub == hub) for hub in ("entries", "incidents")
}
"""The topics that can give a message on each hub."""

_encode = msgspec.json.Encoder().encode
_LONGEST_MS = 253_402_300_799_999  # the end of the year 9999


class _Body(msgspec.Struct):
    """What entries want to know of a body. Of any kind: whoever puts an event in may add keys of his own."""

    deviceId: Any = None  # noqa: N815 - the wire's name
    device: Any = None
    holderId: Any = None  # noqa: N815 - the wire's name
    holder: Any = None
    cardNumber: Any = None  # noqa: N815 - the wire's name
    requestFactor: Any = None  # noqa: N815 - the wire's name
    serialNumber: Any = None  # noqa: N815 - the wire's name


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_node = msgspec.json.Decoder(CloudNodeRef | None).decode


class EntryObject(msgspec.Struct, kw_only=True):
    """An entry or incident, its keys in the order of the wire (vendor-apis.md 4.4); we have no values for some."""

    id: str
    event_category: str
    event_detail: str | None
    utc_date_time: str
    local_date_time: str
    site_id: str
    site_customer_reference: str | None
    lock_id: str | None
    lock_mac_address: None = None
    lock_customer_reference: str | None
    user_id: str | None
    user_first_name: str | None
    user_last_name: str | None
    user_alias: None = None
    user_image_url: None = None
    iq_id: str | None
    iq_customer_reference: str | None
    iq_mac_address: str | None
    iq_revision: None = None
    exit_requested: bool
    access_by: str | None
    access_detail: str | None
    ttl_in_seconds: int
    expiration_date_time: str


class Shown(NamedTuple):
    """An entry or incident: which hub's, whose (the holder's id), and its JSON."""

    hub: Hub
    user_id: str | None
    json: bytes


@dataclass(frozen=True, slots=True)
class Shapes:
    """Turns events into entries and incidents. ``site`` looks a site up."""

    site: Callable[[str], SiteView | None]
    retention: Retention = RETENTION

    def show(self, event: Event) -> Shown | None:
        """The entry or incident that the event is; None if it is neither."""
        kind = KINDS.get(event.topic)
        if kind is None:
            return None
        body = _decode_body(event.body)
        if event.topic == _ONLY_BY_COMMAND and event.cause != "command":
            return None
        user_id = None if kind.is_rejection else _text(body.holderId)
        return Shown(kind.hub, user_id, _encode(self._object(event, kind, body, user_id)))

    def _object(self, event: Event, kind: Kind, body: _Body, user_id: str | None) -> EntryObject:
        view = self.site(event.site_id)
        node = _cloud_node(event, body, view)
        name = view.site.name if view is not None and view.site is not None else None
        kept = round(self.retention.of(event.topic))
        expires = min(event.recorded + kept * 1000, _LONGEST_MS)
        lock_id, lock_name = _lock(body, view)
        first_name, last_name = _user(user_id, body, view)
        return EntryObject(
            id=event.id,
            event_category=kind.category,
            event_detail=kind.detail,
            utc_date_time=_utc_time(event.occurred),
            local_date_time=local_time(event.occurred, _zone_of(node, view)),
            site_id=event.site_id,
            site_customer_reference=name,
            lock_id=lock_id,
            lock_customer_reference=lock_name,
            user_id=user_id,
            user_first_name=first_name,
            user_last_name=last_name,
            iq_id=node.id if node is not None else None,
            iq_customer_reference=node.name if node is not None else None,
            iq_mac_address=_serial(node),
            exit_requested=kind.access_by == "inside_handle",
            access_by=_access_by(kind, body),
            access_detail=_text(body.cardNumber),
            ttl_in_seconds=kept,
            expiration_date_time=_utc_time(expires),
        )


@dataclass(frozen=True, slots=True)
class SaltoEncoder:
    """How events are written for connections to one hub, for one user's or everybody's, in one encoding."""

    dialect: ClassVar[str] = "salto"

    hub: Hub
    user_id: str | None
    encoding: Encoding
    shapes: Shapes = field(repr=False)

    @property
    def topics(self) -> frozenset[str]:
        """The topics that give anything."""
        return TOPICS[self.hub]

    def encode(self, entry: Entry) -> tuple[bytes, ...]:
        """``ReceiveMessage`` with one argument, the JSON as a text (SAL-9); nothing for another user's."""
        memo = entry.memo
        if "salto" not in memo:
            memo["salto"] = self.shapes.show(entry.event)
        shown: Shown | None = memo["salto"]
        if shown is None or shown.hub != self.hub or (self.user_id is not None and shown.user_id != self.user_id):
            return ()
        packets: tuple[bytes, ...] | None = memo.get(("salto", self.encoding))
        if packets is None:
            packets = memo["salto", self.encoding] = (receive_message(shown.json, self.encoding),)
        return packets


def receive_message(json: bytes, encoding: Encoding) -> bytes:
    """The message that carries an entry or incident."""
    text = json.decode()
    if encoding == json_protocol.NAME:
        return json_protocol.invocation(TARGET, _encode(text))
    return msgpack_protocol.invocation(TARGET, text)


def local_time(milliseconds: int, zone: tzinfo) -> str:
    """The time on the wall clock of a zone, without saying which (SAL-16)."""
    try:
        return f"{_second(milliseconds // 1000, zone)}.{milliseconds % 1000:03d}"
    except OverflowError:  # at the very ends of the calendar
        return iso_utc(milliseconds)[:-1]


def _utc_time(milliseconds: int) -> str:
    return f"{_second(milliseconds // 1000, UTC)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=4096)
def _second(seconds: int, zone: tzinfo) -> str:
    """One second on a wall clock. Events come many a second when it matters what each costs."""
    return datetime.fromtimestamp(seconds, UTC).astimezone(zone).replace(tzinfo=None).isoformat()


def _access_by(kind: Kind, body: _Body) -> str | None:
    if kind.access_by == "tag":
        return _FACTORS.get(_text(body.requestFactor) or "", "tag")
    return kind.access_by


def _lock(body: _Body, view: SiteView | None) -> tuple[str | None, str | None]:
    """Id and name of the lock."""
    known = body.device if isinstance(body.device, dict) else {}
    lock_id = _text(body.deviceId) or _text(known.get("id"))
    name = _text(known.get("name"))
    if name is None and view is not None and lock_id is not None:
        device = view.devices.get(lock_id)
        name = device.name if device is not None else None
    return lock_id, name


def _user(user_id: str | None, body: _Body, view: SiteView | None) -> tuple[str | None, str | None]:
    """First and last name of the user."""
    if user_id is None:
        return None, None
    holder = view.holders.get(user_id) if view is not None else None
    if holder is not None:
        return holder.first_name, holder.last_name
    if not isinstance(body.holder, dict):
        return None, None
    first, _, last = (_text(body.holder.get("name")) or "").partition(" ")
    return first, last


def _serial(node: CloudNode | CloudNodeRef | None) -> str | None:
    """The serial number of the gateway, which PDK calls cloud node."""
    if node is None:
        return None
    return node.serialNumber if isinstance(node, CloudNodeRef) else node.serial_number


def _cloud_node(event: Event, body: _Body, view: SiteView | None) -> CloudNode | CloudNodeRef | None:
    """The cloud node that reported the event: the directory's, else as the event names it."""
    named: CloudNodeRef | None = _decode_node(event.cloud_node)
    serial = _text(body.serialNumber) or (named.serialNumber if named is not None else None)
    if view is not None and named is not None and named.id is not None:
        found = view.cloud_nodes.get(named.id)
        if found is not None:
            return found
    if view is not None and serial is not None:
        for node in view.cloud_nodes:
            if node.serial_number == serial:
                return node
    if named is not None and named.id is not None:
        return named
    return CloudNodeRef(serialNumber=serial) if serial is not None else None


def _zone_of(node: CloudNode | CloudNodeRef | None, view: SiteView | None) -> tzinfo:
    """The zone of the gateway, else of the site, else UTC."""
    name = node.timezone if isinstance(node, CloudNode) else None
    if name is None and view is not None and view.site is not None:
        name = view.site.timezone
    return _zone(name or "UTC")


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
