"""What can be made to happen in a story, beside the commands."""

import sys

import pytest

from doorstream.drivers.simulated import Building, Story, UnknownDoorError, UnreachableDoorError

BUILDING = Building.generate(1)
DOOR = BUILDING.devices[2]


def story(rate=0.0):
    """Return a story, silent unless told otherwise."""
    return Story(BUILDING, 1, rate, started_ms=1_700_000_000_000)


def topics(of, seconds, door=DOOR):
    """Return what happens at a door until then."""
    steps = [*of.take(0), *of.take(seconds, sys.maxsize)]  # what is staged happens when it is taken first
    return [event["topic"] for step in steps for event in step.events if event["body"].get("deviceId") == door.id]


def test_a_door_is_forced():
    """The alarm comes, and ends when the leaf falls shut."""
    of = story()
    of.stage(DOOR.id, "force")
    assert topics(of, 60) == [
        "device.input.dps.opened",
        "device.alarm.forced",
        "device.input.dps.closed",
        "device.alarm.forced.cleared",
    ]


def test_somebody_leaves_by_the_exit_button():
    """The whole little scene."""
    of = story()
    of.stage(DOOR.id, "rex")
    assert topics(of, 60)[:3] == ["device.input.rex.on", "device.input.relay.on", "device.input.dps.opened"]


def test_a_door_is_propped():
    """Until it is noticed and closed."""
    of = story()
    of.stage(DOOR.id, "prop")
    seen = topics(of, 200)
    assert seen[0].startswith("device.request.")
    if seen[0] == "device.request.allowed":
        assert "device.alarm.propped.on" in seen
        assert seen[-1] == "device.alarm.propped.off"


def test_a_certain_holder_presents_a_card():
    """With the rights that the holder has; a stranger has none."""
    of = story()
    holder = BUILDING.holders[7]
    of.stage(DOOR.id, "request", holder_id=holder.id)
    (step, *_) = of.take(1)
    assert step.events[0]["body"]["holderId"] == holder.id
    permitted = BUILDING.permits(holder, DOOR, 8 * 60)
    assert step.events[0]["topic"] == f"device.request.{'allowed' if permitted else 'denied'}"
    of.stage(DOOR.id, "request")
    assert "device.request.unknown" in [event["topic"] for step in of.take(1) for event in step.events]


def test_what_cannot_be_staged():
    """Unknown doors, people and plays."""
    of = story()
    with pytest.raises(UnknownDoorError):
        of.stage("nowhere", "rex")
    with pytest.raises(LookupError, match="nobody in this building"):
        of.stage(DOOR.id, "request", holder_id="nobody")
    with pytest.raises(ValueError, match="force, prop, rex, request"):
        of.stage(DOOR.id, "dance")
    with pytest.raises(UnknownDoorError):
        of.reconnect("nowhere")


def test_a_node_is_cut_off_and_comes_back():
    """What happens meanwhile comes later, and commands do not reach it."""
    of = story(rate=5)
    of.take(1)
    of.cut_off(DOOR.id)
    with pytest.raises(UnreachableDoorError, match="offline"):
        of.command(DOOR.id, "unlock")
    with pytest.raises(UnreachableDoorError):
        of.cut_off(DOOR.id)
    seen = [event["topic"] for step in of.take(30, sys.maxsize) for event in step.events]
    assert seen[0] == "cloudnode.disconnected"
    assert "cloudnode.connected" not in seen
    assert of.reconnect(DOOR.id) is True
    assert of.reconnect(DOOR.id) is False
    seen = [event["topic"] for step in of.take(60, sys.maxsize) for event in step.events]
    assert seen[0] == "cloudnode.connected"
    of.command(DOOR.id, "unlock")
    assert of.has_door(DOOR.id)
    assert not of.has_door("nowhere")


def test_what_is_staged_does_not_change_the_rate():
    """As commands, it is made up for by empty slots."""
    of = story(rate=10)
    of.take(20, sys.maxsize)
    of.stage(DOOR.id, "force")
    staged = sum(len(step.events) for step in of.take(20, sys.maxsize))
    assert staged == 2
    assert staged + sum(len(step.events) for step in of.take(60, sys.maxsize)) == 400
