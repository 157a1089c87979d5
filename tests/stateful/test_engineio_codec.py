"""Properties of the Engine.IO codec."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstream.gateway.framing import engine_polling_v3, engine_polling_v4
from doorstream.protocols.engineio import (
    EngineIOError,
    Packet,
    PacketType,
    Session,
    State,
    decode_packet,
    decode_payload,
    encode_binary_payload,
    encode_packet,
    encode_payload,
)
from doorstream.protocols.engineio.payloads import SEPARATOR

TEXT = st.text(alphabet=st.characters(exclude_characters=SEPARATOR, exclude_categories=["Cs"]))
PACKETS = st.one_of(
    st.builds(Packet, st.sampled_from(PacketType), TEXT), st.builds(Packet, st.just(PacketType.MESSAGE), st.binary())
)
VERSIONS = st.sampled_from([3, 4])


@given(PACKETS, VERSIONS)
def test_packets_round_trip(packet: Packet, version) -> None:
    """As WebSocket messages."""
    assert decode_packet(encode_packet(packet, version), version) == packet


@given(st.lists(PACKETS, min_size=1, max_size=8), VERSIONS)
def test_payloads_round_trip(packets: list[Packet], version) -> None:
    """As text, all characters of Unicode included."""
    assert decode_payload(encode_payload(packets, version).encode(), version) == packets


@given(st.lists(PACKETS, min_size=1, max_size=8))
def test_binary_payloads_round_trip(packets: list[Packet]) -> None:
    """As bytes (version 3)."""
    assert decode_payload(encode_binary_payload(packets), 3, binary=True) == packets


@given(st.lists(TEXT, min_size=1, max_size=8))
def test_framed_messages_can_be_joined(texts: list[str]) -> None:
    """The live path joins frames; the result is the payload of all messages."""
    packets = [Packet(PacketType.MESSAGE, text) for text in texts]
    joined_v4 = b"".join(engine_polling_v4(text.encode()) for text in texts)
    joined_v3 = b"".join(engine_polling_v3(text.encode()) for text in texts)
    assert decode_payload(joined_v4[1:], 4) == packets
    assert decode_payload(joined_v3, 3) == packets


@given(st.one_of(st.text(), st.binary()), VERSIONS)
def test_garbage_packets_raise_only_the_protocols_error(data: str | bytes, version) -> None:
    """What passes can be encoded again."""
    with contextlib.suppress(EngineIOError):
        encode_packet(decode_packet(data, version), version)


@given(st.binary(), VERSIONS, st.booleans())
def test_garbage_payloads_raise_only_the_protocols_error(body: bytes, version, binary) -> None:
    """Text and binary."""
    with contextlib.suppress(EngineIOError):
        assert decode_payload(body, version, binary=binary)


@given(st.lists(PACKETS, min_size=1, max_size=4), st.binary(max_size=5), st.integers(0, 60), st.booleans())
def test_damaged_payloads_raise_only_the_protocols_error(packets, noise: bytes, place: int, binary) -> None:
    """Lengths that no longer fit."""
    body = encode_binary_payload(packets) if binary else encode_payload(packets, 3).encode()
    with contextlib.suppress(EngineIOError):
        assert decode_payload(body[:place] + noise + body[place:], 3, binary=binary)


@given(VERSIONS, st.booleans(), st.lists(st.tuples(st.booleans(), PACKETS), max_size=20))
def test_a_session_raises_only_the_protocols_error(version, websocket, steps: list[tuple[bool, Packet]]) -> None:
    """Whatever comes on either transport; a closed session stays closed."""
    session = Session(version, websocket=websocket)
    for probing, packet in steps:
        closed = session.state is State.CLOSED
        if probing and not websocket:
            with contextlib.suppress(EngineIOError):
                session.probe(packet)
        else:
            with contextlib.suppress(EngineIOError):
                session.receive(packet)
        if closed:
            assert session.state is State.CLOSED


def test_a_payload_that_is_wrong_anywhere_gives_nothing() -> None:
    """All or nothing."""
    with pytest.raises(EngineIOError):
        decode_payload(b"4good\x1exbad", 4)
