"""Time-outs for thousands of connections without a timer for each.

All items of one `Deadlines` wait equally long, so the order in which they were put in is the order in which they
fall due: a dictionary keeps that order, and one timer of the event loop watches its first item. Starting and
stopping cost a dictionary operation; an idle item costs its entry.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

_TOLERANCE = 0.001
"""Seconds; timers of uvloop are whole milliseconds and may come that much early."""
_BATCHES = 1000
"""The timer is set at most so many times in one delay: a little lateness (0.1 %) bounds the work."""


class Timer(Protocol):
    """A scheduled call that can be taken back."""

    def cancel(self) -> None:
        """Take it back."""


class Clock(Protocol):
    """The part of an event loop that deadlines need; `asyncio.AbstractEventLoop` is one."""

    def time(self) -> float:
        """Seconds on a clock that never goes back."""

    def call_at(self, when: float, callback: Callable[..., Any], /) -> Timer:
        """Call back at a time of this clock."""


class Deadlines(Generic[T]):
    """Items that each fall due `delay` seconds after they were started.

    `due(item)` is called from the event loop, after the item was taken out; it may start it again. An exception
    in it is logged and does not keep the others from their call. Items are told apart by `==` and `hash`.
    """

    __slots__ = ("_clock", "_due", "_queue", "_timer", "delay", "due_at")

    due_at: float
    """While `due` is called: when its item fell due, which may be a little while ago."""

    def __init__(self, delay: float, due: Callable[[T], None], clock: Clock | None = None) -> None:
        self.delay = delay
        self.due_at = 0.0
        self._due = due
        self._clock = clock
        self._queue: dict[T, float] = {}
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def __contains__(self, item: T) -> bool:
        return item in self._queue

    def start(self, item: T, since: float | None = None) -> None:
        """Let an item fall due `delay` seconds from now; one that waits already waits anew.

        `since` counts from another time, so that lateness does not add up over a chain of deadlines; it must not be
        before that of items started earlier.
        """
        clock = self._clock
        if clock is None:
            clock = self._clock = asyncio.get_running_loop()
        queue = self._queue
        queue.pop(item, None)
        when = (clock.time() if since is None else since) + self.delay
        queue[item] = when
        if self._timer is None:
            self._timer = clock.call_at(when, self._fire)

    def stop(self, item: T) -> None:
        """Forget an item; one that does not wait is no error.

        One that falls due together with the one whose call this comes from is called all the same.
        """
        self._queue.pop(item, None)

    def clear(self) -> None:
        """Forget all items, and the timer."""
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        clock = self._clock
        if clock is None:
            return
        now = clock.time()
        expired: list[tuple[T, float]] = []
        for item, when in self._queue.items():
            if when > now + _TOLERANCE:
                break
            expired.append((item, when))
        for item, _ in expired:
            del self._queue[item]
        for item, when in expired:
            self.due_at = when
            try:
                self._due(item)
            except Exception:
                log.exception("a deadline failed")
        # Only now: had it been set for the first item that was started meanwhile, those before that would be late.
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queue:
            first = next(iter(self._queue.values()))
            self._timer = clock.call_at(max(first, now + self.delay / _BATCHES), self._fire)
