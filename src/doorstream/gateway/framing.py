"""Framings: the UTF-8 bytes of one Engine.IO message in, bytes out that can be written, and joined, as they are.

An event is framed once for all clients with the same framing; a group's key therefore contains the function.
"""

from collections.abc import Callable

from doorstream.protocols.engineio.packets import V4, Version
from doorstream.protocols.engineio.payloads import SEPARATOR, js_length
from doorstream.protocols.websocket import text_frame

Framing = Callable[[bytes], bytes]

_SEPARATOR = SEPARATOR.encode()


def engine_websocket(message: bytes) -> bytes:
    """Frame a message for an Engine.IO client on WebSocket, either version."""
    return text_frame(b"4" + message)


def engine_polling_v4(message: bytes) -> bytes:
    """Frame a message for a polling client of version 4; the separator of the first is cut when a poll is answered."""
    return _SEPARATOR + b"4" + message


def engine_polling_v3(message: bytes) -> bytes:
    """Frame a message for a polling client of version 3."""
    return polling_item(b"4" + message, 3)


def polling_item(packet: bytes, version: Version) -> bytes:
    """Frame a text packet of any type for a polling client."""
    if version == V4:
        return _SEPARATOR + packet
    length = len(packet) if packet.isascii() else js_length(packet.decode())
    return b"%d:%b" % (length, packet)
