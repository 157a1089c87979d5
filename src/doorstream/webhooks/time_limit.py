"""A time limit for thousands of attempts at once, without a timer for each.

``asyncio.timeout`` sets a timer of its own for each, which costs a twentieth of a delivery.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from doorstream.gateway.deadlines import Deadlines


class TimeLimit:
    """``with limit.attempt():`` raises TimeoutError after so many seconds, as ``asyncio.timeout`` does."""

    __slots__ = ("_deadlines",)

    def __init__(self, seconds: float) -> None:
        self._deadlines: Deadlines[_Attempt] = Deadlines(seconds, _Attempt.expire)

    def attempt(self) -> _Attempt:
        """The limit of what the current task begins now; once, and inside of one event loop."""
        return _Attempt(self._deadlines)


class _Attempt:
    """What must end in time."""

    __slots__ = ("_cancelling", "_deadlines", "_is_over", "_task")

    _task: asyncio.Task[object]

    def __init__(self, deadlines: Deadlines[_Attempt]) -> None:
        self._deadlines = deadlines
        self._is_over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is entered by a coroutine
        self._task = task
        self._cancelling = task.cancelling()
        self._deadlines.start(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._deadlines.stop(self)
        if self._is_over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """Interrupt the task."""
        self._is_over = True
        self._task.cancel()
