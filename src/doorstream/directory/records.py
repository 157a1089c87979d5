"""An entity as it is stored, with the events that are still to be told about it.

A record is the entity's JSON. A cloud node whose change has not been told yet also has ``_pending``: the events, in
the form in which they are put in. One that was deleted stays as a hidden record (``_deleted``) until its event is kept.
So the change and the duty to tell it are one write, and a crash in between loses neither.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from doorstream.directory.keys import KINDS
from doorstream.events.entities import CloudNode, Entity

_encode = msgspec.json.Encoder().encode
_decoders = {kind: msgspec.json.Decoder(entity) for kind, entity in KINDS.items()}


class Entry(NamedTuple):
    """A key's newest record: ``entity`` is None after a deletion, ``pending`` are the events still to be told."""

    entity: Entity | None
    revision: int
    pending: tuple[dict[str, Any], ...] = ()


class Value(NamedTuple):
    """What is to be stored under a key; the entity, or None for a deletion, and the events still to be told."""

    entity: Entity | None
    last: Entity | None = None
    pending: tuple[dict[str, Any], ...] = ()


class _Extras(msgspec.Struct):
    pending: list[dict[str, Any]] = msgspec.field(default_factory=list, name="_pending")
    deleted: bool = msgspec.field(default=False, name="_deleted")


_decode_extras = msgspec.json.Decoder(_Extras).decode


def encode(value: Value) -> bytes | None:
    """The stored form, or None where only a delete marker is left."""
    if value.entity is not None and not value.pending:
        return _encode(value.entity)
    if not value.pending:
        return None
    extras: dict[str, Any] = {"_pending": value.pending}
    if value.entity is None:
        extras["_deleted"] = True
    return _encode(msgspec.to_builtins(value.entity or value.last) | extras)


def decode(kind: str, data: bytes, revision: int) -> Entry:
    """Read a stored record; raises msgspec.DecodeError for one that is not ours."""
    entity = _decoders[kind].decode(data)
    if isinstance(entity, CloudNode):
        extras = _decode_extras(data)
        if extras.pending or extras.deleted:
            return Entry(None if extras.deleted else entity, revision, tuple(extras.pending))
    return Entry(entity, revision)
