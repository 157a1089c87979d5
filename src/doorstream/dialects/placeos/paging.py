"""Lists of REST: what is asked for, and the headers that tell what was left out (vendor-apis.md 2.4, facts 1 to 3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from fastapi import Request
from starlette.responses import Response

from doorstream.dialects.placeos.credentials import API_KEY, BEARER_TOKEN
from doorstream.dialects.placeos.errors import bad_parameter

DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000

_WORD = re.compile(r"\w+")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}

_encode = msgspec.json.Encoder().encode

_I = TypeVar("_I")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of a list: what matches ``words``, ``limit`` of it from ``offset`` on."""

    words: Sequence[str]
    limit: int
    offset: int

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        """Read the query; raises RestError. ``*`` is everything; more than the highest limit is the highest."""
        text = query.get("q", "*")
        words = [word.casefold() for word in _WORD.findall(text)] if text.strip() != "*" else []
        limit = min(number(query, "limit", DEFAULT_LIMIT), MAX_LIMIT)
        return cls(words, limit, number(query, "offset", 0))

    def matches(self, *texts: str | None) -> bool:
        """Whether every word that is asked for begins one of the texts' words."""
        if not self.words:
            return True
        known = [word for text in texts if text for word in _WORD.findall(text.casefold())]
        return all(any(each.startswith(word) for each in known) for word in self.words)


def number(query: Mapping[str, str], name: str, default: int) -> int:
    """A parameter that counts; raises RestError."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 9:  # noqa: PLR2004 - far beyond any list
        raise bad_parameter(name, "a whole number, 0 or more")
    return int(text)


def truth(query: Mapping[str, str], name: str) -> bool | None:
    """A parameter that is true or false, None where it is missing; raises RestError."""
    text = query.get(name)
    if text is None:
        return None
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise bad_parameter(name, "true or false")
    return value


def texts(query: Mapping[str, str], name: str) -> list[str]:
    """A parameter with several values, separated by commas."""
    return [text.strip() for text in query.get(name, "").split(",") if text.strip()]


def page(
    kind: str, items: Iterable[_I], show: Callable[[_I], Mapping[str, Any]], wanted: Wanted, request: Request
) -> Response:
    """The wanted part of a list that is filtered already, in the order of names and ids."""
    query, path = request.query_params, request.url.path
    everything = sorted(items, key=_place)
    part = everything[wanted.offset : wanted.offset + wanted.limit]
    behind = wanted.offset + len(part)
    headers = _counted(kind, wanted.offset, behind, len(everything))
    if part and behind < len(everything):
        kept = {name: text for name, text in query.items() if name not in (API_KEY, BEARER_TOKEN)}
        target = urlencode(kept | {"limit": wanted.limit, "offset": behind})
        headers["Link"] = f'<{path}?{target}>; rel="next"'
    return Response(_encode([show(item) for item in part]), headers=headers, media_type="application/json")


def whole(kind: str, shown: Sequence[Mapping[str, Any]]) -> Response:
    """A list without pages."""
    return Response(_encode(shown), headers=_counted(kind, 0, len(shown), len(shown)), media_type="application/json")


def _counted(kind: str, start: int, behind: int, total: int) -> dict[str, str]:
    return {"X-Total-Count": str(total), "Content-Range": f"{kind} {start}-{max(start, behind - 1)}/{total}"}


def _place(item: Any) -> tuple[str, str]:
    return item.name, getattr(item, "id", "")
