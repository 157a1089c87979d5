"""Any message survives both encodings, however its bytes are cut; any garbage is refused in the documented way."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstream.protocols.signalr import (
    NOTHING,
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Handshake,
    HubProtocol,
    Invocation,
    Message,
    Ping,
    Sequence,
    SignalRError,
    StreamInvocation,
    StreamItem,
)

TEXTS = st.text(max_size=20)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=10
)
ARGUMENTS = st.lists(VALUES, max_size=4)
HEADERS = st.dictionaries(TEXTS, TEXTS, max_size=2)
IDS = TEXTS
STREAMS = st.lists(IDS, max_size=2).map(tuple)
NUMBERS = st.integers(0, 2**53)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Invocation, TEXTS, ARGUMENTS, st.none() | IDS, STREAMS, HEADERS),
    st.builds(StreamInvocation, TEXTS, ARGUMENTS, IDS, STREAMS, HEADERS),
    st.builds(StreamItem, IDS, VALUES, HEADERS),
    st.builds(Completion, IDS, VALUES | st.just(NOTHING), st.none(), HEADERS),
    st.builds(Completion, IDS, st.just(NOTHING), TEXTS, HEADERS),
    st.builds(CancelInvocation, IDS, HEADERS),
    st.builds(Ping),
    st.builds(Close, st.none() | TEXTS, st.booleans()),
    st.builds(Ack, NUMBERS),
    st.builds(Sequence, NUMBERS),
)
ENCODINGS = pytest.mark.parametrize("encoding", ["json", "messagepack"])


def opened(encoding: str) -> HubProtocol:
    """A connection after its handshake."""
    protocol = HubProtocol()
    (handshake,) = protocol.receive(f'{{"protocol":"{encoding}","version":1}}\x1e')
    assert isinstance(handshake, Handshake)
    return protocol


@ENCODINGS
@given(messages=st.lists(MESSAGES, max_size=5), cuts=st.lists(st.integers(0, 500), max_size=6))
def test_round_trip_over_any_frames(encoding: str, messages: list[Message], cuts: list[int]) -> None:
    """Several messages in a frame, and a message over several frames, down to one byte each."""
    protocol = opened(encoding)
    data = b"".join(protocol.encode(message) for message in messages)
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    received: list[Any] = []
    for start, stop in itertools.pairwise(edges):
        received += protocol.receive(data[start:stop])
    assert received == messages
    bytewise = opened(encoding)
    assert [message for at in range(len(data)) for message in bytewise.receive(data[at : at + 1])] == messages


@ENCODINGS
@given(frames=st.lists(st.binary(max_size=60) | st.text(max_size=60), max_size=5))
def test_garbage_is_refused_or_read(encoding: str, frames: list[bytes | str]) -> None:
    """Nothing but a SignalRError leaves the reader, before the handshake and after it."""
    for protocol in (opened(encoding), HubProtocol(), HubProtocol(may_resume=True)):
        with contextlib.suppress(SignalRError):
            for frame in frames:
                protocol.receive(frame)


@ENCODINGS
@given(message=MESSAGES, at=st.integers(0, 200), byte=st.integers(0, 255))
def test_a_damaged_message(encoding: str, message: Message, at: int, byte: int) -> None:
    """One byte changed: another message, none, or an error; never anything else."""
    protocol = opened(encoding)
    data = bytearray(protocol.encode(message))
    data[at % len(data)] = byte
    with contextlib.suppress(SignalRError):
        protocol.receive(bytes(data))
