"""How many event logs a query has without a limit (``X-Total-Count``), counted once and then kept up.

What came since is added, which costs little. When the index forgets what is older than the retention, everything is
counted anew, in the background and not more often than once a minute; until then the old number is told, which may be
too high by what was forgotten meanwhile: the index does not say how much of that were event logs.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import structlog

from doorstream.history import Index, UnlockQuery
from doorstream.log import LogUnavailable

_logger = structlog.get_logger(__name__)

RECOUNT_EVERY = 60.0
"""Seconds between two counts of everything for the same query."""

_KEPT = 1000


class _Count(NamedTuple):
    """How many there were up to a sequence, when the index had forgotten so many; ``counted_at`` is the loop's time."""

    upto: int
    forgotten: int
    counted_at: float
    number: int


class Totals:
    """The numbers of the queries that were asked last. ``time`` gives seconds that only grow."""

    def __init__(self, index: Index, time: Callable[[], float]) -> None:
        self._index = index
        self._time = time
        self._known: OrderedDict[UnlockQuery, _Count] = OrderedDict()
        self._counting: dict[UnlockQuery, asyncio.Task[_Count]] = {}

    async def of(self, query: UnlockQuery) -> int:
        """How many there are in all pages together; raises LogUnavailable."""
        key = replace(query, upto=0, limit=0, behind=None, order="created", is_descending=True)
        known = self._known.get(key)
        if known is None:
            known = await asyncio.shield(self._count(key, query))
        elif known.forgotten != self._index.forgotten and self._time() - known.counted_at >= RECOUNT_EVERY:
            self._count(key, query)
        if known.upto >= query.upto:
            return known.number
        since = replace(query, after=max(known.upto, query.after or 0))
        now = known._replace(upto=query.upto, number=known.number + await self._index.count_unlocks(since))
        if self._known.get(key) is known:
            self._keep(key, now)
        return now.number

    def _count(self, key: UnlockQuery, query: UnlockQuery) -> asyncio.Task[_Count]:
        """Count everything. Those who ask at the same time share it, and it goes on when they leave."""
        task = self._counting.get(key)
        if task is None:
            task = self._counting[key] = asyncio.get_running_loop().create_task(self._counted(key, query))
            task.add_done_callback(lambda done: self._done(key, done))
        return task

    async def _counted(self, key: UnlockQuery, query: UnlockQuery) -> _Count:
        forgotten = self._index.forgotten
        number = await self._index.count_unlocks(query)
        count = _Count(query.upto, forgotten, self._time(), number)
        self._keep(key, count)
        return count

    def _done(self, key: UnlockQuery, task: asyncio.Task[_Count]) -> None:
        del self._counting[key]
        error = task.exception() if not task.cancelled() else None
        if error is not None and not isinstance(error, LogUnavailable):  # who waits for it is told, but perhaps nobody
            _logger.error("event logs could not be counted", exc_info=error)

    def _keep(self, key: UnlockQuery, count: _Count) -> None:
        self._known[key] = count
        self._known.move_to_end(key)
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
