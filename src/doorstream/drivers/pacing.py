"""What one module may cost others: how fast its status changes and its log lines are passed on.

Beyond the rate a status variable's values are skipped but for the last one, and log lines are counted instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from doorstream.drivers.levels import LogLevel

CHANGES_PER_SECOND: Final = 500.0
"""Status changes of one module that are passed on per second; four seconds' worth at once."""
LINES_PER_SECOND: Final = 100.0
"""Log lines of one module that are passed on per second; two seconds' worth at once."""
_TICK = 0.05


class Allowance:
    """A bucket that fills with time. ``clock`` is steady, in seconds."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._left = burst
        self._at = clock()

    def take(self) -> bool:
        """Whether one more is allowed now."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class StatusPacer:
    """Passes status changes on; what comes too fast waits for the next tick, and only its last value."""

    def __init__(self, changed: Callable[[str, bytes | None], None], on_flood: Callable[[], None]) -> None:
        self._changed = changed
        self._on_flood = on_flood
        self._loop = asyncio.get_running_loop()
        self._allowance = Allowance(CHANGES_PER_SECOND, 4 * CHANGES_PER_SECOND, self._loop.time)
        self._late: dict[str, bytes | None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def change(self, variable: str, value: bytes | None) -> None:
        """A variable has another value."""
        if variable not in self._late and self._allowance.take():
            self._changed(variable, value)
            return
        self._late[variable] = value
        if self._timer is None:
            self._on_flood()
            self._timer = self._loop.call_later(_TICK, self._tick)

    def close(self) -> None:
        """Pass on what still waits."""
        if self._timer is not None:
            self._timer.cancel()
        late, self._late = self._late, {}
        for variable, value in late.items():
            self._changed(variable, value)

    def _tick(self) -> None:
        self._timer = None
        while self._late and self._allowance.take():
            variable = next(iter(self._late))
            self._changed(variable, self._late.pop(variable))
        if self._late:
            self._timer = self._loop.call_later(_TICK, self._tick)


class LogPacer:
    """Passes log lines on; of those that come too fast it tells how many there were."""

    def __init__(self, write: Callable[[LogLevel, str], None]) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._allowance = Allowance(LINES_PER_SECOND, 2 * LINES_PER_SECOND, self._loop.time)
        self._left_out = 0
        self._timer: asyncio.TimerHandle | None = None

    def write(self, level: LogLevel, message: str) -> None:
        """A line."""
        if self._left_out == 0 and self._allowance.take():
            self._write(level, message)
            return
        self._left_out += 1
        if self._timer is None:
            self._timer = self._loop.call_later(1.0, self._tell)

    def close(self) -> None:
        """Tell what is still to be told."""
        if self._timer is not None:
            self._timer.cancel()
            self._tell()

    def _tell(self) -> None:
        count, self._left_out, self._timer = self._left_out, 0, None
        self._write("warn", f"{count} log lines came too fast and were left out")
