"""Whatever is put in, only InvalidEvent is raised, and what is accepted can be read again."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from doorstream.events import CATALOGUE, Event, InvalidEvent
from doorstream.events.draft import MAX_EVENT_BYTES, accept, decode_draft
from doorstream.testing import SITE, KnownNames

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
body_keys = st.sampled_from(["deviceId", "holderId", "device", "holder", "cardFormat", "id", "name", "killTimer", "zz"])
drafts = st.fixed_dictionaries(
    {
        "topic": st.sampled_from([*sorted(CATALOGUE), "x.a", "liveEvent", "nope"]) | json_values,
        "occurred": st.integers() | st.floats(allow_nan=False) | st.text(max_size=30) | json_values,
        "body": st.dictionaries(body_keys, json_values, max_size=5) | json_values,
    },
    optional={
        "id": st.text(max_size=140) | json_values,
        "cloudNode": st.dictionaries(st.sampled_from(["id", "name", "serialNumber"]), json_values) | json_values,
        "metadata": json_values,
        "other": json_values,
    },
)


def check(data):
    """Put it in: it is refused, or it comes out whole."""
    try:
        accepted = accept(decode_draft(data), site_id=SITE, names=KnownNames(), new_id="new")
    except InvalidEvent:
        return None
    event = Event(accepted.json, 7, 8)
    public = json.loads(event.public_json("abc"))
    assert public["position"] == "abc.7"
    assert public["recorded"] == 8
    assert public["siteId"] == SITE
    assert len(accepted.json) <= MAX_EVENT_BYTES
    return public


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf{}")
@example(b'{"topic":"x.a","occurred":1,"body":{"\\ud800":1}}')
def test_bytes(data):
    check(data)


@given(drafts)
def test_json_of_the_right_outline(draft):
    public = check(json.dumps(draft).encode())
    if public is not None and CATALOGUE.get(draft["topic"], CATALOGUE["holder.created"]).body is None:
        assert public["body"] == draft["body"]


@given(drafts, st.integers(0, 300), st.binary(min_size=1, max_size=4))
@settings(max_examples=200)
def test_json_with_bytes_changed(draft, at, change):
    data = json.dumps(draft).encode()
    at %= len(data)
    check(data[:at] + change + data[at + len(change) :])


@pytest.mark.parametrize("size", [MAX_EVENT_BYTES, 3_000_000])
@pytest.mark.parametrize("what", ["[", "{", '{"a":', '"', "9", "\\", "\\u", "\x00", " ", "null,"])
def test_huge_garbage(what, size):
    data = (what * (size // len(what))).encode()
    assert check(data) is None
    assert check(b'{"topic":"x.a","occurred":1,"body":{"a":' + data) is None
    assert check(b'{"topic":"x.a","occurred":' + data + b',"body":{}}') is None
