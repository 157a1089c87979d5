"""From what is put in to what is kept."""

import json

import msgspec
import pytest

from doorstream.events import CATALOGUE, Event, InvalidEvent
from doorstream.events.bodies import CloudNodeRef, DeviceRef, HolderRef
from doorstream.events.draft import MAX_EVENT_BYTES, accept, decode_draft
from doorstream.testing import SITE, KnownNames

NOBODY = KnownNames()
NAMES = KnownNames(
    devices={"d1": DeviceRef("d1", "Front door", "c1", 3)},
    holders={"h1": HolderRef("h1", "Ada Lovelace", enabled=True, activeDate="2026-01-01T00:00:00")},
    cloud_nodes={"n1": CloudNodeRef("n1", "SN-1", "Node one")},
    node_of={"d1": "n1"},
)


def kept(draft, names=NOBODY, new_id="new"):
    """What is kept of a draft, as a dictionary."""
    data = draft if isinstance(draft, bytes) else json.dumps(draft).encode()
    return json.loads(accept(decode_draft(data), site_id=SITE, names=names, new_id=new_id).json)


def put(topic="x.a", **rest):
    """A draft."""
    return {"topic": topic, "occurred": 1, "body": {}, **rest}


def test_the_kept_form_has_all_its_keys_in_order():
    assert list(kept(put()).items()) == [
        ("id", "new"),
        ("topic", "x.a"),
        ("siteId", SITE),
        ("occurred", 1),
        ("body", {}),
        ("cloudNode", None),
        ("metadata", None),
    ]


def test_the_samples_are_kept_as_they_are(pdk_samples):
    """Every key and value of a sample's body and cloud node is there again, and no other."""
    checked = 0
    for sample in pdk_samples:
        content = sample["sample"]
        if sample["event"] not in CATALOGUE or "body" not in content:
            continue
        draft = put(sample["event"], body=content["body"])
        if "cloudNode" in content:
            draft["cloudNode"] = content["cloudNode"]
        result = kept(draft)
        assert result["body"] == content["body"], sample["event"]
        if "cloudNode" in content:
            assert result["cloudNode"] == content["cloudNode"]
        checked += 1
    assert checked > 20


@pytest.mark.parametrize("name", sorted(name for name, topic in CATALOGUE.items() if topic.body is not None))
def test_keys_without_a_value_are_null_and_never_absent(name):
    body = kept(put(name))["body"]

    assert set(body) == set(CATALOGUE[name].body.__struct_fields__)
    assert all(value is None or value == [] or isinstance(value, dict) for value in body.values())
    for reference, shape in (("device", DeviceRef), ("holder", HolderRef)):
        if reference in body:
            assert body[reference] == dict.fromkeys(shape.__struct_fields__)


@pytest.mark.parametrize("name", sorted(name for name, topic in CATALOGUE.items() if topic.body is not None))
def test_typed_topics_have_a_cloud_node(name):
    assert kept(put(name))["cloudNode"] == {"id": None, "serialNumber": None, "name": None}


@pytest.mark.parametrize("name", sorted(name for name, topic in CATALOGUE.items() if topic.body is None))
def test_free_topics_keep_their_body_as_it_is(name):
    body = {"z": 1, "a": [None, {"b": []}], "deviceId": 7}

    assert kept(put(name, body=body), NAMES)["body"] == body


def test_names_are_filled_in_from_the_directory():
    result = kept(put("device.request.allowed", body={"deviceId": "d1", "holderId": "h1"}), NAMES)

    assert result["body"]["device"] == {"id": "d1", "name": "Front door", "connection": "c1", "port": 3}
    assert result["body"]["holder"] == {
        "id": "h1",
        "name": "Ada Lovelace",
        "enabled": True,
        "activeDate": "2026-01-01T00:00:00",
        "expireDate": None,
    }
    assert result["cloudNode"] == {"id": "n1", "serialNumber": "SN-1", "name": "Node one"}


def test_what_the_caller_says_wins_over_the_directory():
    body = {"device": {"id": "d1", "name": "Side door"}, "holder": {"id": "h1", "enabled": False}}
    result = kept(put("device.request.denied", body=body, cloudNode={"name": "mine"}), NAMES)

    assert result["body"]["deviceId"] == "d1"
    assert result["body"]["holderId"] == "h1"
    assert result["body"]["device"] == {"id": "d1", "name": "Side door", "connection": "c1", "port": 3}
    assert result["body"]["holder"]["enabled"] is False
    assert result["body"]["holder"]["name"] == "Ada Lovelace"
    assert result["cloudNode"] == {"id": "n1", "serialNumber": "SN-1", "name": "mine"}


def test_the_directory_is_not_changed_by_an_event():
    """Its references are shared by all events."""
    kept(put("device.alarm.forced", body={"device": {"id": "d1", "name": "Other", "port": 9}, "deviceId": "d1"}), NAMES)
    kept(put("device.alarm.forced", body={"deviceId": "d1", "device": {"note": "extra"}}), NAMES)

    assert NAMES.device_ref("d1") == DeviceRef("d1", "Front door", "c1", 3)
    assert NAMES.cloud_node_ref(cloud_node_id="n1", device_id=None) == CloudNodeRef("n1", "SN-1", "Node one")


def test_ids_that_the_directory_does_not_know_are_kept():
    result = kept(put("device.request.allowed", body={"deviceId": "d?", "holderId": "h?"}), NAMES)

    assert result["body"]["device"] == {"id": "d?", "name": None, "connection": None, "port": None}
    assert result["body"]["holder"]["id"] == "h?"


def test_the_cloud_node_of_a_free_topic_is_completed():
    assert kept(put(cloudNode={"id": "n1"}), NAMES)["cloudNode"] == {
        "id": "n1",
        "serialNumber": "SN-1",
        "name": "Node one",
    }


def test_extra_keys_are_kept_inside_the_body_only():
    result = kept(
        put(
            "device.input.relay.on",
            body={"cause": "command", "device": {"id": "d1", "floor": 2}, "deep": {"x": [1]}},
            cloudNode={"id": "n1", "extra": 1},
            metadata={"userId": "u", "anything": [1]},
            extra="ignored",
        )
    )

    assert result["body"]["cause"] == "command"
    assert result["body"]["deep"] == {"x": [1]}
    assert result["body"]["device"]["floor"] == 2
    assert list(result["body"])[:2] == ["deviceId", "device"]
    assert "extra" not in result
    assert "extra" not in result["cloudNode"]
    assert result["metadata"] == {"userId": "u", "anything": [1]}


def test_lists_keep_what_is_in_them():
    card_format = [{"id": "f", "nested": {"a": None}}, 1]

    assert kept(put("cloudnode.created", body={"cardFormat": card_format}))["body"]["cardFormat"] == card_format


@pytest.mark.parametrize(
    "event_id", ["a", "A" * 128, "!~", "0190-…".replace("…", "x"), "a/b\\c", "{}", "*", ">", "$JS"]
)
def test_the_callers_id_is_kept(event_id):
    accepted = accept(decode_draft(json.dumps(put(id=event_id)).encode()), site_id=SITE, names=NOBODY, new_id="new")

    assert accepted.id == event_id
    assert accepted.has_own_id
    assert json.loads(accepted.json)["id"] == event_id


@pytest.mark.parametrize("event_id", ["", " ", "a b", "a\n", "a\r\nPUB x", "ä", "a\x00", "\x7f", "A" * 129])
def test_an_id_that_is_not_printable_ascii_is_refused(event_id):
    with pytest.raises(InvalidEvent, match="id:"):
        kept(put(id=event_id))


def test_without_an_id_the_new_one_is_taken():
    accepted = accept(decode_draft(json.dumps(put()).encode()), site_id=SITE, names=NOBODY, new_id="new")

    assert accepted.id == "new"
    assert not accepted.has_own_id


@pytest.mark.parametrize(
    ("draft", "where"),
    [
        (b"", "truncated"),
        (b"[]", "object"),
        (b"null", "object"),
        (b"{}", "topic"),
        (b'{"topic":"x.a","occurred":1}', "body"),
        (b'{"topic":"x.a","body":{}}', "occurred"),
        (b'{"topic":5,"occurred":1,"body":{}}', "topic"),
        (b'{"topic":"x.a","occurred":1,"body":[]}', "body"),
        (b'{"topic":"x.a","occurred":1,"body":null}', "body"),
        (b'{"topic":"x.a","occurred":1,"body":{},"id":5}', "id"),
        (b'{"topic":"x.a","occurred":1,"body":{},"metadata":5}', "metadata"),
        (b'{"topic":"x.a","occurred":1,"body":{},"cloudNode":{"id":5}}', "cloudNode.id"),
        (b'{"topic":"nope","occurred":1,"body":{}}', "topic"),
        (b'{"topic":"liveEvent","occurred":1,"body":{}}', "derived"),
        (b'{"topic":"device.alarm.forced","occurred":1,"body":{"deviceId":5}}', "body.deviceId"),
        (b'{"topic":"device.alarm.forced","occurred":1,"body":{"device":{"port":"5"}}}', "body.device.port"),
        (b'{"topic":"device.alarm.forced","occurred":1,"body":{"device":[]}}', "body.device"),
        (b'{"topic":"x.a","occurred":1,"body":{}} trailing', "malformed"),
        (b'{"topic":"x.a","occurred":1,"body":{"a":\xff}}', "malformed"),
        (b'{"topic":"x.a","occurred":1,"body":{"a":"\xff"}}', "utf-8"),
        (b'{"topic":"x.a","occurred":1,"body":{"a":"\\ud800"}}', "truncated"),
        (b'{"topic":"x.a","occurred":1,"body":{"a":NaN}}', "malformed"),
        (b'{"topic":"x.a","occurred":1,"body":{"a":1e999}}', "body.*range"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(draft, where):
    with pytest.raises(InvalidEvent, match=where.replace(".", r"\.").replace(r"\.*", ".*")):
        kept(draft)


def test_an_event_may_be_as_large_as_the_limit_and_not_larger():
    room = MAX_EVENT_BYTES - len(accept(decode_draft(json.dumps(put(body={"a": ""})).encode()), **HOW).json)

    assert len(accept(decode_draft(json.dumps(put(body={"a": "x" * room})).encode()), **HOW).json) == MAX_EVENT_BYTES
    with pytest.raises(InvalidEvent, match="at most 100000"):
        accept(decode_draft(json.dumps(put(body={"a": "x" * (room + 1)})).encode()), **HOW)


HOW = {"site_id": SITE, "names": NOBODY, "new_id": "new"}


@pytest.mark.parametrize("topic", ["x.a", "device.alarm.forced", "cloudnode.created"])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_an_event_is_nested_at_most_64_levels_deep(topic, brackets):
    """What is nested more deeply can be decoded here and not by a reader whose own stack is deeper.

    Such an event would be kept, and then fail in every page of the history and in every dialect.
    """

    def nested(levels):
        value = 1
        for _ in range(levels):
            value = [value] if brackets == "[]" else {"a": value}
        return put(topic, body={"cardFormat": [value] if topic == "cloudnode.created" else value})

    most = 61 if topic == "cloudnode.created" else 62  # the event and its body are levels too
    Event(accept(decode_draft(json.dumps(nested(most)).encode()), **HOW).json, 1, 1)
    with pytest.raises(InvalidEvent, match="deep"):
        kept(nested(most + 1))
    for levels in (500, 980, 985, 990, 993, 995, 997, 1000, 50_000):
        text = json.dumps(put(topic, body={"cardFormat": ["@"], "z": 1})).replace('"@"', "[" * levels + "]" * levels)
        with pytest.raises(InvalidEvent):
            kept(text.encode())


def test_many_brackets_that_are_not_deep_are_fine():
    body = {"flat": [[]] * 500, "text": "[[[[{{{{" * 100}

    assert kept(put(body=body))["body"] == body


def test_large_numbers_and_odd_texts_survive():
    body = {"big": 10**25, "negative": -(2**70), "float": 1e-300, "nul": "\x00", "emoji": "🚪", "line": "\u2028"}

    assert kept(put(body=body))["body"] == body


def test_a_raw_member_of_an_array_is_read_too():
    raw = msgspec.json.decode(json.dumps([put()]).encode(), type=list[msgspec.Raw])[0]

    assert decode_draft(raw).topic == "x.a"
