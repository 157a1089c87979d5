"""One Socket.IO connection without transport and clock: what may come when, for protocol 5 and 4.

In protocol 5 (on Engine.IO 4) a client asks to join each namespace with CONNECT and sends nothing else to it before
the answer. In protocol 4 (on Engine.IO 3) it is in the default namespace from the start, so the server speaks first
(`vendor-apis.md` 1.2.1, fact 6); a client that sends CONNECT all the same is answered again, as it was by servers of
that time. Anything out of order raises, and the connection is closed.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from doorstream.protocols.socketio.errors import SessionError
from doorstream.protocols.socketio.packets import ROOT, Decoder, Packet, PacketType, encode_packet

Revision = Literal[4, 5]
V4: Literal[4] = 4

_INVALID_NAMESPACE = "Invalid namespace"
_ROOT_ONLY = (ROOT,)


@dataclass(frozen=True, slots=True)
class Connect:
    """A client asks to join a namespace; `accept` or `refuse` is owed.

    `auth` is the payload of its CONNECT, None if it sent none, and `raw` the payload's text.
    """

    namespace: str
    auth: dict[str, Any] | None = None
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """A client emits an event; with an `id` it wants an acknowledgement."""

    namespace: str
    name: str
    arguments: list[Any]
    id: int | None


@dataclass(frozen=True, slots=True)
class Ack:
    """A client acknowledges the event that was sent with this `id`."""

    namespace: str
    id: int
    arguments: list[Any]


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A client leaves a namespace."""

    namespace: str


@dataclass(frozen=True, slots=True)
class Reply:
    """To be sent."""

    text: str


class Session:
    """See the module's text. `namespaces` are those the application knows."""

    __slots__ = ("_decoder", "_namespaces", "_waiting", "connected", "revision")

    connected: tuple[str, ...]
    """The namespaces joined, in order."""

    def __init__(self, revision: Revision, namespaces: Collection[str] = _ROOT_ONLY) -> None:
        self.revision: Revision = revision
        self.connected = ()
        self._waiting: tuple[str, ...] = ()
        self._namespaces = namespaces
        self._decoder: Decoder | None = None

    def open(self) -> Connect | None:
        """Begin: in protocol 4 the client is about to join the default namespace."""
        if self.revision != V4:
            return None
        self._waiting = _ROOT_ONLY
        return Connect(ROOT)

    def receive(self, message: str | bytes) -> Connect | Event | Ack | Disconnect | Reply | None:
        """Take a message. Raises SocketIOError, after which the connection is to be closed."""
        decoder = self._decoder or Decoder()
        packet = decoder.feed(message)
        self._decoder = decoder if packet is None else None
        return None if packet is None else self._take(packet)

    def accept(self, namespace: str, payload: dict[str, Any] | None = None) -> str:
        """Let the client join, and give the packet to send. The payload is for protocol 5 only, which needs a `sid`."""
        self._waiting = tuple(name for name in self._waiting if name != namespace)
        self.connected = _ROOT_ONLY if not self.connected and namespace == ROOT else (*self.connected, namespace)
        data = None if self.revision == V4 else payload
        return _text(Packet(PacketType.CONNECT, namespace, data))

    def refuse(self, namespace: str, message: str, data: Any = None) -> str:
        """Do not let the client join, and give the packet to send."""
        self._waiting = tuple(name for name in self._waiting if name != namespace)
        return self._error(namespace, message, data)

    def leave(self, namespace: str) -> str | None:
        """Put the client out of a namespace, and give the packet to send; None if it was not in it."""
        if namespace not in self.connected:
            return None
        self.connected = tuple(name for name in self.connected if name != namespace)
        return _text(Packet(PacketType.DISCONNECT, namespace))

    def _take(self, packet: Packet) -> Connect | Event | Ack | Disconnect | Reply | None:
        namespace = packet.namespace
        if packet.type is PacketType.CONNECT:
            return self._connect(packet)
        if namespace not in self.connected:
            raise SessionError("a packet for a namespace that was not joined")
        match packet.type:
            case PacketType.EVENT:
                return Event(namespace, packet.data[0], packet.data[1:], packet.id)
            case PacketType.ACK:
                return Ack(namespace, packet.id or 0, packet.data)
            case PacketType.DISCONNECT:
                self.leave(namespace)
                return Disconnect(namespace)
            case _:
                raise SessionError("a client does not send connect errors")

    def _connect(self, packet: Packet) -> Connect | Reply:
        namespace = packet.namespace
        if self.revision == V4:
            namespace = namespace.partition("?")[0]  # protocol 4 puts a query where protocol 5 has a payload
            if namespace in self.connected:
                return Reply(_text(Packet(PacketType.CONNECT, namespace)))
        if namespace in self.connected or namespace in self._waiting:
            raise SessionError("a namespace joined twice")
        if namespace not in self._namespaces:
            return Reply(self._error(namespace, _INVALID_NAMESPACE))
        self._waiting = (*self._waiting, namespace)
        return Connect(namespace, packet.data, packet.raw)

    def _error(self, namespace: str, message: str, data: Any = None) -> str:
        body: Any = {"message": message}
        if data is not None:
            body["data"] = data
        if self.revision == V4:
            body = message if data is None else data
        return _text(Packet(PacketType.CONNECT_ERROR, namespace, body))


def _text(packet: Packet) -> str:
    text = encode_packet(packet)[0]
    if isinstance(text, bytes):
        raise TypeError("a packet begins with text")
    return text
