"""The SQLite index: everything that is asked of the past, answered from a file that is derived from the log."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import structlog

from doorstream.events import Event, topic_class
from doorstream.events.unlocks import is_unlock
from doorstream.history.acknowledged import Acknowledged
from doorstream.history.doors import read_door
from doorstream.history.query import MAX_INTEGER, MIN_INTEGER, Page, Query
from doorstream.history.unlocks import LAST_UNLOCKS, UnlockQuery, read_page, read_place, read_unlock
from doorstream.live import Hub
from doorstream.log import EventLog, LogUnavailable
from doorstream.log.derived import DerivedFile, Layout, insert

_logger = structlog.get_logger(__name__)

_BATCH = 1000
_LINGER = 0.05  # several small events become one transaction, unless somebody waits for them
_RETRY = 1.0
_READERS = 2
_READ_PATIENCE = 10.0
_PRUNE_EVERY = 60.0
_PRUNED_AT_ONCE = 20_000
_INLINE_IDS = 16

_INSERT, _FIND, _STATUSES = (
    files(__package__).joinpath(f"{name}.sql").read_text() for name in ("insert", "find", "statuses")
)

_encode = msgspec.json.Encoder().encode

Row = tuple[int, str, str, str, int, int, int, int | None, str | None, str | None, str]
_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERTS = {size: f"{_INSERT} VALUES {', '.join([_ROW] * size)}" for size in (256, 64, 16, 4, 1)}


class _Concerned(msgspec.Struct):
    """What the index wants to know of a body."""

    deviceId: Any = None  # noqa: N815 - the wire's name
    holderId: Any = None  # noqa: N815 - the wire's name


_decode_concerned = msgspec.json.Decoder(_Concerned).decode


def _configure(connection: sqlite3.Connection) -> None:
    connection.create_function("topic_class", 1, topic_class, deterministic=True)
    connection.execute("PRAGMA wal_autocheckpoint = 10000")  # fewer and larger: each one syncs the disk


_LAYOUT = Layout(
    name="index",
    schema=files(__package__).joinpath("schema.sql").read_text(),
    tables=("events",),
    progress=("applied", "latest"),
    damage=("no such ", "table events has "),
    configure=_configure,
)


class Index:
    """The index of one log. It follows the hub by itself and never keeps anything up.

    ``find`` and ``query`` see what ``applied`` says; ``current`` waits until that is everything acknowledged. A file
    that is damaged, deleted or of another log is built again. ``forgotten`` changes whenever events were removed:
    what was counted before no longer holds.
    """

    def __init__(self, path: Path, hub: Hub, log: EventLog, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives unix seconds."""
        self._file = DerivedFile(path, _LAYOUT, readers=_READERS, on_damage=self.rebuild)
        self._clock = clock
        self._hub = hub
        self._log = log
        self._acknowledged = Acknowledged(log)
        self.forgotten = 0
        self._is_damaged = False
        self._follower: asyncio.Task[None] | None = None
        self._pruner: asyncio.Task[None] | None = None
        self._is_idle = False
        self._complete_at = -math.inf
        self._mark = (0, -math.inf)
        self._pruned: dict[str, int] = {}

    async def start(self) -> None:
        """Open (or make) the index and begin to follow."""
        await self._file.open(self._log.epoch)
        if self.applied > (await self._log.extent()).last:  # of a log that was put back to an earlier state
            self._is_damaged = True
        elif self.applied >= self._hub.sequence:
            self._note_completeness()
        self._follower = asyncio.create_task(self._follow(), name="index")
        self._pruner = asyncio.create_task(self._prune_regularly(), name="index retention")

    async def stop(self) -> None:
        """Stop following and close the file."""
        self._acknowledged.stop()
        for task in (self._follower, self._pruner):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._file.close()

    async def current(self) -> None:
        """Wait until the index holds everything that was acknowledged before this call.

        Raises LogUnavailable when that takes longer than 10 s or cannot be known.
        """
        await self.patiently(self.reached, await self.acknowledged())

    @property
    def applied(self) -> int:
        """The last sequence that is here; 0 as soon as the index is to be made anew."""
        return 0 if self._is_damaged else self._file.applied

    @property
    def hub(self) -> Hub:
        """The hub that is followed: it has every event at once and once."""
        return self._hub

    def acknowledged(self) -> Awaitable[int]:
        """The last sequence that was acknowledged before this call, by whichever process; raises LogUnavailable.

        Those who ask at the same time share one question to NATS.
        """
        return self._acknowledged.ask()

    @staticmethod
    async def patiently(reach: Callable[[int], Awaitable[None]], sequence: int) -> None:
        """Wait until a sequence is reached, as long as a reader waits; raises LogUnavailable after 10 s."""
        try:
            async with asyncio.timeout(_READ_PATIENCE):
                await reach(sequence)
        except TimeoutError:
            raise LogUnavailable("the index is still being built") from None

    async def reached(self, sequence: int) -> None:
        """Wait until ``applied`` is at least that sequence."""
        await self._file.reached(sequence)

    def lag(self) -> float:
        """Seconds: events that are older than that are here. Infinite until the index is built."""
        return 0.0 if self._is_idle else asyncio.get_running_loop().time() - self._complete_at

    async def query(self, query: Query) -> Page:
        """One page of events; raises LogUnavailable."""
        return await self._file.read(_page, query)

    async def unlocks(self, query: UnlockQuery) -> Page:
        """One page of unlocks; raises LogUnavailable."""
        return await self._file.read(read_page, query)

    async def count_unlocks(self, query: UnlockQuery) -> int:
        """How many unlocks there are in all pages together; raises LogUnavailable."""
        return await self._file.read(query.count)

    async def unlock(self, sites: Collection[str], event_id: str) -> Event | None:
        """The unlock of that id at one of the sites; raises LogUnavailable."""
        return await self._file.read(read_unlock, sites, event_id)

    async def place_of(self, sites: Collection[str], event_id: str) -> int | None:
        """The sequence of the event of that id at one of the sites; raises LogUnavailable."""
        return await self._file.read(read_place, sites, event_id)

    async def last_unlocks(self, upto: int) -> dict[str, int]:
        """The sequence of the last unlock of each site, up to a sequence; raises LogUnavailable."""
        return await self._file.read(lambda connection: dict(connection.execute(LAST_UNLOCKS, (upto,)).fetchall()))

    async def door_events(self, site_id: str, device_id: str) -> list[Event]:
        """The last events of a door and those that say what it is now, in order; raises LogUnavailable."""
        return await self._file.read(read_door, site_id, device_id)

    async def statuses(self) -> list[Event]:
        """The last ``cloudnode.connected`` or ``.disconnected`` of each cloud node; raises LogUnavailable."""
        return await self._file.read(_statuses)

    async def find(self, site_id: str, ids: Sequence[str]) -> dict[str, int]:
        """The first sequences of those of the ids that are kept; raises LogUnavailable."""
        if len(ids) > _INLINE_IDS:
            return await self._file.read(_find, site_id, ids)
        return self._file.read_here(_find, site_id, ids)

    def rebuild(self) -> None:
        """Have the index made anew from the log, in the background."""
        if not self._is_damaged and self._follower is not None:
            self._is_damaged = True
            self._follower.cancel()  # it may be waiting for events
            self._follower = asyncio.create_task(self._follow(), name="index")

    async def _follow(self) -> None:
        while True:
            try:
                if self._is_damaged:
                    await self._start_anew()
                await self._advance()
            except LogUnavailable:
                await asyncio.sleep(_RETRY)
            except sqlite3.Error as error:  # a full disk, most likely: it goes on when there is room again
                self._is_damaged = self._is_damaged or self._file.is_damage(error)
                _logger.warning("the index cannot be written", reason=str(error))
                await asyncio.sleep(_RETRY)
            except Exception:
                _logger.exception("the index cannot go on")
                await asyncio.sleep(_RETRY)

    async def _start_anew(self) -> None:
        self._note_completeness(-math.inf)
        self._pruned.clear()
        self.forgotten += 1
        await self._file.begin_again()
        self._is_damaged = False

    async def _advance(self) -> None:
        """Apply the next events: from the ring, or from the log where that is too short."""
        ring = self._hub.ring
        if self.applied < ring.base:
            base = ring.base
            async for events in self._log.read(self.applied, site_id=None, upto=base):
                await self._apply(events, events[-1].sequence)
            await self._apply([], base)
            return
        events = [entry.event for entry in islice(ring.after(self.applied, None), _BATCH)]
        if events:
            await self._apply(events, events[-1].sequence)
            return
        self._is_idle = True
        try:
            await self._hub.reached(self.applied + 1)
        finally:
            self._is_idle = False
            self._note_completeness()
        await self._file.linger(_LINGER)

    async def _apply(self, events: list[Event], applied: int) -> None:
        rows: list[Row] = []
        _, latest = self._file.progress
        for event in events:
            latest = max(latest, event.recorded)
            row = _row(event, latest)
            if row is not None:
                rows.append(row)
        await self._file.apply((applied, latest), insert, _INSERTS, rows)
        if applied >= self._mark[0]:
            self._note_completeness(self._mark[1])

    def _note_completeness(self, when: float | None = None) -> None:
        """Everything that the hub had at that time (now) is here; mark what it has now, to look for it later."""
        now = asyncio.get_running_loop().time()
        self._complete_at = now if when is None else when
        self._mark = (self._hub.sequence, now)

    async def _prune_regularly(self) -> None:
        """Forget what the log no longer keeps."""
        while True:
            await asyncio.sleep(_PRUNE_EVERY)
            with contextlib.suppress(LogUnavailable, sqlite3.Error):
                first = (await self._log.extent()).first
                await self._file.tidy(self._prune, first)
                for name, seconds in self._log.retention.shorter.items():
                    before = int((self._clock() - seconds) * 1000)
                    await self._file.tidy(self._prune_class, name, before)

    def _prune(self, connection: sqlite3.Connection, first: int) -> int:
        """Forget some of what stands before ``first``; returns how many there were."""
        return self._forget(connection, _PRUNE, (first, _PRUNED_AT_ONCE))

    def _forget(self, connection: sqlite3.Connection, statement: str, parameters: tuple[Any, ...]) -> int:
        count = connection.execute(statement, parameters).rowcount
        self.forgotten += count
        return count

    def _prune_class(self, connection: sqlite3.Connection, name: str, before: int) -> bool:
        """Forget some of a class's events that were recorded before that; returns whether to go on.

        What was looked through is not looked through again: between two calls only what is new is too old.
        """
        begin = self._pruned.get(name, 0)
        (upto,) = connection.execute(_LOOK_THROUGH, (begin, _PRUNED_AT_ONCE, before)).fetchone()
        if upto is None:
            return False
        self._forget(connection, _PRUNE_CLASS, (begin, upto, name))
        self._pruned[name] = upto
        return True


_LOOK_THROUGH = """
SELECT max(sequence)
FROM (SELECT sequence, recorded FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?)
WHERE recorded < ?
"""
_PRUNE_CLASS = "DELETE FROM events WHERE sequence > ? AND sequence <= ? AND topic_class(topic) = ?"
_PRUNE = "DELETE FROM events WHERE sequence < min(?, (SELECT min(sequence) FROM events) + ?)"


def _page(connection: sqlite3.Connection, query: Query) -> Page:
    rows = connection.execute(*query.statement()).fetchall()
    events = [Event(json.encode(), sequence, recorded) for sequence, recorded, json in rows[: query.limit]]
    return Page(events, len(rows) > query.limit)


def _statuses(connection: sqlite3.Connection) -> list[Event]:
    rows = connection.execute(_STATUSES).fetchall()
    return [Event(json.encode(), sequence, recorded) for sequence, recorded, json, *_ in rows]


def _find(connection: sqlite3.Connection, site_id: str, ids: Sequence[str]) -> dict[str, int]:
    return dict(connection.execute(_FIND, (_encode(ids).decode(), site_id)).fetchall())


def _row(event: Event, created: int) -> Row | None:
    """What the index keeps of an event; nothing of one that it cannot keep, which is none of ours.

    ``created`` is the largest ``recorded`` of the log up to here: the same for everybody who reads the log.
    """
    try:
        concerned = _decode_concerned(event.body)
        unlock = 1 if is_unlock(event) else None
        json = event.json.decode()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _logger.error("an event cannot be indexed", sequence=event.sequence, reason=str(error))  # noqa: TRY400
        return None
    return (
        event.sequence,
        event.site_id,
        event.id,
        event.topic,
        max(MIN_INTEGER, min(event.occurred, MAX_INTEGER)),
        event.recorded,
        created,
        unlock,
        concerned.deviceId if isinstance(concerned.deviceId, str) else None,
        concerned.holderId if isinstance(concerned.holderId, str) else None,
        json,
    )
