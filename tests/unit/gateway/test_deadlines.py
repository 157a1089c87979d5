"""Many time-outs on one timer, on a clock turned by hand."""

import asyncio
import logging

import pytest

from doorstream.gateway.deadlines import Deadlines


def test_items_fall_due_in_order_each_after_its_delay(clock) -> None:
    due: list[tuple[str, float]] = []
    deadlines: Deadlines[str] = Deadlines(10.0, lambda item: due.append((item, clock.now)), clock)
    deadlines.start("a")
    clock.turn(3)
    deadlines.start("b")
    assert len(clock.timers) == 1
    clock.turn(20)
    assert [item for item, _ in due] == ["a", "b"]
    assert [when for _, when in due] == pytest.approx([1010.0, 1013.0], abs=0.02)
    assert len(deadlines) == 0
    assert clock.timers == []


def test_ten_thousand_items_use_one_timer(clock) -> None:
    due: list[int] = []
    deadlines: Deadlines[int] = Deadlines(10.0, due.append, clock)
    for item in range(10_000):
        deadlines.start(item)
        clock.now += 0.0001
    assert len(clock.timers) == 1
    clock.turn(9.5)
    assert 4_000 < len(due) < 6_000
    clock.turn(1)
    assert due == list(range(10_000))


def test_a_stopped_item_does_not_fall_due(clock) -> None:
    due: list[str] = []
    deadlines: Deadlines[str] = Deadlines(1.0, due.append, clock)
    deadlines.start("a")
    deadlines.start("b")
    deadlines.stop("a")
    deadlines.stop("never started")
    assert "a" not in deadlines
    assert "b" in deadlines
    clock.turn(2)
    assert due == ["b"]


def test_starting_again_begins_anew(clock) -> None:
    due: list[str] = []
    deadlines: Deadlines[str] = Deadlines(1.0, due.append, clock)
    deadlines.start("a")
    clock.turn(0.9)
    deadlines.start("a")
    clock.turn(0.9)
    assert due == []
    clock.turn(0.2)
    assert due == ["a"]


def test_an_item_may_start_again_when_it_falls_due(clock) -> None:
    count = 0

    def again(item: str) -> None:
        nonlocal count
        count += 1
        deadlines.start(item)

    deadlines: Deadlines[str] = Deadlines(1.0, again, clock)
    deadlines.start("a")
    clock.turn(10.5)
    assert count == 10


def test_an_item_that_starts_again_does_not_make_the_others_late(clock) -> None:
    """The timer was set for the item that had just been put in again, and whatever fell due before that waited for it.

    Of two SignalR clients that had come a second apart, each was pinged only every 20 s in turn, not every 10 s; the
    PlaceOS pong, which keeps a connection alive in proxies, came up to 160 s after the one before instead of 80 s.
    """
    due: list[tuple[str, float]] = []

    def again(item: str) -> None:
        due.append((item, clock.now))
        deadlines.start(item, since=deadlines.due_at)

    deadlines: Deadlines[str] = Deadlines(10.0, again, clock)
    deadlines.start("a")
    clock.turn(1)
    deadlines.start("b")
    clock.turn(32)
    assert [item for item, _ in due] == ["a", "b", "a", "b", "a", "b"]
    assert [when for _, when in due] == pytest.approx([1010, 1011, 1020, 1021, 1030, 1031], abs=0.02)
    assert len(clock.timers) == 1


def test_all_may_be_forgotten_when_one_falls_due(clock) -> None:
    """And one begun anew: there is one timer then as ever."""
    due: list[str] = []

    def begin_anew(item: str) -> None:
        due.append(item)
        deadlines.clear()
        deadlines.start("c")

    deadlines: Deadlines[str] = Deadlines(1.0, begin_anew, clock)
    deadlines.start("a")
    clock.turn(0.5)
    deadlines.start("b")
    clock.turn(0.6)
    assert due == ["a"]
    assert len([timer for timer in clock.timers if not timer.cancelled]) == 1
    clock.turn(1)
    assert due == ["a", "c"]


def test_an_item_may_stop_another_that_falls_due_with_it(clock) -> None:
    """Both were taken out already, so both get their call; what they end must bear that."""
    due: list[str] = []
    deadlines: Deadlines[str] = Deadlines(1.0, lambda item: (due.append(item), deadlines.stop("b")), clock)
    deadlines.start("a")
    deadlines.start("b")
    clock.turn(2)
    assert due == ["a", "b"]


def test_lateness_does_not_add_up_over_a_chain(clock) -> None:
    """A ping that went out 5 ms late left 5 ms less than nothing in the official suite, which is that exact."""
    due: list[float] = []
    second: Deadlines[str] = Deadlines(0.2, lambda _: due.append(second.due_at), clock)
    first: Deadlines[str] = Deadlines(0.3, lambda item: second.start(item, since=first.due_at), clock)
    first.start("a")
    clock.timers[0].when += 0.05  # the loop was busy
    clock.turn(1)
    assert due == pytest.approx([1000.5])


def test_an_exception_is_logged_and_the_others_get_their_call(clock, caplog: pytest.LogCaptureFixture) -> None:
    due: list[int] = []

    def fail(item: int) -> None:
        due.append(1 // item)

    deadlines: Deadlines[int] = Deadlines(1.0, fail, clock)
    deadlines.start(0)
    deadlines.start(1)
    with caplog.at_level(logging.ERROR):
        clock.turn(2)
    assert due == [1]
    assert "a deadline failed" in caplog.text


def test_clear_forgets_all(clock) -> None:
    due: list[str] = []
    deadlines: Deadlines[str] = Deadlines(1.0, due.append, clock)
    deadlines.start("a")
    deadlines.clear()
    clock.turn(2)
    assert due == []
    deadlines.start("b")
    clock.turn(2)
    assert due == ["b"]


async def test_the_running_loop_is_the_default_clock() -> None:
    due: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    deadlines: Deadlines[str] = Deadlines(0.001, due.set_result)
    deadlines.start("a")
    assert await due == "a"
