"""The topic catalogue: every name under which an event can be kept.

Three sources: the streaming topics of the vendor's samples (seed 000), the further webhook topics
(vendor-apis.md 1.3), and ours for what other dialects need. Drivers may use ``x.<name>…`` with a free body.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from doorstream.events import bodies
from doorstream.events.errors import InvalidEvent


class Topic(msgspec.Struct, frozen=True):
    """One kind of event.

    ``body`` is the struct its body must fit, or None for a free object. ``streamed`` says whether PDK's stream
    carries it (seed 000 has 31 event names, one of which, ``liveEvent``, is derived and no topic).
    """

    name: str
    body: type[msgspec.Struct] | None = None
    streamed: bool = False


_STREAMED: dict[str, type[msgspec.Struct]] = {
    "cloudnode.connected": bodies.ConnectionBody,
    "cloudnode.created": bodies.CloudNodeCreatedBody,
    "cloudnode.deleted": bodies.CloudNodeDeletedBody,
    "cloudnode.disconnected": bodies.ConnectionBody,
    "cloudnode.registered": bodies.CloudNodeBody,
    "cloudnode.unregistered": bodies.CloudNodeBody,
    "device.alarm.forced": bodies.DeviceBody,
    "device.alarm.forced.cleared": bodies.DeviceBody,
    "device.alarm.propped.off": bodies.DeviceBody,
    "device.alarm.propped.on": bodies.DeviceBody,
    "device.autoopen.off": bodies.DeviceBody,
    "device.autoopen.on": bodies.DeviceBody,
    "device.forceclose.off": bodies.DeviceBody,
    "device.forceclose.on": bodies.DeviceBody,
    "device.forceopen.off": bodies.DeviceBody,
    "device.forceopen.on": bodies.DeviceBody,
    "device.input.dps.closed": bodies.DeviceBody,
    "device.input.dps.opened": bodies.DeviceBody,
    "device.input.relay.off": bodies.DeviceBody,
    "device.input.relay.on": bodies.DeviceBody,
    "device.input.rex.off": bodies.DeviceBody,
    "device.input.rex.on": bodies.DeviceBody,
    "device.request.allowed": bodies.RequestBody,
    "device.request.denied": bodies.RequestBody,
    "device.request.unknown": bodies.UnknownRequestBody,
    "endpoint.sync.finished": bodies.EndpointSyncBody,
    "endpoint.sync.finished.all": bodies.EndpointSyncBody,
    "endpoint.sync.started": bodies.EndpointSyncBody,
    "sync.not_synced": bodies.SyncBody,
    "sync.synced": bodies.SyncBody,
}

_ENTITY_VERBS = ("created", "updated", "deleted")
_WEBHOOK_ENTITIES = (
    "organization",
    "permission",
    "subscription",
    "holder",
    "credential",
    "group",
    "device",
    "connection",
    "cloudnode",
    "partition",
    "floorgroup",
    "rule",
)
_WEBHOOK_FREE = (
    "permission.accepted",
    "rule.antipassback.violation",
    "floorgroup.activated",
    "cardformat.created",
    "cardformat.deleted",
    "controller.alarm.comloss.on",
    "controller.alarm.comloss.off",
    "controller.input.lp.on",
    "controller.input.lp.off",
    "controller.input.pb.connected",
    "controller.input.pb.disconnected",
    "controller.input.pb.status",
    "controller.input.pi.on",
    "controller.input.pi.off",
    "controller.input.pi.status",
    "controller.input.po.present",
    "controller.input.po.absent",
    "controller.input.time.unknown.enter",
    "controller.input.time.unknown.exit",
)
_WEBHOOK_REQUESTS = ("duress", "found", "filtered", "multiallowed", "ecard.allowed", "ecard.denied")
_WEBHOOK_DEVICE = (
    "device.input.virtualread",
    "device.alarm.propped.alloff",
    "device.alarm.circuitbreaker.on",
    "device.alarm.circuitbreaker.off",
    "device.autoopen.override.on",
    "device.autoopen.override.off",
)
_OURS = ("device.alarm.tamper.on", "device.alarm.tamper.off", "device.battery.low")


def _catalogue() -> dict[str, Topic]:
    topics = [Topic(name, body, streamed=True) for name, body in _STREAMED.items()]
    topics += [Topic(f"{entity}.{verb}") for entity in _WEBHOOK_ENTITIES for verb in _ENTITY_VERBS]
    topics += [Topic(name) for name in _WEBHOOK_FREE]
    topics += [Topic(f"device.request.{verb}", bodies.RequestBody) for verb in _WEBHOOK_REQUESTS]
    topics += [Topic(name, bodies.DeviceBody) for name in (*_WEBHOOK_DEVICE, *_OURS)]
    catalogue: dict[str, Topic] = {}
    for topic in topics:
        catalogue.setdefault(topic.name, topic)  # cloudnode.created and .deleted are streamed: the typed one is first
    return catalogue


CATALOGUE: dict[str, Topic] = _catalogue()
"""Every fixed topic by its name."""

STREAMED: frozenset[str] = frozenset(_STREAMED)
"""The topics that PDK's stream carries (the 31 event names of seed 000 without the derived ``liveEvent``)."""

_OWN = re.compile(r"x(\.[a-z0-9_-]{1,64}){1,8}")


def topic_named(name: Any) -> Topic:
    """The topic of that name; raises InvalidEvent for one that cannot be put in."""
    topic = CATALOGUE.get(name) if isinstance(name, str) else None
    if topic is not None:
        return topic
    if name == "liveEvent":
        raise InvalidEvent("topic: liveEvent is derived from other events and cannot be put in")
    if isinstance(name, str) and _OWN.fullmatch(name):
        return Topic(name)
    raise InvalidEvent("topic: unknown; use one of the catalogue, or x.<name> with a body of your own")
