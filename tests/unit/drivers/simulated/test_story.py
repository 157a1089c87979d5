"""The story: its rate, its determinism, its outages, what everybody sees in the first minutes, and commands."""

import json
import math
import os
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from doorstream.drivers.simulated import Building, Step, Story, UnknownDoorError, UnreachableDoorError
from doorstream.drivers.simulated.blueprint import MINUTES_A_DAY

SAMPLES = json.loads((Path(__file__).parents[3] / "data" / "pdk-stream-events.json").read_text())
NEVER_SIMULATED = {
    "liveEvent",
    "cloudnode.created",
    "cloudnode.deleted",
    "cloudnode.registered",
    "cloudnode.unregistered",
}
TOPICS = {sample["event"] for sample in SAMPLES} - NEVER_SIMULATED
BUILDING = Building.generate(1)
STARTED_MS = 1_700_000_000_000
SATURDAY = 5 * MINUTES_A_DAY


def story(seed=1, rate=2.0, **more):
    """Return a story of the one building that these tests share."""
    return Story(BUILDING, seed, rate, **{"started_ms": STARTED_MS, **more})


def events(of, seconds):
    """Return all events up to so many seconds, with the time at which each is put in."""
    return [(step.at, event) for step in of.take(seconds, sys.maxsize) for event in step.events]


def node_of(device):
    """Return the cloud node of a device."""
    return next(node for node in BUILDING.cloud_nodes if node.id == device.cloud_node_id)


# The rate.


@pytest.mark.parametrize("hour", [0, 8, 12, 17, 19.5, 21.45, 26, 5 * 24 + 13])
@pytest.mark.parametrize(("rate", "seconds"), [(0.2, 2000), (1, 600), (2, 400), (7.3, 400), (200, 30), (2000, 7)])
def test_any_five_seconds_hold_the_rate(rate, seconds, hour):
    """At any hour, over changes of the day's phases, and while a node is away and delivers late."""
    times = [at for at, _ in events(story(rate=rate, minute=hour * 60), seconds)]
    expected = {math.floor(5 * rate), math.ceil(5 * rate)}
    # An odd step, so that windows begin anywhere between the slots.
    for begins in (0.7713 * index for index in range(int((seconds - 5) / 0.7713))):
        assert sum(begins <= at < begins + 5 for at in window(times, begins, rate)) in expected


def window(times, begins, rate):
    """Return the part of `times` around a window, so that the test does not look at all of them each time."""
    first = max(0, math.floor(begins * rate) - 2)
    return times[first : first + math.ceil(5 * rate) + 6]


def test_the_rate_holds_through_an_outage():
    """The five seconds in which the node was lost or came back are no different, and there were such seconds."""
    put_in = events(story(rate=50), 250)
    assert {"cloudnode.disconnected", "cloudnode.connected"} <= {event["topic"] for _, event in put_in}
    counts = Counter(int(at // 5) for at, _ in put_in)
    assert {counts[index] for index in range(50)} == {250}


def test_rate_0_is_silence():
    """Nothing ever happens, which is known at once."""
    assert story(rate=0).take(1e9) == []
    assert list(story(rate=0)) == []
    assert story(rate=0).next_at == math.inf


@pytest.mark.parametrize("rate", [-1, math.inf, math.nan])
def test_other_rates_are_refused(rate):
    """A rate is a number of events, from none upwards."""
    with pytest.raises(ValueError, match="rate must be"):
        story(rate=rate)


# Determinism.


def test_the_same_seed_gives_the_same_story():
    """Whatever the wall clock says: only `occurred` follows it."""
    one, other = events(story(), 600), events(story(started_ms=0), 600)
    for (_, late), (_, early) in zip(one, other, strict=True):
        assert late.pop("occurred") - early.pop("occurred") == STARTED_MS
    assert one == other


def test_another_seed_gives_another_story():
    """In the same building."""
    assert events(story(), 60) != events(story(seed=2), 60)


def test_the_story_does_not_depend_on_how_it_is_taken():
    """One by one, in small pieces or at once."""
    at_once = story().take(300, sys.maxsize)
    in_pieces, again = story(), story()
    assert [step for tenth in range(3001) for step in in_pieces.take(tenth / 10)] == at_once
    assert list(islice(again, len(at_once))) == at_once
    assert story().take(300, 10) == at_once[:10]


def test_the_story_does_not_depend_on_the_process():
    """Python's own hashes differ from process to process, ids and order must not."""
    program = (
        "import sys; from doorstream.drivers.simulated import *;"
        "print(Story(Building.generate(1), 1, 2.0, started_ms=1700000000000).take(120))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == repr(story().take(120))


# What happens.


def test_every_topic_occurs_within_half_an_hour():
    """All of the samples' topics, except those that are derived or belong to the directory."""
    assert {event["topic"] for _, event in events(story(), 1800)} == TOPICS


def test_the_first_five_minutes_show_one_of_everything_rare():
    """A demo is watched for minutes: alarms, an outage and a change to synchronise come early, whatever the seed."""
    rare = {
        "device.request.unknown",
        "device.alarm.propped.on",
        "device.alarm.propped.off",
        "device.alarm.forced",
        "device.alarm.forced.cleared",
        "cloudnode.disconnected",
        "cloudnode.connected",
        "sync.not_synced",
        "endpoint.sync.finished.all",
        "sync.synced",
        "device.forceclose.on",
        "device.forceopen.on",
        "device.autoopen.on",
        "device.autoopen.off",
    }
    for seed in range(60):
        assert rare <= {event["topic"] for _, event in events(story(seed), 300)}, seed


@pytest.mark.parametrize("rate", [0.2, 2, 20])
def test_the_first_door_is_reachable_for_five_minutes(rate):
    """Neither offline nor in do-not-disturb (design.md, the demo's options), and never open by schedule."""
    door = BUILDING.devices[0]
    serial_number = node_of(door).serial_number
    for seed in range(40 if rate <= 2 else 5):
        for at, event in events(story(seed, rate), 300):
            assert event["body"] != {"serialNumber": serial_number}
            if event["body"].get("deviceId") == door.id:
                assert not event["topic"].startswith(("device.forceclose", "device.forceopen", "device.autoopen"))
                assert event["occurred"] == round(STARTED_MS + at * 1000)


def test_the_main_entrances_wing_is_lost_some_day():
    """The exception of the first minutes is one of the first minutes."""
    lost = {e["body"]["serialNumber"] for _, e in events(story(), 4 * 3600) if e["topic"] == "cloudnode.disconnected"}
    assert lost == {node.serial_number for node in BUILDING.cloud_nodes}


def test_denials_make_sense():
    """Nobody is allowed without the right to it; a denial has a reason: no right, a wrong PIN, or do-not-disturb."""
    devices = {device.id: device for device in BUILDING.devices}
    holders = {holder.id: holder for holder in BUILDING.holders}
    credentials = {each.id: each for holder in BUILDING.holders for each in holder.credentials}
    disturbed = set()
    reasons = Counter()
    for _, event in events(story(), 3600):
        body, minute = event["body"], 8 * 60 + (event["occurred"] - STARTED_MS) / 60_000
        if event["topic"].startswith("device.forceclose"):
            (disturbed.add if event["topic"].endswith(".on") else disturbed.discard)(body["deviceId"])
        if not event["topic"].startswith("device.request.") or event["topic"].endswith("unknown"):
            continue
        holder, device = holders[body["holderId"]], devices[body["deviceId"]]
        assert body["holder"] == holder.summary()
        if body["credentialId"]:
            credential = credentials[body["credentialId"]]
            assert credential in holder.credentials
            assert (body["facilityCode"], body["cardNumber"]) == (
                str(credential.facility_code),
                str(credential.credential_number),
            )
        permits = BUILDING.permits(holder, device, minute)
        if event["topic"].endswith("allowed"):
            assert permits
        elif permits:
            assert device.id in disturbed or body["requestFactor"] == "CARD_AND_PIN"
            reasons["disturbed" if device.id in disturbed else "wrong PIN"] += 1
        else:
            reasons["no right"] += 1
    assert reasons["no right"] > 20
    assert reasons["disturbed"]


def test_strangers_cards_are_nobodys():
    """An unknown card must not be one that the directory knows."""
    known = {
        (str(c.facility_code), str(c.credential_number)) for holder in BUILDING.holders for c in holder.credentials
    }
    unknown = [e["body"] for _, e in events(story(rate=50), 200) if e["topic"] == "device.request.unknown"]
    assert unknown
    assert known.isdisjoint((body["facilityCode"], body["cardNumber"]) for body in unknown)


def test_the_mix_follows_the_day():
    """People come in the morning, leave in the evening, and at night security alone is about."""

    def mix(hour):
        put_in = [event for _, event in events(story(rate=20, minute=hour * 60), 300)]
        people = {e["body"]["holderId"] for e in put_in if e["topic"] == "device.request.allowed"}
        groups = {BUILDING.groups[h.group_id].name for h in BUILDING.holders if h.id in people}
        return Counter(event["topic"] for event in put_in), groups

    morning, staff = mix(8)
    evening, _ = mix(17)
    _, cleaners = mix(19)
    _, guards = mix(26)
    assert evening["device.input.rex.on"] > 4 * morning["device.input.rex.on"]
    assert morning["device.request.allowed"] > 2 * evening["device.request.allowed"]
    assert "Staff" in staff
    assert "Cleaning" not in staff
    assert "Cleaning" in cleaners
    assert guards == {"Security"}


# The form of events.


def ingest_forms():
    """Return, for each simulated topic, the keys of its event and of its body's objects, from the samples."""
    forms = {}
    for each in SAMPLES:
        topic, sample = each["event"], each["sample"]
        if topic in NEVER_SIMULATED:
            continue
        if topic.startswith("cloudnode."):
            body = {"serialNumber": ""}
        elif topic.startswith("sync."):
            body = {"panelSn": "", **{k: v for k, v in sample["details"].items() if k != "timestamp"}}
        else:
            body = sample["body"]
        forms[topic] = body
    return forms


def shape(value):
    """Return a JSON value with its types in place of its values; null fits anything."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return type(value).__name__


def fits(value, sample):
    """Tell whether a value has the keys and kinds of a sample; null stands for what has no value."""
    if isinstance(sample, dict):
        return value.keys() == sample.keys() and all(fits(value[key], sample[key]) for key in sample)
    return value is None or sample is None or shape(value) == shape(sample)


def test_events_have_the_keys_of_the_samples():
    """Beside them only `cause` and `by`, which are ours; no id, no `liveEvent`; the ids are those of the building."""
    forms = ingest_forms()
    nodes = {node.id: node for node in BUILDING.cloud_nodes}
    devices = {device.id: device for device in BUILDING.devices}
    for _, event in events(story(rate=20), 400):
        assert event.keys() - {"metadata"} == {"topic", "occurred", "body", "cloudNode"}
        assert type(event["occurred"]) is int
        node = nodes[event["cloudNode"]["id"]]
        assert event["cloudNode"] == {"id": node.id, "serialNumber": node.serial_number, "name": node.name}
        body = dict(event["body"])
        cause = event.get("metadata", {}).get("cause")
        assert (cause is not None) is (event["topic"] == "device.input.relay.on")
        assert fits(body, forms[event["topic"]]), event
        if "device" in body:
            device = devices[body["deviceId"]]
            assert device.cloud_node_id == node.id
            assert body["device"] == {
                "id": device.id,
                "name": device.name,
                "connection": device.connection_id,
                "port": device.port,
            }


def test_events_are_the_receivers():
    """Who gives an event an id or fills its body in does not change the next ones."""
    of = story()
    for step in of.take(30):
        for event in step.events:
            event["id"] = "1"
            event["body"]["note"] = "seen"
    assert all("id" not in event and "note" not in event["body"] for _, event in events(of, 60))


# Outages.


def outage(rate):
    """Return the node that was lost first, and the events from then on that concern it, with their times."""
    put_in = events(story(rate=rate), 400)
    lost = next(i for i, (_, event) in enumerate(put_in) if event["topic"] == "cloudnode.disconnected")
    node = put_in[lost][1]["cloudNode"]["id"]
    return [(at, event) for at, event in put_in[lost:] if event["cloudNode"]["id"] == node]


@pytest.mark.parametrize("rate", [1, 2, 20, 100])
def test_late_events(rate):
    """Nothing of a lost node until it is back; then what happened meanwhile, in order and with its own times."""
    (lost_at, lost), (back_at, back), *after = outage(rate)
    assert lost["body"] == back["body"] == {"serialNumber": lost["cloudNode"]["serialNumber"]}
    assert (lost["topic"], back["topic"]) == ("cloudnode.disconnected", "cloudnode.connected")
    assert 30 < back_at - lost_at < 90
    late = [event["occurred"] for _, event in after if event["occurred"] < back["occurred"]]
    assert late
    assert all(lost["occurred"] <= occurred for occurred in late)
    occurred = [event["occurred"] for _, event in after]
    assert occurred == sorted(occurred)
    # The queue behind the late ones is worked off: in the end events are put in as they happen again.
    at, event = after[-1]
    assert event["occurred"] == round(STARTED_MS + at * 1000)


def test_a_lost_node_keeps_only_so_much():
    """A building of any rate takes bounded memory while a node is away."""
    of = story(rate=1000)
    deepest = 0
    while not deepest or any(wing.is_away for wing in of._stage.wings):
        of.take(of.next_at + 0.5, sys.maxsize)
        deepest = max(deepest, *(len(wing.memory) for wing in of._stage.wings))
    assert 500 < deepest <= 1100


def test_no_outage_cuts_a_synchronisation_in_two():
    """What an offline node could not have told is never told; at a low rate there are chances enough for it."""
    pending = set()
    outages = 0
    for _, event in events(story(rate=0.2), 200_000):
        serial_number = event["cloudNode"]["serialNumber"]
        if event["topic"] == "sync.not_synced":
            pending.add(serial_number)
        elif event["topic"] == "sync.synced":
            pending.remove(serial_number)
        elif event["topic"] == "cloudnode.disconnected":
            outages += 1
            assert serial_number not in pending
    assert outages > 50


def test_a_command_waits_behind_what_is_late():
    """A node that still delivers gets the command, but reports what came of it after what happened before it."""
    of, door = story(rate=20), BUILDING.devices[-1]
    back = next(step.at for step in of if step.events[0]["topic"] == "cloudnode.connected")
    of.command(door.id, "unlock", by="Ada")
    put_in = [event for _, event in (*events(of, back), *events(of, 300))]
    reported = [event for event in put_in if event["body"].get("deviceId") == door.id]
    obeyed = next(index for index, event in enumerate(reported) if event.get("metadata", {}).get("by") == "Ada")
    assert obeyed > 0
    occurred = [event["occurred"] for event in reported]
    assert occurred == sorted(occurred)


# Commands.


def command_events(of, door, seconds):
    """Return topic and time of a door's events from taking up to so many seconds."""
    return [(e["topic"], at) for at, e in events(of, seconds) if e["body"].get("deviceId") == door.id]


def test_a_command_without_a_rate():
    """In a silent building a command is all that happens, at once and in its natural time."""
    of, door = story(rate=0), BUILDING.devices[2]
    of.take(10)
    of.command(door.id, "unlock", by="Ada")
    (step,) = of.take(10.04)
    assert step.at == 10.04
    assert step.events[0]["topic"] == "device.input.relay.on"
    assert step.events[0]["occurred"] == STARTED_MS + 10_040
    assert step.events[0]["metadata"]["cause"] == "command"
    assert step.events[0]["metadata"]["by"] == "Ada"
    assert command_events(of, door, 60) == [
        ("device.input.dps.opened", pytest.approx(11.54)),
        ("device.input.dps.closed", pytest.approx(13.54)),
        ("device.input.relay.off", pytest.approx(15.04)),
    ]
    assert of.next_at == math.inf


@pytest.mark.parametrize("rate", [0.2, 2, 200])
def test_a_command_is_obeyed_at_once_at_any_rate(rate):
    """At every moment of a busy door's life, the relay switches on by command in the very next steps."""
    of, door = story(rate=rate), BUILDING.devices[0]
    for second in range(1, 60):
        of.take(second)
        of.command(door.id, "unlock")
        *_, last = [event for step in of.take(second) for event in step.events]
        assert last["topic"] == "device.input.relay.on"
        assert last["body"]["deviceId"] == door.id
        assert last["metadata"]["cause"] == "command"


def test_commands_are_made_up_for():
    """What commands put in, later slots leave out: over time the rate is what it was."""
    of = story(rate=10)
    of.take(20, sys.maxsize)
    for device in BUILDING.devices[:3]:
        of.command(device.id, "unlock")
    commanded = events(of, 20)
    assert len(commanded) >= 3
    assert len(commanded) + len(events(of, 60)) == 400


def test_commands_that_last():
    """Do-not-disturb denies until it ends; a hold keeps the relay on until it ends."""
    of, door = story(rate=20), BUILDING.devices[1]
    of.command(door.id, "do_not_disturb", by="Ada")
    of.take(0)
    during = Counter(topic for topic, _ in command_events(of, door, 60))
    assert during["device.request.denied"] > 5
    assert during["device.request.allowed"] == 0
    of.command(door.id, "do_not_disturb", on=False)
    of.command(door.id, "hold_open")
    changed = [topic for topic, _ in command_events(of, door, 60)]
    assert changed[:3] == ["device.forceclose.off", "device.forceopen.on", "device.input.relay.on"]
    after = Counter(topic for topic, _ in command_events(of, door, 120))
    assert after["device.request.allowed"] > 5
    assert after["device.input.relay.off"] == 0
    of.command(door.id, "lock")
    assert ("device.forceopen.off", 120.0) in command_events(of, door, 120)


def test_commands_that_cannot_be():
    """An unknown door, an unknown command, a door whose node is offline."""
    of = story()
    with pytest.raises(UnknownDoorError, match="no door"):
        of.command("nowhere", "unlock")
    with pytest.raises(ValueError, match="unlock, lock, hold_open, do_not_disturb"):
        of.command(BUILDING.devices[0].id, "explode")
    until = next(at for at, event in events(story(), 300) if event["topic"] == "cloudnode.disconnected")
    of.take(until)
    with pytest.raises(UnreachableDoorError, match="offline"):
        of.command(BUILDING.devices[-1].id, "unlock")
    of.command(BUILDING.devices[0].id, "unlock")


def test_commands_do_not_starve_behind_a_limit():
    """A caller that is always behind still has its commands obeyed, after what it has just taken."""
    of, door = story(rate=100), BUILDING.devices[0]
    of.command(door.id, "unlock")
    first = of.take(1000, 10)
    (second, *_) = of.take(1000, 10)
    assert isinstance(second, Step)
    assert second.at == first[-1].at
    assert second.events[-1]["metadata"]["cause"] == "command"


def test_postponing_moves_what_was_not_taken():
    """`occurred` moves, the story's own time does not."""
    of, same = story(), story()
    assert of.take(10) == same.take(10)
    of.postpone(2.5)
    for (at, moved), (same_at, event) in zip(events(of, 20), events(same, 20), strict=True):
        assert at == same_at
        assert moved["occurred"] == event["occurred"] + 2500
