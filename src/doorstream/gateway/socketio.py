"""Socket.IO applications on the gateway: subclass `SocketIOHandler`, give it to a `SocketIOEndpoint`.

Live events do not pass through here: encode the packet once (`protocols.socketio.event_packet`), frame it once for
each framing in use (`socket.framing`), and write it with each client's `socket.write`.
"""

import asyncio
import functools
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from doorstream.gateway.contract import Refusal
from doorstream.gateway.deadlines import Clock, Deadlines
from doorstream.gateway.engineio import CloseReason, EngineIOEndpoint, EngineOptions, EngineSocket
from doorstream.protocols.engineio.packets import V4 as ENGINE_V4
from doorstream.protocols.socketio import (
    ROOT,
    Connect,
    Disconnect,
    Event,
    Packet,
    PacketType,
    Reply,
    Session,
    SocketIOError,
    encode_packet,
)
from doorstream.protocols.websocket import UpgradeRequest

__all__ = ["Accept", "CloseReason", "Connect", "ConnectError", "SocketIOEndpoint", "SocketIOHandler"]

log = logging.getLogger(__name__)

_SID_BYTES = 15
_NO_NAMESPACES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ConnectError:
    """A client may not join. It will not try again by itself: only for bad credentials, never for what may pass."""

    message: str
    data: Any = None


Accept = dict[str, Any]
"""The payload of the answer to CONNECT; protocol 5 needs a `sid` in it, protocol 4 sends none of it."""

Decision = Accept | ConnectError | None
"""None drops the transport, so that the client comes back: for what may pass."""


def new_sid() -> str:
    """Make an unguessable id for a client in a namespace. It differs from the session's, which is a secret."""
    return secrets.token_urlsafe(_SID_BYTES)


class SocketIOHandler:
    """One client, whatever its transport and version. Override the hooks; use the actions.

    Hooks are called from the event loop, never twice at once. An exception in one closes the connection.
    """

    __slots__ = ("_connects", "_session", "_tasks", "socket")

    namespaces: ClassVar[frozenset[str]] = frozenset({ROOT})
    """The namespaces the application knows; all others are refused with `Invalid namespace`."""

    socket: EngineSocket
    """The session beneath: `request` (query in order, headers), `version`, and the live path's `write`, `framing`,
    `drained()` and `replaying`."""

    def __init__(self) -> None:
        self._session: Session = _CLOSED
        self._tasks: set[asyncio.Task[None]] | None = None
        self._connects: Deadlines[SocketIOHandler] | None = None

    # Hooks

    def connecting(self, connect: Connect) -> Decision | Awaitable[Decision]:
        """Decide whether a client may join a namespace, at once or later.

        `connect.auth` is None for `40` and `{}` for `40{}`; `connect.raw` is that text. In version 3 the client
        joins the default namespace without asking, and this is called when the session opens.
        """
        del connect
        return {"sid": new_sid()}

    def connected(self, namespace: str) -> None:
        """Go on after the answer to CONNECT was written: from here the client may be written to."""

    def event(self, namespace: str, name: str, arguments: list[Any], ack: Callable[..., None] | None) -> None:
        """Take an event. If the client wants an acknowledgement, call `ack` with its arguments, once, now or later."""

    def transport_changed(self) -> None:
        """Use the new `socket.write` and `socket.framing`; see `EngineHandler.transport_changed`."""

    def disconnected(self, namespace: str, reason: str) -> None:
        """Stop writing to a namespace: the client has left it, or the connection is closing or gone."""

    # Actions

    @property
    def joined(self) -> tuple[str, ...]:
        """The namespaces the client is in."""
        return self._session.connected

    def emit(self, name: str, *arguments: Any, namespace: str = ROOT) -> None:
        """Send an event; `bytes` anywhere in the arguments become attachments. Nothing if the client is not there."""
        if namespace in self._session.connected:
            self._send(Packet(PacketType.EVENT, namespace, [name, *arguments]))

    def disconnect(self, namespace: str = ROOT) -> None:
        """Put the client out of a namespace. It will not come back by itself."""
        text = self._session.leave(namespace)
        if text is not None:
            self.socket.send(text)
            self.disconnected(namespace, "server namespace disconnect")

    def close(self) -> None:
        """Close the connection; the client's library will connect again."""
        self.socket.close()

    # As an EngineHandler

    def opened(self, socket: EngineSocket) -> None:
        """Begin."""
        self.socket = socket
        self._session = Session(5 if socket.version == ENGINE_V4 else 4, self.namespaces)
        if self._connects is not None:
            self._connects.start(self)
        connect = self._session.open()
        if connect is not None:
            self._decide(connect)

    def message(self, data: str | bytes) -> None:
        """Take a message of the session."""
        try:
            outcome = self._session.receive(data)
        except SocketIOError as error:
            log.info("session %s failed: %s", self.socket.sid, error)
            self.socket.fail(CloseReason.PARSE_ERROR)
            return
        if isinstance(outcome, Event):
            ack = None
            if outcome.id is not None:
                ack = functools.partial(self._acknowledge, outcome.namespace, outcome.id)
            self.event(outcome.namespace, outcome.name, outcome.arguments, ack)
        elif isinstance(outcome, Connect):
            self._decide(outcome)
        elif isinstance(outcome, Reply):
            self.socket.send(outcome.text)
        elif isinstance(outcome, Disconnect):
            self.disconnected(outcome.namespace, "client namespace disconnect")

    def closed(self, reason: CloseReason) -> None:
        """End: every namespace is told."""
        session, self._session = self._session, _CLOSED
        if self._connects is not None:
            self._connects.stop(self)
        for task in self._tasks or ():
            task.cancel()
        for namespace in session.connected:
            self.disconnected(namespace, reason.value)

    def limit_connect(self, deadlines: "Deadlines[SocketIOHandler]") -> None:
        """Close the connection if no namespace is joined in time. The endpoint calls this before `opened`."""
        self._connects = deadlines

    def connect_expired(self) -> None:
        """Close: the client did not join in time."""
        if not self._session.connected:
            self.socket.close()

    def _decide(self, connect: Connect) -> None:
        decision = self.connecting(connect)
        if isinstance(decision, Awaitable):
            task = asyncio.ensure_future(self._decide_later(connect, decision))
            if self._tasks is None:
                self._tasks = set()
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._answer(connect, decision)

    async def _decide_later(self, connect: Connect, decision: Awaitable[Decision]) -> None:
        try:
            self._answer(connect, await decision)
        except Exception:
            log.exception("a handler failed to decide about a client; its connection is closed")
            self.socket.fail(CloseReason.SERVER_ERROR)

    def _answer(self, connect: Connect, decision: Decision) -> None:
        if self._session is _CLOSED:
            return
        if decision is None:
            self.socket.close()
        elif isinstance(decision, ConnectError):
            self.socket.send(self._session.refuse(connect.namespace, decision.message, decision.data))
        else:
            self.socket.send(self._session.accept(connect.namespace, decision))
            if self._connects is not None:
                self._connects.stop(self)
            self.connected(connect.namespace)

    def _acknowledge(self, namespace: str, identifier: int, *arguments: Any) -> None:
        if namespace in self._session.connected:
            self._send(Packet(PacketType.ACK, namespace, list(arguments), identifier))

    def _send(self, packet: Packet) -> None:
        for message in encode_packet(packet):
            self.socket.send(message)


_CLOSED = Session(5, _NO_NAMESPACES)

OpenResult = SocketIOHandler | Refusal


class SocketIOEndpoint(EngineIOEndpoint):
    """The clients of one path. `open` makes the handler of a new one, or refuses it before the session begins."""

    def __init__(
        self,
        open: Callable[[UpgradeRequest], OpenResult | Awaitable[OpenResult]],  # noqa: A002 - as in EngineIOEndpoint
        options: EngineOptions | None = None,
        *,
        connect_timeout: float = 45.0,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(self._open_handler, options, clock=clock)
        self._open_application = open
        self._connects: Deadlines[SocketIOHandler] = Deadlines(connect_timeout, SocketIOHandler.connect_expired, clock)

    def _open_handler(self, request: UpgradeRequest) -> OpenResult | Awaitable[OpenResult]:
        answer = self._open_application(request)
        return self._prepare_later(answer) if isinstance(answer, Awaitable) else self._prepare(answer)

    async def _prepare_later(self, answer: Awaitable[OpenResult]) -> OpenResult:
        return self._prepare(await answer)

    def _prepare(self, answer: OpenResult) -> OpenResult:
        if isinstance(answer, SocketIOHandler):
            answer.limit_connect(self._connects)
        return answer
