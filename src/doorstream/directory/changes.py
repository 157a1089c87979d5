"""From what is wanted to what is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from doorstream.directory import rules
from doorstream.directory.cloud_node_events import Actor, as_put_in, happened
from doorstream.directory.errors import AlreadyExists, InvalidEntity
from doorstream.directory.keys import key_for
from doorstream.directory.mirror import Mirror
from doorstream.directory.records import Entry, Value
from doorstream.directory.store import Change
from doorstream.events.entities import CloudNode, Device, Entity, Reservation, User


class Step(NamedTuple):
    """One change that is wanted: a key, and what its entity becomes (None: nothing, it is deleted).

    ``where`` is its place in what the caller reads from, for messages.
    """

    key: str
    update: Callable[[Entity | None], Entity | None]
    where: str = ""


class Plan(NamedTuple):
    """The writes that some steps need now, and what each step leads to. Steps that change nothing write nothing."""

    changes: list[Change]
    results: list[Entity | None]
    differing: int


class Planner:
    """Turns steps into writes against the mirror's present state."""

    def __init__(self, mirror: Mirror, clock: Callable[[], float], new_id: Callable[[], str]) -> None:
        self._mirror = mirror
        self._clock = clock
        self._new_id = new_id

    def plan(self, steps: Sequence[Step], by: Actor) -> Plan:
        """What is to be written; raises what a step's update raises, InvalidEntity or AlreadyExists."""
        changes: list[Change] = []
        results: list[Entity | None] = []
        differing = 0
        for step in steps:
            entry = self._mirror.entry(step.key)
            new = self._judged(step, entry.entity)
            results.append(new)
            if new == entry.entity:
                continue
            differing += 1
            changes.append(Change(step.key, self._value(entry, new, by), entry.revision))
            if isinstance(new, User) or isinstance(entry.entity, User):
                changes += self._user_names(entry.entity, new)
        return Plan(changes, results, differing)

    def _judged(self, step: Step, old: Entity | None) -> Entity | None:
        """What the step leads to, if that can be kept."""
        try:
            new = self._completed(step.update(old))
            if new is not None and new != old:
                rules.check(new, self._mirror)
        except InvalidEntity as error:
            raise InvalidEntity(f"{step.where}.{error.where}".strip("."), error.what) from None
        return new

    def _completed(self, entity: Entity | None) -> Entity | None:
        """A device that only names its connection belongs to the connection's cloud node."""
        if isinstance(entity, Device) and entity.connection_id is not None and entity.cloud_node_id is None:
            view = self._mirror.site(entity.site_id)
            connection = view.connections.get(entity.connection_id) if view is not None else None
            if connection is not None:
                return replace(entity, cloud_node_id=connection.cloud_node_id)
        return entity

    def _value(self, entry: Entry, new: Entity | None, by: Actor) -> Value:
        old = entry.entity
        node = old if old is not None else new
        if not isinstance(node, CloudNode):
            return Value(new)
        view = self._mirror.site(node.site_id)
        what = happened(
            old if isinstance(old, CloudNode) else None,
            new if isinstance(new, CloudNode) else None,
            view.site if view is not None else None,
        )
        now_ms = int(self._clock() * 1000)
        told = [as_put_in(each, by=by, now_ms=now_ms, event_id=self._new_id()) for each in what]
        return Value(new, old, (*entry.pending, *told))

    def _user_names(self, old: Any, new: Any) -> list[Change]:
        """The reservations that a user needs and no longer needs."""
        old_key = _name_key(old)
        new_key = _name_key(new)
        if old_key == new_key:
            return []
        changes = []
        if new_key is not None:
            taken = self._mirror.entry(new_key)
            if taken.entity is not None:
                raise AlreadyExists("user", new.username)
            name = Reservation(id=new.username.casefold(), user_id=new.id)
            changes.append(Change(new_key, Value(name), taken.revision))
        if old_key is not None:
            changes.append(Change(old_key, Value(None), self._mirror.entry(old_key).revision))
        return changes


def _name_key(user: User | None) -> str | None:
    return key_for("username", user.username.casefold()) if user is not None else None
