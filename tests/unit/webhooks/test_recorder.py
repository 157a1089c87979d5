"""Attempts on their way to the stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest

from doorstream.log import Message
from doorstream.testing import until
from doorstream.webhooks.recorder import FULL, Recorder
from doorstream.webhooks.records import MAX_TOGETHER, Attempt, State, decode_attempts
from doorstream.webhooks.store import Store


class Messages:
    """Stands in for the store: keeps what is written, once ``gate`` is open."""

    def __init__(self) -> None:
        self.written: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.tasks: list[asyncio.Task[None]] = []

    def spawn(self, writing: object) -> asyncio.Task[None]:
        """In the background."""
        self.tasks.append(asyncio.ensure_future(writing))  # type: ignore[call-overload]
        return self.tasks[-1]

    async def put_surely(self, messages: Sequence[Message]) -> int:
        """Keep one message."""
        await self.gate.wait()
        [message] = messages
        assert message.subject == "webhooks.attempt.hook"
        self.written.append([each.event for each in decode_attempts(message.payload)])
        return len(self.written)


class Deliveries:
    """What is told of attempts that are kept."""

    def __init__(self) -> None:
        self.messages = Messages()
        self.kept: list[str] = []
        self.settled: list[int] = []
        self.recorder = Recorder(cast("Store", self.messages), "hook", lambda: self.settled.append(len(self.kept)))

    def end(self, *names: str, urgent: bool = False) -> None:
        """Attempts that ended."""
        for name in names:
            attempt = Attempt(name, "e", 1, name, "s", "t", name, at=1, state=State.DELIVERED)
            self.recorder.add(attempt, lambda name=name: self.kept.append(name), urgent=urgent)  # type: ignore[misc]


@pytest.fixture
async def deliveries() -> AsyncIterator[Deliveries]:
    """A webhook without attempts."""
    made = Deliveries()
    yield made
    await made.recorder.settle()


async def test_those_that_end_within_a_moment_are_one_message(deliveries: Deliveries) -> None:
    deliveries.end("a")
    await asyncio.sleep(0)
    deliveries.end("b", "c")
    assert deliveries.messages.written == []
    await until(lambda: bool(deliveries.kept))
    assert deliveries.messages.written == [["a", "b", "c"]]
    assert deliveries.kept == ["a", "b", "c"]
    assert deliveries.settled == [3], "once for a message"
    assert deliveries.recorder.stored == 1


async def test_an_urgent_one_takes_those_that_wait_along(deliveries: Deliveries) -> None:
    deliveries.end("a")
    deliveries.end("b", urgent=True)
    await asyncio.gather(*deliveries.messages.tasks)
    assert deliveries.messages.written == [["a", "b"]]


async def test_many_are_written_without_waiting(deliveries: Deliveries) -> None:
    deliveries.end(*(str(number) for number in range(FULL)))
    await asyncio.gather(*deliveries.messages.tasks)
    assert [len(each) for each in deliveries.messages.written] == [FULL]


async def test_one_message_at_a_time_and_in_order(deliveries: Deliveries) -> None:
    deliveries.messages.gate.clear()
    names = [f"{number:03}" for number in range(2 * MAX_TOGETHER + 10)]
    for name in names:
        deliveries.end(name, urgent=True)
        await asyncio.sleep(0)
    assert len(deliveries.messages.tasks) == 1
    assert deliveries.kept == []
    deliveries.messages.gate.set()
    await deliveries.recorder.settle()
    assert deliveries.kept == names
    assert max(len(each) for each in deliveries.messages.written) == MAX_TOGETHER


async def test_settling_waits_for_all_and_may_be_given_up(deliveries: Deliveries) -> None:
    deliveries.messages.gate.clear()
    deliveries.end("a", urgent=True)
    deliveries.end("b")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(deliveries.recorder.settle(), 0.01)
    deliveries.messages.gate.set()
    await deliveries.recorder.settle()
    assert deliveries.kept == ["a", "b"]


async def test_one_that_cannot_go_on_holds_up_nobody(deliveries: Deliveries) -> None:
    attempt = Attempt("bad", "e", 1, "bad", "s", "t", "bad", at=1, state=State.DELIVERED)

    def fail() -> None:
        raise ZeroDivisionError

    deliveries.recorder.add(attempt, fail, urgent=False)
    deliveries.end("good", urgent=True)
    await deliveries.recorder.settle()
    assert deliveries.kept == ["good"]
    assert deliveries.settled == [1]
