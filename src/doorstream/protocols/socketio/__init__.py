"""The server's side of Socket.IO, protocols 5 and 4, without transports: packets, and one connection's order."""

from doorstream.protocols.socketio.errors import PacketError, SessionError, SocketIOError
from doorstream.protocols.socketio.packets import ROOT, Decoder, Packet, PacketType, encode_packet, event_packet
from doorstream.protocols.socketio.session import Ack, Connect, Disconnect, Event, Reply, Session

__all__ = [
    "ROOT",
    "Ack",
    "Connect",
    "Decoder",
    "Disconnect",
    "Event",
    "Packet",
    "PacketError",
    "PacketType",
    "Reply",
    "Session",
    "SessionError",
    "SocketIOError",
    "encode_packet",
    "event_packet",
]
