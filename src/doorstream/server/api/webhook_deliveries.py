"""The ledger of a webhook: what became of each delivery, and delivering again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import ConfigDict, Field, with_config

from doorstream.events import InvalidEvent
from doorstream.events.draft import parse_time
from doorstream.server.api.bodies import json_response, read_form
from doorstream.server.api.documentation import body_of, problems
from doorstream.server.api.lists import Cursor, Limit
from doorstream.server.api.parameters import query_time
from doorstream.server.api.problems import Problem, invalid
from doorstream.server.api.webhook_forms import attempt_shown, delivery_shown
from doorstream.server.api.webhook_routes import WebhookRoutes
from doorstream.webhooks.questions import Wanted
from doorstream.webhooks.records import State

_PLACE = re.compile(r"[0-9]{1,18}")  # what a database's integer surely holds


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayForm:
    """What is to be delivered again: one delivery, or those that began in a range of time (both ends included).

    ``state`` is ``dead`` for what was given up and not delivered since, or ``all``. ``to_webhook`` is another webhook
    of the site. ``cursor`` goes on where the call before ended.
    """

    delivery: str | None = None
    since: Annotated[str | float | None, Field(alias="from")] = None
    until: Annotated[str | float | None, Field(alias="to")] = None
    state: Literal["dead", "all"] = "dead"
    to_webhook: str | None = None
    cursor: str | None = None


def add_deliveries(router: APIRouter, routes: WebhookRoutes) -> None:
    """The routes below ``/{webhook_id}/deliveries``, and ``/{webhook_id}/replay``."""
    _add_ledger(router, routes)
    _add_replay(router, routes)


def _add_ledger(router: APIRouter, routes: WebhookRoutes) -> None:
    @router.get(
        "/{webhook_id}/deliveries",
        summary="What became of the deliveries",
        responses=problems("not-found", "invalid-parameter", "log-unavailable"),
    )
    async def get_deliveries(  # noqa: PLR0913 - one parameter for each of the query
        site_id: str,
        webhook_id: str,
        request: Request,
        *,
        state: Annotated[Literal["delivered", "waiting", "held", "dead"] | None, Query()] = None,
        event: Annotated[str | None, Query(description="Only those of the event with this id")] = None,
        since: Annotated[str | None, Query(alias="from", description="Begun then or later")] = None,
        until: Annotated[str | None, Query(alias="to", description="Begun then or before")] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Those that began last first. Times are milliseconds since 1970, or RFC 3339."""
        webhook = routes.read(request, site_id, webhook_id)
        wanted = Wanted(
            webhook=webhook.id,
            state=state,
            event=event,
            since=query_time("from", since),
            until=query_time("to", until),
            before=_place(cursor),
        )
        found = await routes.webhooks.deliveries(wanted, limit + 1)
        following = str(found[limit - 1].first) if len(found) > limit else None
        return json_response({"items": [delivery_shown(each) for each in found[:limit]], "next": following})

    @router.get(
        "/{webhook_id}/deliveries/{delivery_id}",
        summary="One delivery and its attempts",
        responses=problems("not-found", "log-unavailable"),
    )
    async def get_delivery(site_id: str, webhook_id: str, delivery_id: str, request: Request) -> Response:
        webhook = routes.read(request, site_id, webhook_id)
        delivery, attempts = await routes.webhooks.delivery(webhook, delivery_id)
        shown = [attempt_shown(attempt) for attempt in attempts]
        return json_response({"delivery": delivery_shown(delivery), "attempts": shown})


def _add_replay(router: APIRouter, routes: WebhookRoutes) -> None:
    @router.post(
        "/{webhook_id}/replay",
        summary="Deliver again",
        status_code=202,
        openapi_extra=body_of(ReplayForm),
        responses=problems("not-found", "invalid-request", "log-unavailable"),
    )
    async def replay(site_id: str, webhook_id: str, request: Request) -> Response:
        """One delivery, or those that began in a range of time, with the message ids that they had."""
        _, webhook = routes.write(request, site_id, webhook_id)
        form = await read_form(request, ReplayForm)
        target = webhook
        if form.to_webhook is not None:
            target = routes.write(request, site_id, form.to_webhook)[1]
        if form.delivery is not None:
            done = await routes.webhooks.replay_one(webhook, target, form.delivery)
        elif form.since is None and form.until is None:
            raise invalid([{"where": "body", "what": "a delivery, or a range: from, to or both"}])
        else:
            done = await routes.webhooks.replay(
                target,
                Wanted(
                    webhook=webhook.id,
                    state=State.DEAD if form.state == "dead" else None,
                    since=_time(form.since, "body.from"),
                    until=_time(form.until, "body.to"),
                    before=_place(form.cursor),
                ),
            )
        return json_response(
            {
                "replay": done.replay,
                "deliveries": done.deliveries,
                "next": None if done.next is None else str(done.next),
            },
            202,
        )


def _time(value: str | float | None, where: str) -> int | None:
    if value is None:
        return None
    try:
        return parse_time(value)
    except InvalidEvent:
        raise invalid([{"where": where, "what": "milliseconds since 1970, or an RFC 3339 time"}]) from None


def _place(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not _PLACE.fullmatch(cursor):
        raise Problem("invalid-parameter", "cursor: use the value of `next` of the page before")
    return int(cursor)
