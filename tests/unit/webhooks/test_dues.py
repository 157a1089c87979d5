"""Retries and replays on their way from the ledger into memory."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from doorstream.log import LogUnavailable
from doorstream.testing import SITE, until
from doorstream.webhooks import dues as module
from doorstream.webhooks.dues import Dues
from doorstream.webhooks.jobs import Job
from doorstream.webhooks.questions import DueRow
from doorstream.webhooks.records import Due

PORTION = 3


def due(place: int) -> Due:
    return Due(f"e-{place}", "e", place, f"event-{place}", SITE, "x.test", f"event-{place}")


class Courier:
    """The ledger and the courier in one: what is ``kept`` there, what came into memory, and for how many there is room.

    ``fails`` makes the ledger unavailable so many times; ``gate`` holds its answers back.
    """

    def __init__(self, count: int, *, room: int = 100) -> None:
        self.kept = list(range(1, count + 1))
        self.room = room
        self.fails = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.memory: list[int] = []
        self.told = 0
        self.seen: list[int] = []
        self.tasks: set[asyncio.Task[None]] = set()
        recorder: Any = SimpleNamespace(stored=7)
        ledger: Any = SimpleNamespace(reached=self.reached, dues=self.ask)
        self.dues = Dues(ledger, recorder, "hook", self)

    # The ledger.

    async def reached(self, sequence: int) -> None:
        """What was recorded last is seen."""
        self.seen.append(sequence)

    async def ask(self, webhook: str, after: int, limit: int) -> list[DueRow]:
        assert webhook == "hook"
        if self.fails:
            self.fails -= 1
            raise LogUnavailable("not now")
        rows = [DueRow(place, due(place)) for place in self.kept if place > after][:limit]
        await self.gate.wait()
        return rows

    # The courier.

    def may_load(self) -> int:
        return PORTION if len(self.memory) < self.room else 0

    def load(self, job: Job) -> None:
        assert job.stored == job.due.sequence
        self.memory.append(job.due.sequence)

    def loaded(self) -> None:
        self.told += 1

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.add(asyncio.ensure_future(work))

    def attempted(self, place: int) -> None:
        """It leaves the memory and the ledger."""
        self.memory.remove(place)
        self.kept.remove(place)
        self.dues.done(due(place))


async def test_all_come_in_portions_and_in_their_order() -> None:
    made = Courier(8)
    made.dues.load()
    await until(lambda: made.told == 1)
    assert made.memory == list(range(1, 9))
    assert len(made.dues) == 8
    assert made.seen == [7, 7, 7], "the ledger has what was recorded"


async def test_no_more_than_there_is_room_for() -> None:
    made = Courier(8, room=3)
    made.dues.load()
    await until(lambda: made.told == 1)
    assert made.memory == [1, 2, 3]
    made.attempted(2)
    made.dues.load()
    await until(lambda: made.told == 2)
    assert made.memory == [1, 3, 4, 5, 6]


async def test_nothing_is_asked_while_there_is_no_room() -> None:
    made = Courier(8, room=0)
    made.dues.load()
    assert not made.tasks
    made.room = 3
    made.dues.load()
    await until(lambda: made.memory == [1, 2, 3])


async def test_what_falls_due_later_is_loaded_without_a_repeat() -> None:
    made = Courier(2)
    made.dues.load()
    await until(lambda: made.told == 1)
    made.kept.append(3)
    made.dues.load()
    assert made.told == 1, "it does not know yet"
    made.dues.expect()
    await until(lambda: made.told == 2)
    assert made.memory == [1, 2, 3]


async def test_what_falls_due_while_others_are_loaded_is_not_forgotten() -> None:
    made = Courier(2)
    made.gate.clear()
    made.dues.load()
    await asyncio.sleep(0)
    made.kept.append(3)
    made.dues.expect()
    made.gate.set()
    await until(lambda: made.told == 1)
    assert made.memory == [1, 2, 3]


async def test_it_asks_again_when_the_ledger_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRY", 0.0)
    made = Courier(2)
    made.fails = 2
    made.dues.load()
    await until(lambda: made.told == 1)
    assert made.memory == [1, 2]


async def test_what_was_dropped_comes_again_and_what_is_in_memory_does_not() -> None:
    made = Courier(5)
    made.dues.load()
    await until(lambda: made.told == 1)
    made.memory = [2]
    made.dues.begin_anew([due(place) for place in (1, 3, 4, 5)])
    made.dues.load()
    await until(lambda: made.told == 2)
    assert made.memory == [2, 1, 3, 4, 5]


async def test_an_answer_from_before_it_began_anew_is_not_used() -> None:
    """The mark would then stand behind what was dropped."""
    made = Courier(6, room=3)
    made.dues.load()
    await until(lambda: made.told == 1)
    made.room = 100
    made.gate.clear()
    made.dues.load()
    await asyncio.sleep(0)
    made.memory = []
    made.dues.begin_anew([due(place) for place in (1, 2, 3)])
    made.gate.set()
    await until(lambda: made.told == 2)
    assert made.memory == [1, 2, 3, 4, 5, 6]


async def test_the_floor_is_known_only_when_all_is_attempted() -> None:
    made = Courier(2)
    assert made.dues.floor == 0
    made.dues.load()
    assert made.dues.floor == 0
    await until(lambda: made.told == 1)
    assert made.dues.floor == 0
    made.attempted(1)
    assert made.dues.floor == 0
    made.attempted(2)
    assert made.dues.floor == 2
    made.dues.begin_anew([])
    assert made.dues.floor == 0
