"""The token bucket in one number."""

import pytest

from doorstream.gateway import Rate

RATE = Rate(per_second=200.0, burst=2_000)


def test_an_idle_connection_may_send_a_burst() -> None:
    assert RATE.allowance(0.0, 1000.0) == 2_000


def test_the_burst_is_used_up_and_comes_back_with_time() -> None:
    full_at = RATE.charge(0.0, 1000.0, 2_000)
    assert RATE.allowance(full_at, 1000.0) == 0
    assert RATE.allowance(full_at, 1000.1) == 20
    assert RATE.allowance(full_at, 1010.0) == 2_000
    assert RATE.allowance(full_at, 9999.0) == 2_000


def test_the_wait_is_until_the_next_message() -> None:
    full_at = RATE.charge(0.0, 1000.0, 2_000)
    assert RATE.wait(0.0, 1000.0) == 0
    assert RATE.wait(full_at, 1000.0) == pytest.approx(0.005)
    assert RATE.wait(full_at, 1000.005) == pytest.approx(0)
    assert RATE.wait(full_at, 1000.0, 20) == pytest.approx(0.1)


def test_ten_seconds_at_full_speed_give_the_burst_and_ten_seconds_worth() -> None:
    full_at, now, sent = 0.0, 1000.0, 0
    while now < 1010.0:
        count = RATE.allowance(full_at, now)
        full_at = RATE.charge(full_at, now, count)
        sent += count
        now += 0.01
    assert sent == pytest.approx(2_000 + 2_000, abs=5)
