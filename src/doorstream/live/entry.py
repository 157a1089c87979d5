"""What the live path passes around: events, and how they become bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, NamedTuple, Protocol

from doorstream.events import Event

Framing = Callable[[bytes], bytes]
"""Makes one packet ready for a kind of connection (a WebSocket frame, an item of a poll's answer).

Framed packets can be concatenated. A module-level function: it is part of an interest group's key.
"""


def unframed(packet: bytes) -> bytes:
    """The framing where packets need none: they are written one after the other as they are."""
    return packet


class Entry:
    """An event on its way out. ``memo`` keeps what was encoded, so that it is encoded once for everybody."""

    __slots__ = ("event", "memo")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.memo: dict[Hashable, Any] = {}


class Encoder(Protocol):
    """How a dialect writes events for connections with the same wishes and rights.

    Hashable and comparable: connections with equal encoders share an interest group.
    """

    @property
    def dialect(self) -> str:
        """Under which name deliveries are counted."""

    @property
    def topics(self) -> frozenset[str] | None:
        """The topics that give anything; None for all."""

    def encode(self, entry: Entry) -> Sequence[bytes]:
        """The packets of one event, none included. The number and order for an event never change: offsets count them.

        Must not fail: a malformed event is the fault of ingest.
        """


class Interest(NamedTuple):
    """What a group of connections has in common. ``site_id`` None means every site."""

    site_id: str | None
    encoder: Encoder
    framing: Framing


class Outlet(Protocol):
    """Where a subscription's bytes go: one connection, as the hub sees it."""

    @property
    def write(self) -> Callable[[bytes], None]:
        """Takes framed packets; never blocks. On the live path this is all that is done for each client."""

    @property
    def framing(self) -> Framing:
        """How packets are framed here at this moment."""

    @property
    def is_drained(self) -> bool:
        """Whether little enough waits to be sent for more to be written at once, without ``drained``."""

    replaying: bool
    """Set while older events are written, in portions and with ``drained`` in between: no sign of a slow consumer."""

    def drained(self) -> Awaitable[None]:
        """Done when little enough waits to be sent, so that a replay may go on."""
