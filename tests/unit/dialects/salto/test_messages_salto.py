"""From events to entries and incidents (SAL-9, SAL-12, SAL-16)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from doorstream.dialects.salto.messages import KINDS, TOPICS, SaltoEncoder, Shapes
from doorstream.directory import SiteView
from doorstream.events import CATALOGUE, Event
from doorstream.events.entities import CloudNode, Device, Holder, Site
from doorstream.events.event import encode_kept
from doorstream.live import Entry
from doorstream.protocols.signalr import Invocation, json_protocol, msgpack_protocol

SITE = "0738b8df-329a-4d50-88e7-7a48928c4d6f"
FIELDS = {
    *("id", "event_category", "event_detail", "utc_date_time", "local_date_time"),
    *("lock_id", "lock_mac_address", "lock_customer_reference"),
    *("user_id", "user_first_name", "user_last_name", "user_alias", "user_image_url"),
    *("iq_id", "iq_customer_reference", "iq_mac_address", "iq_revision"),
    *("exit_requested", "access_by", "access_detail", "ttl_in_seconds", "expiration_date_time"),
}
"""The fields of vendor-apis.md 4.4."""

WINTER, SUMMER = 1_769_000_000_000, 1_784_000_000_000


@pytest.fixture
def view() -> SiteView:
    view = SiteView()
    view.site = Site(id=SITE, name="Harbour House", timezone="Europe/Amsterdam", created="")
    view.put(CloudNode(id="n1", site_id=SITE, name="North", serial_number="SN1", created=""))
    view.put(CloudNode(id="n2", site_id=SITE, name="Far", serial_number="SN2", timezone="Asia/Tokyo", created=""))
    view.put(Device(id="d1", site_id=SITE, name="Front door", cloud_node_id="n1", created=""))
    view.put(Holder(id="h1", site_id=SITE, first_name="Ann", last_name="van Dam", created=""))
    return view


@pytest.fixture
def shapes(view: SiteView) -> Shapes:
    return Shapes(lambda site_id: view if site_id == SITE else None)


def event(topic: str, occurred: int = WINTER, node: Any = None, **body: Any) -> Event:
    """An event as kept, one minute later."""
    metadata = {"cause": body.pop("cause")} if "cause" in body else None
    kept = encode_kept(
        id="e1", topic=topic, site_id=SITE, occurred=occurred, body=body, cloud_node=node, metadata=metadata
    )
    return Event(kept, 7, occurred + 60_000)


def shown(shapes: Shapes, found: Event) -> dict[str, Any]:
    result = shapes.show(found)
    assert result is not None
    value: dict[str, Any] = json.loads(result.json)
    return value


def test_sal_09_an_entry(shapes: Shapes) -> None:
    """Every field that was seen, names from the directory, both times, and when it is forgotten."""
    found = event(
        "device.request.allowed", node={"id": "n1"}, deviceId="d1", holderId="h1", cardNumber="5", requestFactor="X"
    )
    entry = shown(shapes, found)
    assert entry.keys() >= FIELDS
    assert (
        entry
        | {
            "id": "e1",
            "event_category": "lock_opened",
            "event_detail": None,
            "utc_date_time": "2026-01-21T12:53:20.000Z",
            "local_date_time": "2026-01-21T13:53:20.000",
            "lock_id": "d1",
            "lock_customer_reference": "Front door",
            "user_id": "h1",
            "user_first_name": "Ann",
            "user_last_name": "van Dam",
            "iq_id": "n1",
            "iq_customer_reference": "North",
            "exit_requested": False,
            "access_by": "tag",
            "access_detail": "5",
            "ttl_in_seconds": 7_776_000,
            "expiration_date_time": "2026-04-21T12:54:20.000Z",
        }
        == entry
    )


def test_names_of_what_the_directory_does_not_know(shapes: Shapes) -> None:
    body = {"deviceId": "d9", "device": {"name": "Shed"}, "holderId": "h9", "holder": {"name": "Bo B. Oak"}}
    entry = shown(shapes, event("device.request.allowed", **body))
    assert (entry["lock_customer_reference"], entry["iq_id"]) == ("Shed", None)
    assert (entry["user_first_name"], entry["user_last_name"]) == ("Bo", "B. Oak")


def test_a_rejection_names_nobody(shapes: Shapes) -> None:
    """As measured: the user of a rejected entry is null (vendor-apis.md 4.4)."""
    entry = shown(shapes, event("device.request.denied", deviceId="d1", holderId="h1"))
    assert entry["event_category"] == "lock_rejected"
    assert (entry["user_id"], entry["user_first_name"]) == (None, None)


@pytest.mark.parametrize(
    ("topic", "hub", "category", "detail"),
    [
        ("device.request.ecard.allowed", "entries", "lock_opened", None),
        ("device.request.multiallowed", "entries", "lock_opened", None),
        ("device.request.unknown", "entries", "lock_rejected", None),
        ("device.request.filtered", "entries", "lock_rejected", None),
        ("device.request.ecard.denied", "entries", "lock_rejected", None),
        ("device.forceopen.on", "entries", "office_mode", "start"),
        ("device.forceopen.off", "entries", "office_mode", "end"),
        ("device.autoopen.on", "entries", "easy_office_mode", "start"),
        ("device.autoopen.off", "entries", "easy_office_mode", "end"),
        ("device.forceclose.on", "entries", "privacy_mode", "start"),
        ("device.forceclose.off", "entries", "privacy_mode", "end"),
        ("device.alarm.forced", "incidents", "intrusion_alarm", None),
        ("device.alarm.forced.cleared", "incidents", "end_of_intrusion_alarm", None),
        ("device.alarm.tamper.on", "incidents", "tamper_alarm", None),
        ("device.alarm.tamper.off", "incidents", "end_of_tamper_alarm", None),
        ("device.alarm.propped.on", "incidents", "door_left_open_alarm", None),
        ("device.alarm.propped.off", "incidents", "end_of_door_left_open_alarm", None),
        ("device.battery.low", "incidents", "low_battery_warning", None),
        ("controller.alarm.comloss.on", "incidents", "lock_connection_lost", None),
        ("controller.alarm.comloss.off", "incidents", "lock_connection_restored", None),
    ],
)
def test_what_an_event_is(shapes: Shapes, topic: str, hub: str, category: str, detail: str | None) -> None:
    found = shapes.show(event(topic, deviceId="d1"))
    assert found is not None
    value = json.loads(found.json)
    assert (found.hub, value["event_category"], value["event_detail"]) == (hub, category, detail)


@pytest.mark.parametrize(
    ("topic", "access_by", "names_user"),
    [
        ("device.request.multiallowed", "tag", True),
        ("device.request.ecard.allowed", "digital_key", True),
        ("device.request.ecard.denied", "digital_key", False),
        ("device.request.filtered", "tag", False),
        ("device.autoopen.off", None, True),
        ("device.forceclose.on", None, True),
    ],
)
def test_by_what_and_by_whom(shapes: Shapes, topic: str, access_by: str | None, *, names_user: bool) -> None:
    """A rejection names nobody; a mode of a door is no access."""
    entry = shown(shapes, event(topic, deviceId="d1", holderId="h1"))
    assert (entry["access_by"], entry["user_id"]) == (access_by, "h1" if names_user else None)


def test_a_gateway_is_found_by_its_serial_number(shapes: Shapes) -> None:
    for topic, category in (
        ("cloudnode.disconnected", "iq_connection_lost"),
        ("cloudnode.connected", "iq_connection_restored"),
    ):
        incident = shown(shapes, event(topic, serialNumber="SN2"))
        assert (incident["event_category"], incident["iq_id"]) == (category, "n2")
        assert incident["local_date_time"] == "2026-01-21T21:53:20.000"
    assert shown(shapes, event("cloudnode.connected", serialNumber="SN9"))["iq_mac_address"] == "SN9"


def test_only_a_command_makes_the_relay_an_access(shapes: Shapes) -> None:
    """D17: any other cause has an event of its own."""
    assert shown(shapes, event("device.input.relay.on", deviceId="d1", cause="command"))["access_by"] == "remote"
    assert shapes.show(event("device.input.relay.on", deviceId="d1", cause="request")) is None
    assert shapes.show(event("device.input.relay.on", deviceId="d1")) is None


def test_somebody_leaves(shapes: Shapes) -> None:
    entry = shown(shapes, event("device.input.rex.on", deviceId="d1"))
    assert (entry["exit_requested"], entry["access_by"]) == (True, "inside_handle")


def test_sal_12_every_topic_is_on_one_hub_at_most(shapes: Shapes) -> None:
    assert not TOPICS["entries"] & TOPICS["incidents"]
    assert KINDS.keys() <= CATALOGUE.keys()
    for topic in CATALOGUE.keys() - KINDS.keys():
        assert shapes.show(event(topic)) is None


@pytest.mark.parametrize(
    ("occurred", "utc", "local"),
    [
        (1_774_745_999_000, "2026-03-29T00:59:59.000Z", "2026-03-29T01:59:59.000"),
        (1_774_746_000_000, "2026-03-29T01:00:00.000Z", "2026-03-29T03:00:00.000"),
        (1_792_889_999_000, "2026-10-25T00:59:59.000Z", "2026-10-25T02:59:59.000"),
        (1_792_890_000_000, "2026-10-25T01:00:00.000Z", "2026-10-25T02:00:00.000"),
    ],
)
def test_sal_16_both_times_across_a_change(shapes: Shapes, occurred: int, utc: str, local: str) -> None:
    """The clocks of Amsterdam go forward on 29 March 2026 and back on 25 October, at 01:00 UTC."""
    entry = shown(shapes, event("device.request.allowed", occurred, node={"id": "n1"}))
    assert (entry["utc_date_time"], entry["local_date_time"]) == (utc, local)


@pytest.mark.parametrize(
    ("occurred", "local"),
    [
        (1_772_953_199_000, "2026-03-08T01:59:59.000"),
        (1_772_953_200_000, "2026-03-08T03:00:00.000"),
        (1_793_512_799_000, "2026-11-01T01:59:59.000"),
        (1_793_512_800_000, "2026-11-01T01:00:00.000"),
    ],
)
def test_sal_16_a_gateway_with_a_zone_of_its_own_across_a_change(
    view: SiteView, shapes: Shapes, occurred: int, local: str
) -> None:
    """New York's clocks change at 2:00, which is 07:00 UTC on 8 March 2026 and 06:00 on 1 November; not the site's."""
    view.put(
        CloudNode(id="n3", site_id=SITE, name="West", serial_number="SN3", timezone="America/New_York", created="")
    )
    entry = shown(shapes, event("device.request.allowed", occurred, node={"id": "n3"}))
    assert entry["local_date_time"] == local


@pytest.mark.parametrize("occurred", [-62_135_596_800_000, 253_402_300_799_999])
def test_the_ends_of_the_calendar(shapes: Shapes, occurred: int) -> None:
    """Events may be that old or that far ahead; writing them must not fail."""
    for serial in ("SN1", "SN2"):
        assert shown(shapes, event("cloudnode.connected", occurred, serialNumber=serial))["local_date_time"]


def test_an_unknown_time_zone_is_utc(view: SiteView, shapes: Shapes) -> None:
    assert view.site is not None
    view.site = replace(view.site, timezone="Mars/Olympus")
    assert shown(shapes, event("device.request.allowed"))["local_date_time"] == "2026-01-21T12:53:20.000"


@pytest.mark.parametrize("odd", [5, [], {}, {"id": 5, "name": []}, True])
def test_bodies_of_any_kind(shapes: Shapes, odd: Any) -> None:
    """Free keys may hold anything; that is no reason to keep an event back."""
    for topic in KINDS:
        body = dict.fromkeys(("deviceId", "device", "holder", "holderId", "cardNumber", "serialNumber"), odd)
        found = event(topic, **body, cause="command")
        assert shapes.show(found) is not None


def test_the_encoder_filters_and_encodes_once(shapes: Shapes) -> None:
    """Entries of another user, and of the other hub, give nothing; equal encoders share a group and the bytes."""
    entry = Entry(event("device.request.allowed", holderId="h1"))
    everybody = SaltoEncoder("entries", None, "json", shapes)
    (packet,) = everybody.encode(entry)
    message = json_protocol.decode(packet[:-1])
    assert isinstance(message, Invocation)
    assert message.target == "ReceiveMessage"
    (text,) = message.arguments
    assert json.loads(text)["id"] == "e1"
    assert SaltoEncoder("entries", "h1", "json", shapes).encode(entry)[0] is packet
    assert SaltoEncoder("entries", "h2", "json", shapes).encode(entry) == ()
    assert SaltoEncoder("incidents", None, "json", shapes).encode(entry) == ()
    (binary,) = SaltoEncoder("entries", None, "messagepack", shapes).encode(entry)
    prefix = msgpack_protocol.length(binary)
    assert prefix is not None
    assert msgpack_protocol.decode(binary[prefix[1] :]) == message
    assert everybody == SaltoEncoder("entries", None, "json", shapes)
    assert hash(everybody) == hash(SaltoEncoder("entries", None, "json", shapes))
