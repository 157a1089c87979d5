"""What can be asked of the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from doorstream.events import Event

MAX_LIMIT = 10_000
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
"""What SQLite's integers hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByTime:
    """In the order of ``occurred``, then of position: late events of offline doors make it another than the log's.

    ``behind`` is the ``occurred`` and the sequence of the event that the page begins behind, None for the first page.
    """

    is_descending: bool = True
    behind: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which events of a site, newest first (by position, not by ``occurred``), or oldest first with ``after``.

    ``by_time`` orders them by what happened instead. Times are milliseconds since 1970 UTC, both ends included.
    ``topics`` may end in ``.*`` for everything below.
    """

    site_id: str
    limit: int = 100
    before: int | None = None
    after: int | None = None
    topics: tuple[str, ...] = ()
    device_id: str | None = None
    holder_id: str | None = None
    occurred_from: int | None = None
    occurred_to: int | None = None
    recorded_from: int | None = None
    recorded_to: int | None = None
    by_time: ByTime | None = None

    def statement(self) -> tuple[str, list[Any]]:
        """The SQL of this query and its parameters."""
        conditions = ["site = ?"]
        parameters: list[Any] = [self.site_id]
        for condition, value in (
            ("sequence < ?", self.before),
            ("sequence > ?", self.after),
            ("device = ?", self.device_id),
            ("holder = ?", self.holder_id),
            ("occurred >= ?", self.occurred_from),
            ("occurred <= ?", self.occurred_to),
            ("recorded >= ?", self.recorded_from),
            ("recorded <= ?", self.recorded_to),
        ):
            if value is not None:
                conditions.append(condition)
                parameters.append(_storable(value) if isinstance(value, int) else value)
        if self.topics:
            condition, values = _topics(self.topics)
            conditions.append(condition)
            parameters += values
        if self.by_time is None:
            order = f"sequence {'ASC' if self.after is not None else 'DESC'}"
        else:
            direction, comparison = ("DESC", "<") if self.by_time.is_descending else ("ASC", ">")
            order = f"occurred {direction}, sequence {direction}"
            if self.by_time.behind is not None:
                conditions.append(f"(occurred, sequence) {comparison} (?, ?)")
                parameters += map(_storable, self.by_time.behind)
        sql = (
            "SELECT sequence, recorded, json FROM events WHERE "  # noqa: S608 - made of the fixed texts above
            f"{' AND '.join(conditions)} ORDER BY {order} LIMIT ?"
        )
        return sql, [*parameters, self.limit + 1]


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, and whether there are more behind the last one."""

    events: list[Event]
    more: bool


def _storable(number: int) -> int:
    return max(MIN_INTEGER, min(number, MAX_INTEGER))


def _topics(topics: tuple[str, ...]) -> tuple[str, list[str]]:
    exact = sorted({topic for topic in topics if not topic.endswith(".*")})
    prefixes = sorted({topic[:-1] for topic in topics if topic.endswith(".*")})
    parts = [f"topic IN ({', '.join('?' * len(exact))})"] if exact else []
    parts += ["(topic >= ? AND topic < ?)"] * len(prefixes)
    bounds = [bound for prefix in prefixes for bound in (prefix, prefix[:-1] + "/")]  # "/" is the character after "."
    return f"({' OR '.join(parts)})", exact + bounds
