"""The server's side of WebSocket (RFC 6455), without sockets: handshake, frames, and one open connection."""

from doorstream.protocols.websocket.connection import (
    DEFAULT_MAX_PAYLOAD,
    Closed,
    Event,
    Message,
    Reply,
    State,
    WebSocketProtocol,
)
from doorstream.protocols.websocket.errors import (
    ConnectionFailed,
    HandshakeError,
    InvalidText,
    MessageTooBig,
    ProtocolViolation,
    WebSocketError,
)
from doorstream.protocols.websocket.frames import (
    CloseCode,
    Opcode,
    encode_close,
    encode_frame,
    text_frame,
    text_head,
    unmask,
)
from doorstream.protocols.websocket.handshake import UpgradeRequest, accept, check, refuse

__all__ = [
    "DEFAULT_MAX_PAYLOAD",
    "CloseCode",
    "Closed",
    "ConnectionFailed",
    "Event",
    "HandshakeError",
    "InvalidText",
    "Message",
    "MessageTooBig",
    "Opcode",
    "ProtocolViolation",
    "Reply",
    "State",
    "UpgradeRequest",
    "WebSocketError",
    "WebSocketProtocol",
    "accept",
    "check",
    "encode_close",
    "encode_frame",
    "refuse",
    "text_frame",
    "text_head",
    "unmask",
]
