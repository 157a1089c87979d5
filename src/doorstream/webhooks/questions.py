"""What can be asked of the ledger: each is a function from a connection to its file."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any, NamedTuple

from doorstream.webhooks.records import Cursor, Due, State, decode_due


class Health(NamedTuple):
    """How many attempts failed in a row, and the first and last of them (milliseconds since 1970 UTC)."""

    failures: int
    since: int | None
    last: int | None


class DueRow(NamedTuple):
    """Something that fell due, and its place in the stream."""

    stored: int
    due: Due


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which deliveries of a webhook. Times are those of the first attempt, both ends included, in ms since 1970 UTC."""

    webhook: str
    state: str | None = None
    event: str | None = None
    since: int | None = None
    until: int | None = None
    before: int | None = None
    """From this place on backwards: the ``first`` of the last one of the page before."""


_COLUMNS = (
    "delivery, first, epoch, sequence, event, site, topic, message, device, replay, test, state, number, created, at, "
    "next, status, error"
)


class Delivery(NamedTuple):
    """One delivery as it stands; times are milliseconds since 1970 UTC."""

    delivery: str
    first: int
    epoch: str
    sequence: int
    event: str
    site: str
    topic: str
    message: str
    device: str | None
    replay: str | None
    test: int
    state: str
    number: int
    created: int
    at: int
    next: int | None
    status: int | None
    error: str | None


class AttemptRow(NamedTuple):
    """One attempt of a delivery."""

    number: int
    at: int
    state: str
    status: int | None
    error: str | None
    duration: int
    answer: str
    next: int | None


def cursor(connection: sqlite3.Connection, webhook: str) -> Cursor | None:
    """How far a webhook had come."""
    row = connection.execute("SELECT epoch, sequence FROM cursors WHERE webhook = ?", (webhook,)).fetchone()
    return Cursor(*row) if row is not None else None


def health(connection: sqlite3.Connection, webhook: str) -> Health | None:
    """How a webhook's last attempts went."""
    row = connection.execute("SELECT failures, since, last FROM health WHERE webhook = ?", (webhook,)).fetchone()
    return Health(*row) if row is not None else None


def finished_after(connection: sqlite3.Connection, webhook: str, place: Cursor) -> set[int]:
    """The places after a cursor that have been attempted or held back; replays are no concern of who reads the log."""
    rows = connection.execute(
        "SELECT sequence FROM deliveries INDEXED BY deliveries_by_place "
        "WHERE webhook = ? AND epoch = ? AND sequence > ? AND replay IS NULL AND test = 0",
        (webhook, place.epoch, place.sequence),
    )
    return {sequence for (sequence,) in rows}


def dues(connection: sqlite3.Connection, webhook: str, after: int, limit: int) -> list[DueRow]:
    """What fell due and is not attempted yet."""
    rows = connection.execute(
        "SELECT stored, content FROM dues WHERE webhook = ? AND stored > ? ORDER BY stored LIMIT ?",
        (webhook, after, limit),
    )
    return [DueRow(stored, decode_due(content)) for stored, content in rows]


def held(connection: sqlite3.Connection, webhook: str, line: str) -> Due | None:
    """The first of the events that are held back in a line."""
    row = connection.execute(
        "SELECT delivery, epoch, sequence, event, site, topic, message, device "
        "FROM deliveries INDEXED BY deliveries_open "
        "WHERE webhook = ? AND line = ? AND state IN ('waiting', 'held') AND state = 'held' ORDER BY sequence LIMIT 1",
        (webhook, line),
    ).fetchone()
    if row is None:
        return None
    delivery, epoch, sequence, event, site, topic, message, device = row
    return Due(delivery, epoch, sequence, event, site, topic, message, device=device, line=line)


def lines(connection: sqlite3.Connection, webhook: str) -> dict[str, bool]:
    """The lines that are held up; true for those whose first event waits for its time."""
    rows = connection.execute(
        "SELECT line, max(state = 'waiting') FROM deliveries INDEXED BY deliveries_open "
        "WHERE webhook = ? AND line IS NOT NULL AND state IN ('waiting', 'held') GROUP BY line",
        (webhook,),
    )
    return {line: bool(waits) for line, waits in rows}


def deliveries(connection: sqlite3.Connection, wanted: Wanted, limit: int) -> list[Delivery]:
    """Some deliveries, those that began last first."""
    condition, parameters = _condition(wanted)
    sql = f"SELECT {_COLUMNS} FROM deliveries WHERE {condition} ORDER BY first DESC LIMIT ?"  # noqa: S608 - our texts
    return [Delivery(*row) for row in connection.execute(sql, [*parameters, limit])]


def delivery(connection: sqlite3.Connection, webhook: str, delivery_id: str) -> Delivery | None:
    """One delivery."""
    sql = f"SELECT {_COLUMNS} FROM deliveries WHERE webhook = ? AND delivery = ?"  # noqa: S608 - our texts
    row = connection.execute(sql, (webhook, delivery_id)).fetchone()
    return Delivery(*row) if row is not None else None


def attempts(connection: sqlite3.Connection, webhook: str, delivery_id: str) -> list[AttemptRow]:
    """The attempts of one delivery, in their order."""
    rows = connection.execute(
        "SELECT number, at, state, status, error, duration, answer, next FROM attempts "
        "WHERE webhook = ? AND delivery = ? ORDER BY number",
        (webhook, delivery_id),
    )
    return [AttemptRow(*row) for row in rows]


def replayable(connection: sqlite3.Connection, wanted: Wanted, limit: int) -> list[Delivery]:
    """What a replay of a range means, oldest first: each event once, and no dead one that was delivered meanwhile."""
    condition, parameters = _condition(wanted, before="first > ?")
    if wanted.state == State.DEAD:
        condition += (
            " AND NOT EXISTS (SELECT 1 FROM deliveries AS later WHERE later.webhook = deliveries.webhook "
            "AND later.epoch = deliveries.epoch AND later.sequence = deliveries.sequence AND later.state = 'delivered')"
        )
    sql = (
        f"SELECT {_COLUMNS} FROM deliveries "  # noqa: S608 - our texts
        f"WHERE {condition} AND test = 0 AND replay IS NULL ORDER BY first LIMIT ?"
    )
    return [Delivery(*row) for row in connection.execute(sql, [*parameters, limit])]


def _condition(wanted: Wanted, before: str = "first < ?") -> tuple[str, list[Any]]:
    conditions, parameters = ["webhook = ?"], [wanted.webhook]
    values: list[Any] = list(parameters)
    for condition, value in (
        ("state = ?", wanted.state),
        ("event = ?", wanted.event),
        ("created >= ?", wanted.since),
        ("created <= ?", wanted.until),
        (before, wanted.before),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    return " AND ".join(conditions), values
