"""One timer for all attempts: each may take the same time, so the one that began first ends first.

``asyncio.timeout`` sets a timer of its own for each, which costs a twentieth of a delivery.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Deadlines:
    """``with deadlines.limit():`` raises TimeoutError after so many seconds, as ``asyncio.timeout`` does."""

    __slots__ = ("_has_timer", "_running", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running: dict[_Limit, None] = {}
        self._has_timer = False

    def limit(self) -> _Limit:
        """A limit for the current task, from entering it on; once, and inside of one event loop."""
        return _Limit(self)

    def begin(self, limit: _Limit) -> float:
        """Note one that is entered; returns the time of the loop at which it is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._seconds
        self._running[limit] = None
        if not self._has_timer:
            self._has_timer = True
            loop.call_at(deadline, self._look)
        return deadline

    def end(self, limit: _Limit) -> None:
        """Forget one that is left."""
        self._running.pop(limit, None)

    def _look(self) -> None:
        """End what is over, and come back when the next one is."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._running:
            first = next(iter(self._running))
            if first.deadline > now:
                loop.call_at(first.deadline, self._look)
                return
            del self._running[first]
            first.expire()
        self._has_timer = False


class _Limit:
    """One attempt's limit."""

    __slots__ = ("_cancelling", "_deadlines", "_is_over", "_task", "deadline")

    _task: asyncio.Task[object]

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._is_over = False
        self.deadline = 0.0

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is entered by a coroutine
        self._task = task
        self._cancelling = task.cancelling()
        self.deadline = self._deadlines.begin(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._deadlines.end(self)
        if self._is_over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """Interrupt the task."""
        self._is_over = True
        self._task.cancel()
