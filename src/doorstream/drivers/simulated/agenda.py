"""What is planned by time and not by chance.

A routine is a generator that does something whenever it is asked and returns for how many seconds to leave it alone.
The first rounds lie within the first few minutes, so that who starts a demo soon sees one of everything. The first
outage is never that of the main entrance's wing, and nothing else here is planned for the main entrance.
"""

from collections.abc import Callable, Generator
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from random import Random
from typing import NamedTuple, TypeAlias

from doorstream.drivers.simulated import scenes
from doorstream.drivers.simulated.blueprint import MINUTES_A_DAY, WORKDAYS, Hours
from doorstream.drivers.simulated.door import Door, Mode
from doorstream.drivers.simulated.rhythm import Kind
from doorstream.drivers.simulated.scenes import Scene
from doorstream.drivers.simulated.stage import Place, Stage

Routine: TypeAlias = Generator[float, None, None]

# A routine that cannot do its part now looks again after so many seconds.
_AGAIN = 5.0


class _Entry(NamedTuple):
    due: float
    number: int
    routine: Routine


class Agenda:
    """The routines of a building.

    `want` is told which kinds of scene should come next; `minute` is the minute of the week in which the story begins.
    """

    def __init__(self, stage: Stage, want: Callable[[Kind], None], random: Random, minute: float) -> None:
        rooms = [place for place in stage.places if place.device.zone in ("office", "meeting")]
        depots = [place for place in stage.places if place.device.zone in ("service", "canteen")]
        routines = [
            _mishaps(want, random),
            _synchronisations(stage, random),
            _outages(stage, random),
            _requests_of(stage, rooms, scenes.do_not_disturb, _Pattern("Board assistant", 50, 60, 180), random),
            _requests_of(stage, depots, scenes.hold_open, _Pattern("Reception", 75, 60, 150), random),
            *(_schedule(stage, place, hours, minute) for place in stage.places for hours in place.device.auto_open),
        ]
        self._entries = [_Entry(next(routine), number, routine) for number, routine in enumerate(routines)]
        heapify(self._entries)

    def run(self, at: float) -> None:
        """Do what is due at `at` seconds. A routine that was left alone for too long keeps to its plan all the same."""
        while self._entries[0].due <= at:
            due, number, routine = heappop(self._entries)
            pause = next(routine, None)
            if pause is not None:
                heappush(self._entries, _Entry(due + pause, number, routine))


def _mishaps(want: Callable[[Kind], None], random: Random) -> Routine:
    """Have an unknown card, a propped and a forced door early on; the rhythm of the day has more of each."""
    yield random.uniform(5, 15)
    want(Kind.UNKNOWN)
    yield random.uniform(10, 15)
    want(Kind.PROP)
    yield random.uniform(30, 60)
    want(Kind.BREAK_IN)


def _synchronisations(stage: Stage, random: Random) -> Routine:
    yield random.uniform(5, 15)
    while True:
        wing = random.choice(stage.wings)
        while not wing.is_live:
            yield _AGAIN
        serial_number = wing.node.serial_number
        wing.play(None, scenes.synchronise(serial_number, wing.connection_ids, random))
        yield random.uniform(5, 12) * 60


def _outages(stage: Stage, random: Random) -> Routine:
    yield random.uniform(110, 140)
    wing = stage.wings[-1]
    while True:
        while wing.is_synchronising or not all(each.is_live for each in stage.wings):
            yield _AGAIN
        stage.disconnect(wing)
        yield random.uniform(40, 80)
        stage.reconnect(wing)
        yield random.uniform(12, 40) * 60
        wing = random.choice(stage.wings)


class _Pattern(NamedTuple):
    """Who asks for something, how many seconds after the start for the first time, and for how long (from, to)."""

    by: str
    first: float
    shortest: float
    longest: float


def _requests_of(
    stage: Stage, places: list[Place], scene: Callable[[Door, str, float], Scene], pattern: _Pattern, random: Random
) -> Routine:
    """Now and then somebody asks for `scene` at one of `places` whose door is in its normal mode."""
    yield pattern.first + random.uniform(0, 20)
    while True:
        while not (ready := [place for place in places if place.door.mode is Mode.NORMAL]):
            yield _AGAIN
        place = random.choice(ready)
        seconds = random.uniform(pattern.shortest, pattern.longest)
        stage.wing_of(place).play(place, scene(place.door, pattern.by, seconds))
        yield seconds + random.uniform(8, 25) * 60


def _schedule(stage: Stage, place: Place, hours: Hours, minute: float) -> Routine:
    """Open the door by schedule. Hours that have begun already when the story begins are left out."""
    wing, now = stage.wing_of(place), minute
    for day in count(int(minute // MINUTES_A_DAY)):
        opens, closes = day * MINUTES_A_DAY + hours.since, day * MINUTES_A_DAY + hours.until
        if opens < minute or (hours.workdays_only and day % 7 >= WORKDAYS):
            continue
        for until, is_on in ((opens, True), (closes, False)):
            yield (until - now) * 60
            now = until
            wing.play(place, scenes.single(partial(place.door.schedule, on=is_on)))
