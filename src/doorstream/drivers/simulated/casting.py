"""Chance: who comes next, to which door, and what comes of it, after the rhythm of the day."""

from collections import deque
from itertools import accumulate
from random import Random

from doorstream.drivers.simulated import scenes
from doorstream.drivers.simulated.building import Building, Holder
from doorstream.drivers.simulated.door import Presented
from doorstream.drivers.simulated.rhythm import Kind, phase_at
from doorstream.drivers.simulated.scenes import Scene
from doorstream.drivers.simulated.stage import Place, Wing

# How often to look for a person who fits before taking whoever came last.
_TRIES = 8


class Casting:
    """Chooses places and scenes. `minute` is the minute of the week in which the story begins."""

    def __init__(self, building: Building, random: Random, minute: float) -> None:
        self._building = building
        self._random = random
        self._first_minute = minute
        self._minute = minute
        self._facility_code = building.holders[0].credentials[0].facility_code
        self._members: dict[str, list[Holder]] = {group.name: [] for group in building.groups.values()}
        for holder in building.holders:
            self._members[building.groups[holder.group_id].name].append(holder)
        self._wanted: deque[Kind] = deque()
        self._phase_ends = minute
        self._begin_phase(minute)

    def want(self, kind: Kind) -> None:
        """Have a scene of this kind played soon, at a door that never stands open by schedule."""
        self._wanted.append(kind)

    def place(self, wings: list[Wing], at: float) -> Place | None:
        """Return a free place of `wings` at which somebody may be expected now, or None."""
        free = [place for wing in wings for place in wing.free.values()]
        if not free:
            return None
        self._minute = self._first_minute + at / 60
        if self._minute >= self._phase_ends:
            self._begin_phase(self._minute)
        bounds = list(accumulate(self._phase.zones.get(place.device.zone, 0) for place in free))
        if not bounds[-1]:
            return None
        return self._random.choices(free, cum_weights=bounds)[0]

    def scene(self, place: Place) -> Scene:
        """Return what happens at this place, which `place` has just chosen."""
        kind = self._kind(place)
        random, door, device = self._random, place.door, place.device
        if kind is Kind.LEAVE:
            return scenes.leave(door, random)
        if kind is Kind.BREAK_IN:
            return scenes.break_in(door, random)
        if kind is Kind.UNKNOWN:
            return scenes.request(door, self._stranger(), random)
        holder = self._not_permitted(place) if kind is Kind.NO_RIGHT else self._permitted(place)
        knows_pin = kind is not Kind.WRONG_PIN or "CARD_AND_PIN" not in device.factors
        presented = self._present(place, holder, knows_pin=knows_pin)
        if kind is Kind.PROP:
            return scenes.prop(door, presented, device.prop_delay, random)
        return scenes.request(door, presented, random)

    def presented(self, place: Place, holder_id: str | None) -> Presented | None:
        """Return a credential of that holder at that place, of a stranger without an id; None if nobody has the id."""
        if holder_id is None:
            return self._stranger()
        holder = next((holder for holder in self._building.holders if holder.id == holder_id), None)
        return None if holder is None else self._present(place, holder, knows_pin=True)

    def somebody(self, place: Place) -> Presented:
        """Return a credential of somebody who may be expected at that place at this hour."""
        return self._present(place, self._permitted(place), knows_pin=True)

    def _kind(self, place: Place) -> Kind:
        # Alarms come of doors that should be locked; those that stand open, or soon may, give none.
        if self._wanted and not place.door.relay_on and not place.device.auto_open:
            return self._wanted.popleft()
        kind = self._random.choices(self._kinds, cum_weights=self._kind_bounds)[0]
        return Kind.ENTER if place.door.relay_on and kind in (Kind.PROP, Kind.BREAK_IN) else kind

    def _permitted(self, place: Place) -> Holder:
        """Return somebody of this hour's groups who may open the door, or anybody of them if there is nobody."""
        groups, bounds = self._cast(place)
        for _ in range(_TRIES):
            holder = self._random.choice(self._members[self._random.choices(groups, cum_weights=bounds)[0]])
            if self._building.permits(holder, place.device, self._minute):
                break
        return holder

    def _cast(self, place: Place) -> tuple[list[str], list[int]]:
        """Return the groups, and their summed weights, that have a right to this door in this phase."""
        if place.index not in self._casts:
            entitled = {
                group.name: self._phase.groups[group.name]
                for group in self._building.groups.values()
                if group.name in self._phase.groups
                and place.device.id in group.rights
                and group.rights[place.device.id].contains(self._minute)
            }
            groups = entitled or self._phase.groups
            self._casts[place.index] = (list(groups), list(accumulate(groups.values())))
        return self._casts[place.index]

    def _not_permitted(self, place: Place) -> Holder:
        """Return somebody who may not open the door now; there always is at least the one who has left."""
        minute = self._minute
        return self._random.choice(
            [holder for holder in self._building.holders if not self._building.permits(holder, place.device, minute)]
        )

    def _present(self, place: Place, holder: Holder, *, knows_pin: bool) -> Presented:
        factor = self._random.choice(place.device.factors)
        credential = None if factor == "PIN_ONLY" else self._random.choice(holder.credentials)
        return Presented(
            factor=factor,
            facility_code=None if credential is None else str(credential.facility_code),
            card_number=None if credential is None else str(credential.credential_number),
            holder=holder.summary(),
            credential_id=None if credential is None else credential.id,
            permitted=knows_pin and self._building.permits(holder, place.device, self._minute),
        )

    def _stranger(self) -> Presented:
        """Return a card of another organisation: its facility code is not ours."""
        other = self._random.randrange(1, 255)
        code = other if other < self._facility_code else other + 1
        return Presented("CARD_ONLY", str(code), str(self._random.randrange(1, 65_536)))

    def _begin_phase(self, minute: float) -> None:
        self._phase, self._phase_ends = phase_at(minute)
        self._kinds, self._kind_bounds = list(self._phase.scenes), list(accumulate(self._phase.scenes.values()))
        self._casts: dict[int, tuple[list[str], list[int]]] = {}
