"""Whose turn it is in the lines of an ordered webhook: one delivery of a door at a time, in the order of the log.

``order.py`` knows who stands in which line. Here what follows from it is done: when the first of a line failed, those
behind it are noted in the ledger as held back, which frees their places in memory; and when it is through, they are
brought back from there one after the other.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from msgspec import structs

from doorstream.log import LogUnavailable
from doorstream.webhooks.jobs import Job
from doorstream.webhooks.ledger import Ledger
from doorstream.webhooks.order import Lines
from doorstream.webhooks.recorder import Recorder
from doorstream.webhooks.records import State, attempt_of

_RETRY = 1.0


class Marshal(Protocol):
    """Who sends those whose turn it is."""

    def let_go(self, job: Job) -> None:
        """It is this one's turn, which was held back: send it as soon as may be."""

    def held_back(self, job: Job) -> None:
        """The ledger has it, and it needs nothing more from the one who reads the log."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Have it run until the webhook stops."""


class Turns:
    """The lines of one webhook; ``clock`` gives unix seconds. What is in no line is always let go."""

    __slots__ = ("_clock", "_ledger", "_lines", "_marshal", "_recorder", "_webhook_id")

    def __init__(
        self, ledger: Ledger, recorder: Recorder, webhook_id: str, clock: Callable[[], float], marshal: Marshal
    ) -> None:
        self._ledger = ledger
        self._recorder = recorder
        self._webhook_id = webhook_id
        self._clock = clock
        self._marshal = marshal
        self._lines: Lines[Job] = Lines()

    def resume(self, lines: dict[str, bool], *, is_ordered: bool) -> None:
        """Go on with lines that are held up. Those that are true wait for the time of their first event, if ordered."""
        for line, waits in lines.items():
            self._lines.block(line)
            if not (waits and is_ordered):
                self._look(line)

    def enter(self, job: Job) -> bool:
        """Whether it is this one's turn at once; else it waits here or in the ledger."""
        line = job.due.line
        if line is None or self._lines.enter(line, job):
            return True
        if self._lines.is_blocked(line):
            self._hold_back([job], line)
        return False

    def done(self, line: str, state: State) -> Job | None:
        """The first of a line is delivered, given up or to be tried again; returns one whose turn it is then."""
        if state is State.WAITING:
            behind = self._lines.block(line)
            if behind:
                self._hold_back(behind, line)
        elif self._lines.is_blocked(line):
            self._look(line)
        else:
            return self._lines.leave(line)
        return None

    def drop(self, firsts: Iterable[Job]) -> list[Job]:
        """Forget these, whose turn it was, and all who wait in memory behind any; returns the latter."""
        behind = self._lines.drop_behind()
        for job in firsts:
            if job.due.line is not None:
                self._lines.leave(job.due.line)
        return behind

    def _hold_back(self, jobs: list[Job], line: str) -> None:
        """Note in the ledger that these wait for those before them."""
        self._lines.noting(line)
        at = int(self._clock() * 1000)
        for job in jobs:
            attempt = attempt_of(structs.replace(job.due, number=0), at=at, state=State.HELD)
            is_last = job is jobs[-1]
            kept = functools.partial(self._held_back, job, line, is_last=is_last)
            self._recorder.add(attempt, kept, urgent=is_last)

    def _held_back(self, job: Job, line: str, *, is_last: bool) -> None:
        self._marshal.held_back(job)
        if is_last and self._lines.noted(line):
            self._look(line)

    def _look(self, line: str) -> None:
        self._marshal.spawn(self._let_first_go(line))

    async def _let_first_go(self, line: str) -> None:
        """Send the first one that is held back in a line; if there is none, the line is free."""
        while self._lines.may_look(line):
            count = self._lines.count(line)
            try:
                await self._ledger.reached(self._recorder.stored)
                due = await self._ledger.held(self._webhook_id, line)
            except LogUnavailable:
                await asyncio.sleep(_RETRY)
                continue
            if due is not None:
                self._marshal.let_go(Job(due, None, is_held=True))
                return
            if self._lines.may_look(line) and self._lines.count(line) == count:
                self._lines.free(line)
                return
