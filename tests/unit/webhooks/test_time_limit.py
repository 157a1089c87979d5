"""One time limit for many attempts."""

from __future__ import annotations

import asyncio
import time

import pytest

from doorstream.webhooks.time_limit import TimeLimit


async def test_what_takes_too_long_is_ended() -> None:
    limit = TimeLimit(0.05)
    began = time.monotonic()
    with pytest.raises(TimeoutError), limit.attempt():
        await asyncio.Event().wait()
    assert 0.04 < time.monotonic() - began < 5
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_each_has_its_full_time_and_the_others_go_on() -> None:
    limit = TimeLimit(2.0)

    async def attempt(begin: float, last: float) -> str:
        await asyncio.sleep(begin)
        try:
            with limit.attempt():
                await asyncio.sleep(last)
        except TimeoutError:
            return "late"
        return "in time"

    times = ((0.0, 60.0), (0.0, 0.01), (1.95, 0.1), (0.2, 60.0))
    ended = await asyncio.gather(*(attempt(*each) for each in times))
    assert ended == ["late", "in time", "in time", "late"]
    with pytest.raises(TimeoutError), limit.attempt():  # it works again after everything ended
        await asyncio.sleep(60)


async def test_a_cancellation_by_somebody_else_stays_one() -> None:
    limit = TimeLimit(60)

    async def attempt() -> None:
        with limit.attempt():
            await asyncio.Event().wait()

    task = asyncio.create_task(attempt())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_comes_with_the_deadline_wins() -> None:
    limit = TimeLimit(0.01)
    tasks: list[asyncio.Task[None]] = []

    async def attempt() -> None:
        with limit.attempt():
            try:
                await asyncio.Event().wait()
            finally:
                tasks[0].cancel()

    tasks.append(asyncio.create_task(attempt()))
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


async def test_an_error_of_its_own_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), TimeLimit(60).attempt():
        raise ZeroDivisionError
