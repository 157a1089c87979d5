"""The SQLite index: everything that is asked of the past, answered from a file that is derived from the log."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

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

_logger = structlog.get_logger(__name__)

_BATCH = 1000
_LINGER = 0.05  # several small events become one transaction, unless somebody waits for them
_RETRY = 1.0
_READERS = 2
_READ_PATIENCE = 10.0
_PRUNE_EVERY = 60.0
_PRUNED_AT_ONCE = 20_000
_INLINE_IDS = 16
_SQLITE_CORRUPT, _SQLITE_NOTADB = 11, 26

_SCHEMA = files(__package__).joinpath("schema.sql").read_text()
_INSERT = files(__package__).joinpath("insert.sql").read_text()
_FIND = files(__package__).joinpath("find.sql").read_text()
_STATUSES = files(__package__).joinpath("statuses.sql").read_text()

_encode = msgspec.json.Encoder().encode
_T = TypeVar("_T")


Row = tuple[int, str, str, str, int, int, int, int | None, str | None, str | None, str]
_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERTS = {size: f"{_INSERT} VALUES {', '.join([_ROW] * size)}" for size in (256, 64, 16, 4, 1)}


class _Concerned(msgspec.Struct):
    """What the index wants to know of a body."""

    deviceId: Any = None  # noqa: N815 - the wire's name
    holderId: Any = None  # noqa: N815 - the wire's name


_decode_concerned = msgspec.json.Decoder(_Concerned).decode


class Index:
    """The index of one log. It follows the hub by itself and never keeps anything up.

    ``find`` and ``query`` see what ``applied`` says; ``current`` waits until that is everything acknowledged. A file
    that is damaged, deleted or of another log is built again. ``forgotten`` changes whenever events were removed:
    what was counted before no longer holds.
    """

    def __init__(self, path: Path, hub: Hub, log: EventLog, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives unix seconds."""
        self._path = path
        self._clock = clock
        self._hub = hub
        self._log = log
        self._acknowledged = Acknowledged(log)
        self._latest = 0
        self.applied = 0
        self.forgotten = 0
        self._writer = ThreadPoolExecutor(1, "index-writer")
        self._readers = ThreadPoolExecutor(_READERS, "index-reader")
        self._own = threading.local()
        self._generation = 0
        self._file = (0, 0)
        self._is_damaged = False
        self._connections: list[sqlite3.Connection] = []
        self._follower: asyncio.Task[None] | None = None
        self._pruner: asyncio.Task[None] | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._hurry = asyncio.Event()
        self._is_idle = False
        self._complete_at = -math.inf
        self._mark = (0, -math.inf)
        self._pruned: dict[str, int] = {}

    async def start(self) -> None:
        """Open (or make) the index and begin to follow."""
        loop = asyncio.get_running_loop()
        self.applied = await loop.run_in_executor(self._writer, self._open)
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
        self._writer.shutdown()
        self._readers.shutdown()
        for connection in self._connections:
            connection.close()

    async def current(self) -> None:
        """Wait until the index holds everything that was acknowledged before this call.

        Raises LogUnavailable when that takes longer than 10 s or cannot be known.
        """
        await self.patiently(self.reached, await self.acknowledged())

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
        if self.applied >= sequence:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        item = (sequence, waiting)
        self._waiting.append(item)
        self._hurry.set()
        try:
            await waiting
        finally:
            if item in self._waiting:  # given up
                self._waiting.remove(item)

    def lag(self) -> float:
        """Seconds: events that are older than that are here. Infinite until the index is built."""
        return 0.0 if self._is_idle else asyncio.get_running_loop().time() - self._complete_at

    async def query(self, query: Query) -> Page:
        """One page of events; raises LogUnavailable."""
        return await self._read(self._page, query)

    async def unlocks(self, query: UnlockQuery) -> Page:
        """One page of unlocks; raises LogUnavailable."""
        return await self._read(lambda: read_page(self._connection(), query))

    async def count_unlocks(self, query: UnlockQuery) -> int:
        """How many unlocks there are in all pages together; raises LogUnavailable."""
        return await self._read(lambda: query.count(self._connection()))

    async def unlock(self, sites: Collection[str], event_id: str) -> Event | None:
        """The unlock of that id at one of the sites; raises LogUnavailable."""
        return await self._read(lambda: read_unlock(self._connection(), sites, event_id))

    async def place_of(self, sites: Collection[str], event_id: str) -> int | None:
        """The sequence of the event of that id at one of the sites; raises LogUnavailable."""
        return await self._read(lambda: read_place(self._connection(), sites, event_id))

    async def last_unlocks(self, upto: int) -> dict[str, int]:
        """The sequence of the last unlock of each site, up to a sequence; raises LogUnavailable."""
        return await self._read(lambda: dict(self._connection().execute(LAST_UNLOCKS, (upto,)).fetchall()))

    async def door_events(self, site_id: str, device_id: str) -> list[Event]:
        """The last events of a door and those that say what it is now, in order; raises LogUnavailable."""
        return await self._read(lambda: read_door(self._connection(), site_id, device_id))

    async def statuses(self) -> list[Event]:
        """The last ``cloudnode.connected`` or ``.disconnected`` of each cloud node; raises LogUnavailable."""
        return await self._read(self._statuses)

    async def find(self, site_id: str, ids: Sequence[str]) -> dict[str, int]:
        """The first sequences of those of the ids that are kept; raises LogUnavailable."""
        if len(ids) > _INLINE_IDS:
            return await self._read(self._find, site_id, ids)
        try:
            return self._find(site_id, ids)
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    async def _read(self, read: Callable[..., _T], *arguments: Any) -> _T:
        """Read in another thread. What was read while another file took the place of this one may be incomplete."""
        generation = self._generation
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._readers, read, *arguments)
        except sqlite3.Error as error:
            raise self._unreadable(error) from None
        if self._generation != generation:
            raise LogUnavailable("the index is being built again")
        return found

    def _unreadable(self, error: sqlite3.Error) -> LogUnavailable:
        """What to tell a reader; if the file itself is to blame, it is built again."""
        _logger.warning("the index cannot be read", reason=str(error))
        if _is_damage(error):
            self.rebuild()
        return LogUnavailable("the index cannot be read at the moment")

    def rebuild(self) -> None:
        """Have the index made anew from the log, in the background."""
        if not self._is_damaged and self._follower is not None:
            self._is_damaged = True
            self._follower.cancel()  # it may be waiting for events
            self._follower = asyncio.create_task(self._follow(), name="index")

    def _open(self) -> int:
        """Make the file ready; one that belongs to another log or is damaged is made anew."""
        try:
            return self._prepare()
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise
            self._file = self._identity()
            return self._build_anew()

    def _build_anew(self) -> int:
        """Begin with a new file, perhaps with the one that another worker has begun; returns what it has."""
        _logger.warning("the index is damaged or gone and will be built again")
        if self._identity() == self._file:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self._own.generation = -1
        applied = self._prepare()
        self._generation += 1  # from here on the readers open the new file
        self._own.generation = self._generation
        return applied

    def _prepare(self) -> int:
        connection = self._connection()
        connection.executescript(_SCHEMA)
        self._file = self._identity()
        row = connection.execute("SELECT epoch, applied, latest FROM progress").fetchone()
        if row is not None and row[0] == self._log.epoch:
            applied: int = row[1]
            self._latest = row[2]
            return applied
        connection.execute("DELETE FROM events")
        connection.execute("INSERT OR REPLACE INTO progress VALUES (1, ?, 0, 0)", (self._log.epoch,))
        self._latest = 0
        return 0

    def _connection(self) -> sqlite3.Connection:
        """This thread's own connection."""
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None or self._own.generation != self._generation:
            if connection is not None:
                self._connections.remove(connection)
                connection.close()
            self._own.connection = None
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)
            self._connections.append(connection)
            self._own.connection = connection
            self._own.generation = self._generation
            connection.create_function("topic_class", 1, topic_class, deterministic=True)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")  # derived: what is lost is read again from the log
            connection.execute("PRAGMA wal_autocheckpoint = 10000")  # fewer and larger: each one syncs the disk
        return connection

    def _identity(self) -> tuple[int, int]:
        """Which file has our name."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return status.st_dev, status.st_ino

    def _page(self, query: Query) -> Page:
        rows = self._connection().execute(*query.statement()).fetchall()
        events = [Event(json.encode(), sequence, recorded) for sequence, recorded, json in rows[: query.limit]]
        return Page(events, len(rows) > query.limit)

    def _statuses(self) -> list[Event]:
        rows = self._connection().execute(_STATUSES).fetchall()
        return [Event(json.encode(), sequence, recorded) for sequence, recorded, json, *_ in rows]

    def _find(self, site_id: str, ids: Sequence[str]) -> dict[str, int]:
        return dict(self._connection().execute(_FIND, (_encode(ids).decode(), site_id)).fetchall())

    async def _follow(self) -> None:
        while True:
            try:
                if self._is_damaged:
                    await self._start_anew()
                await self._advance()
            except LogUnavailable:
                await asyncio.sleep(_RETRY)
            except sqlite3.Error as error:  # a full disk, most likely: it goes on when there is room again
                self._is_damaged = self._is_damaged or _is_damage(error)
                _logger.warning("the index cannot be written", reason=str(error))
                await asyncio.sleep(_RETRY)
            except Exception:
                _logger.exception("the index cannot go on")
                await asyncio.sleep(_RETRY)

    async def _start_anew(self) -> None:
        self._note_completeness(-math.inf)
        self._pruned.clear()
        self.forgotten += 1
        self.applied = 0
        self.applied = await asyncio.get_running_loop().run_in_executor(self._writer, self._build_anew)
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
        self._hurry.clear()
        if not self._waiting:
            with contextlib.suppress(TimeoutError):  # (wait_for can swallow the cancellation that stops us)
                async with asyncio.timeout(_LINGER):
                    await self._hurry.wait()

    async def _apply(self, events: list[Event], applied: int) -> None:
        rows: list[Row] = []
        latest = self._latest
        for event in events:
            latest = max(latest, event.recorded)
            row = _row(event, latest)
            if row is not None:
                rows.append(row)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writer, self._write, rows, applied, latest)
        self.applied, self._latest = applied, latest
        if applied >= self._mark[0]:
            self._note_completeness(self._mark[1])
        still = []
        for sequence, waiting in self._waiting:
            if sequence > applied:
                still.append((sequence, waiting))
            elif not waiting.done():
                waiting.set_result(None)
        self._waiting = still

    def _note_completeness(self, when: float | None = None) -> None:
        """Everything that the hub had at that time (now) is here; mark what it has now, to look for it later."""
        now = asyncio.get_running_loop().time()
        self._complete_at = now if when is None else when
        self._mark = (self._hub.sequence, now)

    def _write(self, rows: list[Row], applied: int, latest: int) -> None:
        if self._identity() != self._file:
            raise _FileGone("the file is gone")
        connection = self._connection()
        connection.execute("BEGIN")
        try:
            _insert(connection, rows)
            connection.execute("UPDATE progress SET applied = ?, latest = ?", (applied, latest))
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    async def _prune_regularly(self) -> None:
        """Forget what the log no longer keeps."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_PRUNE_EVERY)
            with contextlib.suppress(LogUnavailable, sqlite3.Error):
                first = (await self._log.extent()).first
                pruned = 1
                while pruned:  # a portion at a time: what happens now gets its turn in between
                    pruned = await loop.run_in_executor(self._writer, self._prune, first)
                for name, seconds in self._log.retention.shorter.items():
                    before = int((self._clock() - seconds) * 1000)
                    while await loop.run_in_executor(self._writer, self._prune_class, name, before):
                        pass

    def _prune(self, first: int) -> int:
        """Forget some of what stands before ``first``; returns how many there were."""
        return self._forget(_PRUNE, (first, _PRUNED_AT_ONCE))

    def _forget(self, statement: str, parameters: tuple[Any, ...]) -> int:
        count = self._connection().execute(statement, parameters).rowcount
        self.forgotten += count
        return count

    def _prune_class(self, name: str, before: int) -> bool:
        """Forget some of a class's events that were recorded before that; returns whether to go on.

        What was looked through is not looked through again: between two calls only what is new is too old.
        """
        connection, begin = self._connection(), self._pruned.get(name, 0)
        (upto,) = connection.execute(_LOOK_THROUGH, (begin, _PRUNED_AT_ONCE, before)).fetchone()
        if upto is None:
            return False
        self._forget(_PRUNE_CLASS, (begin, upto, name))
        self._pruned[name] = upto
        return True


_LOOK_THROUGH = """
SELECT max(sequence)
FROM (SELECT sequence, recorded FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?)
WHERE recorded < ?
"""
_PRUNE_CLASS = "DELETE FROM events WHERE sequence > ? AND sequence <= ? AND topic_class(topic) = ?"
_PRUNE = "DELETE FROM events WHERE sequence < min(?, (SELECT min(sequence) FROM events) + ?)"


class _FileGone(sqlite3.DatabaseError):
    """Somebody deleted or replaced the file, which may be done at any time."""


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is to blame, rather than a full disk or the like: it is no index of ours, or no longer."""
    if isinstance(error, _FileGone):
        return True
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (_SQLITE_CORRUPT, _SQLITE_NOTADB) or str(error).startswith(("no such ", "table events has "))


def _insert(connection: sqlite3.Connection, rows: list[Row]) -> None:
    """Many rows with one statement: SQLite then works for a while without holding Python's interpreter lock."""
    at = 0
    for size, statement in _INSERTS.items():
        while len(rows) - at >= size:
            connection.execute(statement, [value for row in rows[at : at + size] for value in row])
            at += size


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
