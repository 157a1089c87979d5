"""Framings: bytes that can be joined."""

from doorstream.gateway.framing import engine_polling_v3, engine_polling_v4, engine_websocket, polling_item


def test_on_websocket_a_message_is_one_text_frame() -> None:
    assert engine_websocket(b'2["x"]') == b"\x81\x074" + b'2["x"]'


def test_on_polling_4_each_begins_with_the_separator() -> None:
    assert engine_polling_v4(b"a") + engine_polling_v4(b"b") == b"\x1e4a\x1e4b"


def test_on_polling_3_the_length_counts_characters() -> None:
    assert engine_polling_v3(b"a") + engine_polling_v3("€😀".encode()) == b"2:4a" + "4:4€😀".encode()


def test_packets_of_other_types() -> None:
    assert polling_item(b"6", 4) == b"\x1e6"
    assert polling_item(b"6", 3) == b"1:6"
