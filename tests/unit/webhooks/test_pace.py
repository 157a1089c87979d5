"""When the next attempt may begin."""

from __future__ import annotations

from typing import Any

import pytest
from webhooks_support import Clock

from doorstream.events.entities import Webhook
from doorstream.live import Alarms
from doorstream.testing import SITE
from doorstream.webhooks.breaker import FIRST_PROBE, Breaker
from doorstream.webhooks.pace import Pace

NOW = 1_780_000_000.0


class Waker:
    """A pace, its clock, and how often it woke somebody."""

    def __init__(self) -> None:
        self.clock = Clock(NOW)
        self.alarms = Alarms(self.clock)
        self.count = 0
        self.pace = Pace(self.alarms, self.clock, self.wake)

    def wake(self) -> None:
        self.count += 1

    def pass_time(self, seconds: float) -> int:
        """Move the clock; returns how often it woke somebody."""
        before = self.count
        self.clock.now += seconds
        self.alarms.run_due()
        return self.count - before


@pytest.fixture
async def waker() -> Waker:
    return Waker()


def webhook(**fields: Any) -> Webhook:
    values = {"id": "hook", "site_id": SITE, "url": "https://example.com/", "name": "hook", "created": "", "start": ""}
    return Webhook(**values | {"form": "native", "topics": ("*",)} | fields)


async def test_so_many_at_a_time(waker: Waker) -> None:
    hook = webhook(concurrency=2)
    assert [waker.pace.begin(hook) for _ in range(3)] == [True, True, False]
    waker.pace.end()
    assert waker.pace.begin(hook)
    assert waker.pace.active == 2


async def test_the_rate(waker: Waker) -> None:
    """Time in which nothing was sent is not made up for."""
    hook = webhook(rate=2.0, concurrency=10)
    assert [waker.pace.begin(hook) for _ in range(2)] == [True, False]
    assert waker.pass_time(0.4) == 0
    assert waker.pass_time(0.1) == 1
    waker.pass_time(60.0)
    assert [waker.pace.begin(hook) for _ in range(2)] == [True, False]


async def test_the_longest_pause_counts(waker: Waker) -> None:
    hook = webhook()
    waker.pace.pause(NOW + 60)
    waker.pace.pause(NOW + 10)
    assert waker.pace.state == "paused"
    assert not waker.pace.begin(hook)
    assert waker.pass_time(59.0) == 0
    assert waker.pass_time(1.0) == 1
    assert waker.pace.state == "enabled"
    assert waker.pace.begin(hook)


async def test_who_was_refused_is_woken_once_and_at_the_last_time_that_was_found(waker: Waker) -> None:
    hook = webhook()
    waker.pace.pause(NOW + 10)
    assert not waker.pace.begin(hook)
    assert not waker.pace.begin(hook)
    waker.pace.pause(NOW + 20)
    assert not waker.pace.begin(hook)
    assert waker.pass_time(10.0) == 0
    assert waker.pass_time(10.0) == 1
    waker.pace.pause(waker.clock() + 5)
    assert not waker.pace.begin(hook), "an alarm that rang is set again"
    assert waker.pass_time(5.0) == 1


async def test_an_open_breaker_lets_single_probes_through(waker: Waker) -> None:
    hook = webhook(concurrency=10)
    waker.pace.breaker = Breaker.resumed(20, NOW - 600, NOW)
    assert waker.pace.state == "slowed"
    assert not waker.pace.begin(hook)
    assert waker.pass_time(FIRST_PROBE) == 1
    assert [waker.pace.begin(hook) for _ in range(2)] == [True, False]


async def test_nobody_is_woken_after_the_end(waker: Waker) -> None:
    waker.pace.pause(NOW + 10)
    assert not waker.pace.begin(webhook())
    waker.pace.close()
    assert waker.pass_time(10.0) == 0
