"""Reading unlocks (design D17) of one site or of several, in the order of their arrival or of what happened.

The order of arrival is that of ``created``: the largest ``recorded`` of the log up to an event. It never decreases from
one event to the next, even when the clock of NATS was set back. Events that are read here have it as
their ``recorded``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, Literal

from doorstream.events import Event
from doorstream.history.query import MAX_INTEGER, MIN_INTEGER, Page

Order = Literal["created", "occurred", "sequence"]
Key = tuple[int, str]
"""Where an unlock stands in an order: its ``created``, ``occurred`` or sequence, and its id, which decides a tie."""

LAST_UNLOCKS = """
SELECT site, max(sequence)
FROM events INDEXED BY events_unlocked
WHERE unlock = 1 AND sequence <= ? GROUP BY site
"""
_BY_ID = """
SELECT sequence, site, unlock, created, json
FROM events INDEXED BY events_by_id
WHERE id = ? ORDER BY sequence
"""
_FEW = 20_000
"""So many rows are rather sorted than found in an index that is in order but holds all other events too."""

_INDEXES: dict[Order, str] = {
    "created": "events_unlocked",
    "occurred": "events_by_occurred",
    "sequence": "events_by_site",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlockQuery:
    """Which unlocks: those of ``sites`` that stand after the sequence ``after`` and not after ``upto``.

    Times are milliseconds, both ends included. ``behind`` is the key of the unlock that the page begins behind.
    """

    sites: tuple[str, ...]
    upto: int
    limit: int
    order: Order = "created"
    is_descending: bool = True
    after: int | None = None
    created_from: int | None = None
    created_to: int | None = None
    behind: Key | None = None

    def key_of(self, event: Event) -> Key:
        """Where an event that was read stands."""
        if self.order == "sequence":
            return event.sequence, event.id
        return (event.recorded if self.order == "created" else event.occurred), event.id

    def count(self, connection: sqlite3.Connection) -> int:
        """How many there are, wherever the page begins."""
        total = 0
        index = _INDEXES["sequence" if self.after is not None else "created"]
        for site in self.sites:
            conditions, parameters = self._conditions(site)
            sql = f"SELECT count(*) FROM events INDEXED BY {index} WHERE {conditions}"  # noqa: S608 - fixed texts
            total += connection.execute(sql, parameters).fetchone()[0]
        return total

    def rows(self, connection: sqlite3.Connection) -> Iterator[tuple[int, str, int, int, str]]:
        """``(value of the order, id, sequence, created, json)``, read as far as they are taken."""
        index = self._index(connection)
        direction = "DESC" if self.is_descending else "ASC"
        cursors = []
        for site in self.sites:
            conditions, parameters = self._conditions(site)
            if self.behind is not None:
                conditions += f" AND ({self.order}, id) {'<' if self.is_descending else '>'} (?, ?)"
                parameters += [_storable(self.behind[0]), self.behind[1]]
            sql = (
                f"SELECT {self.order}, id, sequence, created, json FROM events INDEXED BY {index} "  # noqa: S608 - fixed
                f"WHERE {conditions} ORDER BY {self.order} {direction}, id {direction} LIMIT ?"
            )
            cursors.append(connection.execute(sql, [*parameters, self.limit + 1]))
        if len(cursors) == 1:
            return iter(cursors[0])
        return merge(*cursors, key=itemgetter(0, 1), reverse=self.is_descending)

    def _index(self, connection: sqlite3.Connection) -> str:
        """In the order of what happened, a short span of arrivals is sorted; else there is an index in that order."""
        if self.order == "occurred" and (self.created_from is not None or self.after is not None):
            if self.after is not None:
                return _INDEXES["sequence"]
            if self.count(connection) <= _FEW:
                return _INDEXES["created"]
        return _INDEXES[self.order]

    def _conditions(self, site: str) -> tuple[str, list[Any]]:
        conditions = ["site = ?", "unlock = 1", "sequence <= ?"]
        parameters: list[Any] = [site, self.upto]
        for condition, value in (
            ("sequence > ?", self.after),
            ("created >= ?", self.created_from),
            ("created <= ?", self.created_to),
        ):
            if value is not None:
                conditions.append(condition)
                parameters.append(_storable(value))
        return " AND ".join(conditions), parameters


def read_page(connection: sqlite3.Connection, query: UnlockQuery) -> Page:
    """One page."""
    rows = list(islice(query.rows(connection), query.limit + 1))
    events = [Event(json.encode(), sequence, created) for _, _, sequence, created, json in rows[: query.limit]]
    return Page(events, len(rows) > query.limit)


def read_unlock(connection: sqlite3.Connection, sites: Collection[str], event_id: str) -> Event | None:
    """The unlock of that id at one of the sites."""
    for sequence, site, unlock, created, json in connection.execute(_BY_ID, (event_id,)):
        if unlock and site in sites:
            return Event(json.encode(), sequence, created)
    return None


def read_place(connection: sqlite3.Connection, sites: Collection[str], event_id: str) -> int | None:
    """The sequence of the event of that id, unlock or not, at one of the sites."""
    for sequence, site, *_ in connection.execute(_BY_ID, (event_id,)):
        if site in sites:
            place: int = sequence
            return place
    return None


def _storable(number: int) -> int:
    return max(MIN_INTEGER, min(number, MAX_INTEGER))
