"""When the next attempt on a receiver may begin, and how many may be under way.

Three things set the pace: the receiver (which may ask for a pause), the webhook's own rate, and the breaker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from doorstream.events.entities import Webhook
from doorstream.live import Alarm, Alarms
from doorstream.webhooks.breaker import Breaker


class Pace:
    """The pace of one webhook; ``clock`` gives unix seconds. ``active`` attempts are under way.

    ``wake`` is called when one may begin that was refused because it was too early.
    """

    __slots__ = (
        "_alarm",
        "_alarm_at",
        "_alarms",
        "_clock",
        "_next_free",
        "_paused_until",
        "_wake",
        "active",
        "breaker",
    )

    def __init__(self, alarms: Alarms, clock: Callable[[], float], wake: Callable[[], None]) -> None:
        self.breaker = Breaker()
        self.active = 0
        self._alarms = alarms
        self._clock = clock
        self._wake = wake
        self._paused_until = 0.0
        self._next_free = 0.0
        self._alarm: Alarm | None = None
        self._alarm_at = 0.0

    def begin(self, webhook: Webhook) -> bool:
        """Whether an attempt may begin now; if so it counts as under way, and ``end`` must follow."""
        if self.active >= self.breaker.width(webhook.concurrency):
            return False
        now = self._clock()
        earliest = max(self._paused_until, self.breaker.not_before, self._next_free)
        if earliest > now:
            self._wake_at(earliest)
            return False
        if webhook.rate is not None:
            self._next_free = max(self._next_free, now) + 1 / webhook.rate
        self.active += 1
        return True

    def end(self) -> None:
        """An attempt has ended."""
        self.active -= 1

    def pause(self, until: float) -> None:
        """The receiver asked for none before that time (unix seconds)."""
        self._paused_until = max(self._paused_until, until)

    @property
    def state(self) -> Literal["enabled", "slowed", "paused"]:
        """How the webhook is doing; see ``engine.STATES``."""
        if self.breaker.open:
            return "slowed"
        return "paused" if self._paused_until > self._clock() else "enabled"

    def close(self) -> None:
        """Wake nobody any more."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _wake_at(self, when: float) -> None:
        if self._alarm is not None and self._alarm.callback is not None:
            if self._alarm_at == when:
                return
            self._alarm.cancel()
        self._alarm_at = when
        self._alarm = self._alarms.at(when, self._wake)
