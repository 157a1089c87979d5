"""Positions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstream.events import InvalidPosition, Position


@given(st.text("0123456789abcdef", min_size=1, max_size=16), st.integers(0, 2**63 - 1))
def test_a_position_is_the_same_after_a_round_trip(epoch, sequence):
    position = Position(epoch, sequence)

    assert Position.parse(str(position)) == position


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "abc",
        "abc.",
        ".5",
        "abc.-1",
        "abc.+1",
        "abc.1.2",
        "abc.1 ",
        " abc.1",
        "a-b.1",
        "a b.1",
        "abc.1e3",
        "abc.0x1",
        "abc.1_0",
        "abc.٣",
        "abc.²",
        "äbc.1",
        "abc.9223372036854775808",
        "abc.99999999999999999999",
        "abc.1\n",
        "abc.\x00",
    ],
)
def test_a_text_that_is_no_position_is_refused(text):
    with pytest.raises(InvalidPosition, match=r"3f9a1c07\.1024"):
        Position.parse(text)


@given(st.text(max_size=30))
def test_garbage_raises_only_invalid_position(text):
    try:
        position = Position.parse(text)
    except InvalidPosition:
        return
    assert 0 <= position.sequence < 2**63
    assert str(position).isascii()


def test_the_largest_sequence_fits_a_database():
    assert Position.parse("abc.9223372036854775807").sequence == 2**63 - 1
