"""The MessagePack encoding of the hub protocol: one array a message, each behind its length as a variable integer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from doorstream.protocols.signalr import fields
from doorstream.protocols.signalr.errors import MessageError
from doorstream.protocols.signalr.messages import (
    NOTHING,
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

NAME: Final = "messagepack"

_ERROR, _VOID, _RESULT = 1, 2, 3
_MAX_PREFIX = 5
_CONTINUES = 0x80

_encode = msgspec.msgpack.Encoder().encode
_decode_any = msgspec.msgpack.Decoder().decode


def encode(message: Message) -> bytes:
    """The bytes of a message, its length included. Raises TypeError for arguments that MessagePack cannot hold."""
    return prefixed(_encode(_array(message)))


def invocation(target: str, *arguments: Any) -> bytes:
    """The bytes of an invocation that wants no answer."""
    return prefixed(_encode([MessageType.INVOCATION, {}, None, target, arguments, ()]))


def prefixed(body: bytes) -> bytes:
    """A body behind its length."""
    size = len(body)
    prefix = bytearray()
    while size >= _CONTINUES:
        prefix.append(size & 0x7F | _CONTINUES)
        size >>= 7
    prefix.append(size)
    return bytes(prefix) + body


def length(data: bytes | bytearray) -> tuple[int, int] | None:
    """The length that stands first, and how many bytes it takes itself; None while it is not complete.

    Raises MessageError for one of more than five bytes.
    """
    size = 0
    for place, byte in enumerate(data[:_MAX_PREFIX]):
        size |= (byte & 0x7F) << (7 * place)
        if not byte & _CONTINUES:
            return size, place + 1
    if len(data) >= _MAX_PREFIX:
        raise MessageError("a message's length is malformed")
    return None


def decode(body: bytes) -> Message | None:
    """Read a message without its length; None for a type that we do not know. Raises MessageError."""
    try:
        value = _decode_any(body)
    except (msgspec.DecodeError, RecursionError, ValueError, TypeError, OverflowError):
        raise MessageError("a message is not MessagePack") from None
    if not isinstance(value, list) or not value or not isinstance(value[0], int) or isinstance(value[0], bool):
        raise MessageError("a message must be an array that begins with its type")
    reader = _READERS.get(value[0])
    if reader is None:
        return None
    try:
        return reader(value)
    except IndexError:
        raise MessageError("a message is too short") from None


def _array(message: Message) -> list[Any]:  # noqa: PLR0911 - one line for each type
    match message:
        case Invocation():
            return _call(MessageType.INVOCATION, message)
        case StreamInvocation():
            return _call(MessageType.STREAM_INVOCATION, message)
        case StreamItem():
            return [MessageType.STREAM_ITEM, message.headers, message.id, message.item]
        case Completion():
            return [MessageType.COMPLETION, message.headers, message.id, *_outcome(message)]
        case CancelInvocation():
            return [MessageType.CANCEL_INVOCATION, message.headers, message.id]
        case Ping():
            return [MessageType.PING]
        case Close():
            return [MessageType.CLOSE, message.error, message.allow_reconnect]
        case Ack():
            return [MessageType.ACK, message.sequence_id]
        case Sequence():
            return [MessageType.SEQUENCE, message.sequence_id]


def _call(kind: MessageType, message: Invocation | StreamInvocation) -> list[Any]:
    return [kind, message.headers, message.id, message.target, message.arguments, message.stream_ids]


def _outcome(message: Completion) -> list[Any]:
    if message.error is not None:
        return [_ERROR, message.error]
    return [_VOID] if message.result is NOTHING else [_RESULT, message.result]


def _read_invocation(value: list[Any]) -> Message:
    return Invocation(
        fields.text(value[3], "target"),
        fields.items(value[4], "arguments"),
        fields.optional_text(value[2], "invocationId"),
        _stream_ids(value),
        fields.headers(value[1]),
    )


def _read_stream_invocation(value: list[Any]) -> Message:
    return StreamInvocation(
        fields.text(value[3], "target"),
        fields.items(value[4], "arguments"),
        fields.text(value[2], "invocationId"),
        _stream_ids(value),
        fields.headers(value[1]),
    )


def _stream_ids(value: list[Any]) -> tuple[str, ...]:
    """Clients of before ASP.NET Core 3.0 leave them out."""
    return fields.texts(value[5], "streamIds") if len(value) > 5 else ()  # noqa: PLR2004 - the sixth field


def _read_stream_item(value: list[Any]) -> Message:
    return StreamItem(fields.text(value[2], "invocationId"), value[3], fields.headers(value[1]))


def _read_completion(value: list[Any]) -> Message:
    headers, identifier = fields.headers(value[1]), fields.text(value[2], "invocationId")
    match value[3]:
        case 1:
            return Completion(identifier, error=fields.text(value[4], "error"), headers=headers)
        case 2:
            return Completion(identifier, headers=headers)
        case 3:
            return Completion(identifier, value[4], headers=headers)
    raise MessageError("the result kind of a completion must be 1, 2 or 3")


def _read_cancel(value: list[Any]) -> Message:
    return CancelInvocation(fields.text(value[2], "invocationId"), fields.headers(value[1]))


def _read_close(value: list[Any]) -> Message:
    allow = fields.flag(value[2], "allowReconnect") if len(value) > 2 else False  # noqa: PLR2004 - the third field
    return Close(fields.optional_text(value[1], "error"), allow)


_READERS: dict[int, Callable[[list[Any]], Message]] = {
    MessageType.INVOCATION: _read_invocation,
    MessageType.STREAM_ITEM: _read_stream_item,
    MessageType.COMPLETION: _read_completion,
    MessageType.STREAM_INVOCATION: _read_stream_invocation,
    MessageType.CANCEL_INVOCATION: _read_cancel,
    MessageType.PING: lambda _: Ping(),
    MessageType.CLOSE: _read_close,
    MessageType.ACK: lambda value: Ack(fields.sequence_id(value[1])),
    MessageType.SEQUENCE: lambda value: Sequence(fields.sequence_id(value[1])),
}
