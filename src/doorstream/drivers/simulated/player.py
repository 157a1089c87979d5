"""The shell around a story: put its steps in as their time comes.

What the player promises:

* **In time.** Events that are due are put in within `LONGEST_SLEEP`, in batches if several are due.
* **In order, nothing lost.** A batch is given to the sink again and again until it takes it, and only then the next.
  It is the same list of the same events each time: a sink that gives its events ids makes a repetition harmless.
* **No long burst.** A player that is more than `max_lag` seconds behind (the sink refused, is slower than the rate, or
  the machine slept) postpones the rest of the story by what exceeds it. So after a pause of any length at most
  `max_lag` seconds' worth of events is put in at once, and what comes then bears the time at which it happens.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from doorstream.drivers.simulated.stage import Event
from doorstream.drivers.simulated.story import Story

LONGEST_SLEEP: Final = 0.05
"""Seconds. So long may a command wait for the player to wake up."""
SHORTEST_SLEEP: Final = 0.01
"""Seconds. At high rates the events of so long a time make one batch."""
FIRST_RETRY: Final = 0.1
LAST_RETRY: Final = 5.0
"""Seconds between two attempts to put a batch in: doubled from the first to this."""

Sink = Callable[[list[Event]], Awaitable[object]]


async def play(  # noqa: PLR0913 - clock, sleep and limits are given by name, so that a test can have its own
    story: Story,
    sink: Sink,
    *,
    now: Callable[[], float],
    sleep: Callable[[float], Awaitable[object]],
    try_later: type[Exception] | tuple[type[Exception], ...],
    max_lag: float = 5.0,
    max_batch: int = 256,
) -> None:
    """Put the events of `story` into `sink` as they happen, until cancelled. Second 0 of the story is now.

    `now` is a steady clock in seconds, `sleep` waits on the same clock. `sink` returns when the events it was given are
    durable, and raises `try_later` if they should be offered again; any other error of it ends the player. A batch has
    about `max_batch` events at most (the events of one step stay together). Cancelled while the sink has a batch, the
    player does not know whether it became durable; nothing after it was offered.
    """
    start = now()
    while True:
        elapsed = now() - start
        excess = elapsed - story.next_at - max_lag
        if excess > 0:
            story.postpone(excess)
            start += excess
            elapsed -= excess
        batch = [event for step in story.take(elapsed, max_batch) for event in step.events]
        if batch:
            await _put_in(batch, sink, sleep, try_later)
        pause = story.next_at - (now() - start)
        await sleep(min(max(pause, SHORTEST_SLEEP), LONGEST_SLEEP) if pause > 0 else 0.0)


async def _put_in(
    batch: list[Event],
    sink: Sink,
    sleep: Callable[[float], Awaitable[object]],
    try_later: type[Exception] | tuple[type[Exception], ...],
) -> None:
    delay = FIRST_RETRY
    while True:
        try:
            await sink(batch)
        except try_later:
            await sleep(delay)
            delay = min(2 * delay, LAST_RETRY)
        else:
            return
