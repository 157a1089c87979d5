"""An event as it is kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec


class _Kept(msgspec.Struct, rename="camel"):
    """The JSON of an event in the log. Bodies stay encoded: most readers only pass them on."""

    id: str
    topic: str
    site_id: str
    occurred: int
    body: msgspec.Raw
    cloud_node: msgspec.Raw
    metadata: msgspec.Raw


_decode = msgspec.json.Decoder(_Kept).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Event:
    """One event at its place in the log.

    ``occurred`` (at the door) and ``recorded`` (in the log) are milliseconds since 1970 UTC; ``sequence`` is its place.
    ``body``, ``cloud_node`` and ``metadata`` are encoded JSON (``null`` where there is none), ``json`` is the whole
    event as kept, without ``recorded`` and ``position``.
    """

    __slots__ = ("body", "cloud_node", "id", "json", "metadata", "occurred", "recorded", "sequence", "site_id", "topic")

    def __init__(self, json: bytes, sequence: int, recorded: int) -> None:
        kept = _decode(json)
        self.id = kept.id
        self.topic = kept.topic
        self.site_id = kept.site_id
        self.occurred = kept.occurred
        self.body = bytes(kept.body)
        self.cloud_node = bytes(kept.cloud_node)
        self.metadata = bytes(kept.metadata)
        self.json = json
        self.sequence = sequence
        self.recorded = recorded

    @property
    def cause(self) -> Any:
        """What made it happen (``request``, ``rex``, ``schedule``, ``command``), where its source said so."""
        metadata = _decode_any(self.metadata)
        return metadata.get("cause") if isinstance(metadata, dict) else None

    def public_json(self, epoch: str) -> bytes:
        """The event as our own API shows it: as kept, with ``recorded`` and ``position``."""
        return b'%b,"recorded":%d,"position":"%b.%d"}' % (self.json[:-1], self.recorded, epoch.encode(), self.sequence)


def encode_kept(  # noqa: PLR0913 - the keys of the kept form, each once
    *,
    id: str,  # noqa: A002 - the wire's name
    topic: str,
    site_id: str,
    occurred: int,
    body: Any,
    cloud_node: Any,
    metadata: Any,
) -> bytes:
    """The JSON under which an event is kept in the log."""
    return _encode(
        {
            "id": id,
            "topic": topic,
            "siteId": site_id,
            "occurred": occurred,
            "body": body,
            "cloudNode": cloud_node,
            "metadata": metadata,
        }
    )


def iso_utc(milliseconds: int) -> str:
    """RFC 3339 in UTC with milliseconds and ``Z``."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment.replace(tzinfo=None).isoformat()}.{milliseconds % 1000:03d}Z"
