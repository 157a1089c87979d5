"""Properties of the Socket.IO codec and of its session."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from doorstream.protocols.socketio import Connect, Decoder, Packet, PacketType, Session, SocketIOError, encode_packet

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=10)
KEYS = TEXT.filter(lambda key: key != "_placeholder")
NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
PLAIN = st.one_of(st.none(), st.booleans(), NUMBERS, TEXT)
DATA = st.recursive(
    st.one_of(PLAIN, st.binary(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
NAMESPACES = st.one_of(
    st.just("/"),
    st.text(alphabet=st.characters(exclude_characters=",", exclude_categories=["Cs"]), max_size=8).map("/{}".format),
)
EVENT_NAMES = TEXT.filter(
    lambda name: name not in {"connect", "connect_error", "disconnect", "disconnecting", "newListener"}
)
EVENTS = st.builds(
    Packet,
    st.just(PacketType.EVENT),
    NAMESPACES,
    st.builds(lambda name, arguments: [name, *arguments], EVENT_NAMES, st.lists(DATA, max_size=2)),
    st.one_of(st.none(), st.integers(0, 10**15)),
)
ACKS = st.builds(Packet, st.just(PacketType.ACK), NAMESPACES, st.lists(DATA, max_size=3), st.integers(0, 10**15))
CONNECTS = st.builds(
    Packet, st.just(PacketType.CONNECT), NAMESPACES, st.one_of(st.none(), st.dictionaries(TEXT, PLAIN, max_size=2))
)
PACKETS = st.one_of(EVENTS, ACKS, CONNECTS)


def decode(messages: list[str | bytes]) -> list[Packet]:
    """Feed all messages to one decoder."""
    decoder = Decoder()
    return [packet for packet in map(decoder.feed, messages) if packet is not None]


@given(st.lists(PACKETS, max_size=4))
def test_round_trip(packets: list[Packet]) -> None:
    """With attachments anywhere in the data; at most ten of them fit."""
    messages = [encode_packet(packet) for packet in packets]
    fits = [one for one in messages if len(one) <= 11]
    expected = [packet for packet, one in zip(packets, messages, strict=True) if len(one) <= 11]
    read = decode([message for one in fits for message in one])
    assert [(one.type, one.namespace, one.data, one.id) for one in read] == [
        (one.type, one.namespace, one.data, one.id) for one in expected
    ]


@given(st.lists(st.one_of(st.text(), st.from_regex(r"[0-6].*"), st.binary()), max_size=6))
def test_garbage_raises_only_the_protocols_error(messages: list[str | bytes]) -> None:
    """In any order."""
    with contextlib.suppress(SocketIOError):
        decode(messages)


@given(PACKETS, st.text(max_size=4), st.integers(0, 40))
def test_damaged_packets_raise_only_the_protocols_error(packet: Packet, noise: str, place: int) -> None:
    """Noise inside a good packet."""
    text, *attachments = encode_packet(packet)
    assert isinstance(text, str)
    with contextlib.suppress(SocketIOError):
        decode([text[:place] + noise + text[place:], *attachments])


@given(
    st.sampled_from([4, 5]),
    st.lists(
        st.one_of(
            st.sampled_from(["0", "0{}", "1", '2["x"]', "31[]", "0/a", "1/a", '2/a,["x"]', '51-["x"]', "0/other"]),
            st.text(max_size=5),
            st.binary(max_size=3),
        ),
        max_size=20,
    ),
    st.booleans(),
)
def test_a_session_raises_only_the_protocols_error(revision, messages: list[str | bytes], accept) -> None:
    """And knows no namespace that it was not told to accept."""
    session = Session(revision, {"/", "/a"})
    session.open()
    with contextlib.suppress(SocketIOError):
        for message in messages:
            outcome = session.receive(message)
            if isinstance(outcome, Connect):
                if accept:
                    session.accept(outcome.namespace, {"sid": "s"})
                else:
                    session.refuse(outcome.namespace, "no")
    assert set(session.connected) <= ({"/", "/a"} if accept else set())
