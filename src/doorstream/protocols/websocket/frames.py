"""Frames of RFC 6455 section 5: building those a server sends, undoing the mask of those a client sends."""

import enum
from struct import Struct

__all__ = ["CLOSE_CODE", "CloseCode", "Opcode", "encode_close", "encode_frame", "text_frame", "unmask"]

FIN = 0x80
MASKED = 0x80
SHORT_LIMIT = 126
MEDIUM_LIMIT = 0x10000
MAX_CONTROL_PAYLOAD = 125
MAX_CLOSE_REASON = 123

CLOSE_CODE = Struct("!H")
_MEDIUM = Struct("!BBH")
_LARGE = Struct("!BBQ")


class Opcode(enum.IntEnum):
    """What a frame carries (RFC 6455 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(enum.IntEnum):
    """Why a connection ends (RFC 6455 7.4.1 and the IANA registry)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014


def encode_frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """Build one unmasked frame, as a server sends it (RFC 6455 5.1, 5.2)."""
    return _head(FIN | opcode if fin else opcode, len(payload)) + payload


def text_frame(payload: bytes) -> bytes:
    """Build a whole text message from its UTF-8 bytes. The caller owes valid UTF-8."""
    return encode_frame(Opcode.TEXT, payload)


def text_head(size: int) -> bytes:
    """What goes before a whole text message of that many bytes, for who joins it from parts."""
    return _head(FIN | Opcode.TEXT, size)


def _head(first: int, size: int) -> bytes:
    if size < SHORT_LIMIT:
        return bytes((first, size))
    if size < MEDIUM_LIMIT:
        return _MEDIUM.pack(first, SHORT_LIMIT, size)
    return _LARGE.pack(first, SHORT_LIMIT + 1, size)


def encode_close(code: int, reason: str = "") -> bytes:
    """Build a close frame; a reason that does not fit is cut at a character (RFC 6455 5.5.1)."""
    if code == CloseCode.NO_STATUS:
        return encode_frame(Opcode.CLOSE, b"")
    text = reason.encode()[:MAX_CLOSE_REASON].decode(errors="ignore")
    return encode_frame(Opcode.CLOSE, CLOSE_CODE.pack(code) + text.encode())


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Exclusive-or a payload with its four-byte mask (RFC 6455 5.3), as one operation on two long integers."""
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    plain = int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")
    return plain.to_bytes(size, "little")
