"""Entity tags (PAR-5, RFC 9110 13.1.2)."""

import pytest

from doorstream.dialects.parakey.etags import entity_tag, matches

TAG = b'"a"'


@pytest.mark.parametrize(
    "condition",
    [b'"a"', b'W/"a"', b'"b", "a"', b'"b","a" ', b'W/"b" , W/"a"', b"*", b" * ", b'"a,b", "a"', b'"", "a"', b', "a"'],
)
def test_matches(condition):
    assert matches(TAG, [condition])
    assert matches(TAG, [b'"x"', condition])


@pytest.mark.parametrize(
    "condition", [b"", b'"b"', b"a", b'"A"', b'"*"', b'"a', b'a"', b'"xa"', b'"a b"', b"**", b'"a,b"']
)
def test_matches_not(condition):
    assert not matches(TAG, [condition])


def test_no_condition():
    assert not matches(TAG, [])


def test_a_huge_condition_is_read_at_once():
    assert not matches(TAG, [b'W/"' * 20_000])
    assert matches(TAG, [b'"b", ' * 10_000 + TAG])


def test_tags_are_strong_quoted_and_of_all_their_parts():
    tag = entity_tag("e", 1, b"limit=1", "site")
    assert tag[0] == tag[-1] == '"'
    others = [
        ("e", 2, b"limit=1", "site"),
        ("e", 1, b"limit=2", "site"),
        ("e", 1, b"limit=1"),
        ("e1", "", b"limit=1", "site"),
    ]
    assert tag == entity_tag("e", 1, b"limit=1", "site")
    assert len({tag, *(entity_tag(*parts) for parts in others)}) == 5
    assert entity_tag("ab", "c") != entity_tag("a", "bc")
