"""What an event log shows (PAR-9, PAR-10), of events as they come."""

import json

import pytest

from doorstream.dialects.parakey.messages import event_log_json
from doorstream.directory import SiteView
from doorstream.events import Event
from doorstream.events.entities import Device, Holder
from doorstream.events.event import encode_kept
from doorstream.testing import SITE

ALLOWED, RELAY = "device.request.allowed", "device.input.relay.on"
AT = 1_769_853_600_007


def event(body, topic=ALLOWED, metadata=None, occurred=AT - 5000):
    json = encode_kept(
        id="e", topic=topic, site_id=SITE, occurred=occurred, body=body, cloud_node=None, metadata=metadata
    )
    return Event(json, 7, AT)


def view():
    site = SiteView()
    site.put(Device(id="d1", site_id=SITE, created="", name="Main door"))
    site.put(Holder(id="h1", site_id=SITE, created="", first_name="Ada", last_name="Park", email="ada@example.com"))
    return site


def show(body, site=None, **more):
    return json.loads(event_log_json(event(body, **more), site))


def test_par_9_an_access():
    body = {"deviceId": "d1", "device": {"name": "As it was"}, "holderId": "h1", "holder": {"name": "Ada P."}}
    assert show(body, view()) == {
        "id": "e",
        "domain": {"id": SITE},
        "user": {"id": "h1", "email": "ada@example.com", "name": "Ada P."},
        "device": {"id": "d1", "name": "As it was"},
        "access": None,
        "accessKey": None,
        "type": "unlock",
        "timestamp": "2026-01-31T09:59:55.007Z",
        "createdAt": "2026-01-31T10:00:00.007Z",
    }


def test_names_that_the_event_lacks_are_the_directorys():
    found = show({"deviceId": "d1", "holderId": "h1"}, view())
    assert (found["user"]["name"], found["device"]["name"]) == ("Ada Park", "Main door")


@pytest.mark.parametrize("site", [None, SiteView()])
def test_ids_that_nobody_knows(site):
    found = show({"deviceId": "d9", "holderId": "h9"}, site)
    assert found["user"] == {"id": "h9", "email": None, "name": None}
    assert found["device"] == {"id": "d9", "name": None}


def test_a_command_has_no_user():
    found = show({"device": {"id": "d1"}}, view(), topic=RELAY, metadata={"cause": "command"})
    assert found["user"] is None
    assert found["device"] == {"id": "d1", "name": "Main door"}


@pytest.mark.parametrize("value", [1, None, [], {"id": 5, "name": []}, "x", True])
def test_bodies_of_any_kind(value):
    """Whoever puts an event in may add keys of his own."""
    found = show({"deviceId": value, "device": value, "holderId": value, "holder": value}, view())
    assert isinstance(found["device"]["id"], str | None)


@pytest.mark.parametrize(
    ("topic", "metadata"), [(RELAY, None), (RELAY, {"cause": "rex"}), ("device.request.denied", None), ("x.a", None)]
)
def test_what_is_no_event_log(topic, metadata):
    assert event_log_json(event({}, topic=topic, metadata=metadata), None) is None


@pytest.mark.parametrize("occurred", [-62_135_596_800_000, 253_402_300_799_999])
def test_the_ends_of_the_calendar(occurred):
    assert show({}, occurred=occurred)["timestamp"][4:5] == "-"
