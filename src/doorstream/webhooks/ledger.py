"""The SQLite ledger: what became of every delivery, answered from a file that is derived from the stream of webhooks.

It is fed by one tail. A file that is damaged, deleted or of another stream is built again from what the stream holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import structlog

from doorstream.directory.keys import unescape
from doorstream.log import LogError, LogUnavailable, Record, Tail
from doorstream.log.derived import DerivedFile, FileGone, Layout, insert
from doorstream.webhooks import questions
from doorstream.webhooks.questions import DueRow, Health
from doorstream.webhooks.records import (
    ATTEMPT,
    CURSOR,
    DUE,
    SUBJECTS,
    Attempt,
    Cursor,
    Due,
    State,
    decode_attempts,
    decode_cursor,
    decode_due,
)
from doorstream.webhooks.store import Store

_logger = structlog.get_logger(__name__)

_BATCH = 1000
_MAX_PENDING = 50_000
_LINGER = 0.25  # many records become one transaction, unless somebody waits for them: each disturbs the event loop
_RETRY = 1.0
_PATIENCE = 10.0
_PURGED_AFTER = 0.05
_PRUNE_EVERY = 60.0
_PRUNED_AT_ONCE = 10_000
_PLACES = 1000  # records in one message of the stream, at most

_ROWS = (256, 64, 8, 1)  # in one statement: SQLite then works for a while without Python's interpreter lock

_SCHEMA, _DELIVERY, _ATTEMPT, _DUE = (
    files(__package__).joinpath(f"{name}.sql").read_text() for name in ("schema", "delivery", "attempt", "due")
)
_DELIVERIES = {size: _DELIVERY.format(rows=", ".join([f"({', '.join('?' * 21)})"] * size)) for size in _ROWS}
_ATTEMPTS = {size: _ATTEMPT.format(rows=", ".join([f"({', '.join('?' * 11)})"] * size)) for size in _ROWS}
_HEALTH = "INSERT OR REPLACE INTO health VALUES (?, ?, ?, ?)"
_DONE = "DELETE FROM dues WHERE webhook = ? AND delivery = ? AND number <= ?"
_DUE_SUBJECTS = f"webhooks.{DUE}."
_CURSOR = "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)"
_LAYOUT = Layout(
    name="ledger of webhooks",
    schema=_SCHEMA,
    tables=("deliveries", "attempts", "dues", "cursors", "health"),
    damage=("no such ", "table "),
)

_T = TypeVar("_T")


class Ledger:
    """One worker's ledger. ``applied`` is the last sequence of the stream that it holds.

    Questions raise LogUnavailable while they cannot be answered; ``current`` waits until they see everything that was
    kept before.
    """

    def __init__(self, path: Path, store: Store) -> None:
        self._file = DerivedFile(path, _LAYOUT)
        self._store = store
        self._nothing_upto = 0
        self._on_due: Callable[[str], None] = lambda _: None
        self._pending: list[Record] = []
        self._overrun = False
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._tail: Tail | None = None

    async def start(self) -> None:
        """Open (or make) the file and begin to follow; raises sqlite3.Error for a file that cannot be made."""
        await self._file.open(self._store.epoch)
        self._tasks = [
            asyncio.create_task(self._follow(), name="ledger"),
            asyncio.create_task(self._prune_regularly(), name="ledger retention"),
        ]

    async def stop(self) -> None:
        """Stop following and close the file."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stop_tail()
        self._file.close()

    def on_due(self, callback: Callable[[str], None]) -> None:
        """Have ``callback(webhook id)`` called when a delivery fell due and can be asked for."""
        self._on_due = callback

    @property
    def applied(self) -> int:
        """The last sequence that is here."""
        return self._file.applied

    async def current(self) -> None:
        """Wait until everything is here that was kept before this call; raises LogUnavailable after 10 s."""
        last = (await self._store.extent()).last
        try:
            async with asyncio.timeout(_PATIENCE):
                while not await self._has(last):
                    pass
        except TimeoutError:
            raise LogUnavailable("the ledger is still being built") from None

    async def _has(self, last: int) -> bool:
        """Wait a little for that sequence; it may have been purged, and then nothing brings it."""
        if self._nothing_upto < last:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PURGED_AFTER):
                    await self.reached(last)
        applied = self.applied
        if max(applied, self._nothing_upto) >= last:
            return True
        following = await self._store.stream.read(applied, SUBJECTS, 1)
        if following and following[0].sequence <= last:
            return False
        self._nothing_upto = last
        return True

    async def reached(self, sequence: int) -> None:
        """Wait until ``applied`` is at least that sequence."""
        await self._file.reached(sequence)

    async def ask(self, question: Callable[..., _T], *arguments: Any) -> _T:
        """Ask one of ``questions``; raises LogUnavailable."""
        return await self._file.read(question, *arguments)

    async def cursor(self, webhook_id: str) -> Cursor | None:
        """How far a webhook had come."""
        return await self.ask(questions.cursor, webhook_id)

    async def health(self, webhook_id: str) -> Health | None:
        """How a webhook's last attempts went."""
        return await self.ask(questions.health, webhook_id)

    async def finished_after(self, webhook_id: str, cursor: Cursor) -> set[int]:
        """The places after a cursor whose events need nothing more from the one who reads the log."""
        return await self.ask(questions.finished_after, webhook_id, cursor)

    async def dues(self, webhook_id: str, after: int, limit: int) -> list[DueRow]:
        """What fell due and is not attempted yet, oldest first, from after a place in the stream on."""
        return await self.ask(questions.dues, webhook_id, after, limit)

    async def held(self, webhook_id: str, line: str) -> Due | None:
        """The first of the events that are held back in a line."""
        return await self.ask(questions.held, webhook_id, line)

    async def lines(self, webhook_id: str) -> dict[str, bool]:
        """The lines that are held up; true for those whose first event waits for its time."""
        return await self.ask(questions.lines, webhook_id)

    # Following the stream.

    async def _follow(self) -> None:
        while True:
            try:
                await self._catch_up()
                await self._apply_live()
            except (LogError, sqlite3.Error) as error:
                _logger.warning("the ledger of webhooks has to wait", reason=str(error))
                await self._recover(error)
            except Exception as error:
                _logger.exception("the ledger of webhooks cannot go on")
                await self._recover(error)

    async def _recover(self, error: Exception) -> None:
        await self._stop_tail()
        if isinstance(error, sqlite3.Error) and self._file.is_damage(error):
            self._nothing_upto = 0
            with contextlib.suppress(sqlite3.Error):
                await self._file.begin_again()
        await asyncio.sleep(_RETRY)

    async def _catch_up(self) -> None:
        """Read what the stream has, a portion at a time; then follow it."""
        extent = await self._store.extent()
        if self.applied > extent.last:  # of a stream that was put back to an earlier state
            raise FileGone("the ledger is ahead of its stream")
        while self.applied < extent.last:
            records = await self._store.stream.read(self.applied, SUBJECTS, _BATCH)
            await self._apply(records, records[-1].sequence if records else extent.last)
        self._pending, self._overrun = [], False
        self._tail = self._store.stream.tail(self._receive, headers=False)
        await self._tail.start(self.applied)

    async def _stop_tail(self) -> None:
        if self._tail is not None:
            await self._tail.stop()
            self._tail = None

    def _receive(self, record: Record) -> None:
        if len(self._pending) < _MAX_PENDING:
            self._pending.append(record)
        else:
            self._overrun = True  # what is missing is read again
        self._arrived.set()
        if record.subject.startswith(_DUE_SUBJECTS):  # somebody is to be told of it soon
            self._file.hurry.set()

    async def _apply_live(self) -> None:
        while self._pending or not self._overrun:
            if not self._pending:
                self._arrived.clear()
                await self._arrived.wait()
                await self._file.linger(_LINGER)
            records, self._pending = self._pending[:_BATCH], self._pending[_BATCH:]
            await self._apply(records, records[-1].sequence)
        await self._stop_tail()

    async def _apply(self, records: list[Record], applied: int) -> None:
        for webhook_id in await self._file.apply((applied,), _apply, records):
            self._on_due(webhook_id)

    # Forgetting.

    async def forget(self, webhook_id: str) -> None:
        """Let go of what waits of a webhook that is gone."""
        await self._file.tidy(_forget, webhook_id)

    async def _prune_regularly(self) -> None:
        while True:
            await asyncio.sleep(_PRUNE_EVERY)
            with contextlib.suppress(LogError, sqlite3.Error):
                await self._file.tidy(_prune, await self._first_attempt())

    async def _first_attempt(self) -> int:
        """The first attempt that the stream still holds. Cursors and retries that wait stand before it for long."""
        found = await self._store.stream.read(0, f"webhooks.{ATTEMPT}.*", 1)
        return found[0].sequence if found else (await self._store.extent()).last + 1


_PRUNE_ATTEMPTS = "DELETE FROM attempts WHERE place < min(?, (SELECT min(place) FROM attempts) + ?)"
_PRUNE_DELIVERIES = """
DELETE FROM deliveries
WHERE (webhook, delivery) IN (
    SELECT webhook, delivery FROM deliveries WHERE last < ? AND state IN ('delivered', 'dead') LIMIT ?
)
"""


def _prune(connection: sqlite3.Connection, first: int) -> int:
    """Forget some of what the stream no longer holds; returns how much."""
    count = connection.execute(_PRUNE_ATTEMPTS, (first * _PLACES, _PRUNED_AT_ONCE * _PLACES)).rowcount
    return count + connection.execute(_PRUNE_DELIVERIES, (first * _PLACES, _PRUNED_AT_ONCE)).rowcount


def _forget(connection: sqlite3.Connection, webhook_id: str) -> None:
    for table in ("dues", "cursors", "health"):
        connection.execute(f"DELETE FROM {table} WHERE webhook = ?", (webhook_id,))  # noqa: S608 - names of our own
    connection.execute("DELETE FROM deliveries WHERE webhook = ? AND state IN ('waiting', 'held')", (webhook_id,))


def _apply(connection: sqlite3.Connection, records: list[Record]) -> set[str]:
    """Bring these in, in their order; returns the webhooks that have something due."""
    due: set[str] = set()
    messages: list[_Attempts] = []
    for record in records:
        _, kind, token = record.subject.split(".", 2)
        webhook_id = unescape(token)
        try:
            if kind == ATTEMPT:
                messages.append(_Attempts(webhook_id, record.sequence * _PLACES, decode_attempts(record.data)))
            elif kind == DUE:
                content = decode_due(record.data)
                _keep(connection, messages)  # one that was attempted already is not due
                messages = []
                connection.execute(_DUE, (record.sequence, webhook_id, content.delivery, content.number, record.data))
                due.add(webhook_id)
            elif kind == CURSOR:
                cursor = decode_cursor(record.data)
                connection.execute(_CURSOR, (webhook_id, cursor.epoch, cursor.sequence))
        except msgspec.DecodeError as error:
            _logger.error("a record of the webhooks' stream cannot be read", reason=str(error))  # noqa: TRY400
    _keep(connection, messages)
    return due


class _Attempts(NamedTuple):
    """A message of attempts of one webhook, and the place of the first of them."""

    webhook_id: str
    first: int
    attempts: list[Attempt]


def _keep(connection: sqlite3.Connection, messages: list[_Attempts]) -> None:
    """Note attempts, and what follows from them."""
    _keep_rows(connection, messages)
    by_webhook: dict[str, list[Attempt]] = {}
    for message in messages:
        by_webhook.setdefault(message.webhook_id, []).extend(message.attempts)
    for webhook_id, attempts in by_webhook.items():
        _follow_up(connection, webhook_id, attempts)


def _keep_rows(connection: sqlite3.Connection, messages: list[_Attempts]) -> None:
    """What became of the deliveries, and the attempts; an event that is held back is none."""
    deliveries: list[tuple[Any, ...]] = []
    made: list[tuple[Any, ...]] = []
    for webhook_id, first, attempts in messages:
        for place, each in enumerate(attempts, first):
            deliveries.append(
                (
                    webhook_id,
                    each.delivery,
                    place,
                    place,
                    each.epoch,
                    each.sequence,
                    each.event,
                    each.site,
                    each.topic,
                    each.message,
                    each.device,
                    each.line,
                    each.replay,
                    each.test,
                    each.state,
                    each.number,
                    each.at,
                    each.at,
                    each.next,
                    each.status,
                    each.error,
                )
            )
            if each.number:
                made.append(
                    (
                        webhook_id,
                        each.delivery,
                        each.number,
                        place,
                        each.at,
                        each.state,
                        each.status,
                        each.error,
                        each.duration,
                        each.answer,
                        each.next,
                    )
                )
    insert(connection, _DELIVERIES, deliveries)
    insert(connection, _ATTEMPTS, made)


def _follow_up(connection: sqlite3.Connection, webhook_id: str, attempts: Sequence[Attempt]) -> None:
    """What fell due and was attempted is done; and what the attempts say of the receiver."""
    done = [
        (webhook_id, attempt.delivery, attempt.number)
        for attempt in attempts
        if attempt.number > 1 or attempt.replay is not None  # else it was the log that brought it
    ]
    if done:
        connection.executemany(_DONE, done)
    counted = [attempt for attempt in attempts if attempt.counts and attempt.number and not attempt.test]
    if not counted:
        return
    before = questions.health(connection, webhook_id)
    failures, since, last = before if before is not None else (0, None, None)
    for attempt in counted:
        if attempt.state is State.DELIVERED:
            failures, since, last = 0, None, None
        else:
            failures, since, last = failures + 1, since if since is not None else attempt.at, attempt.at
    if before is None or (failures, since, last) != tuple(before):
        connection.execute(_HEALTH, (webhook_id, failures, since, last))
