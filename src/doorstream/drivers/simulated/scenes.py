"""The little plays that people perform at a door, and controllers with the cloud.

A scene is a generator of beats. A beat is what happens now (the signals of one stimulus, perhaps none) and how long,
in seconds, nothing more happens after it. A scene touches its door only while it is asked for the next beat, so scenes
at the same door may run at the same time: the door's state decides what a stimulus does, and a scene looks at the
door before it goes on.

The lengths are natural ones. Who performs a scene may stretch or compress them.
"""

from collections.abc import Callable, Generator, Sequence
from random import Random
from typing import TypeAlias

from doorstream.drivers.simulated.door import Door, Presented, Signal, Signals

Beat: TypeAlias = tuple[Signals, float]
Scene: TypeAlias = Generator[Beat, None, None]

# How long a door that was just used stays unused.
_BREATH = (0.3, 1.5)


def request(door: Door, presented: Presented, random: Random) -> Scene:
    """Somebody presents a credential and, if let in, walks through."""
    signals, release = door.present(presented), door.release_number
    yield signals, random.uniform(0.8, 1.6)
    if door.relay_on:
        yield from _walk_through(door, release, random)
    yield (), random.uniform(*_BREATH)


def leave(door: Door, random: Random) -> Scene:
    """Somebody presses the exit button, walks out, and the button is let go at last."""
    signals, release = door.press_rex(), door.release_number
    yield signals, random.uniform(0.8, 1.4)
    yield from _walk_through(door, release, random)
    yield door.leave_rex(), random.uniform(*_BREATH)


def prop(door: Door, presented: Presented, prop_delay: float, random: Random) -> Scene:
    """Somebody walks through and puts something in the way of the leaf, until somebody else takes it away."""
    signals, release = door.present(presented), door.release_number
    yield signals, random.uniform(0.8, 1.6)
    if door.relay_on:
        yield door.push(), random.uniform(3, 4)
        yield door.relock(release), prop_delay
        yield door.held_too_long(), random.uniform(10, 30)
        yield door.close(), random.uniform(*_BREATH)


def break_in(door: Door, random: Random) -> Scene:
    """Somebody opens the leaf without asking."""
    yield door.force(), random.uniform(6, 15)
    yield door.close(), random.uniform(*_BREATH)


def commanded(door: Door, by: str | None, dwell: float) -> Scene:
    """An operator unlocks the door for `dwell` seconds, for somebody who walks through."""
    signals, release = door.unlock(by), door.release_number
    yield signals, 0.3 * dwell
    if signals:
        yield door.push(), 0.4 * dwell
        yield door.close(), 0.3 * dwell
        yield door.relock(release), 0.0


def hold_open(door: Door, by: str, seconds: float) -> Scene:
    """An operator holds the door open for a while, unless another order comes between."""
    signals, order = door.hold_open(on=True, by=by), door.order_number
    yield signals, seconds
    if door.order_number == order:
        yield door.hold_open(on=False, by=by), 0.0


def do_not_disturb(door: Door, by: str, seconds: float) -> Scene:
    """Those inside do not want to be disturbed for a while, unless another order comes between."""
    signals, order = door.do_not_disturb(on=True, by=by), door.order_number
    yield signals, seconds
    if door.order_number == order:
        yield door.do_not_disturb(on=False, by=by), 0.0


def single(stimulus: Callable[[], Signals]) -> Scene:
    """Return a scene of one beat: the stimulus happens when its time comes, not now."""
    yield stimulus(), 0.0


def synchronise(serial_number: str, connection_ids: Sequence[str], random: Random) -> Scene:
    """Somebody changed the rules of a cloud node's doors, and its controllers take the change over.

    The forms are those of seed 000 and design.md; `ao_rules` (of auto-open) is the only documented type of data.
    """
    yield (Signal("sync.not_synced", {"panelSn": serial_number, "dataFlowStatus": "Pending"}),), random.uniform(1, 3)
    for stage in ("started", "finished"):
        for connection_id in connection_ids:
            yield (_endpoint(stage, connection_id),), random.uniform(0.5, 2)
    yield (_endpoint("finished.all", connection_ids[-1]),), random.uniform(0.2, 1)
    yield (Signal("sync.synced", {"panelSn": serial_number}),), 0.0


def _walk_through(door: Door, release: int, random: Random) -> Scene:
    yield door.push(), random.uniform(1.5, 3.5)
    yield door.close(), random.uniform(0.4, 1.2)
    yield door.relock(release), random.uniform(0.3, 0.8)


def _endpoint(stage: str, connection_id: str) -> Signal:
    return Signal(f"endpoint.sync.{stage}", {"connectionId": connection_id, "address": "", "type": "ao_rules"})
