"""The server's side of Engine.IO, protocols 4 and 3, without sockets: packets, polling payloads, one session."""

from doorstream.protocols.engineio.errors import EngineIOError, PacketError, PayloadError, SessionError
from doorstream.protocols.engineio.packets import Packet, PacketType, decode_packet, encode_packet
from doorstream.protocols.engineio.payloads import decode_payload, encode_binary_payload, encode_payload
from doorstream.protocols.engineio.session import (
    Alive,
    Closed,
    Message,
    Probed,
    Reply,
    Session,
    State,
    Timing,
    Upgraded,
    negotiate_version,
    open_packet,
)

__all__ = [
    "Alive",
    "Closed",
    "EngineIOError",
    "Message",
    "Packet",
    "PacketError",
    "PacketType",
    "PayloadError",
    "Probed",
    "Reply",
    "Session",
    "SessionError",
    "State",
    "Timing",
    "Upgraded",
    "decode_packet",
    "decode_payload",
    "encode_binary_payload",
    "encode_packet",
    "encode_payload",
    "negotiate_version",
    "open_packet",
]
