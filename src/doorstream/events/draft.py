"""From what was put in to what is kept: validation, missing names, one normal form.

The form put in is ``{"topic", "occurred", "body", "cloudNode"?, "metadata"?, "id"?}``. Only topic and shape are judged:
ids that the directory does not know are accepted, and a known key without a value becomes null.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from doorstream.events.bodies import CloudNodeRef, DeviceBody, DeviceRef, HolderRef, RequestBody
from doorstream.events.errors import InvalidEvent
from doorstream.events.event import encode_kept
from doorstream.events.topics import topic_named

MAX_EVENT_BYTES = 100_000
"""No event as kept is larger (as the inbound message limit of the sockets, D12)."""

_ID = re.compile(r"[\x21-\x7e]{1,128}")
_MAX_DEPTH = 64  # every reader of an event must be able to decode it, wherever on its stack it does so
_MIN_MS = -62_135_596_800_000  # the year 1 …
_MAX_MS = 253_402_300_799_999  # … to 9999: what can be written as an RFC 3339 time, which some dialects do

_Ref = TypeVar("_Ref", DeviceRef, HolderRef, CloudNodeRef)


class Names(Protocol):
    """Looks up what an event may leave out. The directory's mirror of one site is one."""

    def device_ref(self, device_id: str) -> DeviceRef | None:
        """The device of that id, or None where it is unknown."""

    def holder_ref(self, holder_id: str) -> HolderRef | None:
        """The holder of that id, or None."""

    def cloud_node_ref(self, *, cloud_node_id: str | None, device_id: str | None) -> CloudNodeRef | None:
        """The cloud node of that id, or the one that the device belongs to, or None."""


class Draft(msgspec.Struct, rename="camel"):
    """One event as put in, decoded but not yet judged. Unknown keys beside these are ignored."""

    topic: str
    occurred: int | float | str
    body: dict[str, Any]
    cloud_node: CloudNodeRef | None = None
    metadata: dict[str, Any] | None = None
    id: str | None = None


class Accepted(NamedTuple):
    """An event ready to be kept: its id (the caller's or a new one), whether that id is new, its topic and JSON."""

    id: str
    has_own_id: bool
    topic: str
    json: bytes


_decode_draft = msgspec.json.Decoder(Draft).decode


def decode_draft(data: bytes | msgspec.Raw) -> Draft:
    """Read one event from JSON; raises InvalidEvent."""
    try:
        return _decode_draft(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvent(_blame(error)) from None


def accept(draft: Draft, *, site_id: str, names: Names, new_id: str) -> Accepted:
    """Judge one event and bring it into the form in which it is kept; raises InvalidEvent."""
    topic = topic_named(draft.topic)
    event_id = draft.id if draft.id is not None else new_id
    if not _ID.fullmatch(event_id):
        raise InvalidEvent("id: 1 to 128 printable ASCII characters without spaces")
    occurred = parse_time(draft.occurred)
    body: dict[str, Any] = draft.body
    cloud_node = draft.cloud_node
    try:
        if topic.body is not None:
            typed = _typed(body, topic.body)
            cloud_node = _fill(typed, cloud_node, names)
            body = _with_extras(msgspec.to_builtins(typed), body)
        elif cloud_node is not None:
            cloud_node = _completed(cloud_node, names.cloud_node_ref(cloud_node_id=cloud_node.id, device_id=None))
        json = encode_kept(
            id=event_id,
            topic=topic.name,
            site_id=site_id,
            occurred=occurred,
            body=body,
            cloud_node=cloud_node,
            metadata=draft.metadata,
        )
    except (RecursionError, UnicodeEncodeError) as error:
        raise InvalidEvent("body: cannot be encoded") from error
    if len(json) > MAX_EVENT_BYTES:
        raise InvalidEvent(f"event: {len(json)} bytes; at most {MAX_EVENT_BYTES} are kept")
    if json.count(b"{") + json.count(b"[") > _MAX_DEPTH and _is_deep(body, draft.metadata):
        raise InvalidEvent(f"event: nested more than {_MAX_DEPTH} levels deep")
    return Accepted(event_id, draft.id is not None, topic.name, json)


def _typed(body: dict[str, Any], shape: type[msgspec.Struct]) -> msgspec.Struct:
    try:
        return msgspec.convert(body, shape)
    except msgspec.ValidationError as error:
        raise InvalidEvent(_blame(error, inside="body")) from None


def _fill(body: msgspec.Struct, cloud_node: CloudNodeRef | None, names: Names) -> CloudNodeRef | None:
    """Complete the references of a typed body in place; returns the event's cloud node."""
    device_id = None
    if isinstance(body, DeviceBody):
        device = body.device
        device_id = body.deviceId = body.deviceId or (device.id if device is not None else None)
        if device is not None:
            device.id = device.id or device_id
        known = names.device_ref(device_id) if device_id else None
        body.device = _completed(device, known) or DeviceRef(device_id)
    if isinstance(body, RequestBody):
        holder = body.holder
        holder_id = body.holderId = body.holderId or (holder.id if holder is not None else None)
        if holder is not None:
            holder.id = holder.id or holder_id
        body.holder = _completed(holder, names.holder_ref(holder_id) if holder_id else None) or HolderRef(holder_id)
    known_id = cloud_node.id if cloud_node is not None else None
    reported_by = names.cloud_node_ref(cloud_node_id=known_id, device_id=device_id)
    return _completed(cloud_node, reported_by) or CloudNodeRef()


def _completed(given: _Ref | None, known: _Ref | None) -> _Ref | None:
    """What was given, with what was left out taken from the directory, which is not touched."""
    if given is None or known is None:
        return known if given is None else given
    for field in given.__struct_fields__:
        if getattr(given, field) is None:
            setattr(given, field, getattr(known, field))
    return given


def _is_deep(*values: Any) -> bool:
    """Whether JSON values are nested more deeply than is kept (the event around them is one level)."""
    level = [value for value in values if isinstance(value, (dict, list))]
    for _ in range(_MAX_DEPTH):
        if not level:
            return False
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, (dict, list))
        ]
    return True


def _with_extras(normal: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The normal form, followed by the keys that only the caller knows."""
    for key, value in given.items():
        if key not in normal:
            normal[key] = value
        elif type(value) is dict and type(normal[key]) is dict:
            _with_extras(normal[key], value)
    return normal


def parse_time(occurred: float | str) -> int:
    """Milliseconds since 1970 UTC from milliseconds or an RFC 3339 text; raises InvalidEvent."""
    if isinstance(occurred, str):
        return _from_rfc3339(occurred)
    if occurred != occurred or not _MIN_MS <= occurred <= _MAX_MS:  # noqa: PLR0124 - not-a-number differs from itself
        raise InvalidEvent("occurred: milliseconds since 1970, or an RFC 3339 time")
    return int(occurred)


def _from_rfc3339(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.upper())  # RFC 3339 5.6 allows "t" and "z"
    except ValueError:
        raise InvalidEvent("occurred: milliseconds since 1970, or an RFC 3339 time") from None
    if moment.tzinfo is None:
        raise InvalidEvent("occurred: an RFC 3339 time has a zone, as in 2026-01-31T10:00:00Z")
    return parse_time(round(moment.timestamp() * 1000))  # the zone may lead out of the years that can be written


def _blame(error: Exception, inside: str = "") -> str:
    """A library's message in our form: where it is wrong, then what."""
    text = str(error)
    what, _, where = text.partition(" - at `$")
    path = (inside + where.rstrip("`")).lstrip(".")
    return f"{path}: {what}" if path else what
