"""How fast one connection may talk: a token bucket whose whole state is one number.

The number is the time at which the bucket will be full again (the "theoretical arrival time" of the generic cell
rate algorithm, ITU-T I.371). A connection that is idle holds a number in the past and costs nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` messages on average, `burst` at once. Times are seconds of one clock, the caller's."""

    per_second: float = 200.0
    burst: int = 2_000

    def allowance(self, full_at: float, now: float) -> int:
        """How many messages may be taken now."""
        return max(0, int(self.burst - max(0.0, full_at - now) * self.per_second + 1e-6))

    def charge(self, full_at: float, now: float, count: int) -> float:
        """Take messages and give the new state; more than the allowance makes a debt."""
        return max(full_at, now) + count / self.per_second

    def wait(self, full_at: float, now: float, count: int = 1) -> float:
        """Seconds until `count` messages may be taken."""
        return max(0.0, full_at - now - (self.burst - count) / self.per_second)


DEFAULT_RATE = Rate()
"""Of design.md D12."""
