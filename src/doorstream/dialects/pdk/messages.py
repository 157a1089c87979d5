"""From events to what PDK's stream says (seed 000): thirty-one event names, whose shapes are not uniform."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar

import msgspec

from doorstream.events import STREAMED, Event
from doorstream.live import Entry
from doorstream.protocols.socketio import event_packet

LIVE_EVENT = "liveEvent"
"""The aggregate event: a readable sentence for everything that is worth auditing."""

UNDER_OWN_NAME = 0
AS_LIVE_EVENT = 1
"""The numbers of an event's two packets in offsets. They stay the same whatever else was subscribed."""

_encode = msgspec.json.Encoder().encode


class _Audited(msgspec.Struct):
    """What a sentence wants to know of a body.

    Of any kind: a key that is not typed for the event's topic is free, and whoever puts it in may put in what he likes.
    """

    deviceId: Any = None  # noqa: N815 - the wire's name
    device: Any = None
    holderId: Any = None  # noqa: N815 - the wire's name
    holder: Any = None
    requestFactor: Any = None  # noqa: N815 - the wire's name


class _Serial(msgspec.Struct):
    serialNumber: str | None = None  # noqa: N815 - the wire's name


class _Sync(msgspec.Struct):
    panelSn: str | None = None  # noqa: N815 - the wire's name
    dataFlowStatus: str | None = None  # noqa: N815 - the wire's name


class _Actor(msgspec.Struct):
    userId: Any = None  # noqa: N815 - the wire's name
    userName: Any = None  # noqa: N815 - the wire's name


_decode_audited = msgspec.json.Decoder(_Audited).decode
_decode_serial = msgspec.json.Decoder(_Serial).decode
_decode_sync = msgspec.json.Decoder(_Sync).decode
_decode_actor = msgspec.json.Decoder(_Actor | None).decode

# D17: what is auditable, and its sentence. "holder" and "device" stand for the placeholders in their order; a topic
# with a condition is auditable only where the body says so.
_SENTENCES: dict[str, tuple[str, tuple[str, ...]]] = {
    "device.request.allowed": ('"%s" asked to pass "%s" and was let in.', ("holder", "device")),
    "device.request.denied": ('"%s" asked to pass "%s" and was refused.', ("holder", "device")),
    "device.request.unknown": ('An unknown credential was presented at "%s" and refused.', ("device",)),
    "device.request.duress": ('"%s" asked to pass "%s" and signalled duress.', ("holder", "device")),
    "device.request.found": ('"%s" was recognised at "%s".', ("holder", "device")),
    "device.request.filtered": ('A request of "%s" at "%s" was filtered out.', ("holder", "device")),
    "device.request.multiallowed": ('"%s" and others together were let in at "%s".', ("holder", "device")),
    "device.request.ecard.allowed": ('"%s" asked to pass "%s" with a mobile and was let in.', ("holder", "device")),
    "device.request.ecard.denied": ('"%s" asked to pass "%s" with a mobile and was refused.', ("holder", "device")),
    "device.alarm.forced": ('"%s" was forced open.', ("device",)),
    "device.alarm.forced.cleared": ('The forced-open alarm of "%s" was cleared.', ("device",)),
    "device.alarm.propped.on": ('"%s" is held open for too long.', ("device",)),
    "device.alarm.propped.off": ('"%s" is no longer held open.', ("device",)),
    "device.alarm.propped.alloff": ('All held-open alarms of "%s" are over.', ("device",)),
    "device.alarm.circuitbreaker.on": ('A circuit breaker tripped at "%s".', ("device",)),
    "device.alarm.circuitbreaker.off": ('The circuit breaker at "%s" is closed again.', ("device",)),
    "device.alarm.tamper.on": ('"%s" is being tampered with.', ("device",)),
    "device.alarm.tamper.off": ('The tamper alarm of "%s" is over.', ("device",)),
    "device.forceopen.on": ('"%s" is kept unlocked by an operator.', ("device",)),
    "device.forceopen.off": ('"%s" is no longer kept unlocked by an operator.', ("device",)),
    "device.forceclose.on": ('"%s" is in do-not-disturb.', ("device",)),
    "device.forceclose.off": ('"%s" is no longer in do-not-disturb.', ("device",)),
    "device.autoopen.on": ('"%s" was unlocked by its schedule.', ("device",)),
    "device.autoopen.off": ('"%s" was locked again by its schedule.', ("device",)),
    "device.autoopen.override.on": ('The schedule of "%s" was overridden.', ("device",)),
    "device.autoopen.override.off": ('The schedule of "%s" applies again.', ("device",)),
    "device.input.rex.on": ('Somebody asked to leave at "%s".', ("device",)),
    "device.input.relay.on": ('"%s" was unlocked by a command.', ("device",)),
}
_ONLY_BY_COMMAND = "device.input.relay.on"
_FACTORS = {
    "CARD_ONLY": " A card was used.",
    "PIN_ONLY": " A PIN was used.",
    "CARD_AND_PIN": " A card and a PIN were used.",
}

AUDITABLE = frozenset(_SENTENCES)
"""The topics that can give a ``liveEvent``."""

_NAMES = {name: _encode(name) for name in (*STREAMED, LIVE_EVENT)}


@dataclass(frozen=True, slots=True)
class PdkEncoder:
    """How events are written for connections with the same subscription.

    ``subscribed`` None means that nothing was subscribed: ``liveEvent`` only (D3). ``offsets`` is the id of the set of
    topics for clients that recover (D13): each packet then ends with ``<epoch>.<sequence>.<packet>.<topic set>``.
    """

    dialect: ClassVar[str] = "pdk"

    subscribed: frozenset[str] | None
    offsets: str | None = None
    epoch: str = ""

    @property
    def topics(self) -> frozenset[str]:
        """The topics that give anything."""
        return _topics_of(self.subscribed)

    def encode(self, entry: Entry) -> list[bytes]:
        """The event under its own name, then its ``liveEvent``, each if it is wanted."""
        topic = entry.event.topic
        packets: list[bytes] = []
        if self.subscribed is not None and topic in self.subscribed:
            packets.append(self._packet(entry, topic, UNDER_OWN_NAME, event_json(entry)))
        if _wants_live_event(self.subscribed):
            live_event = live_event_json(entry)
            if live_event is not None:
                packets.append(self._packet(entry, LIVE_EVENT, AS_LIVE_EVENT, live_event))
        return packets

    def _packet(self, entry: Entry, name: str, number: int, payload: bytes) -> bytes:
        key = ("pdk packet", number, self.offsets)
        packet: bytes | None = entry.memo.get(key)
        if packet is None:
            if self.offsets is None:
                packet = event_packet(_NAMES[name], payload)
            else:
                offset = f'"{self.epoch}.{entry.event.sequence}.{number}.{self.offsets}"'.encode()
                packet = event_packet(_NAMES[name], payload, offset)
            entry.memo[key] = packet
        return packet


def event_json(entry: Entry) -> bytes:
    """The argument of an event of that topic, once for everybody."""
    json: bytes | None = entry.memo.get("pdk event")
    if json is None:
        json = entry.memo["pdk event"] = _event_json(entry.event)
    return json


def live_event_json(entry: Entry) -> bytes | None:
    """The argument of the event's ``liveEvent``, or None where the event is not auditable."""
    memo = entry.memo
    if "pdk live" not in memo:
        memo["pdk live"] = _live_event_json(entry.event) if entry.event.topic in AUDITABLE else None
    json: bytes | None = memo["pdk live"]
    return json


@lru_cache(maxsize=4096)
def _topics_of(subscribed: frozenset[str] | None) -> frozenset[str]:
    if subscribed is None:
        return AUDITABLE
    topics = subscribed & STREAMED
    return topics | AUDITABLE if LIVE_EVENT in subscribed else topics


def _wants_live_event(subscribed: frozenset[str] | None) -> bool:
    return subscribed is None or LIVE_EVENT in subscribed


def _event_json(event: Event) -> bytes:
    topic = event.topic
    if topic == "cloudnode.connected":  # an ISO time here, a number in its counterpart: so are the samples
        moment = datetime.fromtimestamp(event.occurred // 1000, UTC).replace(tzinfo=None)
        return _encode({"serialNumber": _decode_serial(event.body).serialNumber, "timestamp": f"{moment.isoformat()}Z"})
    if topic == "cloudnode.disconnected":
        return _encode({"serialNumber": _decode_serial(event.body).serialNumber, "timestamp": event.occurred})
    if topic.startswith("cloudnode."):
        return _entity_json(event)
    if topic.startswith("sync."):
        return _sync_json(event)
    return b'{"id":%b,"topic":"%b","body":%b,"cloudNode":%b,"occurred":%d}' % (
        _encode(event.id),
        topic.encode(),
        event.body,
        event.cloud_node,
        event.occurred,
    )


def _entity_json(event: Event) -> bytes:
    actor = _decode_actor(event.metadata) or _Actor()
    return _encode(
        {
            "id": event.id,
            "systemId": event.site_id,
            "topic": f"system.{event.site_id}.entity.{event.topic}",
            "body": msgspec.Raw(event.body),
            "metadata": {"userId": actor.userId, "userName": actor.userName, "occurred": event.occurred},
        }
    )


def _sync_json(event: Event) -> bytes:
    sync = _decode_sync(event.body)
    details: dict[str, Any] = {"timestamp": event.occurred}
    if event.topic == "sync.not_synced":
        details = {"dataFlowStatus": sync.dataFlowStatus or "Pending", **details}
    return _encode({"systemId": event.site_id, "panelSn": sync.panelSn, "details": details})


def _live_event_json(event: Event) -> bytes | None:
    audited = _decode_audited(event.body)
    if event.topic == _ONLY_BY_COMMAND and event.cause != "command":
        return None
    sentence, subjects = _SENTENCES[event.topic]
    placeholders = {
        "holder": _placeholder("holder", audited.holderId, audited.holder),
        "device": _placeholder("device", audited.deviceId, audited.device),
    }
    return _encode(
        {
            "topic": event.topic,
            "info": sentence + _FACTORS.get(_text(audited.requestFactor) or "", ""),
            "placeholders": [placeholders[subject] for subject in subjects],
            "cloudNode": msgspec.Raw(event.cloud_node),
            "occurred": event.occurred,
        }
    )


def _placeholder(kind: str, subject_id: Any, subject: Any) -> dict[str, str | None]:
    """Who or what fills a ``%s``. A client prints ``text`` as it is, so there always is one."""
    known = subject if isinstance(subject, dict) else {}
    identifier = _text(subject_id) or _text(known.get("id"))
    return {"text": _text(known.get("name")) or identifier or f"unknown {kind}", "id": identifier, "type": kind}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
