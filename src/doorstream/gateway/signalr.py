"""SignalR hubs on the gateway: WebSockets only, with or without negotiation, JSON and MessagePack.

An application gives each client a `HubHandler` of its own, in a `HubEndpoint` on the path of the hub. Clients that
negotiate first ask `POST <path>/negotiate` (`HubEndpoint.negotiation`, an ASGI application) and then dial with
`id=<connection token>`. The token is signed and holds what any process needs to know of the connection, so that
nothing is kept between the two requests.

Stateful reconnect (`spikes.md` section 7): a client that lost its socket dials again once, with the same token and no
handshake. Whoever offers it must be able to tell the client's n-th message from the token alone, or from what it
knows beside it; `HubHandler.resumed` is where that happens. A client whose connection was ended by a Close message is
refused with 404 when it dials again: it would crash over anything else.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import msgspec

from doorstream.auth import InvalidToken, Signer
from doorstream.gateway.contract import Limits, Refusal
from doorstream.gateway.deadlines import Clock, Deadlines
from doorstream.gateway.websocket import WebSocketConnection
from doorstream.protocols.signalr import (
    HANDSHAKE_REPLY,
    NUMBERED,
    STATEFUL_VERSION,
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Encoding,
    Handshake,
    HandshakeError,
    HubProtocol,
    Invocation,
    Message,
    MessageError,
    Sequence,
    StreamInvocation,
    StreamItem,
    handshake_error,
)
from doorstream.protocols.websocket import CloseCode, Opcode, UpgradeRequest, encode_frame, text_frame

log = logging.getLogger(__name__)

_ENDED_KEPT = 60.0
"""Seconds for which a connection that we ended is remembered; its client dials again at once or never."""
_ID_BYTES = 16
_STARTING_SEQUENCE = 1

Call = Invocation | StreamInvocation | StreamItem | Completion | CancelInvocation


def binary_frame(message: bytes) -> bytes:
    """Frame a message of the MessagePack encoding."""
    return encode_frame(Opcode.BINARY, message)


def framing_of(encoding: Encoding) -> Callable[[bytes], bytes]:
    """How messages of an encoding are framed."""
    return text_frame if encoding == "json" else binary_frame


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Times are seconds. A client of any language gives up after 30 s without a word (vendor-apis.md 4.3, fact 9)."""

    limits: Limits = field(default_factory=Limits)
    ping_interval: float = 10.0
    client_timeout: float = 30.0
    """Clients ping every 15 s; one that is silent for so long is gone."""
    handshake_timeout: float = 15.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a connection token says: which connection, and what the application put into it."""

    id: str
    data: str
    is_stateful: bool = False
    """The client may dial again with this token after it lost its socket."""


class _Payload(msgspec.Struct, array_like=True):
    id: str
    data: str
    is_stateful: bool


_decode_payload = msgspec.json.Decoder(_Payload).decode
_encode = msgspec.json.Encoder().encode


class Phase(enum.Enum):
    """What a client may be told. It changes only in `HubHandler._enter`."""

    NEW = "new"
    """Nothing: before the answer to the handshake any message is a crash of the client."""
    CONNECTED = "connected"
    CLOSED = "closed"


class HubHandler:
    """One client of a hub. Subclass it; the hooks come first, what they may use after them.

    Called from the event loop, never twice at once: `connected` or `resumed` once, then `received` and
    `acknowledged`, and `disconnected` once if there was a beginning.
    """

    __slots__ = ("_endpoint", "_heard_at", "_phase", "_protocol", "_received", "connection", "is_stateful", "ticket")

    connection: WebSocketConnection
    ticket: Ticket | None
    is_stateful: bool
    """The client counts messages and dials again by itself: what it gets must be `resumed` exactly."""

    def __init__(self) -> None:
        self._endpoint: HubEndpoint | None = None
        self._phase = Phase.NEW
        self._protocol = HubProtocol()
        self._heard_at = 0.0
        self._received = 0
        self.ticket = None
        self.is_stateful = False

    # Hooks

    def connected(self) -> None:
        """Begin: the handshake is done."""

    def resumed(self) -> None:
        """Go on with a client that dialled again: owed is `Sequence(n)`, then its n-th message and all after it.

        n may be smaller than what the client waits for, which drops repeats, but not greater.
        """
        self.close("stateful reconnect is not supported")

    def received(self, message: Call) -> None:
        """Take a message of the client. To an Invocation with an id one Completion is owed."""

    def acknowledged(self, sequence_id: int) -> None:
        """Take note that the client has that many numbered messages (stateful reconnect)."""

    def disconnected(self, code: int) -> None:
        """Stop writing: the connection is closing or gone. `code` as in `gateway.contract.Handler.closed`."""

    # What an application uses

    @property
    def encoding(self) -> Encoding:
        """In which encoding the client speaks."""
        return self._protocol.encoding

    @property
    def framing(self) -> Callable[[bytes], bytes]:
        """How encoded messages are framed for this client."""
        return framing_of(self._protocol.encoding)

    @property
    def is_connected(self) -> bool:
        """Whether messages can be sent."""
        return self._phase is Phase.CONNECTED

    def send(self, message: Message) -> None:
        """Write one message; does nothing once the connection is closing."""
        if self._phase is Phase.CONNECTED:
            self.connection.write(self.framing(self._protocol.encode(message)))

    def close(self, error: str | None = None, *, allow_reconnect: bool = False) -> None:
        """End the connection with a Close message. With `allow_reconnect` clients that reconnect come back."""
        if self._phase is Phase.CONNECTED:
            self.send(Close(error, allow_reconnect))
            if self._endpoint is not None and self.ticket is not None:
                self._endpoint.ended(self.ticket)
        if self._phase is not Phase.CLOSED:
            self.connection.close()

    def drop(self) -> None:
        """End the connection without a word: a client with stateful reconnect dials again at once."""
        if self._phase is not Phase.CLOSED:
            self.connection.close(CloseCode.SERVICE_RESTART)

    # What the gateway calls

    def prepare(self, endpoint: HubEndpoint, ticket: Ticket | None) -> None:
        """Belong to an endpoint."""
        self._endpoint = endpoint
        self.ticket = ticket
        may_resume = ticket is not None and ticket.is_stateful
        self._protocol = HubProtocol(endpoint.limits.max_payload, may_resume=may_resume)

    def opened(self, connection: WebSocketConnection) -> None:
        """Take the connection, and wait for the handshake."""
        self.connection = connection
        if self._endpoint is not None:
            self._endpoint.handshakes.start(self)

    def message(self, data: str | bytes) -> None:
        """Take one frame."""
        self._heard_at = asyncio.get_running_loop().time()
        before = self._received
        try:
            for message in self._protocol.receive(data):
                self._take(message)
        except HandshakeError as error:
            self.connection.write(text_frame(handshake_error(str(error))))
            self.connection.close()
        except MessageError as error:
            self.close(str(error))
        if self.is_stateful and self._received != before:
            self.send(Ack(self._received))

    def closed(self, code: int) -> None:
        """Stop everything."""
        was_connected = self._phase is Phase.CONNECTED
        self._enter(Phase.CLOSED)
        if self._endpoint is not None:
            self._endpoint.handshakes.stop(self)
            self._endpoint.pings.stop(self)
        if was_connected:
            self.disconnected(code)

    def handshake_expired(self) -> None:
        """Give up on a client that does not say what it speaks."""
        self.connection.close(CloseCode.POLICY_VIOLATION, "no handshake")

    def ping(self, client_timeout: float) -> bool:
        """Tell the client that we are there, unless it is not itself; false if it was given up."""
        if asyncio.get_running_loop().time() - self._heard_at > client_timeout:
            self.connection.abort("the client fell silent")
            return False
        self.connection.write(_PINGS[self._protocol.encoding])
        return True

    def _enter(self, phase: Phase) -> None:
        self._phase = phase

    def _take(self, message: Handshake | Message) -> None:
        if self._phase is Phase.CLOSED:
            return
        if isinstance(message, Handshake):
            self._begin(message)
        elif isinstance(message, NUMBERED):
            self._received += 1
            self.received(message)
        elif isinstance(message, Ack):
            if self.is_stateful:
                self.acknowledged(message.sequence_id)
        elif isinstance(message, Sequence):
            self._resume(message)
        elif isinstance(message, Close):
            self.connection.close()

    def _begin(self, handshake: Handshake) -> None:
        self.is_stateful = self.ticket is not None and self.ticket.is_stateful and handshake.version >= STATEFUL_VERSION
        self.connection.write(self.framing(HANDSHAKE_REPLY))
        self._start()
        self.connected()

    def _resume(self, message: Sequence) -> None:
        self._received = message.sequence_id - _STARTING_SEQUENCE
        if self._phase is Phase.NEW:
            self.is_stateful = True
            self._start()
            self.resumed()

    def _start(self) -> None:
        self._enter(Phase.CONNECTED)
        if self._endpoint is not None:
            self._endpoint.handshakes.stop(self)
            self._endpoint.pings.start(self)


_PINGS: Final[dict[Encoding, bytes]] = {
    "json": text_frame(b'{"type":6}\x1e'),
    "messagepack": binary_frame(b"\x02\x91\x06"),
}

OpenResult = HubHandler | Refusal
NegotiateResult = str | Refusal


class HubEndpoint:
    """The clients of one hub.

    `open(request, ticket)` makes the handler of a new client, or refuses it with an HTTP status; `ticket` is None for
    one that skips negotiation. `negotiate(request, is_stateful)` says what goes into the connection token, or refuses.
    With `stateful` clients that ask for stateful reconnect get it. `signer` must be the same in every process that
    serves the hub; without one, tokens are good in this process only.
    """

    def __init__(  # noqa: PLR0913 - what a hub consists of, each once
        self,
        open: Callable[[UpgradeRequest, Ticket | None], OpenResult | Awaitable[OpenResult]],  # noqa: A002 - as in EngineIOEndpoint
        options: HubOptions | None = None,
        *,
        negotiate: Callable[[UpgradeRequest, bool], NegotiateResult | Awaitable[NegotiateResult]] | None = None,
        signer: Signer | None = None,
        stateful: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._options = options or HubOptions()
        self._open_application = open
        self._negotiate = negotiate or (lambda _request, _is_stateful: "")
        self._signer = signer or Signer(secrets.token_bytes(32), "signalr")
        self._stateful = stateful
        self._ended: set[str] = set()
        self._forget: Deadlines[str] = Deadlines(_ENDED_KEPT, self._ended.discard, clock)
        self.handshakes: Deadlines[HubHandler] = Deadlines(
            self._options.handshake_timeout, HubHandler.handshake_expired, clock
        )
        self.pings: Deadlines[HubHandler] = Deadlines(self._options.ping_interval, self._ping, clock)
        self.negotiation = Negotiation(self.negotiate)

    @property
    def limits(self) -> Limits:
        """The limits for connections of this hub."""
        return self._options.limits

    def open(self, request: UpgradeRequest) -> OpenResult | Awaitable[OpenResult]:
        """Decide about one upgrade request."""
        ticket = None
        token = request.get("id")
        if token is not None:
            ticket = self._ticket_of(token)
            if ticket is None or ticket.id in self._ended:
                return Refusal(404)
        answer = self._open_application(request, ticket)
        if isinstance(answer, Awaitable):
            return self._prepare_later(answer, ticket)
        return self._prepare(answer, ticket)

    async def negotiate(self, request: UpgradeRequest) -> dict[str, Any] | Refusal:
        """The answer to a negotiation: which connection, and WebSockets as the only transport."""
        is_stateful = self._stateful and (request.get("useStatefulReconnect") or "").lower() == "true"
        answer = self._negotiate(request, is_stateful)
        data = await answer if isinstance(answer, Awaitable) else answer
        if isinstance(data, Refusal):
            return data
        public_id = secrets.token_urlsafe(_ID_BYTES)
        token = self._signer.sign(_encode(_Payload(public_id, data, is_stateful)))
        common: dict[str, Any] = {
            "availableTransports": [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}],
            **({"useStatefulReconnect": True} if is_stateful else {}),
        }
        if (request.get("negotiateVersion") or "0") == "0":  # one id for both purposes, as pysignalr uses it
            return {"negotiateVersion": 0, "connectionId": token, **common}
        return {"negotiateVersion": 1, "connectionId": public_id, "connectionToken": token, **common}

    def ended(self, ticket: Ticket) -> None:
        """Refuse that connection from now on."""
        self._ended.add(ticket.id)
        self._forget.start(ticket.id)

    def _ticket_of(self, token: str) -> Ticket | None:
        try:
            payload = _decode_payload(self._signer.verify(token))
        except (InvalidToken, msgspec.DecodeError):
            return None
        return Ticket(payload.id, payload.data, payload.is_stateful)

    async def _prepare_later(self, answer: Awaitable[OpenResult], ticket: Ticket | None) -> OpenResult:
        return self._prepare(await answer, ticket)

    def _prepare(self, answer: OpenResult, ticket: Ticket | None) -> OpenResult:
        if isinstance(answer, HubHandler):
            answer.prepare(self, ticket)
        return answer

    def _ping(self, handler: HubHandler) -> None:
        if handler.ping(self._options.client_timeout):
            self.pings.start(handler, self.pings.due_at)


class Negotiation:
    """`POST <hub>/negotiate` as an ASGI application, and an endpoint that accepts no WebSocket.

    Add it to the gateway where the gateway serves HTTP, or mount it in an application.
    """

    limits: ClassVar[Limits] = Limits()

    def __init__(self, negotiate: Callable[[UpgradeRequest], Awaitable[dict[str, Any] | Refusal]]) -> None:
        self._negotiate = negotiate

    def open(self, request: UpgradeRequest) -> Refusal:
        """Refuse: there is nothing to upgrade to here."""
        del request
        return Refusal(404)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request. Its body is empty, and is not read."""
        del receive
        if scope["type"] != "http":
            return
        target = scope["path"].encode() + b"?" + scope["query_string"]
        peer = scope["client"][0] if scope.get("client") else ""
        answer: dict[str, Any] | Refusal = Refusal(405, {"Allow": "POST"})
        if scope["method"] == "POST":
            answer = await self._negotiate(UpgradeRequest.build("POST", target, scope["headers"], peer))
        if isinstance(answer, Refusal):
            await _respond(send, answer.status, answer.body, dict(answer.headers))
        else:
            headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
            await _respond(send, 200, _encode(answer), headers)


async def _respond(send: Any, status: int, body: bytes, headers: dict[str, str]) -> None:
    named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    named.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": body})
