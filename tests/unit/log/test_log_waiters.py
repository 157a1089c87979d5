"""Waiting until something has come as far as a sequence."""

import asyncio

import pytest

from doorstream.log import LogUnavailable, Waiters


async def waiting_for(waiters, *sequences):
    tasks = [asyncio.create_task(waiters.wait(sequence)) for sequence in sequences]
    await asyncio.sleep(0)
    return tasks


async def test_who_waits_for_no_more_than_that_goes_on():
    waiters = Waiters()
    tasks = await waiting_for(waiters, 9, 4, 7, 4)
    waiters.release(3)
    assert not any(task.done() for task in tasks)
    waiters.release(7)
    await asyncio.gather(*tasks[1:])
    assert waiters, "one is left"
    assert not tasks[0].done()
    waiters.release(100)
    await tasks[0]
    assert not waiters


async def test_nothing_is_kept_of_who_gives_up():
    waiters = Waiters()
    given_up, again, other = await waiting_for(waiters, 5, 5, 6)
    given_up.cancel()
    other.cancel()
    await asyncio.gather(given_up, other, return_exceptions=True)
    assert waiters
    assert not again.done()
    waiters.release(5)
    await again
    assert not waiters


async def test_a_stop_that_comes_together_with_the_release():
    """The release must not swallow the cancellation."""
    waiters = Waiters()
    (task,) = await waiting_for(waiters, 1)
    waiters.release(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not waiters


async def test_everybody_is_told_of_the_end():
    waiters = Waiters()
    tasks = await waiting_for(waiters, 1, 2, 2)
    tasks[0].cancel()
    waiters.fail(lambda: LogUnavailable("shutting down"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert [str(each) for each in results[1:]] == ["shutting down"] * 2
    assert not waiters
