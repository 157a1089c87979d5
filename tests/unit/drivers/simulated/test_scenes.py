"""Scenes beside each other at one door: what a later one began, an earlier one does not end."""

from random import Random

from doorstream.drivers.simulated import Door, Presented, scenes
from doorstream.drivers.simulated.door import Mode

HOLDER = {"id": "h", "name": "Ada Berg", "enabled": True, "activeDate": None, "expireDate": None}
RANDOM = Random(1)  # noqa: S311 - lengths of pauses
CARD = Presented("CARD_ONLY", "77", "26858", HOLDER, "c", permitted=True)


def topics(scene):
    """Play a scene to its end and return its topics."""
    return [signal.topic for signals, _ in scene for signal in signals]


def test_a_hold_leaves_a_newer_order_alone():
    """Somebody ordered the same thing while the hold lasted: it is theirs to end."""
    door = Door()
    scene = scenes.hold_open(door, "Reception", 60)
    next(scene)
    assert door.hold_open(on=True, by="Ada") == ()
    assert topics(scene) == []
    assert door.mode is Mode.HELD_OPEN


def test_a_passage_leaves_a_newer_release_alone():
    """A command in the middle of a passage has its own time."""
    door = Door()
    scene = scenes.request(door, CARD, RANDOM)
    next(scene)
    door.unlock()
    assert topics(scene) == ["device.input.dps.opened", "device.input.dps.closed"]
    assert door.relay_on


def test_who_is_locked_out_does_not_force_the_door():
    """Do-not-disturb between the request and the push: the passage ends without one."""
    door = Door()
    scene = scenes.request(door, CARD, RANDOM)
    next(scene)
    door.do_not_disturb(on=True)
    assert topics(scene) == []


def test_a_denied_person_walks_away():
    """A denial is all that is seen of it."""
    assert topics(scenes.request(Door(), Presented("CARD_ONLY", "77", "1", HOLDER, "c"), RANDOM)) == [
        "device.request.denied"
    ]


def test_a_change_is_synchronised():
    """Pending, each controller started, each finished, all finished, synced."""
    assert topics(scenes.synchronise("1234ABC", ["a", "b"], RANDOM)) == [
        "sync.not_synced",
        "endpoint.sync.started",
        "endpoint.sync.started",
        "endpoint.sync.finished",
        "endpoint.sync.finished",
        "endpoint.sync.finished.all",
        "sync.synced",
    ]
