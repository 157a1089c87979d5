"""Socket.IO packets, protocol 5 and 4 (which share this form).

A packet is one text, `<type>[<attachments>-][<namespace>,][<id>][<JSON>]`, followed by as many binary messages as it
has attachments. In the JSON each attachment is `{"_placeholder": true, "num": n}`; here it is `bytes` at that place.
"""

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from doorstream.protocols.socketio.errors import PacketError

ROOT: Final = "/"
MAX_ATTACHMENTS: Final = 10
"""As in the reference implementation; it bounds what one packet can hold back."""

_RESERVED_EVENTS = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
_HEADER = re.compile(r"([0-6])(?:([0-9]{1,9})-)?(?:(/[^,]*)(?:,|\Z))?([0-9]{0,16})", re.DOTALL)


class PacketType(enum.IntEnum):
    """What a packet is for."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


_BINARY_OF = {PacketType.EVENT: PacketType.BINARY_EVENT, PacketType.ACK: PacketType.BINARY_ACK}
_PLAIN_OF = {binary: plain for plain, binary in _BINARY_OF.items()}


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet with its attachments in place; `type` is never one of the binary kinds.

    `data` is an object or None for CONNECT, a list for EVENT and ACK. `raw` is the JSON text as it came, empty if
    there was none, so that `40` and `40{}` can be told apart.
    """

    type: PacketType
    namespace: str = ROOT
    data: Any = None
    id: int | None = None
    raw: str = ""


def encode_packet(packet: Packet) -> list[str | bytes]:
    """Build the messages of a packet: its text, then its attachments. Data without JSON form raises TypeError."""
    data = packet.data
    attachments: list[bytes] = []
    if packet.type in _BINARY_OF:
        data = _take_out(data, attachments)
    kind = _BINARY_OF[packet.type] if attachments else packet.type
    text = str(int(kind))
    if attachments:
        text += f"{len(attachments)}-"
    if packet.namespace != ROOT:
        text += packet.namespace + ","
    if packet.id is not None:
        text += str(packet.id)
    if data is not None:
        text += msgspec.json.encode(data).decode()
    return [text, *attachments]


def event_packet(name: bytes, *arguments: bytes, namespace: str = ROOT) -> bytes:
    """Build an EVENT packet from JSON already encoded: `event_packet(b'"topic"', b'{…}')` is `2["topic",{…}]`.

    The result is what a framing takes.
    """
    prefix = b"2" if namespace == ROOT else b"2" + namespace.encode() + b","
    return prefix + b"[" + b",".join((name, *arguments)) + b"]"


class Decoder:
    """Puts packets together from messages."""

    __slots__ = ("_attachments", "_header")

    def __init__(self) -> None:
        self._header: Packet | None = None
        self._attachments: list[bytes | None] = []

    def feed(self, message: str | bytes) -> Packet | None:
        """Take a message and give the packet it completes. Raises PacketError, after which the decoder is of no use."""
        if isinstance(message, str):
            if self._header is not None:
                raise PacketError("text where an attachment is missing")
            return self._feed_text(message)
        header = self._header
        if header is None:
            raise PacketError("an attachment without its packet")
        self._attachments[self._attachments.index(None)] = message
        if None in self._attachments:
            return None
        attachments = [attachment for attachment in self._attachments if attachment is not None]
        self._header, self._attachments = None, []
        return _check(_with_data(header, attachments))

    def _feed_text(self, text: str) -> Packet | None:
        match = _HEADER.match(text)
        if match is None:
            raise PacketError("unknown packet type")
        kind = PacketType(int(match[1]))
        raw = text[match.end() :]
        packet = Packet(
            _PLAIN_OF.get(kind, kind),
            match[3] or ROOT,
            None,
            int(match[4]) if match[4] else None,
            raw,
        )
        if (match[2] is not None) != (kind in _PLAIN_OF):
            raise PacketError("a number of attachments in the wrong place")
        count = int(match[2] or 0)
        if count > MAX_ATTACHMENTS:
            raise PacketError("too many attachments")
        if count:
            self._header, self._attachments = packet, [None] * count
            return None
        return _check(_with_data(packet, []))


def _with_data(packet: Packet, attachments: Sequence[bytes]) -> Packet:
    if not packet.raw:
        return packet
    try:
        data = msgspec.json.decode(packet.raw)
        if attachments:
            data = _put_in(data, attachments)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise PacketError("data that is not JSON") from error
    return Packet(packet.type, packet.namespace, data, packet.id, packet.raw)


def _check(packet: Packet) -> Packet:
    """Raise PacketError if the data is not of the packet type's kind."""
    data = packet.data
    match packet.type:
        case PacketType.CONNECT:
            valid = not packet.raw or isinstance(data, dict)
        case PacketType.DISCONNECT:
            valid = not packet.raw
        case PacketType.CONNECT_ERROR:
            valid = isinstance(data, (dict, str))
        case PacketType.EVENT:
            valid = (
                isinstance(data, list) and bool(data) and isinstance(data[0], str) and data[0] not in _RESERVED_EVENTS
            )
        case _:
            valid = isinstance(data, list) and packet.id is not None
    if not valid:
        raise PacketError("data of the wrong kind")
    return packet


def _take_out(data: Any, attachments: list[bytes]) -> Any:
    """Replace binary data by placeholders; whatever holds none is passed on as it is."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        attachments.append(bytes(data))
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(data, (list, tuple)):
        return [_take_out(item, attachments) for item in data]
    if isinstance(data, dict):
        return {key: _take_out(value, attachments) for key, value in data.items()}
    return data


def _put_in(data: Any, attachments: Sequence[bytes]) -> Any:
    if isinstance(data, list):
        return [_put_in(item, attachments) for item in data]
    if not isinstance(data, dict):
        return data
    if data.get("_placeholder") is True:
        number = data.get("num")
        if type(number) is not int or not 0 <= number < len(attachments):
            raise PacketError("a placeholder without its attachment")
        return attachments[number]
    return {key: _put_in(value, attachments) for key, value in data.items()}
