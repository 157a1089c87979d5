"""What PDK's stream says, compared with the vendor's samples (seed 000), put in through the front door of ingest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstream.dialects.pdk.messages import AUDITABLE, LIVE_EVENT, PdkEncoder
from doorstream.dialects.pdk.recovery import topic_set
from doorstream.events import STREAMED, Event
from doorstream.events.draft import accept, decode_draft
from doorstream.events.topics import CATALOGUE
from doorstream.live import Entry

SITE = "0738b8df-329a-4d50-88d7-7a48928c4d6f"
EPOCH = "3f9a1c07"
SAMPLES: dict[str, dict[str, Any]] = {
    entry["event"]: entry["sample"]
    for entry in json.loads((Path(__file__).parents[3] / "data/pdk-stream-events.json").read_text())
}
OF_ALL = STREAMED | {LIVE_EVENT}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


class Nobody:
    """A directory that knows nothing."""

    def device_ref(self, device_id):
        """No device."""
        del device_id

    def holder_ref(self, holder_id):
        """No holder."""
        del holder_id

    def cloud_node_ref(self, *, cloud_node_id, device_id):
        """No cloud node."""
        del cloud_node_id, device_id


def entry(event: dict[str, Any], sequence: int = 7) -> Entry:
    """An event that was put in, on its way out."""
    accepted = accept(decode_draft(json.dumps(event).encode()), site_id=SITE, names=Nobody(), new_id="new-id")
    return Entry(Event(accepted.json, sequence, 1_720_000_000_000))


def put_in(name: str) -> dict[str, Any]:
    """The event from which the sample of that name comes about, in the form of ingest."""
    sample = SAMPLES[name]
    if name == LIVE_EVENT:
        return SAMPLES["device.request.allowed"]
    if name in ("cloudnode.connected", "cloudnode.disconnected"):
        return {"topic": name, "occurred": sample["timestamp"], "body": {"serialNumber": sample["serialNumber"]}}
    if name.startswith("cloudnode."):
        occurred = sample["metadata"]["occurred"]
        return {key: sample[key] for key in ("id", "body", "metadata")} | {"topic": name, "occurred": occurred}
    if name.startswith("sync."):
        body = {"panelSn": sample["panelSn"], "dataFlowStatus": sample["details"].get("dataFlowStatus")}
        return {"topic": name, "occurred": sample["details"]["timestamp"], "body": body}
    return sample


def packets(event: Entry, *topics: str, offsets: bool = False) -> list[list[Any]]:
    """What a subscriber of these topics (nobody's, without any) gets of an event."""
    subscribed = frozenset(topics) or None
    encoder = PdkEncoder(subscribed, topic_set(subscribed) if offsets else None, EPOCH if offsets else "")
    return [json.loads(packet.removeprefix(b"2")) for packet in encoder.encode(event)]


def shape(value: Any) -> Any:
    """Keys and kinds of a JSON value. ``true`` is no number, and null is a kind of its own."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value)


def test_the_samples_are_the_thirty_one_of_the_seed() -> None:
    """Thirty topics and the aggregate: none is missing here, and none has been added to the stream."""
    assert len(SAMPLES) == 31
    assert set(SAMPLES) == OF_ALL


@pytest.mark.parametrize("name", SAMPLES)
def test_pdk_14_keys_and_kinds_are_those_of_the_sample(name: str) -> None:
    """PDK-14: as the vendor documents it, with all its irregularities, and under the right event name."""
    ((event, argument),) = packets(entry(put_in(name)), name)
    assert event == name
    assert shape(argument) == shape(SAMPLES[name])


@pytest.mark.parametrize("name", sorted(STREAMED))
def test_pdk_14_values_are_those_that_were_put_in(name: str) -> None:
    """The vendor's two system ids in one sample are a slip of its documentation; there is one here."""
    ((_, argument),) = packets(entry(put_in(name)), name)
    expected = dict(SAMPLES[name])
    if "systemId" in expected:
        expected["systemId"] = SITE
        if "topic" in expected:
            expected["topic"] = f"system.{SITE}.entity.{name}"
    assert argument == expected


def test_pdk_14_times_are_numbers_but_for_one() -> None:
    """PDK-14: ISO 8601 in ``cloudnode.connected`` only, without fraction; ``disconnected`` has milliseconds."""
    moment = {"occurred": 1_736_179_036_999, "body": {"serialNumber": "1234ABC"}}
    ((_, connected),) = packets(entry({"topic": "cloudnode.connected"} | moment), "cloudnode.connected")
    ((_, disconnected),) = packets(entry({"topic": "cloudnode.disconnected"} | moment), "cloudnode.disconnected")
    assert connected == {"serialNumber": "1234ABC", "timestamp": "2025-01-06T15:57:16Z"}
    assert disconnected == {"serialNumber": "1234ABC", "timestamp": 1_736_179_036_999}


@pytest.mark.parametrize("occurred", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", -1, 0])
def test_any_time_that_can_be_put_in_can_be_written(occurred: int | str) -> None:
    """A cloud node whose clock battery is empty reports from strange years."""
    event = entry({"topic": "cloudnode.connected", "occurred": occurred, "body": {"serialNumber": "1234ABC"}})
    ((_, argument),) = packets(event, "cloudnode.connected")
    expected = {-1: "1969-12-31T23:59:59Z", 0: "1970-01-01T00:00:00Z"}.get(occurred, occurred)
    assert argument["timestamp"] == expected


def test_missing_values_are_null_and_extra_keys_stay_in_the_body() -> None:
    """Programs read ``event.body.holder.name`` without asking whether there is a holder."""
    sparse = entry({"topic": "device.request.allowed", "occurred": 1, "body": {"deviceId": "d1", "mood": "calm"}})
    ((_, argument),) = packets(sparse, "device.request.allowed")
    sample = SAMPLES["device.request.allowed"]
    assert argument["body"].pop("mood") == "calm"
    assert argument.keys() == sample.keys()
    assert argument["body"].keys() == sample["body"].keys()
    for inner in ("device", "holder"):
        assert argument["body"][inner].keys() == sample["body"][inner].keys()
    assert argument["body"]["holder"]["name"] is None
    assert argument["cloudNode"] == {"id": None, "serialNumber": None, "name": None}


def test_pdk_08_only_what_was_subscribed() -> None:
    """PDK-8: one of three topics, and the event's name is its topic."""
    allowed, denied = entry(put_in("device.request.allowed")), entry(put_in("device.request.denied"))
    assert [name for name, _ in packets(allowed, "device.request.allowed")] == ["device.request.allowed"]
    assert packets(denied, "device.request.allowed") == []


def test_pdk_09_without_subscription_live_event_alone() -> None:
    """PDK-9, D3: the vendor's own library never subscribes and listens to ``liveEvent``."""
    allowed = entry(put_in("device.request.allowed"))
    ((name, argument),) = packets(allowed)
    assert (name, argument["topic"]) == (LIVE_EVENT, "device.request.allowed")
    assert packets(entry(put_in("sync.synced"))) == []


def test_an_event_and_its_live_event_come_in_that_order() -> None:
    """Who subscribed both gets both."""
    both = packets(entry(put_in("device.request.allowed")), "device.request.allowed", LIVE_EVENT)
    assert [name for name, _ in both] == ["device.request.allowed", LIVE_EVENT]


def test_topics_that_pdk_does_not_stream_are_not_streamed() -> None:
    """They are for webhooks and for other dialects, but auditable ones do give a ``liveEvent``."""
    duress = {"topic": "device.request.duress", "occurred": 1, "body": {"deviceId": "d1"}}
    lift = {"topic": "x.acme.lift", "occurred": 1, "body": {}}
    assert [name for name, _ in packets(entry(duress), *OF_ALL)] == [LIVE_EVENT]
    assert packets(entry(lift), *OF_ALL) == []


def test_the_encoder_names_the_topics_that_give_something() -> None:
    """The hub looks up interest groups by them: a topic that is missing there is never delivered."""
    for subscribed in (None, frozenset(), frozenset({LIVE_EVENT}), frozenset({"device.input.dps.opened"}), OF_ALL):
        topics = PdkEncoder(subscribed).topics
        for name in STREAMED:
            if PdkEncoder(subscribed).encode(entry(_auditable(name) if name in AUDITABLE else put_in(name))):
                assert name in topics


# D17


def _is_audited(topic: str) -> bool:
    return topic.startswith(("device.request.", "device.alarm.", "device.forceopen.", "device.forceclose.")) or (
        topic.startswith("device.autoopen.") or topic in ("device.input.rex.on", "device.input.relay.on")
    )


def _auditable(topic: str) -> dict[str, Any]:
    body = {"deviceId": "d1", "device": {"name": "Yard"}, "holderId": "h1", "holder": {"name": "Ann"}}
    body |= {"requestFactor": "CARD_ONLY"}
    cloud_node = SAMPLES[LIVE_EVENT]["cloudNode"]
    return {"topic": topic, "occurred": 5, "body": body, "cloudNode": cloud_node, "metadata": {"cause": "command"}}


def test_d17_exactly_the_auditable_topics_give_a_live_event() -> None:
    """D17, over the whole catalogue."""
    assert {name for name in CATALOGUE if _is_audited(name)} == AUDITABLE


@pytest.mark.parametrize("topic", sorted(AUDITABLE))
def test_d17_every_sentence_has_a_placeholder_for_each_percent_s(topic: str) -> None:
    """Programs put ``placeholders[n].text`` in place of the n-th ``%s``."""
    ((name, argument),) = packets(entry(_auditable(topic)))
    assert name == LIVE_EVENT
    assert shape(argument) == shape(SAMPLES[LIVE_EVENT]) | {"placeholders": shape(argument["placeholders"])}
    assert argument["topic"] == topic
    assert argument["info"].count("%s") == len(argument["placeholders"]) > 0
    assert argument["info"].count("%") == len(argument["placeholders"])
    for placeholder in argument["placeholders"]:
        assert placeholder in (
            {"text": "Ann", "id": "h1", "type": "holder"},
            {"text": "Yard", "id": "d1", "type": "device"},
        )


def test_d17_holder_before_device() -> None:
    """As in the sample."""
    ((_, argument),) = packets(entry(put_in("device.request.allowed")))
    assert argument["placeholders"] == SAMPLES[LIVE_EVENT]["placeholders"]


@pytest.mark.parametrize(("cause", "count"), [("command", 1), ("request", 0), ("schedule", 0), (None, 0), ({}, 0)])
def test_d17_relay_on_is_auditable_only_by_command(cause: Any, count: int) -> None:
    """An unlocked door that a card explains is told by the card's event already."""
    event = {"topic": "device.input.relay.on", "occurred": 1, "body": {"deviceId": "d1"}, "metadata": {"cause": cause}}
    assert len(packets(entry(event))) == count


def test_a_placeholder_always_has_a_text() -> None:
    """The name, else the id, else words: never null, which programs would print."""
    event = entry({"topic": "device.request.allowed", "occurred": 1, "body": {"holderId": "h1"}})
    ((_, argument),) = packets(event)
    assert argument["placeholders"] == [
        {"text": "h1", "id": "h1", "type": "holder"},
        {"text": "unknown device", "id": None, "type": "device"},
    ]


@given(
    topic=st.sampled_from(sorted(AUDITABLE)),
    extras=st.dictionaries(
        st.sampled_from(["holder", "holderId", "requestFactor", "cause", "cardNumber", "x"]), json_values
    ),
)
def test_whatever_is_kept_can_be_sent(topic: str, extras: dict[str, Any]) -> None:
    """No free key stops an event.

    ``{"requestFactor": 5}`` is wrong in a request and free in an alarm. It once made an alarm that was kept and could
    not be written for anybody, and that took the other events of its moment with it.
    """
    typed = CATALOGUE[topic].body.__struct_fields__
    extras = {key: value for key, value in extras.items() if key not in typed}
    event = entry({"topic": topic, "occurred": 1, "body": {"deviceId": "d1"} | extras})
    for name, argument in packets(event, *OF_ALL):
        assert name in OF_ALL
        assert isinstance(argument, dict)


# D13


def test_d13_an_offset_is_the_last_argument_and_says_which_packet() -> None:
    """``<epoch>.<sequence>.<packet>.<topic set>``; a packet's number does not depend on what else is subscribed."""
    event = entry(put_in("device.request.allowed"), sequence=41)
    both = packets(event, "device.request.allowed", LIVE_EVENT, offsets=True)
    assert [offset for _, _, offset in both] == [f"{EPOCH}.41.0.10400000", f"{EPOCH}.41.1.10400000"]
    assert packets(event, "device.request.allowed", offsets=True)[0][2] == f"{EPOCH}.41.0.400000"
    assert packets(event, LIVE_EVENT, offsets=True)[0][2] == f"{EPOCH}.41.1.10000000"
    assert packets(event, offsets=True)[0][2] == f"{EPOCH}.41.1.n"


def test_d13_without_offsets_one_argument() -> None:
    """A python-socketio handler with one parameter fails on every event that has two."""
    for name in SAMPLES:
        assert all(len(packet) == 2 for packet in packets(entry(put_in(name)), *OF_ALL))


def test_an_event_is_encoded_once_for_all_groups() -> None:
    """Promise 4: the packet is the same object, whoever else wants what."""
    event = entry(put_in("device.request.allowed"))
    one = PdkEncoder(frozenset({"device.request.allowed"})).encode(event)
    other = PdkEncoder(frozenset({"device.request.allowed", "sync.synced"})).encode(event)
    assert one[0] is other[0]
