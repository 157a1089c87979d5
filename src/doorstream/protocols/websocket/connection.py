"""One open WebSocket, seen from the server, without a socket (RFC 6455 sections 5 to 8).

Bytes go into `receive`, which gives what they complete, in order: a `Message`, a `Reply` that must be written at
this place (a pong, our half of the closing handshake), at the end one `Closed`. A peer's mistake never raises: the
connection is failed as section 7.1.7 says, which is a `Reply` with a close frame and a `Closed` with `failed` set.

The parser moves through a frame in three steps and can stop after any byte: the header (at most 14 bytes wait in
`_buffer`), the payload as it comes (unmasked, checked and added to `_message` at once, so that wrong UTF-8 and
too large a message are noticed at the first byte that shows it), the end of the frame. Control frames are short
and are taken whole, between the frames of a message. A connection that waits keeps no buffer at all.
"""

import codecs
import enum
from dataclasses import dataclass
from typing import Final

from doorstream.protocols.websocket.errors import ConnectionFailed, InvalidText, MessageTooBig, ProtocolViolation
from doorstream.protocols.websocket.frames import (
    CLOSE_CODE,
    MAX_CONTROL_PAYLOAD,
    CloseCode,
    Opcode,
    encode_close,
    encode_frame,
    unmask,
)

DEFAULT_MAX_PAYLOAD: Final = 100_000
"""Bytes in an inbound message, all its frames together (design.md D12)."""

_RESERVED_BITS = 0x70
_CONTROL = 0x08
_MASK_BYTES = 4
_UTF8 = codecs.getincrementaldecoder("utf-8")
_SENDABLE_CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
_PRIVATE_CLOSE_CODES = range(3000, 5000)


class State(enum.Enum):
    """Where a connection is in its life (RFC 6455 7.1)."""

    OPEN = enum.auto()
    CLOSING = enum.auto()
    """Our close frame is out, the peer's is awaited; messages that still arrive are dropped."""
    CLOSED = enum.auto()
    """The closing handshake is complete, or the connection was failed. Nothing is read or sent any more."""


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message: `str` if it was sent as text, `bytes` if as binary."""

    data: str | bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes to write now, before what the application says to later messages."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event. `failed` tells that the peer broke a rule, so that nothing more from it can be understood."""

    code: int
    reason: str = ""
    failed: bool = False


Event = Message | Reply | Closed


class WebSocketProtocol:
    """The server's end of one open WebSocket; see the module's text."""

    __slots__ = (
        "_buffer",
        "_decoder",
        "_fin",
        "_mask",
        "_message",
        "_opcode",
        "_remaining",
        "frames_received",
        "max_payload",
        "state",
    )

    def __init__(self, max_payload: int = DEFAULT_MAX_PAYLOAD) -> None:
        self.state = State.OPEN
        self.max_payload = max_payload
        self.frames_received = 0
        self._buffer = b""
        self._message: bytearray | None = None
        self._opcode: int = Opcode.CONTINUATION
        self._decoder: codecs.IncrementalDecoder | None = None
        self._mask: bytes | None = None
        self._remaining = 0
        self._fin = True

    def receive(self, data: bytes, limit: int | None = None) -> list[Event]:
        """Take what the transport read and give the events it completes.

        With a limit at most that many frames are taken now; the rest is kept and taken by the next call, for which
        `data` may be empty. Never raises for what a peer sends. After `Closed` everything is ignored.
        """
        events: list[Event] = []
        if self.closed:
            return events
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        try:
            position = self._parse(data, events, limit)
        except ConnectionFailed as error:
            self._fail(error, events)
        else:
            if position < len(data) and not self.closed:
                self._buffer = data[position:]
        return events

    @property
    def closed(self) -> bool:
        """Whether nothing is read or sent any more."""
        return self.state is State.CLOSED

    @property
    def buffered(self) -> int:
        """Bytes kept for the next call of `receive`."""
        return len(self._buffer)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> bytes:
        """Begin the closing handshake and give the frame to write; nothing if it has begun."""
        if self.state is not State.OPEN:
            return b""
        self._change(State.CLOSING)
        return encode_close(code, reason)

    # Only here does the state change.
    def _change(self, state: State) -> None:
        self.state = state
        if state is State.CLOSED:
            self._message = self._decoder = None
            self._buffer = b""

    def _fail(self, error: ConnectionFailed, events: list[Event]) -> None:
        if self.state is State.OPEN:
            events.append(Reply(encode_close(error.code, str(error))))
        self._change(State.CLOSED)
        events.append(Closed(error.code, str(error), failed=True))

    def _parse(self, data: bytes, events: list[Event], limit: int | None) -> int:
        """Read frames, and say how many bytes were used."""
        position = 0
        end = self.frames_received + limit if limit is not None else None
        while not self.closed:
            if self._mask is None:
                if end is not None and self.frames_received >= end:
                    break
                used = self._header(data, position, events)
                if not used:
                    break
                position += used
            else:
                chunk = data[position : position + self._remaining]
                position += len(chunk)
                self._payload(chunk)
                if self._remaining:
                    break
                self._frame_ends(events)
        return position

    def _header(self, data: bytes, position: int, events: list[Event]) -> int:
        """Read a frame's header, or a whole control frame; 0 if it is not complete yet."""
        if len(data) - position < 2:  # noqa: PLR2004 - the fixed part of a header
            return 0
        first, second = data[position], data[position + 1]
        opcode = first & 0x0F
        size = second & 0x7F
        self._check_header(first, second, opcode, size)
        start = position + 2
        if size > MAX_CONTROL_PAYLOAD:
            wide = 2 if size == MAX_CONTROL_PAYLOAD + 1 else 8
            if len(data) < start + wide:
                return 0
            size = int.from_bytes(data[start : start + wide], "big")
            start += wide
        if opcode < _CONTROL and size + len(self._message or b"") > self.max_payload:
            raise MessageTooBig(f"more than {self.max_payload} bytes")
        if len(data) < start + _MASK_BYTES:
            return 0
        mask = data[start : start + _MASK_BYTES]
        start += _MASK_BYTES
        if opcode >= _CONTROL:
            if len(data) < start + size:
                return 0
            self.frames_received += 1
            self._control(opcode, unmask(data[start : start + size], mask), events)
            return start + size - position
        self.frames_received += 1
        if opcode != Opcode.CONTINUATION:
            self._opcode = opcode
            self._message = bytearray()
        self._mask, self._remaining, self._fin = mask, size, bool(first & 0x80)
        return start - position

    def _check_header(self, first: int, second: int, opcode: int, size: int) -> None:
        if first & _RESERVED_BITS:
            raise ProtocolViolation("reserved bits set without an extension")
        if not second & 0x80:
            raise ProtocolViolation("a client's frames must be masked")
        if opcode >= _CONTROL:
            if opcode > Opcode.PONG:
                raise ProtocolViolation("reserved opcode")
            if not first & 0x80:
                raise ProtocolViolation("fragmented control frame")
            if size > MAX_CONTROL_PAYLOAD:
                raise ProtocolViolation("control frame longer than 125 bytes")
        elif opcode > Opcode.BINARY:
            raise ProtocolViolation("reserved opcode")
        elif opcode == Opcode.CONTINUATION and self._message is None:
            raise ProtocolViolation("continuation of nothing")
        elif opcode != Opcode.CONTINUATION and self._message is not None:
            raise ProtocolViolation("new message inside a fragmented one")

    def _payload(self, chunk: bytes) -> None:
        """Take a part of the payload of the frame at hand."""
        if not chunk or self._mask is None or self._message is None:
            return
        plain = unmask(chunk, self._mask)
        self._remaining -= len(chunk)
        turn = len(chunk) % _MASK_BYTES
        if turn:
            self._mask = self._mask[turn:] + self._mask[:turn]
        self._message += plain
        whole = self._fin and not self._remaining and len(self._message) == len(plain)
        if self._opcode == Opcode.TEXT and not whole:
            self._check_text(plain, final=False)

    def _check_text(self, plain: bytes, *, final: bool) -> None:
        if self._decoder is None:
            self._decoder = _UTF8()
        try:
            self._decoder.decode(plain, final)
        except UnicodeDecodeError as error:
            raise InvalidText("text that is not UTF-8") from error

    def _frame_ends(self, events: list[Event]) -> None:
        self._mask = None
        if not self._fin or self._message is None:
            return
        message, self._message, self._decoder = self._message, None, None
        if self._opcode == Opcode.TEXT:
            data: str | bytes = _decode(message)
        else:
            data = bytes(message)
        if self.state is State.OPEN:
            events.append(Message(data))

    def _control(self, opcode: int, payload: bytes, events: list[Event]) -> None:
        if opcode == Opcode.PING:
            if self.state is State.OPEN:
                events.append(Reply(encode_frame(Opcode.PONG, payload)))
        elif opcode == Opcode.CLOSE:
            code, reason = _read_close(payload)
            if self.state is State.OPEN:
                events.append(Reply(encode_close(code)))
            self._change(State.CLOSED)
            events.append(Closed(code, reason))


def _decode(text: bytes | bytearray) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise InvalidText("text that is not UTF-8") from error


def _read_close(payload: bytes) -> tuple[int, str]:
    if not payload:
        return CloseCode.NO_STATUS, ""
    if len(payload) < CLOSE_CODE.size:
        raise ProtocolViolation("close frame with half a code")
    (code,) = CLOSE_CODE.unpack_from(payload)
    if code not in _SENDABLE_CLOSE_CODES and code not in _PRIVATE_CLOSE_CODES:
        raise ProtocolViolation("close code that must not be sent")
    return code, _decode(payload[CLOSE_CODE.size :])
