"""Whose turn it is at a door."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from doorstream.log import LogUnavailable
from doorstream.testing import SITE, until
from doorstream.webhooks import turns as module
from doorstream.webhooks.jobs import Job
from doorstream.webhooks.records import Attempt, Due, State
from doorstream.webhooks.turns import Turns

DOOR, GATE = "door", "gate"


class Courier:
    """The ledger, the recorder and the courier in one.

    What is held back is on its ``way`` to the ledger until ``arrive``, and ``held`` from then on. ``fails`` makes the
    ledger unavailable so many times.
    """

    def __init__(self) -> None:
        self.way: list[tuple[Attempt, Callable[[], None], bool]] = []
        self.held: list[Due] = []
        self.fails = 0
        self.gone: list[int] = []
        self.kept: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.jobs: dict[int, Job] = {}
        recorder: Any = SimpleNamespace(stored=7, add=self.add)
        ledger: Any = SimpleNamespace(reached=self.reached, held=self.first_held)
        self.turns = Turns(ledger, recorder, "hook", lambda: 1_780_000_000.0, self)

    def add(self, attempt: Attempt, kept: Callable[[], None], *, urgent: bool) -> None:
        self.way.append((attempt, kept, urgent))

    async def reached(self, sequence: int) -> None:
        assert sequence == 7
        await asyncio.sleep(0)

    async def first_held(self, webhook: str, line: str) -> Due | None:
        assert webhook == "hook"
        if self.fails:
            self.fails -= 1
            raise LogUnavailable("not now")
        found = next((due for due in self.held if due.line == line), None)
        await asyncio.sleep(0)  # the answer is on its way
        return found

    def let_go(self, job: Job) -> None:
        assert job.is_held
        self.gone.append(job.due.sequence)

    def held_back(self, job: Job) -> None:
        self.kept.append(job.due.sequence)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    def enter(self, *places: int, line: str | None = DOOR) -> list[int]:
        """Those whose turn it is at once."""
        for place in places:
            due = Due(f"e-{place}", "e", place, f"event-{place}", SITE, "x.test", f"event-{place}", line=line)
            self.jobs[place] = Job(due, None)
        return [place for place in places if self.turns.enter(self.jobs[place])]

    def done(self, state: State, line: str = DOOR) -> int | None:
        job = self.turns.done(line, state)
        return job.due.sequence if job is not None else None

    def arrive(self, count: int = 100) -> None:
        """The ledger has those that were on their way."""
        arrived, self.way = self.way[:count], self.way[count:]
        for attempt, kept, _ in arrived:
            self.held.append(self.jobs[attempt.sequence].due)
            kept()

    def delivered(self, place: int) -> None:
        """One that was held back is through."""
        self.held = [due for due in self.held if due.sequence != place]
        self.done(State.DELIVERED)

    async def settled(self) -> None:
        await asyncio.gather(*self.tasks)


async def test_what_is_in_no_line_goes_at_once() -> None:
    assert Courier().enter(1, 2, 3, line=None) == [1, 2, 3]


async def test_one_of_a_door_at_a_time_in_memory() -> None:
    made = Courier()
    assert made.enter(1, 2, 3) == [1]
    assert made.enter(4, line=GATE) == [4]
    assert made.done(State.DELIVERED) == 2
    assert made.done(State.DEAD) == 3
    assert made.done(State.DELIVERED) is None
    assert made.enter(5) == [5]
    assert not made.way, "nothing of it is written"


async def test_behind_one_that_failed_all_are_held_back() -> None:
    """Those that waited in memory, and those that come; each is kept as no attempt, the last of a time at once."""
    made = Courier()
    made.enter(1, 2, 3)
    assert made.done(State.WAITING) is None
    assert made.enter(4) == []
    written = [(each.sequence, each.number, each.state, urgent) for each, _, urgent in made.way]
    assert written == [(2, 0, "held", False), (3, 0, "held", True), (4, 0, "held", True)]
    assert made.kept == []
    made.arrive()
    assert made.kept == [2, 3, 4]
    assert not made.tasks, "the first waits for its time"


async def test_they_come_back_in_their_order_one_at_a_time() -> None:
    made = Courier()
    made.enter(1, 2, 3)
    made.done(State.WAITING)
    made.arrive()
    made.done(State.DELIVERED)
    await made.settled()
    assert made.gone == [2]
    assert made.enter(4) == []
    made.arrive()
    made.delivered(2)
    await made.settled()
    made.delivered(3)
    await made.settled()
    assert made.gone == [2, 3, 4]
    made.delivered(4)
    await made.settled()
    assert made.enter(5) == [5], "the line is free"


async def test_nobody_passes_one_that_is_on_its_way_to_the_ledger() -> None:
    """The ledger does not know it yet, and would bring nothing or one that is behind it."""
    made = Courier()
    made.enter(1, 2)
    made.done(State.WAITING)
    made.enter(3)
    made.done(State.DELIVERED)
    await made.settled()
    assert made.gone == []
    made.arrive(1)
    await made.settled()
    assert made.gone == []
    made.arrive(1)
    await made.settled()
    assert made.gone == [2]


async def test_one_that_comes_while_the_ledger_is_asked_is_not_passed() -> None:
    """The answer is that nothing is held back; meanwhile something was."""
    made = Courier()
    made.enter(1)
    made.done(State.WAITING)
    made.done(State.DELIVERED)
    await asyncio.sleep(0)  # the question is on its way
    assert made.enter(2) == []
    await made.settled()
    assert made.enter(3) == []
    made.arrive()
    await made.settled()
    assert made.gone == [2]


async def test_one_that_arrives_after_the_ledger_answered_is_not_passed() -> None:
    """The answer is from before; the line is not free."""
    made = Courier()
    made.enter(1)
    made.done(State.WAITING)
    made.done(State.DELIVERED)
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the ledger has answered that nothing is held back
    made.enter(2)
    made.arrive()
    await made.settled()
    assert made.gone == [2]


async def test_it_asks_again_when_the_ledger_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRY", 0.0)
    made = Courier()
    made.enter(1, 2)
    made.done(State.WAITING)
    made.arrive()
    made.fails = 2
    made.done(State.DELIVERED)
    await until(lambda: made.gone == [2])


@pytest.mark.parametrize(("is_ordered", "gone"), [(True, [2]), (False, [2, 4])])
async def test_lines_that_were_held_up_go_on(is_ordered: bool, gone: list[int]) -> None:
    """At the gate the first waits for its time, which is waited for unless order is no longer asked for."""
    made = Courier()
    made.enter(2)
    made.enter(4, line=GATE)
    made.held = [made.jobs[2].due, made.jobs[4].due]
    again = Courier()
    again.held = made.held
    again.turns.resume({DOOR: False, GATE: True}, is_ordered=is_ordered)
    assert again.enter(5) == []
    assert again.enter(6, line=GATE) == []
    again.arrive()
    await again.settled()
    assert again.gone == gone


async def test_what_is_dropped_leaves_its_line() -> None:
    """Also those behind one that is under way, whose line stays."""
    made = Courier()
    assert made.enter(1, 2) == [1]
    assert made.enter(3, 4, line=GATE) == [3]
    assert [job.due.sequence for job in made.turns.drop([made.jobs[3]])] == [2, 4]
    assert made.enter(5, line=GATE) == [5]
    assert made.enter(6) == []
    assert made.done(State.DELIVERED) == 6
