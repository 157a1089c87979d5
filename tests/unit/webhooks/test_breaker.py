"""The circuit breaker."""

from __future__ import annotations

from doorstream.webhooks.breaker import FAILURES, GIVE_UP, SPAN, Breaker, Change


def fail(breaker: Breaker, times: int, *, start: float, apart: float) -> list[Change]:
    """Fail so many times."""
    return [change for n in range(times) if (change := breaker.failed(start + n * apart)) is not None]


def test_ten_failures_over_a_minute_slow_it_down() -> None:
    breaker = Breaker()
    assert fail(breaker, FAILURES, start=0, apart=SPAN / (FAILURES - 1)) == [Change.SLOWED]
    assert breaker.open
    assert breaker.not_before == SPAN + 30


def test_a_burst_of_failures_is_no_reason_yet() -> None:
    """A receiver that restarts fails many times within seconds; it is asked once every two seconds meanwhile."""
    breaker = Breaker()
    assert fail(breaker, 100, start=0, apart=0.01) == []
    assert not breaker.open
    assert 0.99 + 1.9 < breaker.not_before < 0.99 + 2.1


def test_probes_are_further_and_further_apart() -> None:
    breaker = Breaker()
    fail(breaker, FAILURES, start=0, apart=10)
    waits = []
    for _ in range(7):
        now = breaker.not_before
        breaker.failed(now)
        waits.append(breaker.not_before - now)
    assert waits == [60, 120, 240, 480, 600, 600, 600]


def test_a_success_makes_it_whole() -> None:
    breaker = Breaker()
    fail(breaker, FAILURES, start=0, apart=10)
    assert breaker.succeeded() is Change.RECOVERED
    assert (breaker.open, breaker.failures, breaker.since, breaker.not_before) == (False, 0, None, 0.0)
    assert breaker.succeeded() is None


def test_five_days_of_nothing_but_failures_are_the_end() -> None:
    breaker = Breaker()
    fail(breaker, FAILURES, start=0, apart=10)
    assert breaker.failed(GIVE_UP - 1) is None
    assert breaker.failed(GIVE_UP) is Change.GIVEN_UP


def test_it_goes_on_after_a_restart() -> None:
    before = Breaker()
    fail(before, FAILURES, start=1000, apart=10)
    after = Breaker.resumed(FAILURES, 1000, 1090)
    assert (after.open, after.failures, after.since) == (before.open, before.failures, before.since)
    assert not Breaker.resumed(3, 1000, 1090).open
    assert not Breaker.resumed(0, None, None).open


def test_who_fails_is_asked_by_fewer_at_once() -> None:
    breaker = Breaker()
    widths = [breaker.width(10)]
    for n in range(8):
        breaker.failed(n)
        widths.append(breaker.width(10))
    assert widths == [10, 10, 5, 5, 2, 2, 1, 1, 1]
