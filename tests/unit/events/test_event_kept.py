"""Events as they are kept and shown."""

import json

import msgspec
import pytest

from doorstream.events import Event
from doorstream.testing import SITE, make_event


def test_an_event_shows_what_was_kept_with_its_place():
    event = make_event(7, body={"a": [1, {"b": None}]}, topic="x.a")

    assert json.loads(event.public_json("3f9a1c07")) == {
        "id": "event-7",
        "topic": "x.a",
        "siteId": SITE,
        "occurred": event.occurred,
        "body": {"a": [1, {"b": None}]},
        "cloudNode": None,
        "metadata": None,
        "recorded": event.recorded,
        "position": "3f9a1c07.7",
    }


def test_an_events_parts_are_the_json_of_its_body_cloud_node_and_metadata():
    event = make_event(1, body={"a": 1})

    assert (event.body, event.cloud_node, event.metadata) == (b'{"a":1}', b"null", b"null")
    assert (event.id, event.topic, event.site_id) == ("event-1", "x.test", SITE)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"garbage", b'{"id":1}'])
def test_what_is_no_event_cannot_be_read(data):
    with pytest.raises(msgspec.DecodeError):
        Event(data, 1, 1)
