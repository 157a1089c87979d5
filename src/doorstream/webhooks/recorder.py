"""The attempts of one webhook on their way to the stream, many in one message.

A message costs much the same whether it holds one attempt or a hundred: a trip to nats-server, an fsync there, and its
way into the ledger. So while others are under way, an attempt that ended waits up to ``LINGER`` for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import structlog

from doorstream.webhooks.records import MAX_TOGETHER, Attempt, attempts_message
from doorstream.webhooks.store import Store

_logger = structlog.get_logger(__name__)

LINGER = 0.02
"""Seconds for which an attempt waits for others. After a kill, those that waited are made once more."""

FULL = 64
"""Attempts that are written without waiting for more: until it is written, a delivery takes up room."""


class _Ended(NamedTuple):
    attempt: Attempt
    kept: Callable[[], None]


class Recorder:
    """Writes the attempts of a webhook in the order in which they are added, one message at a time.

    ``settled`` is called when those of a message are kept, after the callbacks of each. ``stored`` is a sequence of
    the stream at or after all that was kept.
    """

    def __init__(self, store: Store, webhook_id: str, settled: Callable[[], None]) -> None:
        self.stored = 0
        self._store = store
        self._webhook_id = webhook_id
        self._settled = settled
        self._waiting: list[_Ended] = []
        self._is_urgent = False
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def add(self, attempt: Attempt, kept: Callable[[], None], *, urgent: bool) -> None:
        """Have an attempt kept, and ``kept`` called then; an ``urgent`` one waits for no others. Never fails."""
        self._waiting.append(_Ended(attempt, kept))
        if urgent:
            self._write_now()
        else:
            self._write_or_wait()

    def note(self, sequence: int) -> None:
        """Something of the webhook was kept there by somebody else."""
        self.stored = max(self.stored, sequence)

    async def settle(self) -> None:
        """Write what waits; return when all of it is kept."""
        while self._waiting or self._writing is not None:
            self._write_now()
            if self._writing is not None:
                await asyncio.wait([self._writing])  # who gives up waiting does not end the writing

    def _write_now(self) -> None:
        self._is_urgent = True
        self._write_or_wait()

    def _write_or_wait(self) -> None:
        if self._writing is not None or not self._waiting:
            return
        if self._is_urgent or len(self._waiting) >= FULL:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._writing = self._store.spawn(self._write())
            self._writing.add_done_callback(self._written)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LINGER, self._time_is_over)

    def _time_is_over(self) -> None:
        self._timer = None
        self._write_now()

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing = None
        if not task.cancelled():
            self._write_or_wait()

    async def _write(self) -> None:
        portion, self._waiting = self._waiting[:MAX_TOGETHER], self._waiting[MAX_TOGETHER:]
        self._is_urgent = self._is_urgent and bool(self._waiting)
        message = attempts_message(self._webhook_id, [each.attempt for each in portion])
        self.note(await self._store.put_surely([message]))
        for each in portion:
            try:
                each.kept()
            except Exception:  # one delivery's fault is not the others'
                _logger.exception("a webhook's delivery cannot go on", webhook=self._webhook_id)
        self._settled()
