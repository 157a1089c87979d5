"""Engine.IO on the gateway: sessions over WebSocket and long-polling, the upgrade between them, and the heartbeat.

`EngineIOEndpoint` is a path's endpoint for upgrades and an ASGI application for the polling requests of the same
path. It keeps the sessions; an `EngineSocket` is one of them, whatever its transport. Refusals look as those of the
reference implementation (`vendor-apis.md` 1.2.1): status 400 and `{"code": …, "message": …}`.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from doorstream.gateway.contract import Refusal
from doorstream.gateway.deadlines import Clock, Deadlines
from doorstream.gateway.engine_socket import CloseReason, EngineHandler, EngineOptions, EngineSocket, Fault
from doorstream.gateway.polling_http import serve_polling
from doorstream.protocols.engineio import EngineIOError, Packet, Session, decode_packet, negotiate_version, open_packet
from doorstream.protocols.engineio.packets import V4, Version
from doorstream.protocols.websocket import UpgradeRequest

if TYPE_CHECKING:
    from doorstream.gateway.websocket import WebSocketConnection

__all__ = ["CloseReason", "EngineHandler", "EngineIOEndpoint", "EngineOptions", "EngineSocket", "Fault"]

_SID_BYTES = 15


OpenResult = EngineHandler | Refusal
Open = Callable[[UpgradeRequest], OpenResult | Awaitable[OpenResult]]


class _Probe:
    """The handler of a WebSocket that wants to become the transport of a session."""

    __slots__ = ("_connection", "_endpoint", "_socket")

    def __init__(self, endpoint: "EngineIOEndpoint", socket: EngineSocket) -> None:
        self._endpoint = endpoint
        self._socket = socket
        self._connection: WebSocketConnection | None = None

    def opened(self, connection: "WebSocketConnection") -> None:
        """Wait for the probe; a session upgrades once, by one WebSocket."""
        self._connection = connection
        if not self._endpoint.probing(self._socket, connection):
            connection.close()

    def message(self, data: str | bytes) -> None:
        """Take a step of the upgrade."""
        if self._connection is None:
            return
        try:
            self._socket.probe(decode_packet(data, self._socket.version), self._connection)
        except EngineIOError:
            self._connection.close()

    def closed(self, code: int) -> None:
        """Leave the session with polling."""
        del code
        self._endpoint.probe_ended(self._socket, self._connection)


class EngineIOEndpoint:
    """The sessions of one path.

    `open` decides about each handshake, on either transport: a handler for the new session, or a refusal, at once
    or later. Sessions are found again by their unguessable `sid`.
    """

    def __init__(
        self,
        open: Open,  # noqa: A002 - what an endpoint does
        options: EngineOptions | None = None,
        *,
        clock: Clock | None = None,
        new_sid: Callable[[], str] = lambda: secrets.token_urlsafe(_SID_BYTES),
    ) -> None:
        self.options = options or EngineOptions()
        self.limits = self.options.limits
        self.new_sid = new_sid
        self._decide = open
        self._sockets: dict[str, EngineSocket] = {}
        self._probes: dict[str, WebSocketConnection] = {}
        timing = self.options.timing
        interval, timeout = timing.ping_interval / 1000, timing.ping_timeout / 1000
        self._ping_due: Deadlines[EngineSocket] = Deadlines(interval, self._ping, clock)
        self._pong_due: Deadlines[EngineSocket] = Deadlines(timeout, self._silent, clock)
        self._silence: Deadlines[EngineSocket] = Deadlines(interval + timeout, self._silent, clock)
        self._upgrades: Deadlines[WebSocketConnection] = Deadlines(self.options.upgrade_timeout, _drop_probe, clock)
        self._lingering: Deadlines[EngineSocket] = Deadlines(self.limits.close_grace, self.forget, clock)

    def __len__(self) -> int:
        return len(self._sockets)

    # Requests

    def open(self, request: UpgradeRequest) -> "EngineSocket | _Probe | Refusal | Awaitable[EngineSocket | Refusal]":
        """Decide about an upgrade request, for the gateway."""
        fault = self.check(request, "websocket")
        if fault is not None:
            return fault.refusal()
        sid = request.get("sid")
        if sid is not None:
            return _Probe(self, self._sockets[sid])
        version = self.version_of(request)
        if version is None:
            return Fault.UNSUPPORTED_VERSION.refusal()
        answer = self._decide(request)
        if isinstance(answer, Awaitable):
            return self._later(answer, request, version)
        return self._websocket_session(answer, request, version)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a polling request (ASGI)."""
        await serve_polling(self, scope, receive, send)

    async def decide(self, request: UpgradeRequest) -> OpenResult:
        """Ask the application about a handshake."""
        answer = self._decide(request)
        return await answer if isinstance(answer, Awaitable) else answer

    def check(self, request: UpgradeRequest, transport: str) -> Fault | None:
        """Check a request as the reference implementation does, and say what is wrong with it."""
        if request.get("transport") not in {"polling", "websocket"}:
            return Fault.UNKNOWN_TRANSPORT
        sid = request.get("sid")
        if sid is not None:
            if sid not in self._sockets:
                return Fault.UNKNOWN_SID
            wrong = transport == "polling" and self._sockets[sid].transport != "polling"
            return Fault.BAD_REQUEST if wrong or request.get("transport") != transport else None
        if request.method != "GET":
            return Fault.BAD_HANDSHAKE_METHOD
        return Fault.BAD_REQUEST if request.get("transport") != transport else None

    def version_of(self, request: UpgradeRequest) -> Version | None:
        """Read which version a handshake asks for."""
        return negotiate_version(request.get("EIO"), self.options.versions, self.options.missing_version)

    def find(self, sid: str) -> EngineSocket | None:
        """Give a session by its id."""
        return self._sockets.get(sid)

    def shutdown(self) -> None:
        """End all polling sessions, so that waiting polls are answered. WebSockets are closed by the server."""
        for socket in list(self._sockets.values()):
            if socket.polling is not None:
                socket.fail(CloseReason.SERVER_SHUTDOWN)

    async def _later(
        self, answer: Awaitable[OpenResult], request: UpgradeRequest, version: Version
    ) -> "EngineSocket | Refusal":
        return self._websocket_session(await answer, request, version)

    def _websocket_session(
        self, answer: OpenResult, request: UpgradeRequest, version: Version
    ) -> "EngineSocket | Refusal":
        if isinstance(answer, Refusal):
            return answer
        return EngineSocket(self, answer, request, Session(version, websocket=True))

    # Sessions

    def opening(self, sid: str, upgrades: list[str]) -> Packet:
        """Build a session's first packet."""
        return open_packet(sid, upgrades, self.options.timing, self.limits.max_payload)

    def started(self, socket: EngineSocket) -> None:
        """Keep a session and watch its heartbeat."""
        self._sockets[socket.sid] = socket
        self.beat(socket)

    def beat(self, socket: EngineSocket) -> None:
        """Note that a client is alive."""
        if socket.version == V4:
            self._pong_due.stop(socket)
            self._ping_due.start(socket)
        else:
            self._silence.start(socket)

    def ended(self, socket: EngineSocket) -> None:
        """Forget a session."""
        self._sockets.pop(socket.sid, None)
        for deadlines in (self._ping_due, self._pong_due, self._silence):
            deadlines.stop(socket)
        probe = self._probes.pop(socket.sid, None)
        if probe is not None:
            probe.close()

    def linger(self, socket: EngineSocket) -> None:
        """Keep a closed polling session for a while, for the poll that fetches its last packets."""
        self._sockets[socket.sid] = socket
        self._lingering.start(socket)

    def forget(self, socket: EngineSocket) -> None:
        """Undo `linger`."""
        self._lingering.stop(socket)
        self._sockets.pop(socket.sid, None)

    def probing(self, socket: EngineSocket, connection: "WebSocketConnection") -> bool:
        """Let a WebSocket try to take over, if no other does and the session is still polling."""
        if socket.sid in self._probes or not socket.can_upgrade:
            return False
        self._probes[socket.sid] = connection
        self._upgrades.start(connection)
        return True

    def probe_ended(self, socket: EngineSocket, connection: "WebSocketConnection | None") -> None:
        """Note that a WebSocket has taken over, or never will."""
        if connection is not None:
            self._upgrades.stop(connection)
            if self._probes.get(socket.sid) is connection:
                del self._probes[socket.sid]
                socket.probe_lost()

    def _ping(self, socket: EngineSocket) -> None:
        self._pong_due.start(socket, since=self._ping_due.due_at)
        socket.ping()

    def _silent(self, socket: EngineSocket) -> None:
        if socket.held_back:
            self.beat(socket)
        else:
            socket.fail(CloseReason.PING_TIMEOUT)


def _drop_probe(connection: "WebSocketConnection") -> None:
    connection.close()
