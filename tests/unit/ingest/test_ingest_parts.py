"""Taking bodies apart."""

import json
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from doorstream.events import InvalidEvent
from doorstream.events.draft import MAX_EVENT_BYTES, Draft
from doorstream.ingest.parts import lines_of, members_of

EVENT = {"topic": "x.a", "occurred": 1, "body": {}}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


async def lines(chunks):
    """The lines of a body that comes in chunks."""

    async def body():
        for chunk in chunks:
            yield chunk

    return [line async for line in lines_of(body())]


def test_an_array_of_events_is_decoded():
    assert list(members_of(json.dumps([EVENT, EVENT]).encode())) == [Draft("x.a", 1, {})] * 2


@given(st.lists(json_values, max_size=6), st.sampled_from([None, 1, 2]))
@example(['[,]"\\', {"a": "]"}], None)
def test_an_array_of_anything_is_taken_apart(members, indent):
    """Where one member is no event, all are given as texts, so that each can be judged."""
    found = list(members_of(json.dumps(members, indent=indent).encode()))

    assert [json.loads(text) for text in found] == members


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{}",
        b"null",
        b"[",
        b"[1",
        b"[1,",
        b"[1,]",
        b"[,1]",
        b"[1 2]",
        b"[1]]",
        b"[1] 2",
        b"[1],",
        b"[]x",
        b'["a]',
        b"[1,,2]",
        b"[\xff]",
        b'["\xff"]',
        b"[nul]",
        b"[" * 100_000,
        b"[" + b"9" * 10_000 + b"]",
        b"\xef\xbb\xbf[]",
    ],
)
def test_what_is_no_array_is_refused(data):
    with pytest.raises(InvalidEvent):
        list(members_of(data))


def test_an_array_of_nothings_costs_no_memory():
    """Eight megabytes of ``0,`` used to become four million objects, and as many messages about them."""
    data = b"[" + b"0," * 4_000_000 + b"0]"
    tracemalloc.start()
    try:
        for _, member in zip(range(1001), members_of(data), strict=False):
            assert member == b"0"
        assert tracemalloc.get_traced_memory()[1] < 3 * len(data)
    finally:
        tracemalloc.stop()


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line), max_size=8), st.data())
async def test_lines_are_the_same_wherever_chunks_end(content, data):
    body = b"\n".join(content)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=10)))
    chunks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    expected = list(enumerate(content, 1))
    if not content or content[-1] == b"":
        expected = expected[:-1]

    assert await lines(chunks) == expected
    assert await lines([body[at : at + 1] for at in range(len(body))]) == expected


@pytest.mark.parametrize("size", [1, 7, 4096, 65_536, 10**9])
async def test_lines_that_are_too_long_are_named_and_not_kept(size):
    content = [b"a", b"x" * MAX_EVENT_BYTES, b"y" * (MAX_EVENT_BYTES + 1), b"", b"z" * (3 * MAX_EVENT_BYTES), b"b"]
    body = b"\n".join(content)
    found = await lines([body[at : at + size] for at in range(0, len(body), size)])

    assert found == [(1, b"a"), (2, content[1]), (3, None), (4, b""), (5, None), (6, b"b")]


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_a_last_line_that_is_too_long(end):
    assert await lines([b"a\n", b"x" * 60_000, b"x" * 60_000, end]) == [(1, b"a"), (2, None)]


async def test_a_line_without_end_costs_no_memory():
    async def body():
        for _ in range(2000):
            yield b"x" * 50_000

    tracemalloc.start()
    try:
        assert [line async for line in lines_of(body())] == [(1, None)]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
