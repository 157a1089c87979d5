"""Which events a webhook wants, and how they come to it from the hub.

Webhooks with the same sites and topics share an interest group of the hub: what none of them wants costs nothing, and
what they want is packed once for all of them. Devices, cloud nodes and age are looked at for each webhook.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from doorstream.events import CATALOGUE, Event
from doorstream.events.entities import Webhook
from doorstream.live import Entry, Interest, unframed

_ALL = "*"
_HEAD = struct.Struct(">QqI")  # sequence, recorded, bytes of JSON that follow


class _Concerned(msgspec.Struct):
    """What a filter wants to know of a body; of any kind, as bodies of one's own are free."""

    deviceId: Any = None  # noqa: N815 - the wire's name


class _Node(msgspec.Struct):
    id: Any = None


_decode_concerned = msgspec.json.Decoder(_Concerned).decode
_decode_node = msgspec.json.Decoder(_Node | None).decode


@dataclass(frozen=True, slots=True)
class EventEncoder:
    """Packs whole events. ``sites`` None: the interest names the one site; ``prefixes`` are of open-ended topics."""

    dialect: ClassVar[str] = "webhooks"

    topics: frozenset[str] | None
    prefixes: tuple[str, ...] = ()
    sites: frozenset[str] | None = None

    def encode(self, entry: Entry) -> tuple[bytes, ...]:
        """The event, if it is wanted."""
        event = entry.event
        if self.sites is not None and event.site_id not in self.sites:
            return ()
        if self.topics is None and not event.topic.startswith(self.prefixes):
            return ()
        packed: tuple[bytes, ...] | None = entry.memo.get(EventEncoder)
        if packed is None:
            packed = (_HEAD.pack(event.sequence, event.recorded, len(event.json)) + event.json,)
            entry.memo[EventEncoder] = packed
        return packed


def unpack(data: bytes) -> Iterator[Event]:
    """The events of packets that were joined."""
    at = 0
    while at < len(data):
        sequence, recorded, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        yield Event(data[at : at + size], sequence, recorded)
        at += size


def interest_of(webhook: Webhook) -> Interest:
    """What the hub is to hand to a webhook."""
    sites = frozenset({webhook.site_id, *webhook.sites})
    site_id = webhook.site_id if len(sites) == 1 else None
    topics, prefixes = _topics_of(webhook.topics)
    return Interest(site_id, EventEncoder(topics, prefixes, None if site_id is not None else sites), unframed)


def _topics_of(patterns: tuple[str, ...]) -> tuple[frozenset[str] | None, tuple[str, ...]]:
    """Names where all are known; else None and the prefixes (of names too, which is as good for the free topics)."""
    if _ALL in patterns:
        return None, ("",)
    prefixes = tuple(sorted({pattern[:-1] for pattern in patterns if pattern.endswith(".*")}))
    names = {pattern for pattern in patterns if not pattern.endswith(".*")}
    if any(prefix.startswith("x.") for prefix in prefixes):
        return None, (*prefixes, *sorted(names))
    return frozenset(names.union(name for name in CATALOGUE if name.startswith(prefixes))), ()


def filter_of(webhook: Webhook) -> Callable[[Event], bool]:
    """Judges an event that the hub handed over: its topic, device, cloud node and age."""
    topics, prefixes = _topics_of(webhook.topics)
    names = frozenset(webhook.topics)
    starts = tuple(prefix for prefix in prefixes if prefix not in names)
    devices, cloud_nodes = frozenset(webhook.devices), frozenset(webhook.cloud_nodes)
    oldest = webhook.ignore_older_than * 1000 if webhook.ignore_older_than is not None else None

    def wants(event: Event) -> bool:
        if topics is None and event.topic not in names and not event.topic.startswith(starts):
            return False
        if oldest is not None and event.recorded - event.occurred > oldest:
            return False
        if devices and device_of(event) not in devices:
            return False
        return not cloud_nodes or cloud_node_of(event) in cloud_nodes

    return wants


def device_of(event: Event) -> str | None:
    """The device that an event speaks of."""
    try:
        device = _decode_concerned(event.body).deviceId
    except msgspec.DecodeError:
        return None
    return device if isinstance(device, str) else None


def cloud_node_of(event: Event) -> str | None:
    """The cloud node that an event came from."""
    try:
        node = _decode_node(event.cloud_node)
    except msgspec.DecodeError:
        return None
    return node.id if node is not None and isinstance(node.id, str) else None


def line_of(event: Event) -> str:
    """What an ordered webhook keeps in order: the events of one device, else of one cloud node, else of the site."""
    return f"{event.site_id} {device_of(event) or cloud_node_of(event) or ''}"
