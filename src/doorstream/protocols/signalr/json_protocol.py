"""The JSON encoding of the hub protocol: one object a message, each ended by the record separator 0x1e.

vendor-apis.md 4.3, facts 6 to 8.
"""

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

NAME: Final = "json"
SEPARATOR: Final = b"\x1e"

_encode = msgspec.json.Encoder().encode
_decode_any = msgspec.json.Decoder().decode


def encode(message: Message) -> bytes:
    """The bytes of a message, its separator included. Raises TypeError for arguments that JSON cannot hold."""
    return _encode(_object(message)) + SEPARATOR


def invocation(target: str, *arguments: bytes) -> bytes:
    """The bytes of an invocation whose arguments are JSON already, for the path where every microsecond counts."""
    return b'{"type":1,"target":%b,"arguments":[%b]}\x1e' % (_encode(target), b",".join(arguments))


def decode(record: bytes) -> Message | None:
    """Read a message without its separator; None for a type that we do not know. Raises MessageError."""
    value = decode_object(record)
    kind = value.get("type")
    if not isinstance(kind, int) or isinstance(kind, bool):
        raise MessageError("type must be a number")
    reader = _READERS.get(kind)
    return None if reader is None else reader(value)


def decode_object(record: bytes) -> dict[str, Any]:
    """Read a JSON object; raises MessageError."""
    try:
        value = _decode_any(record)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise MessageError("a message is not JSON") from None
    if not isinstance(value, dict):
        raise MessageError("a message must be a JSON object")
    return value


def _object(message: Message) -> dict[str, Any]:  # noqa: PLR0911 - one line for each type
    match message:
        case Invocation():
            more = {"invocationId": message.id} if message.id is not None else {}
            return _call(MessageType.INVOCATION, message, more)
        case StreamInvocation():
            return _call(MessageType.STREAM_INVOCATION, message, {"invocationId": message.id})
        case StreamItem():
            return _answer(MessageType.STREAM_ITEM, message, {"item": message.item})
        case Completion():
            return _answer(MessageType.COMPLETION, message, _outcome(message))
        case CancelInvocation():
            return _answer(MessageType.CANCEL_INVOCATION, message, {})
        case Ping():
            return {"type": MessageType.PING}
        case Close():
            error = {"error": message.error} if message.error is not None else {}
            return {"type": MessageType.CLOSE, **error, **({"allowReconnect": True} if message.allow_reconnect else {})}
        case Ack():
            return {"type": MessageType.ACK, "sequenceId": message.sequence_id}
        case Sequence():
            return {"type": MessageType.SEQUENCE, "sequenceId": message.sequence_id}


def _call(kind: MessageType, message: Invocation | StreamInvocation, more: dict[str, Any]) -> dict[str, Any]:
    streams = {"streamIds": message.stream_ids} if message.stream_ids else {}
    headers = {"headers": message.headers} if message.headers else {}
    return {"type": kind, **headers, **more, "target": message.target, "arguments": message.arguments, **streams}


def _answer(
    kind: MessageType, message: StreamItem | Completion | CancelInvocation, more: dict[str, Any]
) -> dict[str, Any]:
    headers = {"headers": message.headers} if message.headers else {}
    return {"type": kind, **headers, "invocationId": message.id, **more}


def _outcome(message: Completion) -> dict[str, Any]:
    if message.error is not None:
        return {"error": message.error}
    return {} if message.result is NOTHING else {"result": message.result}


def _read_invocation(value: dict[str, Any]) -> Message:
    return Invocation(
        fields.text(value.get("target"), "target"),
        fields.items(value.get("arguments"), "arguments"),
        fields.optional_text(value.get("invocationId"), "invocationId"),
        fields.texts(value.get("streamIds"), "streamIds"),
        fields.headers(value.get("headers")),
    )


def _read_stream_invocation(value: dict[str, Any]) -> Message:
    return StreamInvocation(
        fields.text(value.get("target"), "target"),
        fields.items(value.get("arguments"), "arguments"),
        _id(value),
        fields.texts(value.get("streamIds"), "streamIds"),
        fields.headers(value.get("headers")),
    )


def _read_stream_item(value: dict[str, Any]) -> Message:
    return StreamItem(_id(value), value.get("item"), fields.headers(value.get("headers")))


def _read_completion(value: dict[str, Any]) -> Message:
    error = fields.optional_text(value.get("error"), "error")
    if error is not None and "result" in value:
        raise MessageError("a completion has an error or a result, not both")
    return Completion(_id(value), value.get("result", NOTHING), error, fields.headers(value.get("headers")))


def _read_cancel(value: dict[str, Any]) -> Message:
    return CancelInvocation(_id(value), fields.headers(value.get("headers")))


def _read_close(value: dict[str, Any]) -> Message:
    error = fields.optional_text(value.get("error"), "error")
    return Close(error, fields.flag(value.get("allowReconnect"), "allowReconnect"))


def _id(value: dict[str, Any]) -> str:
    return fields.text(value.get("invocationId"), "invocationId")


_READERS: dict[int, Callable[[dict[str, Any]], Message]] = {
    MessageType.INVOCATION: _read_invocation,
    MessageType.STREAM_ITEM: _read_stream_item,
    MessageType.COMPLETION: _read_completion,
    MessageType.STREAM_INVOCATION: _read_stream_invocation,
    MessageType.CANCEL_INVOCATION: _read_cancel,
    MessageType.PING: lambda _: Ping(),
    MessageType.CLOSE: _read_close,
    MessageType.ACK: lambda value: Ack(fields.sequence_id(value.get("sequenceId"))),
    MessageType.SEQUENCE: lambda value: Sequence(fields.sequence_id(value.get("sequenceId"))),
}
