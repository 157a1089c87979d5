"""What the gateway asks of those who use it: endpoints, handlers, refusals and limits."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from doorstream.gateway.rate import DEFAULT_RATE, Rate
from doorstream.protocols.websocket import DEFAULT_MAX_PAYLOAD, UpgradeRequest

if TYPE_CHECKING:
    from doorstream.gateway.websocket import WebSocketConnection


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may cost (design.md D12)."""

    max_payload: int = DEFAULT_MAX_PAYLOAD
    """Bytes of one inbound message."""
    max_unsent: int = 1_000_000
    """Bytes written and not yet taken by the client; beyond it the connection is aborted as a slow consumer."""
    low_water: int = 65_536
    """Unsent bytes below which `drained()` returns; at most half of `max_unsent` is used."""
    rate: Rate | None = DEFAULT_RATE
    """Inbound frames (polling: packets); beyond it the socket is read more slowly, never refused. None: no limit."""
    close_grace: float = 5.0
    """Seconds a client has to take its last bytes and close; then the connection is aborted."""

    @property
    def drain_below(self) -> int:
        """The low-water mark that fits `max_unsent`."""
        return min(self.low_water, self.max_unsent // 2)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An upgrade that is not wanted: a plain HTTP answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Handler(Protocol):
    """One WebSocket as its application sees it.

    Called from the event loop, never twice at once, in this order: `opened` once, `message` for each message,
    `closed` once. A handler whose connection is lost before `opened` gets no call. No method may block; an
    exception that leaves `opened` or `message` closes the connection with 1011 and is logged.
    """

    def opened(self, connection: "WebSocketConnection") -> None:
        """Take the connection: from here until `closed` it may be written to."""

    def message(self, data: str | bytes) -> None:
        """Take one whole message: `str` if it was sent as text, else `bytes`."""

    def closed(self, code: int) -> None:
        """Stop writing: the connection is closing or gone.

        Called at the moment after which nothing may be written any more, also from within `close()` when the
        handler itself calls that, but never from within `write` or `send`. `code` is the peer's close code, the one
        given to `close`, or 1006 if the connection just broke; 1013 if it was aborted as a slow consumer.
        """


class Endpoint(Protocol):
    """What a path leads to."""

    @property
    def limits(self) -> Limits:
        """The limits for connections of this path."""

    def open(self, request: UpgradeRequest) -> Handler | Refusal | Awaitable[Handler | Refusal]:
        """Decide about one upgrade request, at once or, where that needs I/O, later.

        Messages that the client sends meanwhile are kept, up to a bound. If the client goes away or the gateway's
        handshake time-out passes, the awaitable is cancelled.
        """
