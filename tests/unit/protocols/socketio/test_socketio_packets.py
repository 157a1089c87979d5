"""Socket.IO packets, with the examples of the protocol's documents."""

import pytest

from doorstream.protocols.socketio import Decoder, Packet, PacketError, PacketType, encode_packet, event_packet

EVENT, ACK = PacketType.EVENT, PacketType.ACK


def decode(*messages: str | bytes) -> Packet:
    """Feed all messages; the last must complete the only packet."""
    decoder = Decoder()
    results = [decoder.feed(message) for message in messages]
    assert results[:-1] == [None] * (len(messages) - 1)
    assert results[-1] is not None
    return results[-1]


@pytest.mark.parametrize(
    ("packet", "messages"),
    [
        (Packet(PacketType.CONNECT), ["0"]),
        (Packet(PacketType.CONNECT, "/admin", {"sid": "x"}), ['0/admin,{"sid":"x"}']),
        (Packet(PacketType.CONNECT_ERROR, "/", {"message": "no"}), ['4{"message":"no"}']),
        (Packet(PacketType.CONNECT_ERROR, "/a", "no"), ['4/a,"no"']),
        (Packet(PacketType.DISCONNECT, "/admin"), ["1/admin,"]),
        (Packet(EVENT, "/", ["hello", 1]), ['2["hello",1]']),
        (Packet(EVENT, "/admin", ["x"], 456), ['2/admin,456["x"]']),
        (Packet(ACK, "/", [], 0), ["30[]"]),
        (Packet(ACK, "/admin", ["x", None], 13), ['3/admin,13["x",null]']),
        (Packet(EVENT, "/", ["b", b"\x01"]), ['51-["b",{"_placeholder":true,"num":0}]', b"\x01"]),
        (
            Packet(EVENT, "/n", ["b", {"deep": [b"1", b"2"]}], 7),
            ['52-/n,7["b",{"deep":[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]}]', b"1", b"2"],
        ),
        (Packet(ACK, "/", [b"\x01"], 9), ['61-9[{"_placeholder":true,"num":0}]', b"\x01"]),
    ],
)
def test_packets_and_their_messages(packet: Packet, messages: list[str | bytes]) -> None:
    """Both ways."""
    assert encode_packet(packet) == messages
    read = decode(*messages)
    assert (read.type, read.namespace, read.data, read.id) == (packet.type, packet.namespace, packet.data, packet.id)


def test_spikes_6_the_text_of_a_payload_is_kept() -> None:
    """`40` and `40{}` differ (`spikes.md` section 6)."""
    assert (decode("0").data, decode("0").raw) == (None, "")
    assert (decode("0{}").data, decode("0{}").raw) == ({}, "{}")


def test_a_namespace_may_end_the_packet() -> None:
    """Clients leave the comma out when nothing follows."""
    assert decode("0/admin").namespace == "/admin"
    assert decode("1/admin").namespace == "/admin"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "7",
        "٢[]",
        "2",
        "2{}",
        "2[]",
        "2[1]",
        '2["connect"]',
        '2["disconnect"]',
        '2["newListener"]',
        "2[",
        '2["x"]]',
        "2[" * 5_000,
        "2" + "[" * 50_000,
        '2["\\ud800"]',
        'abc["x",1]',
        '2-["x"]',
        '21-["x"]',
        '2/a["x"]',
        '299999999999999999999["x"]',
        "3[]",
        "31{}",
        "3",
        "31",
        "0[]",
        "0null",
        '0"x"',
        "0{",
        "1{}",
        "4",
        "41",
        "4[]",
        '5["x"]',
        "5-[]",
        '511-["x"]',
        '59999999999-["x"]',
        "50-{}",
    ],
)
def test_garbage_is_refused(text: str) -> None:
    """Unknown types, wrong data, endless nesting, reserved names, too many attachments."""
    with pytest.raises(PacketError):
        Decoder().feed(text)


@pytest.mark.parametrize(
    "text",
    [
        '51-["x",{"_placeholder":true,"num":1}]',
        '51-["x",{"_placeholder":true,"num":-1}]',
        '51-["x",{"_placeholder":true,"num":true}]',
        '51-["x",{"_placeholder":true,"num":"0"}]',
        '51-["x",{"_placeholder":true}]',
        '51-[{"_placeholder":true,"num":0}]',
        "51-",
        "51-{}",
        "51-[",
        "51-" + "[" * 50_000,
        '61-["x"]',
        '61-5["x"]x',
    ],
)
def test_garbage_with_an_attachment_is_refused(text: str) -> None:
    """Noticed when the attachment has come."""
    decoder = Decoder()
    assert decoder.feed(text) is None
    with pytest.raises(PacketError):
        decoder.feed(b"\x00")


def test_attachments_come_right_after_their_packet() -> None:
    """Not before it, and nothing between."""
    with pytest.raises(PacketError):
        Decoder().feed(b"\x00")
    decoder = Decoder()
    decoder.feed('51-["x",{"_placeholder":true,"num":0}]')
    with pytest.raises(PacketError):
        decoder.feed('2["y"]')


def test_a_binary_packet_without_attachments_is_complete() -> None:
    """Some clients send `50-` for empty buffers they dropped."""
    assert decode('50-["x"]') == Packet(EVENT, "/", ["x"], None, '["x"]')


def test_binary_of_every_kind_is_taken_out() -> None:
    """What is not JSON is not copied."""
    assert encode_packet(Packet(EVENT, "/", ["x", bytearray(b"a"), (memoryview(b"b"),)]))[1:] == [b"a", b"b"]


def test_an_event_from_encoded_json() -> None:
    """For the live path: nothing is encoded again."""
    assert event_packet(b'"topic"', b'{"a":1}') == b'2["topic",{"a":1}]'
    assert event_packet(b'"topic"', b"1", b'"offset"', namespace="/n") == b'2/n,["topic",1,"offset"]'
    assert decode(event_packet(b'"t"').decode()).data == ["t"]
