"""Properties of the WebSocket codec: round trip, byte-at-a-time equals at once, garbage never raises."""

import contextlib
import itertools

from hypothesis import given
from hypothesis import strategies as st

from doorstream.protocols.websocket import (
    Closed,
    Event,
    HandshakeError,
    Message,
    Opcode,
    UpgradeRequest,
    WebSocketProtocol,
    check,
    encode_frame,
    unmask,
)


def masked(opcode: int, payload: bytes, mask: bytes, *, fin: bool) -> bytes:
    """Build a frame as a client sends it."""
    plain = encode_frame(opcode, payload, fin=fin)
    header = bytearray(plain[: len(plain) - len(payload)])
    header[1] |= 0x80
    return bytes(header) + mask + unmask(payload, mask)


@st.composite
def fragmented(draw: st.DrawFn) -> tuple[str | bytes, bytes]:
    """Draw a message and the bytes of its frames, cut anywhere, with pings between."""
    message: str | bytes = draw(st.one_of(st.text(max_size=300), st.binary(max_size=300)))
    opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
    data = message.encode() if isinstance(message, str) else message
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    edges = [0, *cuts, len(data)]
    frames = b""
    for index, (start, end) in enumerate(itertools.pairwise(edges)):
        kind = opcode if index == 0 else Opcode.CONTINUATION
        frames += masked(kind, data[start:end], draw(st.binary(min_size=4, max_size=4)), fin=index == len(cuts))
        if draw(st.booleans()):
            frames += masked(Opcode.PING, b"p", b"abcd", fin=True)
    return message, frames


def feed(data: bytes, sizes: list[int], limit: int | None = None) -> list[Event]:
    """Feed data in pieces of these sizes, the last one repeated."""
    protocol = WebSocketProtocol(max_payload=1000)
    events: list[Event] = []
    position = 0
    index = 0
    while position < len(data):
        size = sizes[min(index, len(sizes) - 1)]
        events += protocol.receive(data[position : position + size], limit)
        position += size
        index += 1
    if limit is not None:
        while more := protocol.receive(b"", limit):
            events += more
    return events


@given(st.lists(fragmented(), max_size=5))
def test_round_trip(drawn: list[tuple[str | bytes, bytes]]) -> None:
    """What was framed is what comes out, in order."""
    events = WebSocketProtocol().receive(b"".join(frames for _, frames in drawn))
    assert [event.data for event in events if isinstance(event, Message)] == [message for message, _ in drawn]


@given(st.lists(fragmented(), max_size=4), st.lists(st.integers(1, 50), min_size=1, max_size=10))
def test_pieces_equal_the_whole(drawn: list[tuple[str | bytes, bytes]], sizes: list[int]) -> None:
    """However the bytes are cut, also one by one."""
    data = b"".join(frames for _, frames in drawn)
    whole = feed(data, [len(data) or 1])
    assert feed(data, sizes) == whole
    assert feed(data, [1]) == whole


@given(st.binary(max_size=400), st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_garbage_never_raises_and_pieces_fail_alike(data: bytes, sizes: list[int]) -> None:
    """Nothing comes after a `Closed`, and there is at most one."""
    whole = feed(data, [len(data) or 1])
    assert sum(isinstance(event, Closed) for event in whole) <= 1
    assert not any(isinstance(event, Closed) for event in whole[:-1])
    assert feed(data, sizes) == whole
    assert feed(data, [1]) == whole


@given(st.lists(fragmented(), max_size=4), st.binary(max_size=60), st.integers(0, 400))
def test_damaged_frames_never_raise(drawn: list[tuple[str | bytes, bytes]], noise: bytes, place: int) -> None:
    """Noise in the middle of good frames."""
    data = b"".join(frames for _, frames in drawn)
    damaged = data[:place] + noise + data[place + len(noise) :]
    assert feed(damaged, [1]) == feed(damaged, [len(damaged) or 1])


@given(st.lists(fragmented(), max_size=4), st.integers(1, 3))
def test_slices_equal_the_whole(drawn: list[tuple[str | bytes, bytes]], limit: int) -> None:
    """A limit delays frames and loses none."""
    data = b"".join(frames for _, frames in drawn)
    protocol = WebSocketProtocol()
    events = protocol.receive(data, limit)
    while protocol.buffered:
        before = protocol.frames_received
        events += protocol.receive(b"", limit)
        assert protocol.frames_received - before <= limit
    assert events == WebSocketProtocol().receive(data)


@given(st.binary(max_size=300))
def test_a_garbage_request_raises_only_the_handshake_error(head: bytes) -> None:
    """Every part of what passes can be read."""
    with contextlib.suppress(HandshakeError):
        request = UpgradeRequest.parse(head)
        assert isinstance((request.method, request.path, request.query, request.cookies, request.origin), tuple)
        check(request)


@given(st.text(max_size=50), st.lists(st.tuples(st.sampled_from(["Host", "Upgrade", "Cookie", "X"]), st.text())))
def test_a_damaged_request_raises_only_the_handshake_error(target: str, headers: list[tuple[str, str]]) -> None:
    """As above, in the form of a request."""
    lines = [f"GET /{target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    head = "\r\n".join(lines).encode()
    with contextlib.suppress(HandshakeError):
        request = UpgradeRequest.parse(head)
        assert isinstance((request.query, request.headers, request.cookies), tuple)
        check(request)
