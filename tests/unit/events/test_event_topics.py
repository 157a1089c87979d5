"""The topic catalogue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstream.events import CATALOGUE, STREAMED, InvalidEvent, topic_named

OURS = ("device.alarm.tamper.on", "device.alarm.tamper.off", "device.battery.low")


def test_the_samples_are_the_streamed_topics(pdk_samples):
    """31 samples: 30 topics and ``liveEvent``, which is derived."""
    assert {sample["event"] for sample in pdk_samples} - {"liveEvent"} == STREAMED
    assert len(STREAMED) == 30


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_topic_of_the_catalogue_is_found_by_its_name(name):
    topic = topic_named(name)

    assert topic.name == name
    assert topic.streamed is (name in STREAMED)


@pytest.mark.parametrize(
    "name",
    [
        *OURS,
        "organization.created",
        "holder.updated",
        "credential.deleted",
        "rule.antipassback.violation",
        "device.request.duress",
        "device.autoopen.override.on",
        "controller.input.time.unknown.exit",
        "cardformat.created",
    ],
)
def test_the_catalogue_has_the_webhook_topics_and_ours(name):
    assert name in CATALOGUE
    assert name not in STREAMED


@pytest.mark.parametrize("name", sorted(name for name in CATALOGUE if name.startswith("device.request.")))
def test_requests_are_about_a_door(name):
    assert "deviceId" in topic_named(name).body.__struct_fields__


def test_live_event_is_derived_and_cannot_be_put_in():
    with pytest.raises(InvalidEvent, match="derived"):
        topic_named("liveEvent")


@pytest.mark.parametrize("name", ["x.a", "x.my-driver.door_7", "x.1.2.3.4.5.6.7.8", "x." + "a" * 64])
def test_own_topics_have_a_free_body(name):
    assert topic_named(name).body is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "x.",
        "x..a",
        ".x.a",
        "x.a.",
        "x.A",
        "x.a b",
        "x.a\n",
        "x.a\r\nPUB",
        "x.*",
        "x.>",
        "x.a.>",
        "x.ä",
        "x.a" + ".a" * 8,
        "x." + "a" * 65,
        "y.a",
        "DEVICE.REQUEST.ALLOWED",
        "device.request",
        "device.request.allowed ",
        None,
        7,
        ["x.a"],
        {},
    ],
)
def test_any_other_name_is_refused(name):
    with pytest.raises(InvalidEvent, match="topic"):
        topic_named(name)


@given(st.text(max_size=40) | st.from_regex(r"x(\.[a-z0-9_-]{1,70}){0,10}", fullmatch=True))
def test_a_name_that_is_taken_is_a_safe_nats_subject(name):
    """Nothing that would be a wildcard, an empty token or the end of a protocol line."""
    try:
        topic = topic_named(name)
    except InvalidEvent:
        return
    assert topic.name == name
    assert name.isascii()
    assert not set(name) & set("*> \t\r\n")
    assert all(name.split("."))
    assert len(name) < 1000
