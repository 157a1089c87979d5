"""Engine.IO packets of both versions."""

import pytest

from doorstream.protocols.engineio import Packet, PacketError, PacketType, decode_packet, encode_packet

MESSAGE = PacketType.MESSAGE


@pytest.mark.parametrize("version", [3, 4])
def test_text_packets(version) -> None:
    """A digit and the data, the same in both versions."""
    assert decode_packet("4hello", version) == Packet(MESSAGE, "hello")
    assert decode_packet("2probe", version) == Packet(PacketType.PING, "probe")
    assert decode_packet("6", version) == Packet(PacketType.NOOP)
    assert encode_packet(Packet(PacketType.PONG, "probe"), version) == "3probe"


def test_binary_in_a_frame_differs_by_version() -> None:
    """Version 4 sends the bytes alone, version 3 puts the type in front."""
    packet = Packet(MESSAGE, b"\x01\x02")
    assert encode_packet(packet, 4) == b"\x01\x02"
    assert encode_packet(packet, 3) == b"\x04\x01\x02"
    assert decode_packet(b"\x01\x02", 4) == packet
    assert decode_packet(b"\x04\x01\x02", 3) == packet


def test_base64_differs_by_version() -> None:
    """Version 3 puts the type after the `b`."""
    assert decode_packet("bAQIDBA==", 4) == Packet(MESSAGE, b"\x01\x02\x03\x04")
    assert decode_packet("b4AQIDBA==", 3) == Packet(MESSAGE, b"\x01\x02\x03\x04")


@pytest.mark.parametrize(
    ("data", "version"),
    [
        ("", 4),
        ("7", 4),
        ("abc", 4),
        ("٤hello", 4),
        ("b!", 4),
        ("bé", 4),
        ("bAQI", 3),
        ("b", 3),
        (b"", 3),
        (b"\x02", 3),
        (b"\xff", 3),
    ],
)
def test_garbage_is_refused(data: str | bytes, version) -> None:
    """Digits of other scripts are no types either."""
    with pytest.raises(PacketError):
        decode_packet(data, version)
