"""Alarms: many things that happen at their time, with one timer."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from doorstream.live import Alarms, Hub
from doorstream.testing import make_event


class Clock:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_alarms_ring_in_order_of_their_time() -> None:
    clock, rung = Clock(), list[str]()
    alarms = Alarms(clock)
    alarms.at(clock.now + 20, lambda: rung.append("second"))
    alarms.at(clock.now + 10, lambda: rung.append("first"))
    alarms.run_due()
    assert rung == []
    clock.now += 20
    alarms.run_due()
    assert rung == ["first", "second"]


async def test_a_cancelled_alarm_does_not_ring() -> None:
    clock, rung = Clock(), list[str]()
    alarms = Alarms(clock)
    alarms.at(clock.now + 10, lambda: rung.append("cancelled")).cancel()
    clock.now += 10
    alarms.run_due()
    assert rung == []


async def test_the_timer_rings_by_itself() -> None:
    """Nobody has to publish an event for a token to expire."""
    rung = asyncio.Event()
    loop = asyncio.get_running_loop()
    Alarms(loop.time).at(loop.time() + 0.01, rung.set)
    await asyncio.wait_for(rung.wait(), 5)


async def test_cancelled_alarms_do_not_pile_up() -> None:
    """Connections that come and go each set an alarm for an expiry far away."""
    clock = Clock()
    alarms = Alarms(clock)
    for _ in range(50_000):
        alarms.at(clock.now + 86_400, lambda: None).cancel()
    assert len(alarms._heap) < 5_000


async def test_an_alarm_that_fails_keeps_back_no_other_and_no_event() -> None:
    """Alarms that are due ring ahead of an event: what one of them did wrong used to cost everybody that event."""
    clock, rung = Clock(), list[str]()
    alarms = Alarms(clock)

    def fail() -> None:
        raise RuntimeError("broken")

    alarms.at(clock.now + 10, fail)
    alarms.at(clock.now + 10, lambda: rung.append("other"))
    hub = Hub("test", 0, before_publish=alarms.run_due)
    clock.now += 10
    with capture_logs() as logs:
        hub.publish(make_event(1))
    assert rung == ["other"]
    assert hub.sequence == 1
    assert [entry["log_level"] for entry in logs] == ["error"]
