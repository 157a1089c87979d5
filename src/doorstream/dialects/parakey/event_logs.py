"""The event log to poll (seed 002): the list, whose unchanged poll costs no query, and single event logs.

These are plain ASGI endpoints: what FastAPI does around a handler costs more than an unchanged poll.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from doorstream.auth import Principal
from doorstream.dialects.parakey.asked import Wanted, cursor_of, parameters, wanted
from doorstream.dialects.parakey.callers import EVENTS, Callers
from doorstream.dialects.parakey.errors import ParakeyError, not_found
from doorstream.dialects.parakey.etags import CACHING, entity_tag, matches
from doorstream.dialects.parakey.messages import event_log_json
from doorstream.dialects.parakey.totals import Totals
from doorstream.directory import Directory
from doorstream.events import Event
from doorstream.events.entities import Entity
from doorstream.history import Index, LastUnlocks, Order, Page, UnlockQuery
from doorstream.log import LogUnavailable

_PAGE = 1000
_PORTION = 250
"""Event logs that are encoded in one turn of the loop."""

_QUESTIONS = 10_000
_SHORT = 500
_NAMED = ("holder", "device")
_SHOWN = frozenset({"site", *_NAMED})
_CACHING = [(name.lower().encode(), value.encode()) for name, value in CACHING.items()]
_EMPTY = {"type": "http.response.body"}


@dataclass(slots=True)
class _Question:
    """What one caller asks again and again, and what follows from it until something ``changed``."""

    principal: Principal
    wanted: Wanted
    changed: tuple[int, int] = (-1, -1)
    sites: tuple[str, ...] = ()
    tag: bytes = b""


class EventLogs:
    """Answers ``GET /eventLogs``. One for a process: it remembers where the last event log of each site stands."""

    def __init__(self, callers: Callers, directory: Directory, index: Index, epoch: str, base_url: str) -> None:
        """``epoch`` is the log's; ``base_url`` has no slash at its end."""
        self._callers = callers
        self._directory = directory
        self._index = index
        self._epoch = epoch
        self._base_url = base_url
        self._last = LastUnlocks(index)
        self._questions: OrderedDict[tuple[str, bytes], _Question] = OrderedDict()
        self._totals = Totals(index, time.monotonic)
        self._directory_changes = 0
        directory.on_change(self._changed)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request; raises ParakeyError or LogUnavailable."""
        headers = scope["headers"]
        question = self._question(self._callers.of(headers), scope["query_string"])
        await self._last.refresh()
        tag, upto = self._tag(question, scope["query_string"]), self._last.seen
        if matches(tag, [value for name, value in headers if name == b"if-none-match"]):
            await send({"type": "http.response.start", "status": 304, "headers": [(b"etag", tag), *_CACHING]})
            await send(_EMPTY)
            return
        await self._index.patiently(self._index.reached, upto)
        response = await self._response(question, upto, scope)
        response.headers.update(CACHING | {"ETag": tag.decode()})
        await response(scope, receive, send)

    async def one(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer ``GET /eventLogs/{id}``; raises ParakeyError or LogUnavailable."""
        headers = scope["headers"]
        sites = self._callers.sites(self._callers.of(headers), EVENTS)
        await self._index.current()
        event = await self._index.unlock(frozenset(sites), scope["path_params"]["id"])
        json = event_log_json(event, self._directory.site(event.site_id)) if event is not None else None
        if event is None or json is None:
            raise not_found()
        tag = entity_tag(self._epoch, event.sequence, self._revision((event.site_id,)))
        found = matches(tag.encode(), [value for name, value in headers if name == b"if-none-match"])
        answer = CACHING | {"ETag": tag}
        response = Response(None, 304, answer) if found else Response(json, 200, answer, "application/json")
        await response(scope, receive, send)

    def _changed(self, kind: str, _: Entity | None, __: Entity | None) -> None:
        if kind in _SHOWN:
            self._directory_changes += 1

    def _question(self, principal: Principal, query_string: bytes) -> _Question:
        """What this caller asked before, or else read it; raises ParakeyError."""
        key = (principal.id, query_string)
        known = self._questions.get(key)
        if known is not None and known.principal is principal:
            return known
        asked = wanted(parameters(query_string))
        self._callers.sites(principal, EVENTS, asked.domain_id)
        question = _Question(principal, asked)
        if len(query_string) <= _SHORT:
            self._questions[key] = question
            if len(self._questions) > _QUESTIONS:
                self._questions.popitem(last=False)
        return question

    def _tag(self, question: _Question, query_string: bytes) -> bytes:
        """The entity tag: from the last event log of the caller's sites, the query, and what is shown of people."""
        changed = (self._last.changes, self._directory_changes)
        if question.changed != changed:
            sites = self._callers.sites(question.principal, EVENTS, question.wanted.domain_id)
            last = max(map(self._last.of, sites), default=0)
            question.tag = entity_tag(self._epoch, last, self._revision(sites), query_string, *sites).encode()
            question.sites, question.changed = sites, changed
        return question.tag

    def _revision(self, sites: tuple[str, ...]) -> int:
        """A number that grows with each change of what the directory adds to event logs of these sites."""
        revision = self._directory.revision
        return max([revision(kind, site) for site in sites for kind in _NAMED], default=0)

    async def _response(self, question: _Question, upto: int, scope: Any) -> Response:
        query = await self._query(question, upto)
        asked = question.wanted
        if not query.sites:
            return Response(b"[]", 200, {"X-Total-Count": "0"}, "application/json")
        page = await self._index.unlocks(query)
        headers: dict[str, str] = {}
        if asked.most is not None:
            total = await self._total(query, page)
            headers["X-Total-Count"] = str(total)
            if page.more:
                headers["Link"] = self._link(scope, query, page)
            page = Page(page.events, more=False)
        if len(page.events) <= _PORTION and not page.more:
            return Response(b"[%b]" % self._encode(page.events), 200, headers, "application/json")
        return StreamingResponse(self._stream(query, page), 200, headers, "application/json")

    async def _query(self, question: _Question, upto: int) -> UnlockQuery:
        asked = question.wanted
        after = None
        if asked.after is not None and question.sites:
            after = await self._index.place_of(frozenset(question.sites), asked.after)
            if after is None:
                raise ParakeyError(410, "position-gone", "after: this event log is not kept; begin with startDate")
        order: Order = "occurred" if asked.field == "timestamp" else "created" if after is None else "sequence"
        return UnlockQuery(
            sites=question.sites,
            upto=upto,
            limit=asked.most or _PAGE,
            order=order,
            is_descending=asked.is_descending,
            after=after,
            created_from=asked.start,
            created_to=asked.end,
            behind=asked.behind,
        )

    async def _total(self, query: UnlockQuery, page: Page) -> int:
        """How many there are without a limit."""
        if query.behind is None and not page.more:
            return len(page.events)
        return max(len(page.events), await self._totals.of(query))

    def _link(self, scope: Any, query: UnlockQuery, page: Page) -> str:
        others = {name: value for name, value in parameters(scope["query_string"]).items() if name != "cursor"}
        following = urlencode({**others, "cursor": cursor_of(query.key_of(page.events[-1]))})
        return f'<{self._base_url}{scope["path"]}?{following}>; rel="next"'

    async def _stream(self, query: UnlockQuery, page: Page) -> AsyncIterator[bytes]:
        """An array of any length. If it cannot be read to its end the connection breaks: no end is never an end."""
        before = b"["
        while True:
            for at in range(0, len(page.events), _PORTION):
                yield before + self._encode(page.events[at : at + _PORTION])
                before = b","
                await asyncio.sleep(0)
            if not page.more:
                break
            page = await self._index.unlocks(replace(query, behind=query.key_of(page.events[-1])))
        yield b"]"

    def _encode(self, events: list[Event]) -> bytes:
        site = self._directory.site
        return b",".join(filter(None, [event_log_json(event, site(event.site_id)) for event in events]))


def unavailable(error: LogUnavailable) -> ParakeyError:
    """The log or its index does not answer in time."""
    return ParakeyError(503, "unavailable", str(error), {"Retry-After": str(error.retry_after)})
