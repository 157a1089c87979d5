"""One SignalR client without transport and clock: frames in, messages out, and how to write what goes back.

A client begins with the handshake, a JSON record whatever follows it: ``{"protocol":"json","version":1}`` and 0x1e.
A client with stateful reconnect that dials again sends no second handshake; its first message is a Sequence
(spikes.md section 7), and which encoding it goes on with shows from the frame's kind: text is JSON.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from doorstream.protocols.signalr import json_protocol, msgpack_protocol
from doorstream.protocols.signalr.errors import HandshakeError, MessageError
from doorstream.protocols.signalr.json_protocol import SEPARATOR
from doorstream.protocols.signalr.messages import Message, Sequence

DEFAULT_MAX_MESSAGE = 100_000
"""Bytes of one message, wherever its frames end (design.md D12)."""

VERSIONS: Final = frozenset({0, 1, 2})
"""Versions of the hub protocol: 2 has stateful reconnect, and signalrcore asks for 0 (spikes.md section 10)."""

STATEFUL_VERSION: Final = 2

Encoding = Literal["json", "messagepack"]


class Phase(enum.Enum):
    """What a connection may receive next."""

    HANDSHAKE = "handshake"
    FIRST = "first"
    """A handshake, or the Sequence of a client that dials again."""
    MESSAGES = "messages"


@dataclass(frozen=True, slots=True)
class Handshake:
    """The client asks to speak that encoding; ``handshake_reply()`` is owed."""

    encoding: Encoding
    version: int


class HubProtocol:
    """The server's side of one connection's wire. Everything it raises ends the connection."""

    __slots__ = ("_buffer", "_max_message", "_phase", "encoding")

    def __init__(self, max_message: int = DEFAULT_MAX_MESSAGE, *, may_resume: bool = False) -> None:
        """``may_resume``: the client may be one that dials again."""
        self._max_message = max_message
        self._phase = Phase.FIRST if may_resume else Phase.HANDSHAKE
        self._buffer = b""
        self.encoding: Encoding = json_protocol.NAME

    def receive(self, data: str | bytes) -> list[Handshake | Message]:
        """Take the payload of one frame, and give what is complete.

        Raises HandshakeError (answer with ``handshake_error``) or MessageError (answer with a Close).
        """
        received: list[Handshake | Message] = []
        if self._phase is Phase.FIRST and isinstance(data, bytes) and not data.startswith(b"{") and not self._buffer:
            self.encoding = msgpack_protocol.NAME
            self._phase = Phase.MESSAGES
        self._buffer += data.encode() if isinstance(data, str) else data
        if self._phase is not Phase.MESSAGES:
            first = self._first()
            if first is None:
                return received
            received.append(first)
        self._read_messages(received)
        return received

    def encode(self, message: Message) -> bytes:
        """The bytes of a message in the client's encoding."""
        if self.encoding == json_protocol.NAME:
            return json_protocol.encode(message)
        return msgpack_protocol.encode(message)

    @property
    def is_binary(self) -> bool:
        """Whether frames to the client are binary ones."""
        return self.encoding != json_protocol.NAME

    def _first(self) -> Handshake | Message | None:
        record = self._record()
        if record is None:
            return None
        self._phase = Phase.MESSAGES if self._phase is Phase.HANDSHAKE else self._phase
        try:
            value = json_protocol.decode_object(record)
        except MessageError:
            raise HandshakeError("the handshake is not a JSON object") from None
        if self._phase is Phase.FIRST and "protocol" not in value:
            self._phase = Phase.MESSAGES
            message = json_protocol.decode(record)
            if not isinstance(message, Sequence):
                raise MessageError("the first message must be a handshake or a sequence")
            return message
        self._phase = Phase.MESSAGES
        handshake = _read_handshake(value)
        self.encoding = handshake.encoding
        return handshake

    def _read_messages(self, received: list[Handshake | Message]) -> None:
        while self._buffer:
            is_json = self.encoding == json_protocol.NAME
            body = self._record() if is_json else self._prefixed()
            if body is None:
                return
            message = json_protocol.decode(body) if is_json else msgpack_protocol.decode(body)
            if message is not None:
                received.append(message)

    def _record(self) -> bytes | None:
        """The next bytes up to a separator, taken out of the buffer."""
        end = self._buffer.find(SEPARATOR)
        if (len(self._buffer) if end < 0 else end) > self._max_message:
            raise MessageError(f"a message is longer than {self._max_message} bytes")
        if end < 0:
            return None
        record, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        return record

    def _prefixed(self) -> bytes | None:
        """The next bytes behind a length, taken out of the buffer."""
        prefix = msgpack_protocol.length(self._buffer)
        if prefix is None:
            return None
        size, start = prefix
        if size > self._max_message:
            raise MessageError(f"a message is longer than {self._max_message} bytes")
        if len(self._buffer) < start + size:
            return None
        body, self._buffer = self._buffer[start : start + size], self._buffer[start + size :]
        return body


HANDSHAKE_REPLY: Final = b"{}" + SEPARATOR
"""The answer to a handshake that is accepted."""


def handshake_error(error: str) -> bytes:
    """The answer to a handshake that is not; the connection is closed behind it."""
    return msgspec.json.encode({"error": error}) + SEPARATOR


def _read_handshake(value: dict[str, Any]) -> Handshake:
    encoding, version = value.get("protocol"), value.get("version")
    if encoding not in (json_protocol.NAME, msgpack_protocol.NAME):
        raise HandshakeError("the protocol is not supported: use json or messagepack")
    if not isinstance(version, int) or isinstance(version, bool) or version not in VERSIONS:
        raise HandshakeError("the version of the protocol is not supported: use 1 or 2")
    return Handshake(encoding, version)
