"""Events: putting them in, and reading the history."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import structlog
from fastapi import APIRouter, Query, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from doorstream import history
from doorstream.directory import SiteView
from doorstream.events import InvalidEvent, InvalidPosition, Position
from doorstream.ingest import Invalid, LineReport, Receipt, TooMany
from doorstream.log import MAX_BATCH, PositionGone
from doorstream.server.api.access import Access
from doorstream.server.api.parameters import query_time
from doorstream.server.api.problems import Problem
from doorstream.server.services import Services

MAX_BODY = 8_000_000
MAX_TOPICS = 100
"""So many ``topic`` parameters at most."""

_FILTERS = frozenset(
    ("limit", "cursor", "after", "topic", "device", "holder", "from", "to", "recorded_from", "recorded_to")
)
_NDJSON = "application/x-ndjson"
_SEND_MORE = f"send more as {_NDJSON}, line by line"
_UNSUPPORTED_MEDIA_TYPE = 415
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [
                        {"$ref": "#/components/schemas/EventIn"},
                        {"type": "array", "items": {"$ref": "#/components/schemas/EventIn"}, "maxItems": MAX_BATCH},
                    ]
                }
            },
            _NDJSON: {"schema": {"type": "string", "description": "One event as JSON on each line"}},
        },
    }
}

_logger = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode

Topics = Annotated[list[str] | None, Query(max_length=MAX_TOPICS)]


def events_router(services: Services, access: Access) -> APIRouter:
    """The routes below ``/api/sites/{site_id}/events``."""
    router = APIRouter(tags=["events"])
    ingest, index, epoch = services.ingest, services.index, services.log.epoch

    @router.post("/api/sites/{site_id}/events", openapi_extra=_BODY, summary="Put events in")
    async def put(site_id: str, request: Request) -> Response:
        """Keep one event, an array (all or nothing), or NDJSON lines (each for itself); answered once durable.

        An event with an ``id`` that was put in before is a duplicate and keeps its first content and position.
        """
        site = access.site(request, site_id, "events:write")
        _require_uncompressed(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == _NDJSON:
            report = await ingest.put_lines(site_id, site, _until_it_ends(request))
            return _json(_report(report, epoch))
        body = await _bounded_body(request)
        try:
            receipts = await _put_body(services, site_id, site, body)
        except TooMany as error:
            raise Problem("too-large", f"{error}; {_SEND_MORE}") from None
        except InvalidEvent as error:
            raise Problem("invalid-event", str(error)) from None
        except Invalid as invalid:
            faults = [{"index": fault.where, "reason": fault.reason} for fault in invalid.faults]
            raise Problem("invalid-events", str(invalid), errors=faults) from None
        return _json(_receipts(receipts, epoch))

    @router.get("/api/sites/{site_id}/events", summary="Read the history")
    async def read(  # noqa: PLR0913 - one parameter for each filter
        site_id: str,
        request: Request,
        *,
        limit: Annotated[int, Query(ge=1, le=history.MAX_LIMIT)] = 100,
        cursor: str | None = None,
        after: str | None = None,
        topic: Topics = None,
        device: str | None = None,
        holder: str | None = None,
        occurred_from: Annotated[str | None, Query(alias="from")] = None,
        occurred_to: Annotated[str | None, Query(alias="to")] = None,
        recorded_from: str | None = None,
        recorded_to: str | None = None,
    ) -> Response:
        """Events of the site, newest first by position; or with ``after`` those after a position, oldest first.

        ``topic`` may be repeated and end in ``.*``; ``device`` and ``holder`` are ids. ``from`` and ``to`` are about
        ``occurred``, the others about ``recorded``; times are milliseconds since 1970 or RFC 3339. A parameter that
        is none of these is an error, so that a misspelt filter does not show everything.
        """
        _require_known(request, _FILTERS)
        access.site(request, site_id, "events:read")
        ascending = after is not None
        position = _position(cursor if cursor is not None else after)
        start = position.sequence if position is not None else None
        query = history.Query(
            site_id=site_id,
            limit=limit,
            before=start if not ascending else None,
            after=start if ascending else None,
            topics=tuple(topic or ()),
            device_id=device,
            holder_id=holder,
            occurred_from=query_time("from", occurred_from),
            occurred_to=query_time("to", occurred_to),
            recorded_from=query_time("recorded_from", recorded_from),
            recorded_to=query_time("recorded_to", recorded_to),
        )
        await index.current()
        page = await index.query(query)
        if position is not None:
            await _check(services, position, ascending=ascending)
        following = f'"{epoch}.{page.events[-1].sequence}"' if page.more else "null"
        events = b",".join(event.public_json(epoch) for event in page.events)
        return _json(b'{"events":[%b],"next":%b}' % (events, following.encode()))

    return router


async def _put_body(services: Services, site_id: str, site: SiteView, body: bytes) -> list[Receipt]:
    if body.lstrip()[:1] == b"[":
        return (await services.ingest.put_array(site_id, site, body)).receipts
    return [await services.ingest.put(site_id, site, body)]


def _require_uncompressed(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise HTTPException(_UNSUPPORTED_MEDIA_TYPE, "send the events without a Content-Encoding")


async def _until_it_ends(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes. One that is cut off in the middle ends there: the lines that are complete are kept."""
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        _logger.info("a client left in the middle of its lines")


async def _bounded_body(request: Request) -> bytes:
    """The body, unless it is too large: whoever has more than that uses NDJSON."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise Problem("too-large", f"at most {MAX_BODY} bytes in one body; {_SEND_MORE}")
        chunks.append(chunk)
    return b"".join(chunks)


def _position(text: str | None) -> Position | None:
    """The position that was given; raises Problem."""
    try:
        return Position.parse(text) if text is not None else None
    except InvalidPosition as error:
        raise Problem("invalid-parameter", str(error)) from None


async def _check(services: Services, position: Position, *, ascending: bool) -> None:
    """Raise PositionGone when a page that was just read may lack what stood at its position.

    Asked after the reading, because what is kept may change during it. Whoever goes back in time comes to the end of
    what is kept sooner or later, and there misses nothing.
    """
    if ascending:
        await services.log.check(position)
    elif position.epoch != services.log.epoch:
        first, _ = services.kept()
        raise PositionGone(Position(services.log.epoch, first - 1))


def _require_known(request: Request, known: frozenset[str]) -> None:
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        raise Problem("invalid-parameter", f"{unknown[0]}: there is no such parameter; use {', '.join(sorted(known))}")


def _receipts(receipts: list[Receipt], epoch: str) -> dict[str, Any]:
    duplicates = sum(receipt.duplicate for receipt in receipts)
    return {
        "accepted": len(receipts) - duplicates,
        "duplicates": duplicates,
        "positions": [f"{epoch}.{receipt.sequence}" for receipt in receipts],
    }


def _report(report: LineReport, epoch: str) -> dict[str, Any]:
    return {
        "accepted": report.accepted - report.duplicates,
        "duplicates": report.duplicates,
        "first": f"{epoch}.{report.first}" if report.first is not None else None,
        "last": f"{epoch}.{report.last}" if report.last is not None else None,
        "rejected_count": report.rejected_count,
        "rejected": [{"line": fault.where, "reason": fault.reason} for fault in report.rejected],
    }


def _json(content: Any) -> Response:
    return Response(content if isinstance(content, bytes) else _encode(content), media_type="application/json")
