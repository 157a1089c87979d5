"""Tells the events that changes of the directory are, each exactly once.

A change and its events are one record (``records.py``). After the record is stored, its events are put into the log,
and when they are durable there the record is written again without them. Whatever was not told when the process ended
is told at the next start: the events keep their ids, so what was already in the log is absorbed as a duplicate.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from doorstream.directory.errors import Conflict
from doorstream.directory.keys import unescape
from doorstream.directory.mirror import Mirror
from doorstream.directory.records import Value
from doorstream.directory.store import Change, Store
from doorstream.events import EventError
from doorstream.log import LogError

_logger = structlog.get_logger(__name__)

Emit = Callable[[str, dict[str, Any]], Awaitable[object]]
"""Puts one event in (site id, event as put in) and returns when it is durable, also when it was there before."""

_PAUSE = 1.0


class Outbox:
    """One task that tells events in the order of their changes."""

    def __init__(self, store: Store, mirror: Mirror) -> None:
        self._store = store
        self._mirror = mirror
        self._queue: asyncio.Queue[tuple[str, asyncio.Future[None]]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def start(self, emit: Emit) -> None:
        """Begin to tell, what an earlier process left behind first."""
        left = [(entry.revision, key) for key, entry in self._mirror.entries.items() if entry.pending]
        for _, key in sorted(left):
            self._put(key)
        self._task = asyncio.create_task(self._tell_all(emit), name="directory outbox")

    async def stop(self) -> None:
        """Stop; what is not told yet is told at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    @property
    def is_running(self) -> bool:
        """Tell whether events are being told."""
        return self._task is not None

    async def told(self, key: str, patience: float) -> None:
        """Have a record's events told and wait for it, at most ``patience`` seconds; later it is told anyhow.

        Before ``start`` nothing is told, and nothing waited for.
        """
        if self._task is not None and self._mirror.entry(key).pending:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._put(key)), patience)

    def _put(self, key: str) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((key, done))
        return done

    async def _tell_all(self, emit: Emit) -> None:
        while True:
            key, done = await self._queue.get()
            try:
                await self._tell(key, emit)
            except Exception:
                _logger.exception("an event of the directory could not be told", key=key)
            finally:
                if not done.done():
                    done.set_result(None)

    async def _tell(self, key: str, emit: Emit) -> None:
        """Tell one record's events, and try again until they are durable."""
        site_id = unescape(key.split(".")[1])
        told: set[str] = set()
        while (entry := self._mirror.entry(key)).pending:
            try:
                for event in entry.pending:
                    if event["id"] not in told:
                        await self._tell_one(site_id, event, emit)
                        told.add(event["id"])
                await self._store.write([Change(key, Value(entry.entity), entry.revision)])
            except Conflict:
                await self._catch_up()
            except LogError as error:
                _logger.warning("the directory's events have to wait", reason=str(error))
                await asyncio.sleep(_PAUSE)

    async def _tell_one(self, site_id: str, event: dict[str, Any], emit: Emit) -> None:
        try:
            await emit(site_id, event)
        except EventError:  # it would be refused each time
            _logger.exception("an event of the directory is refused", topic=event["topic"])

    async def _catch_up(self) -> None:
        try:
            await self._store.catch_up()
        except LogError:
            await asyncio.sleep(_PAUSE)
