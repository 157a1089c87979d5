"""Reading what lists were asked for: OData's ``$top``, ``$skip``, ``$orderby`` and the date form of ``$filter``.

vendor-apis.md 4.5, facts 2 to 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from doorstream.dialects.salto.errors import BAD_FILTER, SaltoError

MOST = 1000
"""Items of one page."""

DEFAULT = 100
_MAX_DIGITS = 9

_ORDER = re.compile(r"(utc_date_time|local_date_time)(?:\s+(asc|desc))?", re.IGNORECASE)
_CONDITION = re.compile(
    r"\(?\s*(?:utc_date_time)\s+(ge|gt|le|lt|eq)\s+(?:DateTime)?'([^']{1,40})'\s*\)?", re.IGNORECASE
)
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)


class Continuation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Behind which entry the next page begins: when it ``occurred`` (ms) and its ``sequence``."""

    occurred: int
    sequence: int

    def encode(self) -> str:
        """As clients bring it back, in the header ``CLP-Continuation-Token``."""
        return msgspec.json.encode(self).decode()


class Span(NamedTuple):
    """Times in milliseconds since 1970, both ends included; None is open."""

    first: int | None = None
    last: int | None = None


def top(query: Mapping[str, str]) -> int:
    """How many items are wanted; more than a page holds are cut."""
    return min(_number(query, "$top", DEFAULT, least=1), MOST)


def skip(query: Mapping[str, str]) -> int:
    """How many items are left out."""
    return _number(query, "$skip", 0, least=0)


def is_descending(query: Mapping[str, str]) -> bool:
    """Whether the newest come first, which is the default; ascending is what OData means by no direction."""
    text = query.get("$orderby")
    if not text:
        return True
    match = _ORDER.fullmatch(text.strip())
    if match is None:
        raise SaltoError(400, "$orderby must be utc_date_time or local_date_time, with asc or desc", BAD_FILTER)
    return (match[2] or "asc").lower() == "desc"


def span(query: Mapping[str, str]) -> Span:
    """The time of ``$filter``: ``utc_date_time ge DateTime'2026-01-31T10:00:00Z'``, several of them with ``and``."""
    text = (query.get("$filter") or "").strip()
    first: list[int] = []
    last: list[int] = []
    for condition in _AND.split(text) if text else ():
        match = _CONDITION.fullmatch(condition.strip())
        if match is None:
            raise SaltoError(400, "$filter must be like utc_date_time ge DateTime'2026-01-31T10:00:00Z'", BAD_FILTER)
        moment, comparison = _milliseconds(match[2]), match[1].lower()
        if comparison in ("ge", "gt", "eq"):
            first.append(moment + (comparison == "gt"))
        if comparison in ("le", "lt", "eq"):
            last.append(moment - (comparison == "lt"))
    return Span(max(first, default=None), min(last, default=None))


def continuation(text: str | None) -> tuple[int, int] | None:
    """Read what a client brings back, as ``history.ByTime`` wants it; raises SaltoError."""
    if not text:
        return None
    try:
        behind = msgspec.json.decode(text, type=Continuation)
    except msgspec.DecodeError:
        raise SaltoError(400, "the continuation token is not one of ours") from None
    return behind.occurred, behind.sequence


def _milliseconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SaltoError(400, "a time must be like 2026-01-31T10:00:00Z", BAD_FILTER) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def _number(query: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    text = query.get(name)
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS or int(text) < least:
        raise SaltoError(400, f"{name} must be a whole number from {least}")
    return int(text)
