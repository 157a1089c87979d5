"""Rate limits of PDK's REST and token routes, per client (vendor-apis.md 1.4 and PDK-17).

They exist because clients written for the vendor expect them. Nothing else of doorstream is limited by them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from doorstream.gateway.rate import Rate

_MOST_CLIENTS = 10_000


@dataclass(frozen=True, slots=True)
class HostLimit:
    """What one client may ask of one of the vendor's hosts: writes and all requests per second."""

    writes: float
    requests: float


ACCOUNTS = HostLimit(writes=10, requests=35)
"""Of the accounts host: tokens and systems."""

SYSTEMS = HostLimit(writes=20, requests=70)
"""Of the systems host: the lists of one system."""


class Verdict(NamedTuple):
    """What a request is told: the limit, how many are left now, and when (unix seconds) all are again."""

    allowed: bool
    limit: int
    remaining: int
    reset: int
    retry_after: int

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        told = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset),
        }
        return told if self.allowed else told | {"Retry-After": str(self.retry_after)}


class _Bucket(NamedTuple):
    """When the client's two buckets are full again."""

    requests: float = 0.0
    writes: float = 0.0


class RateLimiter:
    """Counts the requests of clients to one host; one second's worth may come at once."""

    def __init__(self, limit: HostLimit, clock: Callable[[], float]) -> None:
        """``clock`` gives unix seconds."""
        self._requests = Rate(limit.requests, max(1, int(limit.requests)))
        self._writes = Rate(limit.writes, max(1, int(limit.writes)))
        self._clock = clock
        # Seconds since then: sums of unix seconds and fractions lose what small fractions are made of.
        self._since = clock()
        self._buckets: dict[str, _Bucket] = {}

    def take(self, client: str, *, write: bool) -> Verdict:
        """Count one request, unless it is beyond the limit; a write also counts as a request."""
        now = self._clock() - self._since
        bucket = self._sane(self._buckets.pop(client, _Bucket()), now)
        allowed = self._requests.allowance(bucket.requests, now) > 0
        if write:
            allowed = allowed and self._writes.allowance(bucket.writes, now) > 0
        if allowed:
            bucket = _Bucket(
                self._requests.charge(bucket.requests, now, 1),
                self._writes.charge(bucket.writes, now, 1) if write else bucket.writes,
            )
        self._buckets[client] = bucket
        if len(self._buckets) > _MOST_CLIENTS:
            self._forget(now)
        return self._verdict(bucket, now, allowed=allowed, write=write)

    def _sane(self, bucket: _Bucket, now: float) -> _Bucket:
        """No bucket is emptier than empty: a clock that was set back must not lock a client out."""
        return _Bucket(
            min(bucket.requests, now + self._requests.burst / self._requests.per_second),
            min(bucket.writes, now + self._writes.burst / self._writes.per_second),
        )

    def _verdict(self, bucket: _Bucket, now: float, *, allowed: bool, write: bool) -> Verdict:
        """By whichever of the two limits is closer."""
        rate, full_at = self._requests, bucket.requests
        if write and self._writes.allowance(bucket.writes, now) < self._requests.allowance(bucket.requests, now):
            rate, full_at = self._writes, bucket.writes
        return Verdict(
            allowed,
            rate.burst,
            rate.allowance(full_at, now),
            math.ceil(self._since + max(full_at, now)),
            max(1, math.ceil(rate.wait(full_at, now))),
        )

    def _forget(self, now: float) -> None:
        """Drop who has not asked for a while, and if that is nobody the one who has not asked for longest."""
        idle = [client for client, bucket in self._buckets.items() if max(bucket) <= now]
        for client in idle or [next(iter(self._buckets))]:
            del self._buckets[client]


class Limits(NamedTuple):
    """The limiters of both hosts; None: not limited."""

    accounts: RateLimiter | None
    systems: RateLimiter | None

    @classmethod
    def vendor(cls, clock: Callable[[], float]) -> Limits:
        """The vendor's figures."""
        return cls(RateLimiter(ACCOUNTS, clock), RateLimiter(SYSTEMS, clock))


UNLIMITED = Limits(None, None)
"""No limits."""
