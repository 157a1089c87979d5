"""When a failed delivery is tried again."""

from __future__ import annotations

import itertools

import pytest

from doorstream.events.entities import Webhook
from doorstream.webhooks.records import State
from doorstream.webhooks.schedule import PARAKEY, STANDARD, judge, waits_of
from doorstream.webhooks.sender import Outcome

FAILED = Outcome(500, None, 0.1)


def webhook(**fields: object) -> Webhook:
    """A webhook with these values."""
    values = {"id": "w", "site_id": "s", "created": "c", "start": "e.0", "name": "n", "url": "https://a.example"}
    return Webhook(**values | fields)  # type: ignore[arg-type]


def test_par_11_five_retries_within_twenty_minutes() -> None:
    """15 s, 1, 3, 8 and 20 minutes after the first failure, each by 10 % at most (seed 002; design D6)."""
    assert list(itertools.accumulate(PARAKEY)) == [15, 60, 180, 480, 1200]
    for chance in (0.0, 0.5, 1.0):
        now = 0.0
        for number, nominal in enumerate((15, 60, 180, 480, 1200), 1):
            verdict = judge(FAILED, number, PARAKEY, now=now, chance=chance)
            assert verdict.state is State.WAITING
            assert verdict.next is not None
            now = verdict.next
            assert nominal * 0.9 - 1e-6 <= now <= nominal * 1.1 + 1e-6
        assert judge(FAILED, 6, PARAKEY, now=now, chance=chance).state is State.DEAD


def test_the_standard_schedule_has_ten_attempts_over_75_hours() -> None:
    assert len(STANDARD) + 1 == 10
    assert 75 * 3600 < sum(STANDARD) < 76 * 3600


def test_which_schedule_a_webhook_has() -> None:
    assert waits_of(webhook(form="parakey")) == PARAKEY
    assert waits_of(webhook(form="pdk")) == STANDARD
    assert waits_of(webhook(form="parakey", retry=(1.0,))) == (1.0,)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_2xx_is_success(status: int) -> None:
    assert judge(Outcome(status, None, 0.1), 1, STANDARD, now=0, chance=0).state is State.DELIVERED


@pytest.mark.parametrize(
    "outcome",
    [Outcome(301, "redirect", 0.1), Outcome(400, None, 0.1), Outcome(200, "timeout", 15.0), Outcome(None, "dns", 0.0)],
)
def test_everything_else_is_a_failure(outcome: Outcome) -> None:
    assert judge(outcome, 1, STANDARD, now=0, chance=0.5).next == 5.0


@pytest.mark.parametrize("status", [410, 500, 503])
def test_what_an_address_says_that_was_left_meanwhile_counts_for_nothing(status: int) -> None:
    verdict = judge(Outcome(status, None, 0.1, b"", 900.0), 10, STANDARD, now=1000.0, chance=0.5, moved=True)
    assert (verdict.state, verdict.next, verdict.spared, verdict.gone) == (State.WAITING, 1030.0, True, False)
    assert verdict.pause is None


def test_410_ends_it() -> None:
    verdict = judge(Outcome(410, None, 0.1), 1, STANDARD, now=0, chance=0)
    assert (verdict.state, verdict.gone, verdict.next) == (State.DEAD, True, None)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_and_slows_the_whole_webhook(status: int) -> None:
    verdict = judge(Outcome(status, None, 0.1, b"", 120.0), 1, STANDARD, now=1000.0, chance=0.5)
    assert (verdict.next, verdict.pause) == (1120.0, 1120.0)


def test_retry_after_never_shortens_a_wait() -> None:
    verdict = judge(Outcome(503, None, 0.1, b"", 1.0), 2, STANDARD, now=1000.0, chance=0.5)
    assert (verdict.next, verdict.pause) == (1300.0, 1001.0)


def test_retry_after_counts_for_429_and_503_only_and_for_a_day_at_most() -> None:
    assert judge(Outcome(500, None, 0.1, b"", 9.0), 1, STANDARD, now=0.0, chance=0.5).pause is None
    assert judge(Outcome(429, None, 0.1, b"", 1e9), 1, STANDARD, now=0.0, chance=0.5).pause == 86_400.0


def test_what_is_our_own_fault_does_not_count() -> None:
    """S7: a broken proxy, or a machine without descriptors, says nothing of the receiver."""
    verdict = judge(Outcome(None, "local", 0.0), 99, STANDARD, now=0.0, chance=0.5)
    assert (verdict.state, verdict.spared) == (State.WAITING, True)
