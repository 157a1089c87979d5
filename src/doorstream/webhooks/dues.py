"""Retries and replays that fell due: they come from the ledger, oldest first and a portion at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol

from doorstream.log import LogUnavailable
from doorstream.webhooks.jobs import Job
from doorstream.webhooks.ledger import Ledger
from doorstream.webhooks.recorder import Recorder
from doorstream.webhooks.records import Due

_RETRY = 1.0


class Loader(Protocol):
    """Whose dues they are."""

    def may_load(self) -> int:
        """How many dues may be asked for now; 0 for none. ``Dues.load`` must be called when that changes."""

    def load(self, job: Job) -> None:
        """Put it with those that are ready; it must not begin before ``loaded``."""

    def loaded(self) -> None:
        """Nothing more is on its way into memory."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Have it run until the webhook stops."""


class Dues:
    """What fell due of one webhook. ``is_loading`` while some of it is on its way into memory.

    What was attempted leaves the ledger some moments later only. So the ledger is asked for what stands behind a mark
    in the stream, and what is in memory is known here by its delivery and number, in case the mark went back.
    """

    __slots__ = ("_has_more", "_in_memory", "_ledger", "_loader", "_mark", "_recorder", "_webhook_id", "is_loading")

    def __init__(self, ledger: Ledger, recorder: Recorder, webhook_id: str, loader: Loader) -> None:
        self._ledger = ledger
        self._recorder = recorder
        self._webhook_id = webhook_id
        self._loader = loader
        self._in_memory: set[tuple[str, int]] = set()
        self._mark = 0
        self._has_more = True
        self.is_loading = False

    def __len__(self) -> int:
        """How many are in memory."""
        return len(self._in_memory)

    def expect(self) -> None:
        """Something fell due."""
        self._has_more = True
        self.load()

    def load(self) -> None:
        """Have more loaded, if there is more and room for it."""
        if self._has_more and not self.is_loading and self._loader.may_load():
            self.is_loading = True
            self._loader.spawn(self._load())

    def done(self, due: Due) -> None:
        """One was attempted, and that is recorded."""
        self._in_memory.discard((due.delivery, due.number))

    def begin_anew(self, dropped: Iterable[Due]) -> None:
        """These leave the memory without an attempt: ask the ledger from the start on, when there is room again."""
        for due in dropped:
            self.done(due)
        self._mark = 0
        self._has_more = True

    @property
    def floor(self) -> int:
        """Everything that fell due before this place in the stream is attempted, as far as is known here."""
        return self._mark if not self._in_memory and not self._has_more and not self.is_loading else 0

    async def _load(self) -> None:
        try:
            while self._has_more and (limit := self._loader.may_load()):
                self._has_more = False
                try:
                    await self._ledger.reached(self._recorder.stored)
                    mark = self._mark
                    rows = await self._ledger.dues(self._webhook_id, mark, limit)
                except LogUnavailable:
                    self._has_more = True
                    await asyncio.sleep(_RETRY)
                    continue
                if self._mark != mark:  # begun anew meanwhile
                    self._has_more = True
                    continue
                for stored, due in rows:
                    self._mark = stored
                    if (due.delivery, due.number) not in self._in_memory:
                        self._in_memory.add((due.delivery, due.number))
                        self._loader.load(Job(due, None, stored=stored))
                self._has_more = self._has_more or len(rows) == limit
        finally:
            self.is_loading = False
        self._loader.loaded()
