"""The messages of the hub protocol, as values (ASP.NET Core, "SignalR hub protocol", message types 1 to 9)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Final


class MessageType(enum.IntEnum):
    """The number of a kind of message, the same in both encodings."""

    INVOCATION = 1
    STREAM_ITEM = 2
    COMPLETION = 3
    STREAM_INVOCATION = 4
    CANCEL_INVOCATION = 5
    PING = 6
    CLOSE = 7
    ACK = 8
    SEQUENCE = 9


class _Nothing(enum.Enum):
    NOTHING = "nothing"


NOTHING: Final = _Nothing.NOTHING
"""The result of an invocation that returns nothing, as opposed to one that returns null."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """Call a method of the other side. With an ``id`` exactly one Completion is owed.

    ``stream_ids`` name the streams that the caller is going to send as arguments.
    """

    target: str
    arguments: list[Any]
    id: str | None = None
    stream_ids: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamItem:
    """One item of a stream, in either direction."""

    id: str
    item: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Completion:
    """An invocation or a stream is over: with an ``error``, with a ``result``, or with NOTHING."""

    id: str
    result: Any = NOTHING
    error: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamInvocation:
    """Call a method that answers with a stream."""

    target: str
    arguments: list[Any]
    id: str
    stream_ids: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CancelInvocation:
    """No more items of that stream are wanted."""

    id: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ping:
    """Still there. Never answered."""


@dataclass(frozen=True, slots=True)
class Close:
    """The connection ends. A client that reconnects by itself does so only if ``allow_reconnect``."""

    error: str | None = None
    allow_reconnect: bool = False


@dataclass(frozen=True, slots=True)
class Ack:
    """Numbered messages up to ``sequence_id`` have come (stateful reconnect)."""

    sequence_id: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """The next numbered message is ``sequence_id`` (stateful reconnect, after a new socket)."""

    sequence_id: int


Message = Invocation | StreamItem | Completion | StreamInvocation | CancelInvocation | Ping | Close | Ack | Sequence

NUMBERED: Final = (Invocation, StreamItem, Completion, StreamInvocation, CancelInvocation)
"""What stateful reconnect counts, from 1, separately in each direction."""
