"""The SignalR hub protocol without I/O: handshake, every message type, JSON and MessagePack."""

from doorstream.protocols.signalr.connection import (
    DEFAULT_MAX_MESSAGE,
    HANDSHAKE_REPLY,
    STATEFUL_VERSION,
    Encoding,
    Handshake,
    HubProtocol,
    handshake_error,
)
from doorstream.protocols.signalr.errors import HandshakeError, MessageError, SignalRError
from doorstream.protocols.signalr.messages import (
    NOTHING,
    NUMBERED,
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    Message,
    MessageType,
    Ping,
    Sequence,
    StreamInvocation,
    StreamItem,
)

__all__ = [
    "DEFAULT_MAX_MESSAGE",
    "HANDSHAKE_REPLY",
    "NOTHING",
    "NUMBERED",
    "STATEFUL_VERSION",
    "Ack",
    "CancelInvocation",
    "Close",
    "Completion",
    "Encoding",
    "Handshake",
    "HandshakeError",
    "HubProtocol",
    "Invocation",
    "Message",
    "MessageError",
    "MessageType",
    "Ping",
    "Sequence",
    "SignalRError",
    "StreamInvocation",
    "StreamItem",
    "handshake_error",
]
