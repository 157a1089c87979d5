"""The hubs ``/v1/hub/entries`` and ``/v1/hub/incidents``: the shell that carries out what the session decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from doorstream.auth import AccessToken, InvalidToken, Signer
from doorstream.dialects.salto.errors import refusal
from doorstream.dialects.salto.messages import TABLE_VERSION, Hub, SaltoEncoder, Shapes
from doorstream.dialects.salto.numbering import FARTHEST, Begin, Numbering
from doorstream.dialects.salto.rights import Refused, visible
from doorstream.dialects.salto.session import Close, Command, Follow, Session, Start, Wake
from doorstream.directory import Directory
from doorstream.events import Position
from doorstream.gateway import Gateway, Refusal
from doorstream.gateway.deadlines import Deadlines
from doorstream.gateway.signalr import Call, HubEndpoint, HubHandler, HubOptions, Negotiation, Ticket
from doorstream.history import Index
from doorstream.live import Alarm, Alarms, Description, Interest, Presence, Subscription
from doorstream.live import Hub as LiveHub
from doorstream.log import EventLog, LogUnavailable, PositionGone
from doorstream.protocols.signalr import Completion, Invocation, StreamInvocation
from doorstream.protocols.signalr import Sequence as SequenceMessage
from doorstream.protocols.websocket import UpgradeRequest

_logger = structlog.get_logger(__name__)

PATHS: dict[Hub, str] = {"entries": "/v1/hub/entries", "incidents": "/v1/hub/incidents"}

NUMBERING_KEPT = 60.0
"""Seconds for which the checkpoint of a client that lost its socket is kept: it dials again at once or never."""

_BEARER = "bearer "
NO_METHODS = "this hub has no methods that can be invoked"
UNAVAILABLE = Refusal(503, {"Retry-After": "1"})


class TokenChecker(Protocol):
    """Reads access tokens: ours, or those of an external identity server."""

    async def check(self, token: str, now: float) -> AccessToken:
        """Read one; raises InvalidToken."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What all Salto KS connections of a worker share. ``drop_after``: a fault of the demo, in seconds."""

    hub: LiveHub
    log: EventLog
    index: Index
    directory: Directory
    tokens: TokenChecker
    alarms: Alarms
    presence: Presence
    shapes: Shapes
    clock: Callable[[], float]
    close_at_expiry: bool = False
    drop_after: float | None = None

    def mount(self, gateway: Gateway, options: HubOptions, signer: Signer) -> dict[str, Negotiation]:
        """Serve both hubs on the gateway, and give what answers negotiations, by path."""
        mounted = {}
        for name, path in PATHS.items():
            hub = SaltoHub(self, name)
            endpoint = HubEndpoint(hub.open, options, negotiate=hub.negotiate, signer=signer, stateful=True)
            gateway.add(path, endpoint)
            gateway.add(f"{path}/negotiate", endpoint.negotiation)
            mounted[f"{path}/negotiate"] = endpoint.negotiation
        return mounted


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose bearer may have what it asks for."""

    token: AccessToken
    site_id: str
    wanted: str | None
    user_id: str | None


class SaltoHub:
    """One of the two hubs: who is let in, and where they begin."""

    def __init__(self, stream: Stream, name: Hub) -> None:
        self.stream = stream
        self.name = name
        self.stateful: dict[str, SaltoConnection] = {}
        """Clients with stateful reconnect that have a socket, by connection id."""
        self.numberings: dict[str, Numbering] = {}
        self._forget: Deadlines[str] = Deadlines(NUMBERING_KEPT, self._forgotten)

    async def open(self, request: UpgradeRequest, ticket: Ticket | None) -> HubHandler | Refusal:
        """Decide about one upgrade."""
        try:
            asked = await self._authorise(request)
            if ticket is not None and ticket.is_stateful:
                return await self._open_stateful(asked, ticket)
            start = await self._start(request, asked.site_id)
            ends = asked.token.expires_at if self.stream.close_at_expiry else None
            return SaltoConnection(self, asked, start, ends)
        except Refused as refused:
            return refusal(refused.status, str(refused))
        except LogUnavailable:
            return UNAVAILABLE

    async def negotiate(self, request: UpgradeRequest, is_stateful: bool) -> str | Refusal:  # noqa: FBT001 - a callback
        """What a connection token says: for stateful reconnect, where the numbering begins."""
        try:
            asked = await self._authorise(request)
            if not is_stateful:
                return ""
            start = await self._start(request, asked.site_id)
            is_gone = start.is_gone or (start.after is not None and not await self._is_kept(start.after))
        except Refused as refused:
            return refusal(refused.status, str(refused))
        except LogUnavailable:
            return UNAVAILABLE
        position = "" if is_gone else str(start.after or self.stream.hub.position)
        ends = asked.token.expires_at if self.stream.close_at_expiry else 0.0
        return Begin(
            TABLE_VERSION, asked.token.subject, self.name, asked.site_id, asked.user_id or "", position, ends
        ).encode()

    def enter(self, connection_id: str, connection: SaltoConnection, numbering: Numbering) -> None:
        """A client with stateful reconnect has a socket; an older one of it is dead, whatever it looks like."""
        older = self.stateful.get(connection_id)
        if older is not None and older is not connection:
            older.connection.abort("the client dialled again")
        self.stateful[connection_id] = connection
        self.numberings[connection_id] = numbering
        self._forget.stop(connection_id)

    def leave(self, connection_id: str, connection: SaltoConnection) -> None:
        """Its socket is gone; the client may dial again."""
        if self.stateful.get(connection_id) is connection:
            del self.stateful[connection_id]
            self._forget.start(connection_id)

    def _forgotten(self, connection_id: str) -> None:
        self.numberings.pop(connection_id, None)

    async def _authorise(self, request: UpgradeRequest) -> Asked:
        """Who asks, and for what; raises Refused."""
        stream = self.stream
        try:
            token = await stream.tokens.check(_token_of(request), stream.clock())
        except InvalidToken:
            raise Refused(401, "the token is missing, invalid or expired") from None
        site_id, wanted = request.get("site_id"), request.get("user_id") or None
        if not site_id:
            raise Refused(400, "site_id is missing")
        site_id = site_id.lower()
        return Asked(token, site_id, wanted, visible(stream.directory, token, site_id, wanted))

    async def _start(self, request: UpgradeRequest, site_id: str) -> Start:
        """Where a new connection begins: after the entry that ``since`` names, or now. Raises LogUnavailable."""
        entry_id = request.get("since")
        if not entry_id:
            return Start()
        index = self.stream.index
        await index.current()
        sequence = (await index.find(site_id, [entry_id])).get(entry_id)
        return Start(is_gone=True) if sequence is None else Start(Position(self.stream.hub.epoch, sequence))

    async def _open_stateful(self, asked: Asked, ticket: Ticket) -> HubHandler | Refusal:
        """A dial with a connection token, the first or a later one. What cannot be gone on with is not found (404)."""
        stream = self.stream
        begin = Begin.decode(ticket.data)
        if begin is None or not begin.matches(asked.token.subject, self.name, asked.site_id, asked.user_id):
            return Refusal(404)
        if begin.ends and begin.ends <= stream.clock():
            return Refusal(404)
        ends = begin.ends or None
        if begin.position is None:
            return SaltoConnection(self, asked, Start(is_gone=True), ends)
        known = self.numberings.get(ticket.id)
        position = known.position if known is not None else begin.position
        if stream.hub.sequence - position.sequence > FARTHEST:
            return Refusal(404)
        if not await self._is_kept(position):
            return Refusal(404)
        return SaltoConnection(self, asked, Start(begin.position), ends)

    async def _is_kept(self, position: Position) -> bool:
        """Whether everything after a position is still there, in memory or in the log. Raises LogUnavailable."""
        hub = self.stream.hub
        if position.epoch == hub.epoch and hub.ring.base <= position.sequence <= hub.sequence:
            return True
        try:
            await self.stream.log.check(position)
        except PositionGone:
            return False
        return True


class SaltoConnection(HubHandler):
    """One client: a session, and the subscription and alarm that it commands."""

    __slots__ = ("_alarms", "_asked", "_client", "_hub", "_interest", "_numbering", "_start_at", "_subscription")

    def __init__(self, hub: SaltoHub, asked: Asked, start: Start, ends: float | None) -> None:
        """Raises Refused when the bearer may not have what was asked for any more."""
        super().__init__()
        directory = hub.stream.directory
        self._hub = hub
        self._asked = asked
        self._start_at = start
        self._client = Session(lambda: visible(directory, asked.token, asked.site_id, asked.wanted), ends)
        if self._client.user_id != asked.user_id:  # the log or the index was asked in the meantime
            raise Refused(403, "the rights at this site have changed: connect again")
        self._subscription: Subscription | None = None
        self._interest: Interest | None = None
        self._numbering: Numbering | None = None
        self._alarms: list[Alarm] = []

    def connected(self) -> None:
        """Begin to follow."""
        start = self._start_at
        if self.is_stateful and self.ticket is not None and start.after is not None:
            self._number(self.ticket.id, Numbering(start.after))
        self._follow_from(start)

    def resumed(self) -> None:
        """Send what the client may not have, from the last checkpoint or the very start; it drops the repeats."""
        start = self._start_at
        if self.ticket is None or start.after is None:
            self.drop()
            return
        numbering = self._hub.numberings.get(self.ticket.id) or Numbering(start.after)
        self._number(self.ticket.id, numbering)
        self.send(SequenceMessage(numbering.count + 1))
        self._follow_from(Start(numbering.position))

    def received(self, message: Call) -> None:
        """Clients have nothing to say here; one that asks for an answer is told so."""
        if not isinstance(message, Invocation | StreamInvocation) or message.id is None:
            return
        if self.is_stateful:  # a completion would count as a message, and the log alone could not number them again
            self.close(NO_METHODS)
        else:
            self.send(Completion(message.id, error=NO_METHODS))

    def acknowledged(self, sequence_id: int) -> None:
        """Take note of how far the client is."""
        if self._numbering is not None and self._interest is not None:
            self._numbering.acknowledge(sequence_id, self._hub.stream.hub, self._interest)

    def disconnected(self, code: int) -> None:
        """Leave everything."""
        del code
        self._client.ended()
        self._hub.stream.presence.leave(self)
        for alarm in self._alarms:
            alarm.cancel()
        if self._subscription is not None:
            self._subscription.close()
        if self._numbering is not None and self.ticket is not None:
            self._hub.leave(self.ticket.id, self)

    def recheck(self) -> None:
        """Close when the role, the user or the client is no longer what the connection stands on."""
        self._run(self._client.recheck())

    def end(self) -> None:
        """The server stops. Clients with stateful reconnect dial again over anything but a Close message."""
        if self.is_stateful:
            self.drop()
        else:
            self.close(allow_reconnect=True)

    def describe(self) -> Description:
        """What there is to say of it."""
        token, stream = self._asked.token, self._hub.stream
        subscription = self._subscription
        own = self._asked.user_id
        return Description(
            dialect="salto",
            transport=f"websocket, {self.encoding}",
            client_id=token.client_id,
            user_id=token.user_id,
            site_id=self._asked.site_id,
            peer=self.connection.peer,
            subscriptions=(self._hub.name if own is None else f"{self._hub.name} of {own}",),
            state=subscription.state.value if subscription is not None else "idle",
            position=subscription.position if subscription is not None else None,
            unsent=self.connection.unsent,
            token_expired=token.expires_at <= stream.clock(),
        )

    def position_gone(self, error: PositionGone) -> None:
        """What was to be delivered next is not kept any more."""
        _logger.warning("a client's position is gone", first=str(error.first))
        self._run(self._client.position_gone())

    def _number(self, connection_id: str, numbering: Numbering) -> None:
        self._numbering = numbering
        self._hub.enter(connection_id, self, numbering)

    def _follow_from(self, start: Start) -> None:
        stream = self._hub.stream
        self._subscription = Subscription(stream.hub, stream.log, self.connection, self)
        encoder = SaltoEncoder(self._hub.name, self._asked.user_id, self.encoding, stream.shapes)
        self._interest = Interest(self._asked.site_id, encoder, self.framing)
        stream.presence.enter(self)
        if stream.drop_after is not None:
            self._alarms.append(stream.alarms.at(stream.clock() + stream.drop_after, self.drop))
        self._run(self._client.connected(start))

    def _run(self, commands: Sequence[Command]) -> None:
        for command in commands:
            if not self.is_connected:
                return
            match command:
                case Follow(after):
                    self._follow(after)
                case Close(error, allow_reconnect):
                    self.close(error, allow_reconnect=allow_reconnect)
                case Wake(at):
                    self._alarms.append(self._hub.stream.alarms.at(at, self._wake))

    def _follow(self, after: Position | None) -> None:
        assert self._subscription is not None  # noqa: S101 - made by _begin()
        assert self._interest is not None  # noqa: S101 - made by _begin()
        if after is not None:
            self._subscription.seek(after)
        self._subscription.follow(self._interest)

    def _wake(self) -> None:
        self._run(self._client.wake(self._hub.stream.clock()))


def _token_of(request: UpgradeRequest) -> str:
    """The access token of a request, from its header or its query (SAL-3); raises InvalidToken."""
    authorization = request.headers.get("authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    token = request.get("access_token")
    if token is None:
        raise InvalidToken
    return token
