"""Entities by id and in the order in which lists show them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar


class Named(Protocol):
    """What a table can hold."""

    @property
    def id(self) -> str:
        """Unique in its table."""

    @property
    def name(self) -> str:
        """What people call it."""


E = TypeVar("E", bound=Named)

Place = tuple[str, str]
"""Where something stands in a list: its name and id."""


class Page(NamedTuple, Generic[E]):
    """Some of a list, and the place after which the rest begins (None: nothing is left)."""

    items: list[E]
    next: Place | None


class Table(Generic[E]):
    """A collection with look-up by id and lists sorted by name, then id.

    The order is made when it is first asked for and then kept up, so that loading many is cheap.
    """

    __slots__ = ("_by_id", "_order")

    def __init__(self) -> None:
        self._by_id: dict[str, E] = {}
        self._order: list[Place] | None = None

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[E]:
        """All, sorted."""
        return iter([self._by_id[entity_id] for _, entity_id in self._places()])

    def get(self, entity_id: str) -> E | None:
        """The one of that id, or None."""
        return self._by_id.get(entity_id)

    def put(self, entity: E) -> None:
        """Add or replace."""
        old = self._by_id.get(entity.id)
        self._by_id[entity.id] = entity
        if self._order is None or (old is not None and old.name == entity.name):
            return
        if old is not None:
            self._forget(old)
        place = (entity.name, entity.id)
        self._order.insert(bisect_left(self._order, place), place)

    def remove(self, entity_id: str) -> None:
        """Take out, if it is there."""
        old = self._by_id.pop(entity_id, None)
        if old is not None and self._order is not None:
            self._forget(old)

    def page(self, *, after: Place | None = None, limit: int, name: str | None = None) -> Page[E]:
        """Up to ``limit`` in order, from right after a place on; with ``name`` only those whose name contains it."""
        order = self._places()
        at = bisect_right(order, after) if after is not None else 0
        wanted = name.casefold() if name else ""
        items: list[E] = []
        for place in order[at:] if not wanted else (place for place in order[at:] if wanted in place[0].casefold()):
            if len(items) == limit:
                last = items[-1]
                return Page(items, (last.name, last.id))
            items.append(self._by_id[place[1]])
        return Page(items, None)

    def slice(self, start: int, stop: int) -> list[E]:
        """The items at those indices of the sorted list."""
        return [self._by_id[entity_id] for _, entity_id in self._places()[start:stop]]

    def _places(self) -> list[Place]:
        if self._order is None:
            self._order = sorted((entity.name, entity.id) for entity in self._by_id.values())
        return self._order

    def _forget(self, old: E) -> None:
        assert self._order is not None  # noqa: S101 - the callers looked
        del self._order[bisect_left(self._order, (old.name, old.id))]
