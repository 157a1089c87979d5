"""The control socket: the shell that carries out what the session decides."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from doorstream.dialects.placeos.access import Door, Sight, asking_upgrade
from doorstream.dialects.placeos.bindings import Bindings, Listener
from doorstream.dialects.placeos.catalogue import Catalogue
from doorstream.dialects.placeos.errors import Code, RestError, SocketError, error_body, socket_error
from doorstream.dialects.placeos.messages import PONG, Form, Log, executed, failure
from doorstream.dialects.placeos.request_ids import request_id_of
from doorstream.dialects.placeos.rights import Identity
from doorstream.dialects.placeos.session import (
    Action,
    Bind,
    Close,
    Execute,
    Follow,
    Send,
    Session,
    Suspect,
    Unbind,
    Unfollow,
)
from doorstream.drivers import Debugger, Drivers, DriversError
from doorstream.gateway import Gateway, Limits, Refusal
from doorstream.gateway.deadlines import Deadlines
from doorstream.live import Alarm, Alarms, Description, Presence
from doorstream.protocols.websocket import CloseCode, UpgradeRequest, text_frame, text_head

if TYPE_CHECKING:
    from doorstream.gateway.websocket import WebSocketConnection

_logger = structlog.get_logger(__name__)

PATH = "/api/engine/v2/systems/control"

PONG_EVERY = 80.0
"""Seconds between the answers to nothing that the vendor's server sends (vendor-apis.md 2.2, keep-alive)."""

_PONG = text_frame(PONG.encode())


@dataclass(slots=True)
class Counters:
    """What happened since the start: messages that were no commands."""

    suspicious: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What all control sockets of a worker share. ``drop_after``: a fault of the demo, in seconds."""

    door: Door
    catalogue: Catalogue
    drivers: Drivers
    bindings: Bindings
    alarms: Alarms
    presence: Presence
    limits: Limits
    pongs: Deadlines[ControlConnection]
    clock: Callable[[], float]
    drop_after: float | None = None
    counters: Counters = field(default_factory=Counters)

    @classmethod
    def build(  # noqa: PLR0913 - the parts of a worker
        cls,
        *,
        door: Door,
        catalogue: Catalogue,
        drivers: Drivers,
        alarms: Alarms,
        presence: Presence,
        limits: Limits,
        clock: Callable[[], float],
        delivered: Counter[str] | None = None,
        drop_after: float | None = None,
    ) -> Stream:
        """Put it together, and have changes of status and of modules reach the sockets.

        ``delivered`` is the counter of messages by dialect.
        """
        bindings = Bindings(
            lambda place: catalogue.module_at(*place),
            drivers.status.value,
            text_head,
            behind_at=limits.drain_below,
        )
        if delivered is not None:
            bindings.delivered = delivered
        drivers.status.on_change(bindings.changed)
        catalogue.on_change(bindings.moved)
        return cls(
            door=door,
            catalogue=catalogue,
            drivers=drivers,
            bindings=bindings,
            alarms=alarms,
            presence=presence,
            limits=limits,
            pongs=Deadlines(PONG_EVERY, _pong),
            clock=clock,
            drop_after=drop_after,
        )

    def mount(self, gateway: Gateway) -> None:
        """Serve the sockets."""
        gateway.add(PATH, self)

    def open(self, request: UpgradeRequest) -> ControlConnection | Refusal:
        """Decide about one upgrade (vendor-apis.md 2.1, facts 4 and 5)."""
        try:
            identity, credential = self.door.admit(asking_upgrade(request), "control", "write")
        except RestError as error:
            headers = {"X-Request-ID": request_id_of(request.headers)}
            if error.status == 403:  # noqa: PLR2004 - answered with nothing
                return Refusal(error.status, headers)
            return Refusal(error.status, headers | {"Content-Type": "application/json"}, error_body(str(error)))
        return ControlConnection(self, identity, credential.form)


class ControlConnection:
    """One client: a session, and what it commands."""

    __slots__ = (
        "_alarm",
        "_connection",
        "_debuggers",
        "_identity",
        "_listener",
        "_session",
        "_sight",
        "_stream",
        "_tasks",
    )

    def __init__(self, stream: Stream, identity: Identity, form: Form) -> None:
        self._stream = stream
        self._identity = identity
        self._sight = Sight(identity, stream.catalogue)
        self._session = Session(self._sight, form)
        self._connection: WebSocketConnection | None = None
        self._listener: Listener | None = None
        self._debuggers: dict[str, Debugger] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm: Alarm | None = None

    def opened(self, connection: WebSocketConnection) -> None:
        """Take the connection."""
        stream, transport = self._stream, connection.transport
        self._connection = connection
        self._listener = Listener(connection.write, transport.get_write_buffer_size, connection.drained)
        stream.presence.enter(self)
        stream.pongs.start(self)
        if stream.drop_after is not None:
            self._alarm = stream.alarms.at(stream.clock() + stream.drop_after, self._drop)
        self.recheck()  # the credential was judged before the answer to the upgrade

    def message(self, data: str | bytes) -> None:
        """Take one message."""
        self._run(self._session.receive(data))

    def closed(self, code: int) -> None:
        """Leave everything. What is being executed goes on to its end: the door may be opening already."""
        del code
        self._connection = None
        stream = self._stream
        stream.presence.leave(self)
        stream.pongs.stop(self)
        if self._alarm is not None:
            self._alarm.cancel()
        if self._listener is not None:
            stream.bindings.leave(self._listener)
        for debugger in self._debuggers.values():
            debugger.close()
        self._debuggers.clear()

    def recheck(self) -> None:
        """Disconnect when the client or user was revoked, or may something else now than when it connected."""
        if not self._stream.door.stands(self._identity):
            self._close(CloseCode.POLICY_VIOLATION, "the credential is no longer valid, or its rights have changed")

    def end(self) -> None:
        """The server stops; the client may come back."""
        self._close(CloseCode.SERVICE_RESTART, "the server restarts")

    def describe(self) -> Description:
        """What there is to say of it."""
        principal, listener, connection = self._identity.principal, self._listener, self._connection
        sites = principal.sites or ()
        groups = listener.groups if listener is not None else ()
        return Description(
            dialect="placeos",
            transport="websocket",
            client_id=principal.id if principal.kind == "client" else None,
            user_id=principal.id if principal.kind == "user" else None,
            site_id=next(iter(sites)) if len(sites) == 1 else None,
            peer=connection.peer if connection is not None else None,
            subscriptions=tuple(f"{each.mod}_{each.ordinal}.{each.name}" for each in groups),
            state="replaying" if listener is not None and listener.behind is not None else "live",
            position=None,
            unsent=connection.unsent if connection is not None else 0,
        )

    def pong(self) -> None:
        """Tell the client that the connection lives."""
        if self._connection is not None:
            self._connection.write(_PONG)
            self._stream.pongs.start(self)

    def _run(self, actions: Sequence[Action]) -> None:
        for action in actions:
            connection = self._connection
            if connection is None:
                return
            match action:
                case Send(message):
                    connection.send(message.decode())
                case Bind() | Unbind():
                    self._change_bindings(connection, action)
                case Execute():
                    self._execute(action)
                case Follow() | Unfollow():
                    self._change_debuggers(connection, action)
                case Suspect(reason, count):
                    self._suspect(reason, count)
                case Close(reason):
                    self._close(CloseCode.POLICY_VIOLATION, reason)

    def _change_bindings(self, connection: WebSocketConnection, action: Bind | Unbind) -> None:
        """The success of a binding goes out before the first value, in one write with it."""
        bindings, listener = self._stream.bindings, self._listener
        if listener is None:
            return
        if isinstance(action, Unbind):
            bindings.unbind(listener, action.address)
            return
        value = bindings.bind(listener, action.request.id, action.request.address, self._session.form)
        if value is None:
            connection.send(action.success.decode())
        else:
            connection.write(text_frame(action.success) + value)

    def _execute(self, action: Execute) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(action))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, action: Execute) -> None:
        """Execute, answer, and let the next one begin."""
        request, meta = action.request, action.request.address.json
        try:
            caller = self._sight.caller(request.address.sys)
            value = await self._stream.drivers.execute(action.module_id, request.address.name, request.args, caller)
            message = executed(request.id, meta, value)
        except (DriversError, SocketError) as error:
            failed = error if isinstance(error, SocketError) else socket_error(error)
            message = failure(request.id, failed.code, str(failed), meta)
        except Exception:
            _logger.exception("an execution failed", module=action.module_id, function=request.address.name)
            message = failure(request.id, Code.UNEXPECTED_FAILURE, "the server failed", meta)
        self._run((Send(message), *self._session.executed()))

    def _change_debuggers(self, connection: WebSocketConnection, action: Follow | Unfollow) -> None:
        module_id = action.module_id
        known = self._debuggers.pop(module_id, None)
        if known is not None:
            known.close()
        if isinstance(action, Follow):
            follower = _Follower(connection, action.log, self._stream.limits.drain_below)
            with contextlib.suppress(DriversError):  # gone in this moment: it has nothing to say
                self._debuggers[module_id] = self._stream.drivers.debug(module_id, follower)

    def _suspect(self, reason: str, count: int) -> None:
        self._stream.counters.suspicious += 1
        if count == 1:
            principal, connection = self._identity.principal, self._connection
            peer = connection.peer if connection is not None else ""
            _logger.warning("a suspicious client", caller=principal.id, peer=peer, reason=reason)

    def _close(self, code: int, reason: str) -> None:
        if self._connection is not None:
            self._connection.close(code, reason)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.abort("dropped on purpose")


class _Follower:
    """Writes a module's log to a socket. What the socket does not take is left out, and how much that was is told."""

    __slots__ = ("_connection", "_left_out", "_log", "_most")

    def __init__(self, connection: WebSocketConnection, log: Log, most: int) -> None:
        self._connection = connection
        self._log = log
        self._most = most
        self._left_out = 0

    def __call__(self, level: str, message: str, klass: str) -> None:
        """Take a line."""
        if self._connection.transport.get_write_buffer_size() > self._most:
            self._left_out += 1
            return
        if self._left_out:
            note, self._left_out = f"{self._left_out} lines were left out: they came faster than you read", 0
            self._connection.send(self._log.encode("warn", note, klass).decode())
        self._connection.send(self._log.encode(level, message, klass).decode())


def _pong(connection: ControlConnection) -> None:
    connection.pong()
