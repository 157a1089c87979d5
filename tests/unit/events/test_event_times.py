"""When something occurred."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstream.events import InvalidEvent
from doorstream.events.draft import decode_draft, parse_time
from doorstream.events.event import iso_utc

TEN = 1_769_853_600_000  # 2026-01-31T10:00:00Z
YEAR_1, YEAR_9999 = -62_135_596_800_000, 253_402_300_799_999


@pytest.mark.parametrize(
    ("occurred", "expected"),
    [
        (TEN, TEN),
        (0, 0),
        (-1, -1),
        (1.0, 1),
        (1.9, 1),
        (1e3, 1000),
        (float(TEN) + 0.5, TEN),
        (YEAR_1, YEAR_1),
        (YEAR_9999, YEAR_9999),
        ("2026-01-31T10:00:00Z", TEN),
        ("2026-01-31t10:00:00z", TEN),
        ("2026-01-31 10:00:00Z", TEN),
        ("2026-01-31T10:00:00.5Z", TEN + 500),
        ("2026-01-31T10:00:00.123456789Z", TEN + 123),
        ("2026-01-31T15:30:00+05:30", TEN),
        ("2026-01-31T00:00:00-10:00", TEN),
        ("2026-01-31T10:00:00-00:00", TEN),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_a_time_becomes_milliseconds(occurred, expected):
    assert parse_time(occurred) == expected


@pytest.mark.parametrize("text", ["2026-01-31T10:00:00", "2026-01-31", "2026-01-31T10:00:00.5"])
def test_a_time_without_a_zone_is_refused_and_the_message_shows_one(text):
    with pytest.raises(InvalidEvent, match=r"zone.*2026-01-31T10:00:00Z"):
        parse_time(text)


@pytest.mark.parametrize(
    "occurred",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        2**53,
        -(2**53),
        10**30,
        1e300,
        YEAR_9999 + 1,
        YEAR_1 - 1,
        "",
        "yesterday",
        "1769853600000",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T10:00:00+25:00",
        "2026-01-31T10:00:00Z; DROP TABLE",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "٢٠٢٦-01-31T10:00:00Z",
    ],
)
def test_what_is_no_time_that_can_be_written_is_refused(occurred):
    """Beyond the years 1 to 9999 an event could be kept, but not written as an RFC 3339 time by the dialects."""
    with pytest.raises(InvalidEvent, match="occurred"):
        parse_time(occurred)


@pytest.mark.parametrize("occurred", ["true", "false", "null", "NaN", "Infinity", "1e999", "[]", "{}", "9" * 5000])
def test_json_that_is_no_time_is_refused(occurred):
    with pytest.raises(InvalidEvent):
        decode_draft(b'{"topic":"x.a","body":{},"occurred":%b}' % occurred.encode())


@given(st.integers(YEAR_1, YEAR_9999))
def test_what_we_write_we_read(milliseconds):
    text = iso_utc(milliseconds)

    assert len(text) == len("2026-01-31T10:00:00.000Z")
    assert parse_time(text) == milliseconds


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31)),  # noqa: DTZ001 - the zone is added
    st.integers(-23 * 60, 23 * 60),
)
def test_a_zone_changes_how_a_moment_is_written_and_not_the_moment(moment, minutes):
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
    elsewhere = moment.astimezone(timezone(timedelta(minutes=minutes)))

    assert parse_time(elsewhere.isoformat()) == parse_time(moment.isoformat())
