"""The circuit breaker: a receiver that keeps failing is asked less and less often, and in the end no more. Pure."""

from __future__ import annotations

from enum import Enum

FAILURES = 10
"""So many failures in a row …"""
SPAN = 60.0
"""… over at least so many seconds slow a webhook down."""
FIRST_PROBE = 30.0
LONGEST_PROBE = 600.0
GIVE_UP = 5 * 86_400.0
"""Seconds of nothing but failures after which it is disabled."""

_HESITATION = 2.0  # between attempts after FAILURES failures, as long as SPAN is not over


class Change(Enum):
    """What an outcome made of a webhook."""

    SLOWED = "slowed"
    RECOVERED = "recovered"
    GIVEN_UP = "given up"


class Breaker:
    """Counts what fails. Times are unix seconds.

    ``since`` is the first of the failures that followed each other (None: the last attempt was none); while ``open``
    only probes may be sent, one at a time and not before ``not_before``.
    """

    __slots__ = ("_probe", "failures", "not_before", "open", "since")

    def __init__(self) -> None:
        self.failures = 0
        self.since: float | None = None
        self.open = False
        self.not_before = 0.0
        self._probe = FIRST_PROBE

    @classmethod
    def resumed(cls, failures: int, since: float | None, last: float | None) -> Breaker:
        """As it was after that many failures in a row, of which these are the times of the first and the last."""
        breaker = cls()
        if since is not None and last is not None:
            breaker.failures = failures
            breaker.since = since
            breaker.open = failures >= FAILURES and last - since >= SPAN
            breaker.not_before = last + (breaker._probe if breaker.open else 0.0)
        return breaker

    def width(self, concurrency: int) -> int:
        """How many attempts may be under way."""
        if self.open:
            return 1
        return max(1, concurrency >> (self.failures // 2))

    def succeeded(self) -> Change | None:
        """Note a success."""
        was_open = self.open
        self.failures, self.since, self.open, self.not_before, self._probe = 0, None, False, 0.0, FIRST_PROBE
        return Change.RECOVERED if was_open else None

    def failed(self, now: float) -> Change | None:
        """Note a failure."""
        self.failures += 1
        if self.since is None:
            self.since = now
        if now - self.since >= GIVE_UP:
            return Change.GIVEN_UP
        if self.open:
            self._probe = min(self._probe * 2, LONGEST_PROBE)
            self.not_before = now + self._probe
            return None
        if self.failures < FAILURES:
            return None
        if now - self.since < SPAN:
            self.not_before = now + _HESITATION
            return None
        self.open = True
        self.not_before = now + self._probe
        return Change.SLOWED
