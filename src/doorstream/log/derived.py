"""An SQLite file that is derived from a stream: filled by one thread, asked by others, begun again when it is no good.

It may be deleted, replaced, damaged or of another stream at any time: nothing is lost, as the stream has everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

import structlog

from doorstream.log.errors import LogUnavailable
from doorstream.log.waiters import Waiters

_logger = structlog.get_logger(__name__)

_T = TypeVar("_T")


_UNKNOWN = (-1, -1)
_PATIENCE = 30.0  # with others who make or delete the file, or write to it
_POLL = 0.02


class FileGone(sqlite3.DatabaseError):
    """The file is not the one that was filled so far: somebody deleted or replaced it, or put the stream back."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file holds. The schema's table ``progress`` has one row: 1, the stream's ``epoch``, and numbers."""

    name: str
    """What logs and errors call the file."""
    schema: str
    """SQL that makes what is missing."""
    tables: tuple[str, ...]
    """What is emptied when the file proves to be of another stream."""
    damage: tuple[str, ...]
    """How SQLite's complaints begin that mean a file with other tables than these, of another version for example."""
    progress: tuple[str, ...] = ("applied",)
    """The numbers of ``progress``; the first is the last sequence that is in the file."""
    configure: Callable[[sqlite3.Connection], None] = lambda _: None
    """Called with each new connection."""


class _Own(threading.local):
    """A thread's own connection, and which of the files it is to."""

    connection: sqlite3.Connection | None = None
    generation = -1


class DerivedFile:
    """One file. Its owner reads the stream and says what of it to write; whoever asks is answered by other threads.

    Everything that is called with a connection is called in another thread, except by ``read_here``.
    """

    def __init__(
        self, path: Path, layout: Layout, *, readers: int = 1, on_damage: Callable[[], None] = lambda: None
    ) -> None:
        """``on_damage`` is called when a reader finds that the file is no good."""
        self._path = path
        self._layout = layout
        self._on_damage = on_damage
        self._writer = ThreadPoolExecutor(1, f"{layout.name}-writer")
        self._readers = ThreadPoolExecutor(readers, f"{layout.name}-reader")
        self._own = _Own()
        self._connections: list[sqlite3.Connection] = []
        self._generation = 0
        self._is_closing = False
        self._identity = (0, 0)
        self._epoch = ""
        self._waiting = Waiters()
        self.hurry = asyncio.Event()
        """Set when what comes next is not to wait for more."""
        columns = ", ".join(("epoch", *layout.progress))
        self._none = (0,) * len(layout.progress)
        self._get = f"SELECT {columns} FROM progress"  # noqa: S608 - names of our own
        self._set = f"REPLACE INTO progress (only_row, {columns}) VALUES (1, ?{', ?' * len(self._none)})"  # noqa: S608 - as above
        self.progress: tuple[int, ...] = self._none

    @property
    def applied(self) -> int:
        """The last sequence that is in the file."""
        return self.progress[0]

    async def open(self, epoch: str) -> None:
        """Open (or make) the file of that stream; raises sqlite3.Error where it cannot be made."""
        self._epoch = epoch
        self.progress = await asyncio.get_running_loop().run_in_executor(self._writer, self._open)

    async def begin_again(self) -> None:
        """Begin with a new file, perhaps with one that somebody else has begun; raises sqlite3.Error."""
        self.progress = self._none
        self.progress = await asyncio.get_running_loop().run_in_executor(self._writer, self._begin_again)

    def close(self) -> None:
        """Close it; what is being read or written is finished first."""
        self._is_closing = True
        self._writer.shutdown()
        self._readers.shutdown()
        for connection in self._connections:
            connection.close()

    # Asking.

    async def read(self, question: Callable[..., _T], *arguments: Any) -> _T:
        """What ``question(connection, *arguments)`` returns; raises LogUnavailable.

        What was read while another file took the place of this one may be incomplete.
        """
        loop, generation = asyncio.get_running_loop(), self._generation
        try:
            found = await loop.run_in_executor(self._readers, self._call, question, arguments)
        except sqlite3.Error as error:
            raise self._unreadable(error) from None
        if self._generation != generation:
            raise LogUnavailable(f"the {self._layout.name} is being built again")
        return found

    def read_here(self, question: Callable[..., _T], *arguments: Any) -> _T:
        """The same in this thread, for what is answered in no time."""
        try:
            return self._call(question, arguments)
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def _call(self, function: Callable[..., _T], arguments: Sequence[Any]) -> _T:
        return function(self._connection(), *arguments)

    def _unreadable(self, error: sqlite3.Error) -> LogUnavailable:
        _logger.warning("the %s cannot be read", self._layout.name, reason=str(error))
        if self.is_damage(error):
            self._on_damage()
        return LogUnavailable(f"the {self._layout.name} cannot be read at the moment")

    async def reached(self, sequence: int) -> None:
        """Wait until ``applied`` is at least that sequence."""
        if self.applied >= sequence:
            return
        self.hurry.set()
        await self._waiting.wait(sequence)

    # Filling.

    async def apply(self, progress: tuple[int, ...], change: Callable[..., _T], *arguments: Any) -> _T:
        """Have ``change(connection, *arguments)`` and the new progress become one transaction; raises sqlite3.Error."""
        changed = await asyncio.get_running_loop().run_in_executor(
            self._writer, self._apply, progress, change, arguments
        )
        self.progress = progress
        self.hurry.clear()
        self._waiting.release(self.applied)
        return changed

    async def tidy(self, change: Callable[..., int | None], *arguments: Any) -> None:
        """Have ``change(connection, *arguments)`` done, and again while it returns more than 0; raises sqlite3.Error.

        It does a portion at a time: what happens now gets its turn in between.
        """
        while await asyncio.get_running_loop().run_in_executor(self._writer, self._call, change, arguments):
            pass

    async def linger(self, seconds: float) -> None:
        """Let more arrive that becomes one transaction, unless somebody waits or there is a ``hurry``."""
        if not self._waiting:
            with contextlib.suppress(TimeoutError):  # (wait_for can swallow the cancellation that stops us)
                async with asyncio.timeout(seconds):
                    await self.hurry.wait()

    def _apply(self, progress: tuple[int, ...], change: Callable[..., _T], arguments: Sequence[Any]) -> _T:
        if self._identify() != self._identity:
            raise FileGone("the file is gone")
        connection = self._connection()
        connection.execute("BEGIN")
        try:
            changed = change(connection, *arguments)
            connection.execute(self._set, (self._epoch, *progress))
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        return changed

    # The file.

    def is_damage(self, error: sqlite3.Error) -> bool:
        """Whether the file is to blame, rather than a full disk or the like: it is none of ours, or no longer."""
        if isinstance(error, FileGone) or str(error).startswith(self._layout.damage):
            return True
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

    def _open(self) -> tuple[int, ...]:
        try:
            with self._alone():
                return self._prepare()
        except sqlite3.Error as error:
            if not self.is_damage(error):
                raise
            return self._begin_again()

    def _begin_again(self) -> tuple[int, ...]:
        """Delete the file, unless it is another one by now, and make it ready."""
        _logger.warning("the %s is damaged or gone and will be built again", self._layout.name)
        with self._alone():
            if self._identify() == self._identity:
                for suffix in ("", "-wal", "-shm"):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            return self._prepare()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process deletes the file or makes it, which is done in several steps; raises sqlite3.Error."""
        try:
            lock = self._path.with_suffix(".lock").open("a")
        except OSError as error:
            raise sqlite3.OperationalError(f"unable to open {error.filename}: {error.strerror}") from None
        with lock:
            self._wait_for(lock)
            yield

    def _wait_for(self, lock: TextIO) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._is_closing or time.monotonic() > deadline:
                    raise sqlite3.OperationalError("database is locked") from None
                time.sleep(_POLL)
            else:
                return

    def _prepare(self) -> tuple[int, ...]:
        """Connect to the file that has our name now, and return what it says of its progress."""
        self._identity = _UNKNOWN  # it may be good, and another's: it is not to be deleted
        try:
            progress = self._read_progress(self._connect())
        except sqlite3.Error as error:
            if self.is_damage(error):
                self._identity = self._identify()
            raise
        self._identity = self._identify()
        self._generation += 1  # from here on the readers open this file
        self._own.generation = self._generation
        return progress

    def _read_progress(self, connection: sqlite3.Connection) -> tuple[int, ...]:
        """What the file says of it; a new one, and one of another stream, is made to say that nothing is in it."""
        connection.executescript(self._layout.schema)
        found: tuple[Any, ...] | None = connection.execute(self._get).fetchone()
        if found is None or found[0] != self._epoch:
            for table in self._layout.tables:
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
            found = (self._epoch, *self._none)
            connection.execute(self._set, found)
        return found[1:]

    def _connection(self) -> sqlite3.Connection:
        """This thread's own connection."""
        if self._own.connection is None or self._own.generation != self._generation:
            self._own.generation = self._generation
            return self._connect()
        return self._own.connection

    def _connect(self) -> sqlite3.Connection:
        if self._own.connection is not None:
            self._connections.remove(self._own.connection)
            self._own.connection.close()
            self._own.connection = None
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=_PATIENCE)
        self._connections.append(connection)
        self._own.connection = connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # what is lost is read again from the stream
        self._layout.configure(connection)
        return connection

    def _identify(self) -> tuple[int, int]:
        """Which file has our name."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return status.st_dev, status.st_ino


def insert(connection: sqlite3.Connection, statements: dict[int, str], rows: Sequence[Sequence[Any]]) -> None:
    """Many rows with one statement: SQLite then works for a while without holding Python's interpreter lock.

    ``statements`` are by the number of rows that they insert, the largest first and 1 last.
    """
    at = 0
    for size, statement in statements.items():
        while len(rows) - at >= size:
            connection.execute(statement, [value for row in rows[at : at + size] for value in row])
            at += size
