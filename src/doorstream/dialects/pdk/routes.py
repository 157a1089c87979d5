"""The PDK stream on ``/socket.io/``: the shell that carries out what the session decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from doorstream.auth import Auth, SystemToken
from doorstream.dialects.pdk.messages import LIVE_EVENT, PdkEncoder
from doorstream.dialects.pdk.recovery import Recovery, Resume, topic_set
from doorstream.dialects.pdk.session import (
    Command,
    Deliver,
    Disconnect,
    Emit,
    Phase,
    Refused,
    Seek,
    Session,
    Wake,
    Withhold,
)
from doorstream.gateway import Gateway
from doorstream.gateway.engineio import EngineOptions
from doorstream.gateway.socketio import (
    Accept,
    CloseReason,
    Connect,
    ConnectError,
    SocketIOEndpoint,
    SocketIOHandler,
    new_sid,
)
from doorstream.live import Alarm, Alarms, Description, Group, Hub, Interest, Presence, Subscription, unframed
from doorstream.log import EventLog, LogUnavailable, PositionGone
from doorstream.protocols.websocket import UpgradeRequest

_logger = structlog.get_logger(__name__)

PATH = "/socket.io/"
_FORGOTTEN = UpgradeRequest(b"GET / HTTP/1.1")
_RECOVERING_PROTOCOL = 4  # of Engine.IO: version 3 has no recovery
_TOPICS_SHOWN = 5
_TOPIC_SHOWN = 64


@dataclass(frozen=True, slots=True)
class Stream:
    """What all PDK connections of a worker share. ``drop_after``: a fault of the demo, in seconds."""

    hub: Hub
    log: EventLog
    auth: Auth
    alarms: Alarms
    presence: Presence
    recovery: Recovery
    clock: Callable[[], float]
    drop_after: float | None = None

    def mount(self, gateway: Gateway, options: EngineOptions, connect_timeout: float) -> SocketIOEndpoint:
        """Serve the stream on the gateway."""
        endpoint = SocketIOEndpoint(lambda _request: PdkConnection(self), options, connect_timeout=connect_timeout)
        gateway.add(PATH, endpoint)
        return endpoint


class PdkConnection(SocketIOHandler):
    """One client: a session, and the subscription and alarm that it commands."""

    __slots__ = ("_alarm", "_client", "_recovers", "_resume", "_stream", "_subscription", "_told_ignored", "_watch")

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream
        self._client = Session(stream.auth.tokens.check_system_token)
        self._recovers = False
        self._told_ignored = False
        self._resume: Resume | None = None
        self._subscription: Subscription | None = None
        self._alarm: Alarm | None = None
        self._watch: Group | None = None

    def connecting(self, connect: Connect) -> Accept | ConnectError | Awaitable[Accept | ConnectError | None]:
        """Judge the token (of whatever age, D2), and find out where a returning client goes on (D13)."""
        try:
            token = self._authenticated(connect.raw)
        except Refused as refused:
            return ConnectError(str(refused))
        self._resume = None
        if not self._recovers:
            return {"sid": new_sid()}
        payload = connect.auth or {}
        if self._stream.recovery.is_ahead(payload, token.site_id):
            return self._accept_ahead(token, payload)
        return self._accept(token, payload, None)

    def _authenticated(self, raw: str) -> SystemToken:
        """Judge the credentials of the request, or those of a client that left and comes back on the same socket."""
        stream, request, known = self._stream, self.socket.request, self._client.token
        if known is None:
            self._recovers = recovers(request, raw, self.socket.version)
            return self._client.authenticate(request.get("token") or "", request.get("systemId"), stream.clock())
        self._client = Session(stream.auth.tokens.check_system_token)
        return self._client.readmit(known, stands=stream.auth.tokens.stands(known))

    def _accept(self, token: SystemToken, payload: Mapping[str, Any], last: int | None) -> Accept:
        recovery = self._stream.recovery
        self._resume = recovery.read(payload, token.site_id, last)
        pid = self._resume.pid if self._resume else recovery.issue(token.site_id, self._stream.hub.position)
        return {"sid": new_sid(), "pid": pid}

    async def _accept_ahead(self, token: SystemToken, payload: Mapping[str, Any]) -> Accept | ConnectError | None:
        """Ask the log about a position that this process has not reached; without an answer the client dials again."""
        try:
            extent = await self._stream.log.extent()
        except LogUnavailable:
            return None
        if not self._stream.auth.tokens.stands(token):  # revoked in the meantime
            return ConnectError("invalid token")
        return self._accept(token, payload, extent.last)

    def connected(self, namespace: str) -> None:
        """Begin to follow."""
        del namespace
        stream, resume = self._stream, self._resume
        self.socket.request = _FORGOTTEN  # with its token it is a quarter of what an idle connection costs
        self._subscription = Subscription(stream.hub, stream.log, self.socket, self)
        self._resume = None
        stream.presence.enter(self)
        behind = resume is not None and resume.after.sequence + bool(resume.skip) < stream.hub.sequence
        self._run(self._client.connected(resume, behind=behind, now=stream.clock()))
        if stream.drop_after is not None:
            stream.alarms.at(stream.clock() + stream.drop_after, self._drop)

    def event(self, namespace: str, name: str, arguments: list[Any], ack: Callable[..., None] | None) -> None:
        """Take one of the two events that clients send; any other is ignored."""
        del namespace
        commands: Sequence[Command] = ()
        acknowledgement: Any = {"ok": False, "message": "unknown event"}
        if name == "subscribeIsolated":
            commands, acknowledgement = self._client.subscribe(arguments, self._stream.clock())
            self._tell_ignored(acknowledgement.get("ignored"))
        elif name == "renewedToken":
            commands, acknowledgement = self._client.renew(arguments, self._stream.clock())
        if ack is not None:
            ack(acknowledgement)
        self._run(commands)

    def transport_changed(self) -> None:
        """Go on with the framing of the new transport."""
        if self._subscription is not None:
            self._subscription.reframe()

    def disconnected(self, namespace: str, reason: str) -> None:
        """Leave everything."""
        del namespace, reason
        self._client.phase = Phase.CLOSED
        self._stream.presence.leave(self)
        self._stop_watching()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._subscription is not None:
            self._subscription.close()

    def recheck(self) -> None:
        """Disconnect when the token's client was revoked, or its system deleted."""
        token = self._client.token
        if token is None or not self._stream.auth.tokens.stands(token):
            self._run(self._client.revoke())

    def end(self) -> None:
        """Close the transport, after which clients connect again by themselves."""
        self.socket.fail(CloseReason.SERVER_SHUTDOWN)

    def describe(self) -> Description:
        """What there is to say of it."""
        client, subscription, now = self._client, self._following(), self._stream.clock()
        assert client.token is not None  # noqa: S101 - there since connecting()
        return Description(
            dialect="pdk",
            transport=self.socket.transport,
            client_id=client.token.client_id,
            site_id=client.token.site_id,
            peer=self.socket.peer,
            subscriptions=tuple(sorted(client.topics)) if client.topics is not None else (LIVE_EVENT,),
            state=subscription.state.value,
            position=subscription.position,
            unsent=self.socket.unsent,
            token_expired=client.token.expires_at <= now,
        )

    def position_gone(self, error: PositionGone) -> None:
        """What was to be delivered next is not kept any more: the client comes back and is told by "not recovered"."""
        _logger.warning("a client's position is gone", first=str(error.first))
        self._stream.recovery.forget(error.first)
        self.socket.fail(CloseReason.TRANSPORT_ERROR)

    def _run(self, commands: Sequence[Command]) -> None:
        for command in commands:
            if not self.joined:
                return
            match command:
                case Seek(position, skip):
                    self._following().seek(position, skip=skip)
                case Deliver(topics):
                    self._stop_watching()
                    self._following().follow(self._interest(topics))
                case Withhold(topics):
                    self._following().hold()
                    self._start_watching(topics)
                case Emit(name, argument):
                    self.emit(name, argument)
                case Wake(at):
                    self._wake_at(at)
                case Disconnect():
                    self.disconnect()
                    self.close()

    def _tell_ignored(self, topics: Sequence[str] | None) -> None:
        """Tell the operator of topics that do not exist, once for each client: it may be a program with a mistake."""
        if topics and not self._told_ignored:
            self._told_ignored = True
            named = [topic[:_TOPIC_SHOWN] for topic in topics[:_TOPICS_SHOWN]]
            _logger.info("a client subscribes topics that do not exist", topics=named, number=len(topics))

    def _following(self) -> Subscription:
        assert self._subscription is not None  # noqa: S101 - there since connected()
        return self._subscription

    def _interest(self, topics: frozenset[str] | None) -> Interest:
        assert self._client.token is not None  # noqa: S101 - there since connecting()
        offsets = topic_set(topics) if self._recovers else None
        encoder = PdkEncoder(topics, offsets, self._stream.hub.epoch if self._recovers else "")
        return Interest(self._client.token.site_id, encoder, self.socket.framing)

    def _start_watching(self, topics: frozenset[str] | None) -> None:
        """Learn of the next event that would have been delivered."""
        watch = self._watch
        if watch is not None:
            self._stream.hub.leave(watch, self)  # what was withheld in this turn is told now
            if self._watch is not watch:  # something was
                return
        interest = self._interest(topics)
        watched = Interest(interest.site_id, PdkEncoder(topics), unframed)
        self._watch = self._stream.hub.join(watched, self, self._withheld)

    def _stop_watching(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            self._stream.hub.leave(watch, self, flush=False)

    def _withheld(self, _data: bytes) -> None:
        if self._watch is not None:
            self._stop_watching()
            self._run(self._client.withheld(self._stream.clock()))

    def _wake_at(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._stream.alarms.at(when, self._wake)

    def _wake(self) -> None:
        self._alarm = None
        behind = self._following().position.sequence < self._stream.hub.sequence
        self._run(self._client.wake(self._stream.clock(), behind=behind))

    def _drop(self) -> None:
        if self.joined:
            self.socket.fail(CloseReason.TRANSPORT_ERROR)


def recovers(request: UpgradeRequest, raw: str, version: int) -> bool:
    """Whether the client takes part in connection state recovery: the JavaScript family on protocol 4 (D13).

    Every event of such a client ends with an argument more, which others would stumble over. The JavaScript client
    puts ``EIO`` before ``transport`` in its query and sends ``40`` bare or with what it has to say; python-socketio
    has them the other way round and sends ``40{}``. ``recovery=0`` or ``1`` in the query decides otherwise.
    """
    if version != _RECOVERING_PROTOCOL:
        return False
    wish = request.get("recovery")
    if wish in ("0", "1"):
        return wish == "1"
    names = [name for name, _ in request.query]
    in_order = "EIO" in names and "transport" in names and names.index("EIO") < names.index("transport")
    return in_order and raw != "{}"
