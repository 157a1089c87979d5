"""What happens in a simulated building: an endless sequence of events at a fixed rate, the same for the same seed.

How it works
============

**Slots.** Slot k lies k/rate seconds after the start and is filled with exactly one event. So any 5 seconds hold the
rate's number of events, at any hour and whatever else goes on; the rhythm of the day only changes what they are.

**Scenes.** People play scenes at doors (`scenes`), one scene at a time at each. An empty slot is filled with, in this
order: a signal that is still waiting, as one stimulus can cause several; the next beat of a scene whose time has come;
the first beat of a new scene; the beat that is due soonest, though its time has not come. So at a low rate scenes are
stretched, at the default rate they take their natural time, and at a high rate they are compressed (all of their
pauses are, by one factor, so that long ones stay long); but each door's events keep their order.

**The agenda** is what is planned by time and not by chance: the schedule of the doors, outages, changes that have to be
synchronised, holds, do-not-disturb. A first round of it lies within the first few minutes, so that who starts a demo
soon sees one of everything.

**Outages.** While a cloud node is away, its doors go on in shadow slots, which put nothing in: a share of the ordinary
slots has one. Their events wait in the node's memory, stamped with the time at which they happened, and after the
`cloudnode.connected` take up ordinary slots, oldest first. Until the last of them is in, newer events of the node queue
behind them, so each door's events are put in in the order in which they happened. At most one node is away.

**Commands** from outside do not wait for a slot: what a command does to the door is put in when it happens, and as many
later slots are left empty.

Time is seconds since the start of the story. Its own calendar starts on Monday at eight in the morning unless told
otherwise, whatever the caller's clock says; that one is only used to stamp the events (`occurred`).
"""

import math
from collections import deque
from collections.abc import Iterator
from functools import partial
from heapq import heappop, heappush
from itertools import count, islice
from random import Random
from typing import Final, NamedTuple

from doorstream.drivers.simulated import scenes
from doorstream.drivers.simulated.agenda import Agenda
from doorstream.drivers.simulated.building import Building
from doorstream.drivers.simulated.casting import Casting
from doorstream.drivers.simulated.scenes import Scene
from doorstream.drivers.simulated.stage import Event, Place, Stage, Wing

MONDAY_MORNING: Final = 8 * 60
"""The minute of the week in which a story begins by default."""

# How many events a second these doors make when everybody takes their natural time; above it, pauses are shortened.
_NATURAL_RATE = 5.0
# While a node delivers what it kept, this share of the slots is its; and while its events are kept, another share of
# the slots has a shadow. The first must be the larger one, or a node would never be done.
_LATE_SHARE = 0.75
_SHADOW_SHARE = 0.25
# How many events a cloud node keeps while it is away. What would be one more does not happen.
_MEMORY = 1000
# How long commands may be made up for by empty slots, in seconds of the rate.
_MOST_OWED = 5.0


class UnknownDoorError(LookupError):
    """There is no such door in this building."""


class UnreachableDoorError(Exception):
    """The door's cloud node is offline: no command reaches it now."""


class Step(NamedTuple):
    """Events to be put in together, in order, `at` seconds after the start of the story.

    The events are the receiver's, except for the values of `cloudNode` and of `body["device"]`: many events share them.
    """

    at: float
    events: list[Event]


class _Operation(NamedTuple):
    """A commanded scene under way: when its next beat happens, and where."""

    due: float
    number: int
    place: Place
    scene: Scene


class Story:
    """The story of a building.

    `rate` is the mean of events per second over any 5 seconds, 0 for none but those that commands cause. `started_ms`
    is the wall clock's time (ms since 1970) at second 0; `minute` the minute of the story's week at second 0, counted
    from Monday 00:00. The steps are the same for the same building, seed, rate and minute, however they are asked for,
    as long as nobody gives commands.
    """

    def __init__(
        self, building: Building, seed: int | str, rate: float, *, started_ms: int, minute: float = MONDAY_MORNING
    ) -> None:
        if not 0 <= rate < math.inf:
            raise ValueError(f"the rate must be 0 or more events a second, not {rate}")
        self._random = Random(f"{seed}/story")  # noqa: S311 - a story, not a secret
        self._rate = rate
        self._started_ms = float(started_ms)
        pace = min(1.0, _NATURAL_RATE / rate) if rate else 1.0
        self._aside = Random(f"{seed}/aside")  # noqa: S311 - as above
        self._cut_off: set[str] = set()
        self._stage = Stage(building, pace)
        self._casting = Casting(building, self._random, minute)
        self._agenda = Agenda(self._stage, self._casting.want, Random(f"{seed}/agenda"), minute)  # noqa: S311 - as above
        self._places = {place.device.id: place for place in self._stage.places}
        self._slot = 0
        self._now = 0.0
        self._owed = 0
        self._orders: deque[tuple[Place, Scene]] = deque()
        self._operations: list[_Operation] = []
        self._numbers = count()

    @property
    def next_at(self) -> float:
        """When there is something to take again, in seconds; infinity if never without a command."""
        if self._orders:
            return self._now
        next_operation = self._operations[0].due if self._operations else math.inf
        return min(self._next_slot, next_operation)

    def __iter__(self) -> Iterator[Step]:
        """Give step after step, without end unless the rate is 0."""
        while self.next_at < math.inf:
            yield from self.take(self.next_at)

    def take(self, until: float, limit: int = 1000) -> list[Step]:
        """Return the steps up to `until` seconds that were not taken yet, in order, at most `limit` of them.

        `until` must not go back. What was commanded since the last call happens at `until`; if the limit cuts the steps
        off, at the last of them.
        """
        steps = list(islice(self._run(until), limit))
        self._now = until if len(steps) < limit else steps[-1].at
        if self._orders:
            for place, scene in self._orders:
                heappush(self._operations, _Operation(self._now, next(self._numbers), place, scene))
            self._orders.clear()
            steps += islice(self._run(until), limit - len(steps))
        return steps

    def command(self, door_id: str, name: str, *, on: bool = True, by: str | None = None) -> None:
        """Have an operator give a command to a door; what comes of it is in the next steps.

        `name` is `unlock`, `lock`, `hold_open` or `do_not_disturb`; `on` matters to the latter two. `by` says who, and
        is passed on in the events' bodies. Raises `UnknownDoorError`, `UnreachableDoorError`, or `ValueError` for any
        other name.
        """
        place = self._reachable(door_id)
        self._orders.append((place, _commanded(place, name, by, on=on)))

    def stage(self, door_id: str, name: str, *, holder_id: str | None = None) -> None:
        """Have something happen at a door as if people did it; what comes of it is in the next steps.

        `name` is `force` (the leaf is opened without a right), `prop` (somebody walks through and it stays open), `rex`
        (the exit button) or `request` (the holder with that id presents a credential; a stranger without one). Raises
        `UnknownDoorError`, `UnreachableDoorError`, `LookupError` for an unknown holder, or `ValueError`.
        """
        place = self._reachable(door_id)
        door, random = place.door, self._aside
        if name == "force":
            scene = scenes.break_in(door, random)
        elif name == "rex":
            scene = scenes.leave(door, random)
        elif name == "prop":
            scene = scenes.prop(door, self._casting.somebody(place), place.device.prop_delay, random)
        elif name == "request":
            presented = self._casting.presented(place, holder_id)
            if presented is None:
                raise LookupError(f"nobody in this building has the id {holder_id}")
            scene = scenes.request(door, presented, random)
        else:
            raise ValueError(f"nobody can {name!r} a door; it can be: force, prop, rex, request")
        self._orders.append((place, scene))

    def cut_off(self, door_id: str) -> None:
        """Have the cloud lose sight of the door's node, until `reconnect`; the story has to go on for it to show.

        Raises `UnknownDoorError`, or `UnreachableDoorError` while any node is away or delivers what it kept.
        """
        wing = self._stage.wing_of(self._reachable(door_id))
        if wing.is_synchronising or not all(each.is_live for each in self._stage.wings):
            raise UnreachableDoorError("not now: a cloud node is away already, or exchanges something: try again")
        self._stage.disconnect(wing)
        self._cut_off.add(wing.node.id)

    def reconnect(self, door_id: str) -> bool:
        """Have a node that was cut off come back and deliver what it kept; tells whether it had been cut off."""
        place = self._places.get(door_id)
        if place is None:
            raise UnknownDoorError(f"no door of this building has the id {door_id}")
        wing = self._stage.wing_of(place)
        if wing.node.id not in self._cut_off:
            return False
        self._cut_off.discard(wing.node.id)
        self._stage.reconnect(wing)
        return True

    def has_door(self, door_id: str) -> bool:
        """Tell whether there is such a door."""
        return door_id in self._places

    def _reachable(self, door_id: str) -> Place:
        place = self._places.get(door_id)
        if place is None:
            raise UnknownDoorError(f"no door of this building has the id {door_id}")
        if self._stage.wing_of(place).is_away:
            raise UnreachableDoorError(f"the cloud node of {place.device.name} is offline")
        return place

    def postpone(self, seconds: float) -> None:
        """Have everything that was not taken yet happen that much later: for a caller who could not keep up."""
        self._started_ms += seconds * 1000

    @property
    def _next_slot(self) -> float:
        return self._slot / self._rate if self._rate else math.inf

    def _run(self, until: float) -> Iterator[Step]:
        while True:
            slot = self._next_slot
            if self._operations and self._operations[0].due <= min(slot, until):
                at, events = self._operations[0].due, self._operate()
            elif slot <= until:
                at, events = slot, self._fill(slot)
                self._slot += 1
            else:
                return
            if events:
                yield Step(at, events)

    def _fill(self, at: float) -> list[Event]:
        """Return the event of the slot at `at`, or none if a command has had it already."""
        if self._owed:
            self._owed -= 1
            return []
        self._agenda.run(at)
        late = self._shadow(at)
        if self._stage.announcements:
            wing, signal = self._stage.announcements.popleft()
            return [wing.event(None, signal, self._occurred(at))]
        if late is not None and self._random.random() < _LATE_SHARE:
            return [late.memory.popleft()]
        return self._happen([wing for wing in self._stage.wings if wing.is_live], at, hurry=True)

    def _shadow(self, at: float) -> Wing | None:
        """Let life go on where a node is not live. Return that wing if its node is back and has events to deliver."""
        for wing in self._stage.wings:
            if wing.is_live:
                continue
            if len(wing.memory) < _MEMORY and self._random.random() < _SHADOW_SHARE:
                wing.memory += self._happen([wing], at, hurry=False)
            return None if wing.is_away else wing
        return None

    def _happen(self, wings: list[Wing], at: float, *, hurry: bool) -> list[Event]:
        """Make the next event happen in one of `wings`. There is none only if all doors are busy and nobody hurries."""
        while True:
            for wing in wings:
                if wing.waiting:
                    return [wing.event(*wing.waiting.popleft(), self._occurred(at))]
            soonest = min(wings, key=_next_due)
            if soonest.next_due > at:
                place = self._casting.place(wings, at)
                if place is not None:
                    self._stage.wing_of(place).occupy(place, self._casting.scene(place))
                    continue
                if not hurry:
                    return []
            soonest.beat(at)

    def _operate(self) -> list[Event]:
        """Play the next beat of a commanded scene, and return its events: put in at once, or kept with the others."""
        due, number, place, scene = heappop(self._operations)
        beat = next(scene, None)
        if beat is None:
            return []
        signals, pause = beat
        heappush(self._operations, _Operation(due + pause, number, place, scene))
        wing = self._stage.wing_of(place)
        occurred = self._occurred(due)
        events = (
            [wing.event(place, signal, occurred) for signal in (*wing.withdraw(place), *signals)] if signals else []
        )
        if not wing.is_live:
            wing.memory += events
            return []
        self._owed = min(self._owed + len(events), math.ceil(_MOST_OWED * self._rate))
        return events

    def _occurred(self, at: float) -> int:
        return round(self._started_ms + at * 1000)


def _next_due(wing: Wing) -> float:
    return wing.next_due


def _commanded(place: Place, name: str, by: str | None, *, on: bool) -> Scene:
    door = place.door
    if name == "unlock":
        return scenes.commanded(door, by, place.device.dwell)
    stimuli = {
        "lock": partial(door.lock, by),
        "hold_open": partial(door.hold_open, on=on, by=by),
        "do_not_disturb": partial(door.do_not_disturb, on=on, by=by),
    }
    if name not in stimuli:
        raise ValueError(f"a door cannot be told to {name!r}, only to unlock, {', '.join(stimuli)}")
    return scenes.single(stimuli[name])
