"""One Engine.IO session, whatever its transport, and the contract with its application."""

import enum
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import msgspec

from doorstream.gateway.contract import Limits, Refusal
from doorstream.gateway.framing import Framing, engine_websocket
from doorstream.gateway.polling import Polling
from doorstream.protocols.engineio import (
    Alive,
    Closed,
    EngineIOError,
    Message,
    Packet,
    PacketType,
    Probed,
    Reply,
    Session,
    State,
    Timing,
    decode_packet,
    encode_packet,
)
from doorstream.protocols.engineio.packets import Version
from doorstream.protocols.websocket import CloseCode, Opcode, UpgradeRequest, encode_frame

if TYPE_CHECKING:
    from doorstream.gateway.engineio import EngineIOEndpoint
    from doorstream.gateway.websocket import WebSocketConnection

log = logging.getLogger(__name__)


_HANDLER_FAILED = "a handler failed; its session is closed"


class CloseReason(enum.Enum):
    """Why a session ended; the values are those that Socket.IO programs know."""

    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"
    PING_TIMEOUT = "ping timeout"
    PARSE_ERROR = "parse error"
    FORCED_CLOSE = "forced close"
    SERVER_SHUTDOWN = "server shutting down"
    SERVER_ERROR = "server error"
    SLOW_CONSUMER = "slow consumer"


class Fault(enum.Enum):
    """Why a request is refused: code and text of the reference implementation."""

    UNKNOWN_TRANSPORT = (0, "Transport unknown")
    UNKNOWN_SID = (1, "Session ID unknown")
    BAD_HANDSHAKE_METHOD = (2, "Bad handshake method")
    BAD_REQUEST = (3, "Bad request")
    UNSUPPORTED_VERSION = (5, "Unsupported protocol version")

    def refusal(self) -> Refusal:
        """Give the HTTP answer."""
        code, message = self.value
        body = msgspec.json.encode({"code": code, "message": message})
        return Refusal(400, {"Content-Type": "application/json"}, body)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an endpoint speaks Engine.IO."""

    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)
    """`max_payload` is told to clients and bounds each message, or each polling request's body."""
    versions: Collection[Version] = (3, 4)
    missing_version: Version | None = 3
    """What a client without `EIO` in its query speaks; None refuses it."""
    upgrade_timeout: float = 10.0
    """Seconds a WebSocket has to take over from polling."""


class EngineHandler(Protocol):
    """One session as its application sees it.

    Called from the event loop, never twice at once: `opened` once, then `message` and `transport_changed`, then
    `closed` once. An exception in `opened` or `message` closes the session.
    """

    def opened(self, socket: "EngineSocket") -> None:
        """Take the session: from here until `closed` it may be written to."""

    def message(self, data: str | bytes) -> None:
        """Take one message."""

    def transport_changed(self) -> None:
        """Use the new `socket.write` and `socket.framing`.

        Everything written before has gone out on the new transport already. Bytes framed for the old one must not
        be written any more once this returns.
        """

    def closed(self, reason: CloseReason) -> None:
        """Stop writing; also called from within `socket.close()`, never from within `write` or `send`."""


class EngineSocket:
    """One Engine.IO session. What a handler may use are the public names."""

    __slots__ = (
        "_connection",
        "_endpoint",
        "_handler",
        "_polling",
        "_session",
        "framing",
        "request",
        "sid",
        "write",
    )

    write: Callable[[bytes], None]
    """Takes bytes made by `framing`, several joined if one likes. On WebSocket this is the transport's own method."""
    framing: Framing
    """Turns the UTF-8 bytes of a text message into what `write` takes. Changes with the transport."""
    request: UpgradeRequest
    """The handshake's request: query in order, headers."""
    sid: str

    def __init__(
        self,
        endpoint: "EngineIOEndpoint",
        handler: EngineHandler,
        request: UpgradeRequest,
        session: Session,
        polling: Polling | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._handler: EngineHandler | None = handler
        self._session = session
        self._connection: WebSocketConnection | None = None
        self._polling = polling
        self.request = request
        self.sid = endpoint.new_sid()
        if polling is not None:
            self.write = polling.write
            self.framing = polling.framing

    # What a handler uses

    @property
    def version(self) -> Version:
        """The protocol's version, 3 or 4."""
        return self._session.version

    @property
    def transport(self) -> str:
        """`polling` or `websocket`."""
        return "polling" if self._polling is not None else "websocket"

    @property
    def is_open(self) -> bool:
        """Whether the session can be written to."""
        return self._session.state is not State.CLOSED

    @property
    def replaying(self) -> bool:
        """As `WebSocketConnection.replaying`: passing `max_unsent` is allowed, `drained()` is awaited in between."""
        outlet = self._polling or self._connection
        return outlet is not None and outlet.replaying

    @replaying.setter
    def replaying(self, value: bool) -> None:
        outlet = self._polling or self._connection
        if outlet is not None:
            outlet.replaying = value

    def send(self, data: str | bytes) -> None:
        """Send one message: `str` as text, `bytes` as binary. Does nothing once the session is closed."""
        if self.is_open:
            if isinstance(data, str):
                self.write(self.framing(data.encode()))
            else:
                self.send_packet(Packet(PacketType.MESSAGE, data))

    @property
    def is_drained(self) -> bool:
        """Whether so little is unsent that `drained()` would return at once."""
        outlet = self._polling or self._connection
        return outlet is None or outlet.is_drained

    @property
    def unsent(self) -> int:
        """Bytes written and not yet taken by the client."""
        outlet = self._polling or self._connection
        return 0 if outlet is None else outlet.unsent

    @property
    def peer(self) -> str | None:
        """The client's address; None while it polls, because each poll has a connection of its own."""
        return None if self._connection is None else self._connection.peer

    async def drained(self) -> None:
        """Return when the unsent bytes are below the low-water mark, or when the session has closed."""
        while self.is_open:
            outlet = self._polling or self._connection
            if outlet is None:
                return
            await outlet.drained()
            if outlet is (self._polling or self._connection):
                return

    def close(self) -> None:
        """Close the session after what was written."""
        self._finish(CloseReason.FORCED_CLOSE)

    # What transports and the endpoint use

    def send_packet(self, packet: Packet) -> None:
        """Send a packet of any type."""
        if self._polling is not None:
            self._polling.send_packet(packet)
            return
        data = encode_packet(packet, self.version)
        if isinstance(data, str):
            self.write(encode_frame(Opcode.TEXT, data.encode()))
        else:
            self.write(encode_frame(Opcode.BINARY, data))

    def start(self) -> None:
        """Begin: on polling the open packet has been sent, on WebSocket it is sent now."""
        self._endpoint.started(self)
        if self._handler is not None:
            try:
                self._handler.opened(self)
            except Exception:
                log.exception(_HANDLER_FAILED)
                self._finish(CloseReason.SERVER_ERROR)

    def receive(self, packet: Packet) -> None:
        """Take a packet of the transport in use. Raises EngineIOError."""
        outcome = self._session.receive(packet)
        if isinstance(outcome, Message):
            self._deliver(outcome.data)
        elif isinstance(outcome, Reply):
            self._endpoint.beat(self)
            self.send_packet(outcome.packet)
        elif isinstance(outcome, Alive):
            self._endpoint.beat(self)
        elif isinstance(outcome, Closed):
            self._finish(CloseReason.TRANSPORT_CLOSE)

    def _deliver(self, data: str | bytes) -> None:
        if self._handler is not None:
            try:
                self._handler.message(data)
            except Exception:
                log.exception(_HANDLER_FAILED)
                self._finish(CloseReason.SERVER_ERROR)

    def ping(self) -> None:
        """Ask whether the client is there (version 4)."""
        self.send_packet(Packet(PacketType.PING))

    def fail(self, reason: CloseReason) -> None:
        """End the session for a reason other than that its handler wants it."""
        self._finish(reason)

    def overflowed(self) -> None:
        """End a polling session whose client does not fetch its packets."""
        if self.is_open:
            log.warning("slow consumer: session %s does not take its messages", self.sid)
            self._finish(CloseReason.SLOW_CONSUMER)

    @property
    def held_back(self) -> bool:
        """Whether input waits unread because the client was too fast: then its silence proves nothing."""
        outlet = self._polling or self._connection
        return outlet is not None and outlet.throttled

    @property
    def polling(self) -> Polling | None:
        """The polling transport, while it is the transport."""
        return self._polling

    # As the handler of a WebSocket

    def opened(self, connection: "WebSocketConnection") -> None:
        """Begin on WebSocket."""
        self._use(connection)
        self.send_packet(self._endpoint.opening(self.sid, []))
        self.start()

    def message(self, data: str | bytes) -> None:
        """Take a WebSocket message: one packet."""
        try:
            self.receive(decode_packet(data, self.version))
        except EngineIOError as error:
            log.info("session %s failed: %s", self.sid, error)
            self._finish(CloseReason.PARSE_ERROR)

    def closed(self, code: int) -> None:
        """End with the WebSocket."""
        if code == CloseCode.TRY_AGAIN_LATER:
            self._finish(CloseReason.SLOW_CONSUMER)
        elif code == CloseCode.SERVICE_RESTART:
            self._finish(CloseReason.SERVER_SHUTDOWN)
        else:
            self._finish(CloseReason.TRANSPORT_CLOSE)

    # The upgrade

    @property
    def can_upgrade(self) -> bool:
        """Whether a WebSocket may try to take over."""
        return self._session.state is State.POLLING

    def probe(self, packet: Packet, connection: "WebSocketConnection") -> None:
        """Take a packet of a WebSocket that wants to become the transport. Raises SessionError."""
        outcome = self._session.probe(packet)
        if isinstance(outcome, Probed):
            connection.send(encode_packet(outcome.reply, self.version))
            if self._polling is not None:
                self._polling.release()
        else:
            self._take_over(connection)

    def probe_lost(self) -> None:
        """Stay with polling."""
        self._session.probe_lost()

    @property
    def probed(self) -> bool:
        """Whether polls are to end quickly, because a WebSocket is about to take over."""
        return self._session.state is State.PROBED

    def _take_over(self, connection: "WebSocketConnection") -> None:
        old, self._polling = self._polling, None
        self._use(connection)
        connection.hand_to(self)
        self._endpoint.probe_ended(self, connection)
        if old is not None:
            connection.replaying = old.replaying
            for packet in old.retire():
                self.send_packet(packet)
        if self._handler is not None:
            self._handler.transport_changed()

    def _use(self, connection: "WebSocketConnection") -> None:
        self._connection = connection
        self.write = connection.write
        self.framing = engine_websocket

    def _finish(self, reason: CloseReason) -> None:
        """End the session, once: tell the handler, then the transport."""
        handler, self._handler = self._handler, None
        if handler is None:
            return
        self._session.close()
        self._endpoint.ended(self)
        try:
            handler.closed(reason)
        except Exception:
            log.exception("a handler failed to close")
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(_CLOSE_CODES.get(reason, CloseCode.NORMAL))
        if self._polling is not None:
            kind = PacketType.NOOP if reason is CloseReason.TRANSPORT_CLOSE else PacketType.CLOSE
            if self._polling.end(Packet(kind)) and reason is CloseReason.FORCED_CLOSE:
                self._endpoint.linger(self)


_CLOSE_CODES = {
    CloseReason.PARSE_ERROR: CloseCode.PROTOCOL_ERROR,
    CloseReason.PING_TIMEOUT: CloseCode.GOING_AWAY,
    CloseReason.SERVER_SHUTDOWN: CloseCode.SERVICE_RESTART,
    CloseReason.SERVER_ERROR: CloseCode.INTERNAL_ERROR,
}
