"""Which events a webhook wants."""

from __future__ import annotations

from typing import Any

import pytest

from doorstream.events import CATALOGUE, Event
from doorstream.events.entities import Webhook
from doorstream.events.event import encode_kept
from doorstream.live import Entry
from doorstream.testing import OTHER_SITE, SITE
from doorstream.webhooks.matching import filter_of, interest_of, line_of, unpack


def webhook(**fields: Any) -> Webhook:
    """A webhook with these values."""
    values: dict[str, Any] = {"id": "w", "site_id": SITE, "created": "c", "start": "e.0", "name": "n", "url": "u"}
    return Webhook(**values | fields)


def event(topic: str = "x.test", *, site_id: str = SITE, late: int = 0, **more: Any) -> Event:
    """An event; ``late`` is in milliseconds."""
    values: dict[str, Any] = {"body": {}, "cloud_node": None} | more
    json = encode_kept(id="e", topic=topic, site_id=site_id, occurred=1000, metadata=None, **values)
    return Event(json, 7, 1000 + late)


def is_wanted(by: Webhook, what: Event) -> bool:
    """Whether it comes through the hub and the filter."""
    interest = interest_of(by)
    topics = interest.encoder.topics
    if interest.site_id not in (None, what.site_id) or (topics is not None and what.topic not in topics):
        return False
    return bool(interest.encoder.encode(Entry(what))) and filter_of(by)(what)


@pytest.mark.parametrize(
    ("topics", "wanted", "unwanted"),
    [
        (("*",), ["x.test", "device.request.allowed"], []),
        (("x.test",), ["x.test"], ["x.test.more", "x.testing", "x.other"]),
        (("device.request.*",), ["device.request.allowed", "device.request.ecard.denied"], ["device.forceopen.on"]),
        (("x.acme.*",), ["x.acme.lift", "x.acme.lift.stuck"], ["x.acmeone.a", "x.other", "device.battery.low"]),
        (("x.acme.*", "x.test"), ["x.acme.lift", "x.test"], ["x.testing", "x.test.more"]),
        (("x.acme.*", "device.request.*"), ["x.acme.lift", "device.request.denied"], ["device.alarm.forced"]),
    ],
)
def test_topics(topics: tuple[str, ...], wanted: list[str], unwanted: list[str]) -> None:
    for topic in wanted:
        assert is_wanted(webhook(topics=topics), event(topic)), topic
    for topic in unwanted:
        assert not is_wanted(webhook(topics=topics), event(topic)), topic


def test_known_topics_are_named_to_the_hub() -> None:
    """So that an event that nobody wants costs nothing."""
    topics = interest_of(webhook(topics=("device.request.*", "x.test"))).encoder.topics
    assert topics == {name for name in CATALOGUE if name.startswith("device.request.")} | {"x.test"}


def test_webhooks_with_the_same_wishes_share_a_group() -> None:
    assert interest_of(webhook(id="a", devices=("d",))) == interest_of(webhook(id="b", url="other"))


def test_further_sites() -> None:
    several = webhook(sites=(OTHER_SITE,))
    assert is_wanted(several, event(site_id=SITE))
    assert is_wanted(several, event(site_id=OTHER_SITE))
    assert not is_wanted(several, event(site_id="0738b8df-329a-4d50-88e7-7a48928c4dff"))
    assert not is_wanted(webhook(), event(site_id=OTHER_SITE))


def test_devices_and_cloud_nodes() -> None:
    door = event(body={"deviceId": "door"}, cloud_node={"id": "north"})
    for fields, wanted in (
        ({"devices": ("door",)}, True),
        ({"devices": ("gate",)}, False),
        ({"cloud_nodes": ("north",)}, True),
        ({"cloud_nodes": ("south",)}, False),
        ({"devices": ("door",), "cloud_nodes": ("south",)}, False),
    ):
        assert is_wanted(webhook(**fields), door) is wanted, fields
    assert not is_wanted(webhook(devices=("door",)), event(body={"deviceId": {"no": "text"}}))
    assert not is_wanted(webhook(cloud_nodes=("north",)), event())


def test_par_13_late_events_are_left_out() -> None:
    picky = webhook(ignore_older_than=60.0)
    assert is_wanted(picky, event(late=60_000))
    assert not is_wanted(picky, event(late=60_001))
    assert is_wanted(webhook(), event(late=10**9))


def test_events_come_out_as_they_went_in() -> None:
    events = [event("x.a"), event("x.b", body={"text": "ö" * 1000})]
    encoder = interest_of(webhook()).encoder
    data = b"".join(packet for each in events for packet in encoder.encode(Entry(each)))
    assert [(each.json, each.sequence, each.recorded) for each in unpack(data)] == [
        (each.json, each.sequence, each.recorded) for each in events
    ]


def test_lines() -> None:
    assert line_of(event(body={"deviceId": "a"})) == line_of(event(body={"deviceId": "a"}, cloud_node={"id": "n"}))
    assert len({line_of(event(body={"deviceId": each})) for each in ("a", "b", None)}) == 3
    assert line_of(event(body={"deviceId": "a"})) != line_of(event(site_id=OTHER_SITE, body={"deviceId": "a"}))
