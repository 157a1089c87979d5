"""Both encodings of the hub protocol, byte by byte, and what each refuses."""

from __future__ import annotations

import msgspec
import pytest

from doorstream.protocols.signalr import (
    NOTHING,
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Invocation,
    Message,
    MessageError,
    Ping,
    Sequence,
    StreamInvocation,
    StreamItem,
    json_protocol,
    msgpack_protocol,
)

SAMPLES: list[tuple[Message, dict, list]] = [
    (
        Invocation("Send", [1, "a"]),
        {"type": 1, "target": "Send", "arguments": [1, "a"]},
        [1, {}, None, "Send", [1, "a"], []],
    ),
    (
        Invocation("Send", [], id="7", stream_ids=("1",), headers={"a": "b"}),
        {"type": 1, "headers": {"a": "b"}, "invocationId": "7", "target": "Send", "arguments": [], "streamIds": ["1"]},
        [1, {"a": "b"}, "7", "Send", [], ["1"]],
    ),
    (StreamItem("7", {"x": None}), {"type": 2, "invocationId": "7", "item": {"x": None}}, [2, {}, "7", {"x": None}]),
    (Completion("7", 3), {"type": 3, "invocationId": "7", "result": 3}, [3, {}, "7", 3, 3]),
    (Completion("7", None), {"type": 3, "invocationId": "7", "result": None}, [3, {}, "7", 3, None]),
    (Completion("7"), {"type": 3, "invocationId": "7"}, [3, {}, "7", 2]),
    (Completion("7", error="no"), {"type": 3, "invocationId": "7", "error": "no"}, [3, {}, "7", 1, "no"]),
    (
        StreamInvocation("Count", [5], id="8"),
        {"type": 4, "invocationId": "8", "target": "Count", "arguments": [5]},
        [4, {}, "8", "Count", [5], []],
    ),
    (CancelInvocation("8"), {"type": 5, "invocationId": "8"}, [5, {}, "8"]),
    (Ping(), {"type": 6}, [6]),
    (Close(), {"type": 7}, [7, None, False]),
    (Close("bye", allow_reconnect=True), {"type": 7, "error": "bye", "allowReconnect": True}, [7, "bye", True]),
    (Ack(12), {"type": 8, "sequenceId": 12}, [8, 12]),
    (Sequence(13), {"type": 9, "sequenceId": 13}, [9, 13]),
]


@pytest.mark.parametrize(("message", "value", "array"), SAMPLES)
def test_every_type_in_both_encodings(message: Message, value: dict, array: list) -> None:
    """The shapes are those of the published hub protocol."""
    text = json_protocol.encode(message)
    assert text.endswith(b"\x1e")
    assert msgspec.json.decode(text[:-1]) == value
    assert json_protocol.decode(msgspec.json.encode(value)) == message
    binary = msgpack_protocol.encode(message)
    assert binary[0] == len(binary) - 1
    assert msgspec.msgpack.decode(binary[1:]) == array
    assert msgpack_protocol.decode(msgspec.msgpack.encode(array)) == message


def test_nothing_is_not_null() -> None:
    """A method that returns nothing and one that returns null are told apart."""
    assert json_protocol.decode(b'{"type":3,"invocationId":"1"}') == Completion("1", NOTHING)
    assert json_protocol.decode(b'{"type":3,"invocationId":"1","result":null}') == Completion("1", None)


def test_an_unknown_type_is_ignored() -> None:
    """So that the protocol can grow."""
    assert json_protocol.decode(b'{"type":42}') is None
    assert msgpack_protocol.decode(b"\x91\x2a") is None


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{}",
        b'{"type":"1"}',
        b'{"type":true}',
        b'{"type":1}',
        b'{"type":1,"target":1,"arguments":[]}',
        b'{"type":1,"target":"a","arguments":{}}',
        b'{"type":1,"target":"a","arguments":[],"invocationId":5}',
        b'{"type":1,"target":"a","arguments":[],"streamIds":[1]}',
        b'{"type":1,"target":"a","arguments":[],"headers":{"a":1}}',
        b'{"type":2}',
        b'{"type":3,"invocationId":"1","error":"x","result":1}',
        b'{"type":4,"target":"a","arguments":[]}',
        b'{"type":5}',
        b'{"type":7,"allowReconnect":1}',
        b'{"type":8}',
        b'{"type":9,"sequenceId":-1}',
        b'{"type":9,"sequenceId":1.5}',
        b"[" * 100_000,
    ],
)
def test_malformed_json(record: bytes) -> None:
    with pytest.raises(MessageError):
        json_protocol.decode(record)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\xc0",
        b"\x90",
        b"\x80",
        msgspec.msgpack.encode(["1"]),
        msgspec.msgpack.encode([True]),
        msgspec.msgpack.encode([1, {}, None, "a"]),
        msgspec.msgpack.encode([1, {}, None, 5, []]),
        msgspec.msgpack.encode([1, {}, None, "a", "b"]),
        msgspec.msgpack.encode([1, [], None, "a", []]),
        msgspec.msgpack.encode([1, {"a": 1}, None, "a", []]),
        msgspec.msgpack.encode([3, {}, "1", 4]),
        msgspec.msgpack.encode([3, {}, "1", 3]),
        msgspec.msgpack.encode([4, {}, None, "a", []]),
        msgspec.msgpack.encode([7]),
        msgspec.msgpack.encode([8, "1"]),
        msgspec.msgpack.encode([6]) + b"\x00",
        b"\x91" * 100_000,
    ],
)
def test_malformed_messagepack(body: bytes) -> None:
    with pytest.raises(MessageError):
        msgpack_protocol.decode(body)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 2_097_152])
def test_lengths(size: int) -> None:
    """Seven bits a byte, the lowest first."""
    data = msgpack_protocol.prefixed(bytes(size))
    assert msgpack_protocol.length(data) == (size, len(data) - size)


def test_lengths_that_are_not_there_yet_or_never() -> None:
    assert msgpack_protocol.length(b"\x80\x80") is None
    with pytest.raises(MessageError):
        msgpack_protocol.length(b"\xff\xff\xff\xff\xff")


def test_encoded_invocations_are_the_same() -> None:
    """The quick way of the live path gives the bytes of the slow one."""
    text = 'a "quoted" text'
    assert json_protocol.invocation("R", msgspec.json.encode(text)) == json_protocol.encode(Invocation("R", [text]))
    assert msgpack_protocol.invocation("R", text) == msgpack_protocol.encode(Invocation("R", [text]))
