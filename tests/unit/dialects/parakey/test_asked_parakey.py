"""Reading queries: times in every form, and what is none (PAR-6)."""

from urllib.parse import urlencode

import pytest

from doorstream.dialects.parakey.asked import Place, Wanted, cursor_of, milliseconds, parameters, wanted, wanted_page
from doorstream.dialects.parakey.errors import ParakeyError

AT = 1_769_853_600_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T10:00:00Z", AT),
        ("2026-01-31T10:00:00.000Z", AT),
        ("2026-01-31t10:00:00z", AT),
        ("2026-01-31T10:00:00", AT),
        ("2026-01-31 10:00:00", AT),
        ("2026-01-31T10:00", AT),
        ("2026-01-31T11:00:00+01:00", AT),
        ("2026-01-31T11:00:00 01:00", AT),  # a plus sign that was not escaped
        ("2026-01-31T00:30:00-09:30", AT),
        ("20260131T100000Z", AT),
        ("1769853600000", AT),
        ("2026-01-31", AT - 36_000_000),
        ("2026-01-31T10:00:00.7Z", AT + 700),
        ("Sat Jan 31 2026 10:00:00 GMT+0000 (Coordinated Universal Time)", AT),
        ("Sat Jan 31 2026 11:00:00 GMT 0100 (Central European Standard Time)", AT),
        ("Sat Jan 31 2026 00:30:00 GMT-0930", AT),
        ("Sat, 31 Jan 2026 10:00:00 GMT", AT),
        ("20260131", AT - 36_000_000),  # was a morning of 1970
        ("2026", 2026),  # as any number
        ("-20260131", -20260131),
        ("-1", -1),
        ("0", 0),
    ],
)
def test_times(text, expected):
    assert milliseconds("startDate", text, up=True) == milliseconds("endDate", text, up=False) == expected


def test_what_is_finer_than_a_millisecond_is_never_widened():
    text = "2026-01-31T10:00:00.000001Z"
    assert milliseconds("startDate", text, up=True) == AT + 1
    assert milliseconds("endDate", text, up=False) == AT


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "Z",
        "-",
        "+1",
        "",
        " ",
        "NaN",
        "undefined",
        "10:00",
        "2026-01-",
        "2026-13-01",
        "20261301",
        "31/01/2026",
        "2026-02-30T10:00:00Z",
        "2026-01-31T10:00:00+99:00",
        "Sat Jan 99 2026 10:00:00 GMT+0000",
        "1769853600000.5",
        "٢٠٢٦",
        "9999999999999999",
    ],
)
def test_what_is_no_time(text):
    with pytest.raises(ParakeyError) as raised:
        milliseconds("startDate", text, up=True)
    assert raised.value.status == 400


def test_defaults():
    assert wanted({}) == Wanted(None, None, None, "createdAt", True, None, None, None)
    assert wanted({}).most == 1000
    assert wanted({"limit": "5"}).most == 5
    assert wanted({"startDate": "0"}).most is None
    assert wanted({"after": "a"}).most is None
    assert wanted({"endDate": "0"}).most == 1000
    assert wanted({"after": "a", "limit": "10000"}).most == 10_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("createdAt:DESC", ("createdAt", True)),
        ("createdAt:asc", ("createdAt", False)),
        ("createdAt", ("createdAt", False)),
        ("timestamp:Desc", ("timestamp", True)),
    ],
)
def test_orders(text, expected):
    asked = wanted({"orderBy": text})
    assert (asked.field, asked.is_descending) == expected


def test_cursors_come_back():
    for key in ((0, ""), (AT, "an id / with ünicode"), (-5, "0")):
        assert wanted({"cursor": cursor_of(key)}).behind == key
    place = Place("site", "ünicode" * 200, "an id", "a group")
    given = parameters(urlencode({"cursor": cursor_of(place)}).encode())
    assert wanted_page(given).behind == place
    for read, other in ((wanted, place), (wanted_page, (0, "x"))):
        with pytest.raises(ParakeyError):
            read({"cursor": cursor_of(other)})


def test_parameters():
    assert parameters(b"limit=1&x=2&x=3&startDate=2026-01-31T10%3A00%3A00%2B01%3A00") == {
        "limit": "1",
        "startDate": "2026-01-31T10:00:00+01:00",
    }
    for query in ("limit=1&limit=2", "limit", "limit=", urlencode({"after": "a" * 300}), "&".join(["y=1"] * 101)):
        with pytest.raises(ParakeyError):
            parameters(query.encode())
