"""Things that happen to a connection at a certain time, for thousands of connections with one timer of the loop."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

import structlog

_logger = structlog.get_logger(__name__)

_FEW = 1000
_LONGEST_SLEEP = 1.0  # the wall clock may be set; the loop's clock does not notice


class Alarm:
    """One thing to be done at a time. ``cancel`` it when it is no longer wanted."""

    __slots__ = ("_alarms", "callback")

    def __init__(self, alarms: Alarms, callback: Callable[[], None]) -> None:
        self._alarms = alarms
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Have nothing happen; may be called at any time."""
        if self.callback is not None:
            self.callback = None
            self._alarms.cancelled()


class Alarms:
    """Calls back when the wall clock says so. ``clock`` gives seconds since 1970."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Alarm]] = []
        self._counter = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._cancelled = 0

    def at(self, when: float, callback: Callable[[], None]) -> Alarm:
        """Call back at that time, or as soon as possible when it has passed."""
        alarm = Alarm(self, callback)
        heapq.heappush(self._heap, (when, next(self._counter), alarm))
        if self._heap[0][2] is alarm:
            self._set_timer()
        return alarm

    def cancelled(self) -> None:
        """One of the alarms was cancelled. When they are the majority they are thrown out."""
        self._cancelled += 1
        if self._cancelled > max(_FEW, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def run_due(self) -> None:
        """Call back everything that is due. Cheap when nothing is."""
        if not self._heap or self._heap[0][0] > self._clock():
            return
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            alarm = heapq.heappop(self._heap)[2]
            callback, alarm.callback = alarm.callback, None
            if callback is not None:
                try:
                    callback()
                except Exception:  # the other alarms, and the event that is being published, must not suffer
                    _logger.exception("an alarm failed")
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        if self._heap:
            wait = min(max(self._heap[0][0] - self._clock(), 0.0), _LONGEST_SLEEP)
            self._timer = asyncio.get_running_loop().call_later(wait, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.run_due()
        if self._timer is None:
            self._set_timer()
