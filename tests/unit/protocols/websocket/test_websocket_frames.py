"""Frames against the examples of RFC 6455 section 5.7 and the limits of their length fields."""

import pytest

from doorstream.protocols.websocket import Opcode, encode_close, encode_frame, text_frame, unmask


def test_the_rfc_examples() -> None:
    """RFC 6455 5.7: text, fragments, pong, binary of 256 and of 64 KiB."""
    assert text_frame(b"Hello") == b"\x81\x05Hello"
    assert encode_frame(Opcode.TEXT, b"Hel", fin=False) == b"\x01\x03Hel"
    assert encode_frame(Opcode.CONTINUATION, b"lo") == b"\x80\x02lo"
    assert encode_frame(Opcode.PONG, b"Hello") == b"\x8a\x05Hello"
    assert encode_frame(Opcode.BINARY, bytes(256)) == b"\x82\x7e\x01\x00" + bytes(256)
    assert encode_frame(Opcode.BINARY, bytes(65536)) == b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + bytes(65536)


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65535, b"\x82\x7e\xff\xff"),
        (65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_lengths_use_the_shortest_form(size: int, header: bytes) -> None:
    assert encode_frame(Opcode.BINARY, bytes(size)) == header + bytes(size)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 8, 125, 126, 1000, 70_001])
def test_unmask_is_the_byte_wise_exclusive_or(size: int) -> None:
    payload = bytes((index * 7) & 0xFF for index in range(size))
    mask = b"\x01\x80\xff\x5a"
    expected = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    assert unmask(payload, mask) == expected
    assert unmask(expected, mask) == payload


def test_a_close_frame_carries_code_and_reason() -> None:
    assert encode_close(1000, "bye") == b"\x88\x05\x03\xe8bye"


def test_a_close_without_status_is_empty() -> None:
    """1005 is for reading only and must not be sent (RFC 6455 7.4.1)."""
    assert encode_close(1005) == b"\x88\x00"


def test_a_long_close_reason_is_cut_between_characters() -> None:
    frame = encode_close(1008, "ö" * 100)
    assert frame[1] == 124
    assert frame[4:].decode() == "ö" * 61
