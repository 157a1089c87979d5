"""The connection that uvicorn hands an upgraded socket to: `uvicorn.Config(ws=WebSocketConnection)`.

uvicorn calls the class with `config`, `server_state` and `app_state`, then `connection_made`, then `data_received`
with the upgrade request (`spikes.md` section 8). There is no task and no queue: what comes in is parsed and given to
the handler at once, and what goes out is `write`, which *is* the transport's bound method. The transport's own
high-water mark watches for slow clients, so that a write costs nothing more.

Life of a connection: REQUEST (the head is read) → DECIDING (the endpoint is asked) → OPEN → CLOSING (the handler was
told, nothing may be written) → gone. The handler's `opened` comes when the client first says something, or 10 ms
after the 101: programs that wait for "open" and only then listen for messages (the official Engine.IO test suite
does, on Node's `ws`) lose a message that they read together with the 101.
"""

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, cast

from doorstream.gateway.contract import Handler, Limits, Refusal
from doorstream.gateway.registry import Gateway
from doorstream.protocols.websocket import (
    CloseCode,
    Closed,
    HandshakeError,
    Message,
    Opcode,
    Reply,
    UpgradeRequest,
    WebSocketProtocol,
    accept,
    check,
    encode_frame,
    refuse,
    text_frame,
)

log = logging.getLogger(__name__)

SLOW_CONSUMER: Final = CloseCode.TRY_AGAIN_LATER
"""What a handler is told when its client did not take its bytes; the client itself sees the connection break."""

_HANDLER_FAILED = "a handler failed; its connection is closed"
_MAX_HEAD = 65_536
_THROTTLE_PAUSE = 0.1
"""Seconds between two slices of a client that talks faster than it may."""


class _ServerState(Protocol):
    connections: set[Any]


class Phase(enum.Enum):
    """See the module's text."""

    REQUEST = enum.auto()
    DECIDING = enum.auto()
    OPEN = enum.auto()
    CLOSING = enum.auto()


class WebSocketConnection(asyncio.Protocol):
    """One WebSocket. What a handler may use are the public names below; it must not use them after `closed`."""

    __slots__ = (
        "_early",
        "_full_at",
        "_gateway",
        "_handler",
        "_limits",
        "_pending",
        "_phase",
        "_protocol",
        "_server",
        "_waiter",
        "peer",
        "replaying",
        "transport",
        "write",
    )

    framing = staticmethod(text_frame)
    """Turns the UTF-8 bytes of a text message into what `write` takes; such bytes can be joined."""

    transport: asyncio.Transport
    write: Callable[[bytes], None]
    """The transport's bound `write`, for bytes framed already. This is the live path."""
    replaying: bool
    """Set while the handler writes with `drained()` in between; then passing `max_unsent` does not abort. The handler
    awaits `drained()` once more before it clears this."""
    peer: str
    """The client's address, for logs."""

    def __init__(self, *, config: Any = None, server_state: _ServerState, app_state: dict[str, Any]) -> None:
        del config
        gateway = app_state.get("gateway")
        if not isinstance(gateway, Gateway):
            raise RuntimeError('the lifespan must yield {"gateway": Gateway(…)}')  # noqa: TRY004 - not a type error
        self._gateway = gateway
        self._server = server_state
        self._phase = Phase.REQUEST
        self._early: bytes | None = None
        self._limits: Limits = _NO_LIMITS
        self._protocol: WebSocketProtocol | None = None
        self._handler: Handler | None = None
        # While deciding: the task that waits for the endpoint; while open: the timer of a client that is too fast.
        self._pending: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._full_at = 0.0
        self.replaying = False
        self.peer = ""

    # What a handler uses

    def send(self, data: str | bytes) -> None:
        """Write one message: `str` as text, `bytes` as binary. Does nothing once the connection is closing."""
        if self._phase is Phase.OPEN:
            if isinstance(data, str):
                self._write_checked(encode_frame(Opcode.TEXT, data.encode()))
            else:
                self._write_checked(encode_frame(Opcode.BINARY, data))

    @property
    def is_drained(self) -> bool:
        """Whether so little is unsent that `drained()` would return at once."""
        return self._phase is not Phase.OPEN or self.transport.get_write_buffer_size() <= self._limits.drain_below

    @property
    def unsent(self) -> int:
        """Bytes written and not yet taken by the client."""
        return self.transport.get_write_buffer_size()

    async def drained(self) -> None:
        """Return when the unsent bytes are below `low_water`, or when the connection has closed."""
        if self.is_drained:
            return
        if self._waiter is None:
            self._waiter = asyncio.get_running_loop().create_future()
            # The transport calls resume_writing only if it has called pause_writing, which this makes it do.
            self.transport.set_write_buffer_limits(self._limits.drain_below, self._limits.drain_below)
        await asyncio.shield(self._waiter)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close politely: a close frame after what was written; aborted if that takes longer than the grace."""
        if self._phase is not Phase.OPEN or self._protocol is None:
            return
        frame = self._protocol.close(code, reason)
        if frame:
            self.write(frame)
        self._begin_closing(code)

    def abort(self, reason: str) -> None:
        """End the connection at once, unsent bytes are lost; the reason goes to the log."""
        log.info("connection of %s aborted: %s", self.peer, reason)
        self._end(CloseCode.ABNORMAL)
        self.transport.abort()

    def hand_to(self, handler: Handler) -> None:
        """Give the connection, which stays open, to another handler; neither is told."""
        if self._phase is Phase.OPEN:
            self._handler = handler

    @property
    def throttled(self) -> bool:
        """Whether the client talked faster than it may, so that what it sent waits unread."""
        return self._phase is Phase.OPEN and self._pending is not None

    # What the event loop and uvicorn call

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        self.transport = cast("asyncio.Transport", transport)
        self.write = self.transport.write
        address = transport.get_extra_info("peername")
        self.peer = str(address[0]) if isinstance(address, tuple) else ""
        self._server.connections.add(self)
        self._gateway.handshakes.start(self)

    def data_received(self, data: bytes) -> None:
        """Take what was read."""
        if self._protocol is not None:
            self._feed(data)
        elif self._phase is not Phase.CLOSING:
            self._feed_early(data)

    def eof_received(self) -> None:
        """Let the transport close: a WebSocket has no use for half a connection."""

    def pause_writing(self) -> None:
        """Take note that the client does not keep up."""
        if self._phase is Phase.OPEN and not self.replaying and self._waiter is None:
            # Not at once: this may be called from within a write, while someone iterates over connections.
            asyncio.get_running_loop().call_soon(self._overflowed)

    def resume_writing(self) -> None:
        """Wake those who wait in `drained`."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self.transport.set_write_buffer_limits(self._limits.max_unsent, self._limits.drain_below)
            waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up."""
        del exc
        self._server.connections.discard(self)
        self._end(CloseCode.ABNORMAL)
        self._gateway.grace(self._limits.close_grace).stop(self)
        self._protocol = None

    def shutdown(self) -> None:
        """Close because the server ends (called by uvicorn)."""
        self._gateway.shutdown()
        if self._phase is Phase.OPEN:
            self.close(CloseCode.SERVICE_RESTART, "the server restarts")
        elif self._phase is not Phase.CLOSING:
            self._refuse(Refusal(503, {"Retry-After": "1"}))

    def handshake_expired(self) -> None:
        """Give up on a client, or an endpoint, that took too long."""
        self._gateway.counters.handshake_timeouts += 1
        self._refuse(Refusal(503, {"Retry-After": "1"}) if self._phase is Phase.DECIDING else Refusal(408))

    # Opening

    def _feed_early(self, data: bytes) -> None:
        self._early = data if self._early is None else self._early + data
        if self._phase is Phase.REQUEST:
            end = self._early.find(b"\r\n\r\n")
            if end >= 0:
                head, self._early = self._early[:end], self._early[end + 4 :]
                self._decide(head)
            elif len(self._early) > _MAX_HEAD:
                self._refuse(Refusal(431))
        elif self._handler is not None:
            self._gateway.settling.stop(self)
            self.settled()
        elif len(self._early) > _MAX_HEAD:
            self.transport.pause_reading()

    def _decide(self, head: bytes) -> None:
        self._phase = Phase.DECIDING
        try:
            request = UpgradeRequest.parse(head, self.peer)
            check(request)
        except HandshakeError as error:
            self._refuse(Refusal(error.status, dict(error.headers), str(error).encode()))
            return
        endpoint = self._gateway.find(request.path)
        if endpoint is None:
            self._refuse(Refusal(404) if self._gateway.ready else Refusal(503, {"Retry-After": "1"}))
            return
        self._limits = endpoint.limits
        try:
            answer = endpoint.open(request)
        except Exception:
            log.exception("an endpoint failed to decide about an upgrade")
            self._refuse(Refusal(500))
            return
        if isinstance(answer, Awaitable):
            self._pending = asyncio.ensure_future(self._wait_for(answer, request))
        else:
            self._answer(answer, request)

    async def _wait_for(self, decision: Awaitable[Handler | Refusal], request: UpgradeRequest) -> None:
        try:
            answer = await decision
        except Exception:
            log.exception("an endpoint failed to decide about an upgrade")
            answer = Refusal(500)
        self._pending = None
        self._answer(answer, request)

    def _answer(self, answer: Handler | Refusal, request: UpgradeRequest) -> None:
        if self._phase is not Phase.DECIDING:
            return
        if isinstance(answer, Refusal):
            self._refuse(answer)
            return
        self.write(accept(request))
        self._handler = answer
        self._gateway.handshakes.stop(self)
        self._gateway.settling.start(self)

    def settled(self) -> None:
        """Open: the client had time to read the 101 (called by the gateway)."""
        if self._phase is not Phase.DECIDING or self._handler is None:
            return
        self._gateway.counters.opened += 1
        self._gateway.connections += 1
        self._phase = Phase.OPEN
        self._protocol = WebSocketProtocol(self._limits.max_payload)
        self.transport.set_write_buffer_limits(self._limits.max_unsent, self._limits.drain_below)
        early, self._early = self._early, None
        try:
            self._handler.opened(self)
        except Exception:
            log.exception(_HANDLER_FAILED)
            self.close(CloseCode.INTERNAL_ERROR)
        if early:
            self.transport.resume_reading()
            self._feed(early)

    def _refuse(self, refusal: Refusal) -> None:
        if self._phase is Phase.CLOSING:
            return
        self._handler = None
        self._gateway.counters.refused += 1
        self.write(refuse(refusal.status, refusal.headers.items(), refusal.body))
        self._begin_closing(CloseCode.ABNORMAL)
        self.transport.close()

    # Reading

    def _feed(self, data: bytes) -> None:
        protocol = self._protocol
        if protocol is None:
            return
        rate = self._limits.rate
        if rate is None or self._phase is Phase.CLOSING:
            events = protocol.receive(data)
        else:
            now = asyncio.get_running_loop().time()
            limit = rate.allowance(self._full_at, now)
            before = protocol.frames_received
            events = protocol.receive(data, limit)
            taken = protocol.frames_received - before
            if taken:
                self._full_at = rate.charge(self._full_at, now, taken)
            if taken >= limit and protocol.buffered:
                self._slow_down()
        for event in events:
            if isinstance(event, Message):
                self._deliver(event.data)
            elif isinstance(event, Reply):
                if not self.transport.is_closing():
                    self._write_checked(event.data)
            else:
                self._peer_closed(event)

    def _write_checked(self, frame: bytes) -> None:
        """Write an answer. A transport that paused for a replay does not tell again when its buffer grows further."""
        self.write(frame)
        is_silent = self._waiter is not None and not self.replaying
        if is_silent and self.transport.get_write_buffer_size() > self._limits.max_unsent:
            asyncio.get_running_loop().call_soon(self._overflowed)

    def _deliver(self, data: str | bytes) -> None:
        if self._handler is not None:
            try:
                self._handler.message(data)
            except Exception:
                log.exception(_HANDLER_FAILED)
                self.close(CloseCode.INTERNAL_ERROR)

    def _peer_closed(self, event: Closed) -> None:
        self._begin_closing(event.code)
        if not event.failed:
            self.transport.close()
            return
        self._gateway.counters.protocol_errors += 1
        log.info("connection of %s failed: %s", self.peer, event.reason)
        # Closing now, with input unread, would make the kernel send a reset that destroys our close frame.
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _slow_down(self) -> None:
        if self._pending is None:
            self._gateway.counters.throttled += 1
        self.transport.pause_reading()
        self._pending = asyncio.get_running_loop().call_later(_THROTTLE_PAUSE, self._next_slice)

    def _next_slice(self) -> None:
        self._pending = None
        self._feed(b"")
        if self._pending is None and not self.transport.is_closing():
            self.transport.resume_reading()

    # Closing

    def _begin_closing(self, code: int) -> None:
        """Tell the handler, and give the client a grace period for its last bytes."""
        self._end(code)
        self._gateway.grace(self._limits.close_grace).start(self)

    def _end(self, code: int) -> None:
        """Enter CLOSING, once: after this nothing is written."""
        if self._phase is Phase.CLOSING:
            return
        was_open = self._phase is Phase.OPEN
        self._phase = Phase.CLOSING
        self._gateway.handshakes.stop(self)
        self._gateway.settling.stop(self)
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
            if not self.transport.is_closing():
                self.transport.resume_reading()
        if self._waiter is not None:
            self._waiter.set_result(None)
            self._waiter = None
        handler, self._handler = self._handler, None
        self._early = None
        if was_open:
            self._gateway.connections -= 1
            self._gateway.counters.closed += 1
            if handler is not None:
                try:
                    handler.closed(code)
                except Exception:
                    log.exception("a handler failed to close")

    def _overflowed(self) -> None:
        if self._phase is Phase.OPEN:
            self._gateway.counters.slow_consumers += 1
            unsent = self.transport.get_write_buffer_size()
            log.warning("slow consumer: %s does not take its messages, %d bytes unsent", self.peer, unsent)
            self._end(SLOW_CONSUMER)
            self.transport.abort()


_NO_LIMITS: Final = Limits()
