"""Polling payloads of both versions, with the examples of the protocol's documents."""

import pytest

from doorstream.protocols.engineio import (
    EngineIOError,
    Packet,
    PacketType,
    decode_payload,
    encode_binary_payload,
    encode_payload,
)
from doorstream.protocols.engineio.payloads import js_length

HELLO = Packet(PacketType.MESSAGE, "hello")
EURO = Packet(PacketType.MESSAGE, "€")
EMOJI = Packet(PacketType.MESSAGE, "😀!")
BINARY = Packet(PacketType.MESSAGE, b"\x01\x02\x03\x04")


def test_version_4_joins_with_a_separator() -> None:
    """Binary is base64 behind a `b`."""
    text = "4hello\x1e2\x1ebAQIDBA=="
    packets = [HELLO, Packet(PacketType.PING), BINARY]
    assert encode_payload(packets, 4) == text
    assert decode_payload(text.encode(), 4) == packets


def test_version_3_counts_characters() -> None:
    """`€` is one, and an emoji two, as JavaScript counts."""
    text = "6:4hello2:4€4:4😀!10:b4AQIDBA=="
    packets = [HELLO, EURO, EMOJI, BINARY]
    assert encode_payload(packets, 3) == text
    assert decode_payload(text.encode(), 3) == packets


def test_version_3_binary_frames() -> None:
    """0 or 1, the digits of the length in bytes, 255, the packet."""
    body = b"\x00\x04\xff4\xe2\x82\xac" + b"\x01\x05\xff\x04\x01\x02\x03\x04" + b"\x00\x01\x00\xff4aaaaaaaaa"
    packets = [EURO, BINARY, Packet(PacketType.MESSAGE, "a" * 9)]
    assert encode_binary_payload(packets) == body
    assert decode_payload(body, 3, binary=True) == packets


@pytest.mark.parametrize(("text", "length"), [("", 0), ("abc", 3), ("é€", 2), ("😀", 2), ("a😀b", 4)])
def test_js_length(text: str, length: int) -> None:
    """UTF-16 units."""
    assert js_length(text) == length


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"abc",
        b"4hello",
        b":4",
        b"-1:4",
        b"6:4hell",
        b"5:4hello",
        b"99999999999:4",
        b"2:\xff\xff",
        "2:4😀".encode(),
        "3:4😀1:".encode(),
        "٣:4ab".encode(),
    ],
)
def test_garbage_of_version_3_is_refused(body: bytes) -> None:
    """Also a length that cuts an emoji in two."""
    with pytest.raises(EngineIOError):
        decode_payload(body, 3)


@pytest.mark.parametrize("body", [b"", b"\x1e", b"4a\x1e", b"abc", b"\xff", b"4a\x1eb*"])
def test_garbage_of_version_4_is_refused(body: bytes) -> None:
    """Empty packets too."""
    with pytest.raises(EngineIOError):
        decode_payload(body, 4)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"\x00\xff",
        b"\x02\x01\xff4",
        b"\x00\x0b\xff4",
        b"\x00\x05\xff4",
        b"\x00\x01\xff\xff",
        b"\x01\x01\xff\x02",
        b"\x00" + b"\x09" * 11 + b"\xff4",
    ],
)
def test_garbage_in_binary_frames_is_refused(body: bytes) -> None:
    """Lengths without end, of other digits, beyond the body."""
    with pytest.raises(EngineIOError):
        decode_payload(body, 3, binary=True)


def test_version_4_has_no_binary_frames() -> None:
    """A body of type octet-stream is an error there."""
    with pytest.raises(EngineIOError):
        decode_payload(b"\x00\x01\xff4", 4, binary=True)
