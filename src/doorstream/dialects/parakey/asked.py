"""Reading what a list was asked for. A parameter may be given once; unknown ones are ignored, as new ones may come."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple, TypeVar, get_args
from urllib.parse import parse_qsl

import msgspec

from doorstream.dialects.parakey.errors import ParakeyError, bad_parameter
from doorstream.history import Key

MOST = 10_000
"""Items of one answer, where a limit is given."""

DEFAULT = 1000
"""Items of an answer that nothing else bounds: without ``limit``, ``startDate`` and ``after``."""

Field = Literal["createdAt", "timestamp"]

_MOST_PARAMETERS = 100
_MOST_TEXT = 256
_MOST_CURSOR = 8192  # which we make ourselves, of names as long as people like
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_BASIC_DATE = re.compile(r"[0-9]{8}")  # of ISO 8601, as 20260131: in milliseconds it would be a morning of 1970
_DIGITS = re.compile(r"-?[0-9]{1,15}")
_LOST_PLUS = re.compile(r"(?<=\d) (?=\d\d:?\d\d$)")  # a plus sign that nobody escaped is read as a space
_OF_JAVASCRIPT = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d\d) (\d{4}) (\d\d:\d\d:\d\d) GMT([ +-]\d{4})( \(.*\))?")
_KNOWN = frozenset(("limit", "startDate", "endDate", "orderBy", "after", "domainId", "cursor"))

_encode = msgspec.json.Encoder().encode
_T = TypeVar("_T")


class Place(NamedTuple):
    """Where an item of a list stands: its site, name and id; of an access key, the person's and its group.

    It stays a place when the item goes.
    """

    site: str
    name: str
    id: str
    group: str


_decode_key = msgspec.json.Decoder(tuple[int, str]).decode
_decode_place = msgspec.json.Decoder(Place).decode


class Wanted(NamedTuple):
    """A query as it was asked.

    ``start`` and ``end`` are milliseconds since 1970, both included; ``after`` is an event log's id; ``behind`` is
    where the page before ended.
    """

    limit: int | None = None
    start: int | None = None
    end: int | None = None
    field: Field = "createdAt"
    is_descending: bool = True
    after: str | None = None
    domain_id: str | None = None
    behind: Key | None = None

    @property
    def most(self) -> int | None:
        """How many items the answer has at most; None where nothing may be cut (D7)."""
        if self.limit is None and self.start is None and self.after is None:
            return DEFAULT
        return self.limit


def parameters(query_string: bytes) -> dict[str, str]:
    """The known parameters of a query; raises ParakeyError."""
    try:
        pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise ParakeyError(400, "bad-parameter", f"at most {_MOST_PARAMETERS} parameters") from None
    found: dict[str, str] = {}
    for name, text in pairs:
        if name not in _KNOWN:
            continue
        if name in found:
            raise bad_parameter(name, "given more than once")
        most = _MOST_CURSOR if name == "cursor" else _MOST_TEXT
        if not text or len(text) > most:
            raise bad_parameter(name, f"1 to {most} characters")
        found[name] = text
    return found


def wanted(given: Mapping[str, str]) -> Wanted:
    """Read the parameters of the list of event logs; raises ParakeyError."""
    field, is_descending = _order(given.get("orderBy"))
    return Wanted(
        limit=_limit(given.get("limit")),
        start=milliseconds("startDate", given.get("startDate"), up=True),
        end=milliseconds("endDate", given.get("endDate"), up=False),
        field=field,
        is_descending=is_descending,
        after=given.get("after"),
        domain_id=given.get("domainId"),
        behind=_read_cursor(given.get("cursor"), _decode_key),
    )


class WantedPage(NamedTuple):
    """What another list was asked for: ``behind`` is where the page before ended."""

    limit: int
    domain_id: str | None
    behind: Place | None


def wanted_page(given: Mapping[str, str]) -> WantedPage:
    """Read the parameters of a list of anything else; raises ParakeyError."""
    behind = _read_cursor(given.get("cursor"), _decode_place)
    return WantedPage(_limit(given.get("limit")) or DEFAULT, given.get("domainId"), behind)


def cursor_of(key: Key | Place) -> str:
    """The value of ``cursor`` for the page behind an item."""
    return base64.urlsafe_b64encode(_encode(key)).rstrip(b"=").decode()


def milliseconds(name: str, text: str | None, *, up: bool) -> int | None:
    """A time in milliseconds since 1970 (PAR-6); without a zone it is UTC. What is finer is rounded ``up`` or down.

    Read are ISO 8601 (eight digits are a date), milliseconds since 1970, and what JavaScript makes of a date where a
    text is wanted (the seed's ``new Date()`` put into a query as it is).
    """
    if text is None:
        return None
    if _DIGITS.fullmatch(text) and not _BASIC_DATE.fullmatch(text):
        return int(text)
    moment = _moment(text)
    if moment is None:
        raise bad_parameter(name, "a time such as 2026-01-31T10:00:00.000Z")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    return -(-since // _MILLISECOND) if up else since // _MILLISECOND


def _moment(text: str) -> datetime | None:
    for read in (_from_iso, _from_javascript, parsedate_to_datetime):
        try:
            moment = read(text)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
        if moment is not None:
            return moment
    return None


def _from_iso(text: str) -> datetime:
    return datetime.fromisoformat(_LOST_PLUS.sub("+", text.upper()))


def _from_javascript(text: str) -> datetime | None:
    found = _OF_JAVASCRIPT.fullmatch(text)
    if found is None:
        return None
    month, day, year, clock, zone = found.group(1, 2, 3, 4, 5)
    return datetime.strptime(f"{month} {day} {year} {clock} {zone.replace(' ', '+')}", "%b %d %Y %H:%M:%S %z")


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= len(str(MOST)) and 1 <= int(text) <= MOST:
        return int(text)
    raise bad_parameter("limit", f"a whole number from 1 to {MOST}")


def _order(text: str | None) -> tuple[Field, bool]:
    if text is None:
        return "createdAt", True
    name, colon, direction = text.partition(":")
    for field in get_args(Field):
        if name == field and direction.upper() in (("ASC", "DESC") if colon else ("",)):
            return field, direction.upper() == "DESC"
    raise bad_parameter("orderBy", "createdAt or timestamp, then :DESC or :ASC")


def _read_cursor(text: str | None, decode: Callable[[bytes], _T]) -> _T | None:
    if text is None:
        return None
    try:
        return decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise bad_parameter("cursor", "use the link to the next page as it is") from None
