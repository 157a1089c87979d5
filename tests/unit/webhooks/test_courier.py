"""What a courier keeps in mind, where a slip once lost a delivery."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from doorstream.events import Position
from doorstream.events.entities import Webhook
from doorstream.live import Alarms, Hub
from doorstream.log import PositionGone
from doorstream.testing import SITE, make_event
from doorstream.webhooks.courier import Courier
from doorstream.webhooks.questions import DueRow
from doorstream.webhooks.reader import Reader
from doorstream.webhooks.records import Due


class Ledger:
    """Has dues at the places 1 to ``count``; ``asked`` is called while somebody waits for them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked: Any = lambda: None

    async def reached(self, _sequence: int) -> None:
        """It has all."""

    async def dues(self, _webhook: str, after: int, limit: int) -> list[DueRow]:
        """Some of them."""
        await asyncio.sleep(0)
        self.asked()
        return [DueRow(place, due(place)) for place in range(after + 1, min(after + limit, self.count) + 1)]


def due(place: int) -> Due:
    return Due(f"e-{place}", "e", place, f"event-{place}", SITE, "x.test", f"event-{place}")


def courier(count: int = 0) -> tuple[Courier, Ledger]:
    """One that sends nothing, on a log of which nothing is read."""
    ledger = Ledger(count)
    clock = lambda: 1_780_000_000.0  # noqa: E731 - shortest
    desk = SimpleNamespace(
        hub=Hub("e", 100), log=None, store=None, ledger=ledger, alarms=Alarms(clock), clock=clock, tell=lambda *_: None
    )
    webhook = Webhook(
        id="hook",
        site_id=SITE,
        url="https://example.com/",
        form="native",
        topics=("*",),
        created="2026-01-31T10:00:00.000Z",
        start="e.0",
        name="hook",
    )
    made = Courier(desk, webhook)  # type: ignore[arg-type]  # as much of a desk as is needed
    made._pump = lambda: None
    made._reader.go_on = lambda: None
    return made, ledger


async def test_the_cursor_is_before_the_first_that_is_open() -> None:
    """After it was slowed down the first in memory was not the first in the log; a crash then lost one."""
    made, _ = courier()
    made._progress.begin(8, set())
    made._progress.open(7)
    made._progress.open(6)
    assert (await made.cursor()).sequence == 5


async def test_only_what_is_gone_is_given_up() -> None:
    """What was to be read again and was still kept was passed over."""
    made, _ = courier()
    made._progress.begin(6, set())
    made._progress.put_back([3, 4, 5, 6])
    made._reader.position_gone(PositionGone(Position("e", 4)))
    assert made._progress.read == 4
    assert [place for place in range(1, 9) if made._progress.come_to(place)] == [5, 6, 7, 8]


async def test_what_falls_due_is_loaded_though_it_is_slowed_down_meanwhile() -> None:
    """The loaded ones were dropped, and the mark then stood behind them."""
    made, ledger = courier(40)
    slowings = iter([True])

    def slow_down_once() -> None:
        if made._dues and next(slowings, False):
            made._slow_down()

    ledger.asked = slow_down_once
    made.has_due()
    for _ in range(20):
        await asyncio.sleep(0)
    ledger.count = 60
    made.has_due()
    for _ in range(50):
        await asyncio.sleep(0)
    assert {job.due.sequence for job in made._ready} == set(range(1, 61))


async def test_the_cursor_is_before_what_was_not_listened_to() -> None:
    """What was published just before it was slowed down counted as finished: a crash in the next moments lost it."""
    made, _ = courier()
    made._progress.begin(100, set())
    made._reader.start()
    Reader.go_on(made._reader)
    assert (await made.cursor()).sequence == 100
    loop = asyncio.get_running_loop()
    loop.call_soon(made._desk.hub.publish, make_event(101))
    asking = asyncio.create_task(made.cursor())
    loop.call_soon(made._slow_down)
    assert (await asking).sequence == 100
    assert (await made.cursor()).sequence == 100
