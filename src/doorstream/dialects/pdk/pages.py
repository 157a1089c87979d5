"""PDK's lists: ``page`` from zero, ``per_page`` up to 100, a bare array, ``X-Total-Count`` and ``Link`` (PDK-16)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from doorstream.dialects.pdk.errors import PdkError
from doorstream.directory import Table

E = TypeVar("E")

_DEFAULT_SIZE = 10
_MOST = 100
_FARTHEST = 10**9

_encode = msgspec.json.Encoder().encode


class Wanted(NamedTuple):
    """Which page of a list: its number from zero, its size, and whether the list runs backwards."""

    page: int
    size: int
    descending: bool

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        """Read it from a query; raises PdkError. A larger size than the vendor gives is cut to it."""
        page = _number(query, "page", 0, least=0)
        size = min(_number(query, "per_page", _DEFAULT_SIZE, least=1), _MOST)
        return cls(page, size, query.get("sort", "asc").lower() == "desc")

    def range(self, total: int) -> tuple[int, int]:
        """The indices of the page in the ascending list."""
        start, stop = self.page * self.size, (self.page + 1) * self.size
        return (max(0, total - stop), max(0, total - start)) if self.descending else (start, stop)


def page_of_table(table: Table[Any], show: Callable[[Any], Any], wanted: Wanted, url: str, query: Any) -> Response:
    """One page of a whole table."""
    total = len(table)
    return _answer(table.slice(*wanted.range(total)), total, show, wanted, _Address(url, query))


def page_of_list(items: list[E], show: Callable[[E], Any], wanted: Wanted, url: str, query: Any) -> Response:
    """One page of a list in ascending order."""
    start, stop = wanted.range(len(items))
    return _answer(items[start:stop], len(items), show, wanted, _Address(url, query))


class _Address(NamedTuple):
    """Where the list is, without its query, and the query it was asked with."""

    url: str
    query: Mapping[str, str]

    def link(self, relation: str, wanted: Wanted, page: int) -> str:
        others = {name: value for name, value in self.query.items() if name not in ("page", "per_page")}
        query = urlencode({"page": page, "per_page": wanted.size, **others})
        return f'<{self.url}?{query}>; rel="{relation}"'


def _answer(items: list[Any], total: int, show: Callable[[Any], Any], wanted: Wanted, at: _Address) -> Response:
    if wanted.descending:
        items.reverse()
    last = max(0, (total - 1) // wanted.size)
    links = [at.link("first", wanted, 0)]
    if wanted.page > 0:
        links.append(at.link("prev", wanted, min(wanted.page - 1, last)))
    if wanted.page < last:
        links.append(at.link("next", wanted, wanted.page + 1))
    links.append(at.link("last", wanted, last))
    headers = {"X-Total-Count": str(total), "Link": ", ".join(links)}
    return Response(_encode([show(item) for item in items]), 200, headers, "application/json")


def _number(query: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    text = query.get(name)
    if text is None or text == "":
        return default
    if not text.isascii() or not text.isdigit() or len(text) > len(str(_FARTHEST)) or int(text) < least:
        raise PdkError(400, f"{name} must be a whole number from {least}")
    return int(text)
