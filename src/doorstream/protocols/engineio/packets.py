"""Engine.IO packets: one digit for the type, then the data.

Binary messages differ by version. Protocol 4 sends them as they are in a WebSocket frame, and as `b` and base64 in
a polling payload. Protocol 3 puts the type in front, as a byte in a frame and as a digit after the `b`.
"""

import base64
import binascii
import enum
from dataclasses import dataclass
from typing import Final, Literal

from doorstream.protocols.engineio.errors import PacketError

Version = Literal[3, 4]
V3: Final = 3
V4: Final = 4


class PacketType(enum.IntEnum):
    """What a packet is for."""

    OPEN = 0
    CLOSE = 1
    PING = 2
    PONG = 3
    MESSAGE = 4
    UPGRADE = 5
    NOOP = 6


_BY_DIGIT = {str(int(kind)): kind for kind in PacketType}
_BY_NUMBER = {int(kind): kind for kind in PacketType}


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet; `bytes` only in messages."""

    type: PacketType
    data: str | bytes = ""


def decode_packet(data: str | bytes, version: Version) -> Packet:
    """Read one packet from a WebSocket message, or a text packet from a payload. Raises PacketError."""
    if isinstance(data, bytes):
        if version == V4:
            return Packet(PacketType.MESSAGE, data)
        kind = _BY_NUMBER.get(data[0]) if data else None
        if kind is not PacketType.MESSAGE:
            raise PacketError("a binary packet that is no message")
        return Packet(kind, data[1:])
    if data[:1] == "b":
        return _decode_base64(data, version)
    kind = _BY_DIGIT.get(data[:1])
    if kind is None:
        raise PacketError("unknown packet type")
    return Packet(kind, data[1:])


def encode_packet(packet: Packet, version: Version) -> str | bytes:
    """Build the WebSocket message of a packet: `bytes` goes into a binary frame."""
    if isinstance(packet.data, bytes):
        return packet.data if version == V4 else bytes((packet.type,)) + packet.data
    return f"{int(packet.type)}{packet.data}"


def encode_text_packet(packet: Packet, version: Version) -> str:
    """Build the text of a packet for a payload; binary data becomes base64."""
    if isinstance(packet.data, bytes):
        prefix = "b" if version == V4 else f"b{int(packet.type)}"
        return prefix + base64.b64encode(packet.data).decode("ascii")
    return f"{int(packet.type)}{packet.data}"


def _decode_base64(text: str, version: Version) -> Packet:
    start = 1
    if version == V3:
        if text[1:2] != str(int(PacketType.MESSAGE)):
            raise PacketError("a binary packet that is no message")
        start = 2
    try:
        data = base64.b64decode(text[start:].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise PacketError("a binary packet that is not base64") from error
    return Packet(PacketType.MESSAGE, data)
