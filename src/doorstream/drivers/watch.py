"""Whose code is running, and for how long: a module that blocks the event loop is found by name.

Modules' coroutines are driven through ``watched``, which notes at each of their steps whose it is. A step that takes
too long is reported when it ends; a thread looks in between, for steps that never end.
"""

from __future__ import annotations

import math
import threading
import time
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NamedTuple

import structlog

_logger = structlog.get_logger(__name__)

_LOOKS_UNTIL_TOLD = 2


class Step(NamedTuple):
    """A step of somebody's code under way: whose, of what, and since when (``time.monotonic``)."""

    owner: str
    what: str
    since: float


class Watch:
    """Knows whose code the loop's thread runs.

    ``limit`` is how long one step may take, in seconds. ``on_blocked(owner, what, seconds)`` is called from the loop
    after a step that took longer; ``on_stuck(owner, what)`` from another thread, once, for a step that has
    not ended after ``stuck_after``.
    """

    def __init__(
        self,
        limit: float,
        on_blocked: Callable[[str, str, float], None],
        *,
        stuck_after: float = 30.0,
        on_stuck: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self.limit = limit
        self._on_blocked = on_blocked
        self._stuck_after = stuck_after
        self._on_stuck = on_stuck
        self._steps: list[Step] = []  # a stack: a module's step may begin another's, which ends first
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look from another thread."""
        self._thread = threading.Thread(target=self._look, name="watch over modules", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no longer."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def enter(self, owner: str, what: str) -> None:
        """A step begins."""
        self._steps.append(Step(owner, what, time.monotonic()))

    def leave(self) -> None:
        """The step that began last is over."""
        step = self._steps.pop()
        took = time.monotonic() - step.since
        if took > self.limit:
            # Whoever is further out waited for this one and is not to blame.
            self._steps = [outer._replace(since=time.monotonic()) for outer in self._steps]
            self._on_blocked(step.owner, step.what, took)

    def _look(self) -> None:
        """Look every now and then. Looks are counted, not time: a process that was halted has not been stuck."""
        pause = min(self.limit, self._stuck_after) / 2
        seen: Step | None = None
        looks = 0
        while not self._end.wait(pause):
            step = next(iter(self._steps[-1:]), None)
            looks = looks + 1 if step is seen else 0
            seen = step
            if step is None:
                continue
            if looks == _LOOKS_UNTIL_TOLD:
                _logger.warning("a module blocks the event loop", module=step.owner, doing=step.what)
            if looks == math.ceil(self._stuck_after / pause):
                self._on_stuck(step.owner, step.what)


@types.coroutine
def watched(watch: Watch, owner: str, what: str, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Await ``work``, each step of which is noted."""
    value: Any = None
    error: BaseException | None = None
    while True:
        watch.enter(owner, what)
        try:
            waiting = work.send(value) if error is None else work.throw(error)
        except StopIteration as stop:
            return stop.value
        finally:
            watch.leave()
        value, error = None, None
        try:
            value = yield waiting
        except GeneratorExit:
            work.close()
            raise
        except BaseException as thrown:  # noqa: BLE001 - a cancellation is the work's as well
            error = thrown
