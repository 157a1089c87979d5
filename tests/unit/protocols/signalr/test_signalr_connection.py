"""One client's wire: handshake, messages joined and split, sizes, and the client that dials again."""

from __future__ import annotations

import pytest

from doorstream.protocols.signalr import (
    Handshake,
    HandshakeError,
    HubProtocol,
    Invocation,
    MessageError,
    Ping,
    Sequence,
    handshake_error,
    msgpack_protocol,
)

JSON = '{"protocol":"json","version":1}\x1e'
PACK = '{"protocol":"messagepack","version":1}\x1e'


@pytest.mark.parametrize("version", [0, 1, 2])
def test_sal_08_handshake(version: int) -> None:
    """Version 2 is that of stateful reconnect; signalrcore asks for 0."""
    protocol = HubProtocol()
    assert protocol.receive(JSON.replace("1}", f"{version}}}")) == [Handshake("json", version)]
    assert not protocol.is_binary


@pytest.mark.parametrize(
    "text",
    [
        '{"protocol":"xml","version":1}',
        '{"protocol":"json","version":3}',
        '{"protocol":"json","version":"1"}',
        '{"protocol":"json","version":true}',
        '{"protocol":"json"}',
        '{"version":1}',
        "[]",
        "",
        "hello",
    ],
)
def test_sal_08_a_handshake_that_is_refused(text: str) -> None:
    with pytest.raises(HandshakeError) as refused:
        HubProtocol().receive(text + "\x1e")
    assert handshake_error(str(refused.value)).startswith(b'{"error":"')


def test_messages_behind_the_handshake_in_one_frame() -> None:
    protocol = HubProtocol()
    assert protocol.receive(JSON + '{"type":6}\x1e{"type":1,"target":"a","arguments":[]}\x1e') == [
        Handshake("json", 1),
        Ping(),
        Invocation("a", []),
    ]


def test_a_message_split_over_frames() -> None:
    protocol = HubProtocol()
    assert protocol.receive(JSON[:10]) == []
    assert protocol.receive(JSON[10:] + '{"ty') == [Handshake("json", 1)]
    assert protocol.receive('pe":6}') == []
    assert protocol.receive("\x1e") == [Ping()]


def test_messagepack_in_binary_frames_split_and_joined() -> None:
    protocol = HubProtocol()
    assert protocol.receive(PACK) == [Handshake("messagepack", 1)]
    assert protocol.is_binary
    message = msgpack_protocol.encode(Invocation("a", ["x" * 200]))
    assert protocol.receive(message[:1]) == []
    assert protocol.receive(message[1:] + b"\x02\x91\x06") == [Invocation("a", ["x" * 200]), Ping()]


def test_messagepack_right_behind_the_handshake() -> None:
    assert HubProtocol().receive(PACK.encode() + b"\x02\x91\x06") == [Handshake("messagepack", 1), Ping()]


@pytest.mark.parametrize("text", ["x" * 101, "x" * 101 + "\x1e"])
def test_an_oversized_json_message(text: str) -> None:
    """Whether or not its end has come."""
    protocol = HubProtocol(max_message=100)
    protocol.receive(JSON)
    with pytest.raises(MessageError, match="longer than 100 bytes"):
        protocol.receive(text)


def test_an_oversized_messagepack_message_is_refused_by_its_length() -> None:
    protocol = HubProtocol(max_message=100)
    protocol.receive(PACK)
    with pytest.raises(MessageError, match="longer than 100 bytes"):
        protocol.receive(b"\x65")


def test_an_endless_handshake() -> None:
    with pytest.raises(MessageError):
        HubProtocol(max_message=100).receive("{" * 101)


def test_a_client_that_dials_again_sends_no_handshake() -> None:
    assert HubProtocol(may_resume=True).receive('{"type":9,"sequenceId":1}\x1e') == [Sequence(1)]
    packed = HubProtocol(may_resume=True)
    assert packed.receive(msgpack_protocol.encode(Sequence(4))) == [Sequence(4)]
    assert packed.encoding == "messagepack"
    assert HubProtocol(may_resume=True).receive(JSON) == [Handshake("json", 1)]


def test_who_may_not_dial_again_must_shake_hands() -> None:
    with pytest.raises(HandshakeError):
        HubProtocol().receive('{"type":9,"sequenceId":1}\x1e')
    with pytest.raises(MessageError):
        HubProtocol(may_resume=True).receive('{"type":6}\x1e')
