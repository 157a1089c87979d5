"""Webhooks of a site: where its events are posted to, and what became of each delivery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal
from uuid import UUID, uuid5

from fastapi import APIRouter, Query, Request, Response
from pydantic import ConfigDict, Field, with_config

from doorstream.auth import Principal
from doorstream.directory import AlreadyExists, Conflict, Directory, NotFound, SiteView
from doorstream.events import InvalidEvent
from doorstream.events.draft import parse_time
from doorstream.events.entities import Webhook
from doorstream.events.event import iso_utc
from doorstream.server.api.access import Access
from doorstream.server.api.bodies import convert, json_response, patched, read_form, read_json, read_patch
from doorstream.server.api.documentation import body_of, patch_of, problems
from doorstream.server.api.lists import Cursor, Limit, NameFilter, listing
from doorstream.server.api.problems import Problem, invalid
from doorstream.server.api.webhook_forms import (
    EnableForm,
    RotationForm,
    SecretView,
    WebhookCreated,
    WebhookForm,
    WebhookView,
    attempt_shown,
    created_shown,
    delivery_shown,
    digest_of,
    fields_of,
    rotated,
    secret_made,
    secrets_of,
    webhook_shown,
)
from doorstream.webhooks import Service, handshake
from doorstream.webhooks.guard import BadUrl
from doorstream.webhooks.questions import Wanted
from doorstream.webhooks.records import State

READ, WRITE = "webhooks:read", "webhooks:write"

_KEY = "idempotency-key"
_MAX_KEY = 255
_SECRETS_AGAIN = 86_400.0  # seconds for which the answer to a repeated creation still has the secrets
_NOT_PATCHED = ("signing", "failures", "failing_since")
_NO_STORE = {"Cache-Control": "no-store"}


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


@dataclass(frozen=True, slots=True)
class _Routes:
    """What the routes stand on."""

    directory: Directory
    access: Access
    webhooks: Service

    def find(self, view: SiteView, webhook_id: str) -> Webhook:
        found = view.webhooks.get(webhook_id)
        if found is None:
            raise NotFound("webhook", webhook_id)
        return found

    def read(self, request: Request, site_id: str, webhook_id: str) -> Webhook:
        principal, view = self.access.caller_at(request, site_id, READ)
        return _at_all_its_sites(principal, READ, self.find(view, webhook_id))

    def write(self, request: Request, site_id: str, webhook_id: str) -> tuple[Principal, Webhook]:
        principal, view = self.access.caller_at(request, site_id, WRITE)
        return principal, _at_all_its_sites(principal, WRITE, self.find(view, webhook_id))

    def judge(self, principal: Principal, form: WebhookForm) -> None:
        """Judge what only can be judged here: the address, and the rights at further sites."""
        try:
            self.webhooks.check_url(form.url)
        except BadUrl as error:
            raise invalid([{"where": "body.url", "what": str(error)}]) from None
        for site_id in form.sites:
            principal.require(WRITE, site_id)

    async def agreement(self, before: Webhook | None, after: Webhook) -> handshake.Agreement | None:
        """What the receiver agrees to; None if it need not be asked. Raises Problem if it does not agree."""
        if not handshake.is_due(before, after):
            return None
        try:
            return await self.webhooks.ask(after)
        except handshake.NotAgreed as error:
            what = f"the receiver did not agree to get events: {error}"
            raise Problem("handshake-refused", what, errors=[{"where": "body.url", "what": str(error)}]) from None


def _at_all_its_sites(principal: Principal, scope: str, webhook: Webhook) -> Webhook:
    """The webhook, if the caller has the scope wherever its events are from; raises NotPermitted."""
    for site_id in webhook.sites:
        principal.require(scope, site_id)
    return webhook


def webhooks_router(directory: Directory, access: Access, webhooks: Service) -> APIRouter:
    """The routes below ``/api/sites/{site_id}/webhooks``."""
    router = APIRouter(prefix="/api/sites/{site_id}/webhooks", tags=["webhooks"])
    routes = _Routes(directory, access, webhooks)
    _add_collection(router, routes)
    _add_single(router, routes)
    _add_actions(router, routes)
    _add_ledger(router, routes)
    return router


def _add_collection(router: APIRouter, routes: _Routes) -> None:
    @router.get("", summary="List the webhooks", responses=problems("not-found", "invalid-parameter"))
    async def get_list(
        site_id: str, request: Request, *, limit: Limit = 100, cursor: Cursor = None, name: NameFilter = None
    ) -> Response:
        principal, view = routes.access.caller_at(request, site_id, READ)

        def show(webhook: Webhook) -> dict[str, Any]:
            """Of one that has sites which the caller may not see only that it is there."""
            if all(principal.may(READ, other) for other in webhook.sites):
                return webhook_shown(webhook)
            return {"id": webhook.id, "site_id": webhook.site_id, "name": webhook.name}

        return listing(view.webhooks, show, limit=limit, cursor=cursor, name=name)

    @router.post(
        "",
        summary="Create a webhook",
        status_code=201,
        response_model=WebhookCreated,
        openapi_extra=body_of(WebhookForm),
        responses=problems("not-found", "key-reused", "handshake-refused", "invalid-request", "log-unavailable"),
    )
    async def create(site_id: str, request: Request) -> Response:
        """It gets every event from here on. The secrets are in this answer and never shown again.

        With an `Idempotency-Key` a repeated request has the same answer and creates nothing. With `handshake` the
        receiver is asked first, and nothing is created unless it agrees.
        """
        principal, view = routes.access.caller_at(request, site_id, WRITE)
        body = await read_json(request)
        form = convert(body, WebhookForm)
        routes.judge(principal, form)
        webhook = Webhook(
            **fields_of(form),
            id=_new_id(routes.directory, request, site_id, principal),
            site_id=site_id,
            created=routes.directory.now(),
            start=await routes.webhooks.here(),
            secrets=secrets_of(form, routes.directory.now()),
            enabled_at=routes.access.clock(),
            request_digest=digest_of(body) if _KEY in request.headers else None,
        )
        if view.webhooks.get(webhook.id) is not None:
            return _repeated(routes, webhook)  # nor is the receiver asked again
        agreed = await routes.agreement(None, webhook)
        if agreed is not None:
            webhook = agreed.capped(webhook)
        try:
            webhook = await routes.directory.create(webhook, principal.actor)
        except AlreadyExists:
            return _repeated(routes, webhook)
        return _created(webhook, created_shown(webhook))


def _new_id(directory: Directory, request: Request, site_id: str, principal: Principal) -> str:
    key = request.headers.get(_KEY)
    if key is None:
        return directory.new_id()
    if not key or len(key) > _MAX_KEY:
        raise Problem("invalid-parameter", f"Idempotency-Key: 1 to {_MAX_KEY} characters")
    return str(uuid5(UUID(site_id), f"{principal.id}\n{key}"))


def _repeated(routes: _Routes, wanted: Webhook) -> Response:
    """The answer that the first request with that key had."""
    view = routes.directory.site(wanted.site_id)
    first = view.webhooks.get(wanted.id) if view is not None else None
    if first is None or first.request_digest != wanted.request_digest:
        raise Problem("key-reused", "this Idempotency-Key was used for another webhook: use a new one")
    is_recent = routes.access.clock() - parse_time(first.created) / 1000 < _SECRETS_AGAIN
    return _created(first, created_shown(first) if is_recent else webhook_shown(first))


def _created(webhook: Webhook, shown: Mapping[str, Any]) -> Response:
    location = f"/api/sites/{webhook.site_id}/webhooks/{webhook.id}"
    return json_response(shown, 201, {"Location": location} | _NO_STORE)


def _add_single(router: APIRouter, routes: _Routes) -> None:
    one = "/{webhook_id}"

    @router.get(one, summary="Read a webhook", response_model=WebhookView, responses=problems("not-found"))
    async def get_one(site_id: str, webhook_id: str, request: Request) -> Response:
        """`failures` and `failing_since` tell of the attempts that failed since the last success."""
        webhook = routes.read(request, site_id, webhook_id)
        health = await routes.webhooks.ledger.health(webhook.id)
        since = health.since if health is not None else None
        failing = {
            "failures": health.failures if health is not None else 0,
            "failing_since": iso_utc(since) if since is not None else None,
        }
        return json_response(webhook_shown(webhook) | failing)

    @router.patch(
        one,
        summary="Change a webhook",
        response_model=WebhookView,
        openapi_extra=patch_of(WebhookForm),
        responses=problems("not-found", "handshake-refused", "invalid-request", "conflict", "log-unavailable"),
    )
    async def change(site_id: str, webhook_id: str, request: Request) -> Response:
        """Change it by a JSON merge patch (RFC 7396). What is under way goes out as it was.

        With `handshake` the receiver is asked before another `url` or a higher `rate` is kept.
        """
        principal, webhook = routes.write(request, site_id, webhook_id)
        patch = await read_patch(request)
        if "signing" in patch and patch["signing"] != webhook_shown(webhook)["signing"]:
            raise invalid([{"where": "body.signing", "what": "POST to …/secrets makes a new secret"}])

        def update(old: Webhook) -> Webhook:
            shown = {name: value for name, value in webhook_shown(old).items() if name not in _NOT_PATCHED}
            form = patched(shown, {name: patch[name] for name in patch if name not in _NOT_PATCHED}, WebhookForm)
            if form.url != old.url or form.sites != old.sites:
                routes.judge(principal, form)
            changed = replace(old, **fields_of(form, old))
            return _enabled(changed, routes.access.clock()) if changed.enabled and not old.enabled else changed

        agreed = await routes.agreement(webhook, update(webhook))

        def settle(old: Webhook) -> Webhook:
            changed = update(old)
            if not handshake.is_due(old, changed):
                return changed
            if agreed is None or agreed.url != changed.url:  # somebody else changed it while the receiver was asked
                raise Conflict
            return agreed.capped(changed)

        changed = await routes.directory.change(webhook, settle, principal.actor)
        return json_response(webhook_shown(changed))

    @router.delete(one, summary="Delete a webhook", status_code=204, responses=problems("not-found", "log-unavailable"))
    async def delete(site_id: str, webhook_id: str, request: Request) -> Response:
        """Delete it; what waits to be sent again is dropped."""
        principal, webhook = routes.write(request, site_id, webhook_id)
        await routes.directory.delete(webhook, principal.actor)
        return Response(status_code=204)


def _enabled(webhook: Webhook, now: float) -> Webhook:
    return replace(webhook, enabled=True, enabled_at=now, disabled_reason=None, disabled_at=None)


def _add_actions(router: APIRouter, routes: _Routes) -> None:
    @router.post("/{webhook_id}/test", summary="Send a test event now", responses=problems("not-found"))
    async def test(site_id: str, webhook_id: str, request: Request) -> Response:
        """The event is in no log; the answer tells how the attempt ended."""
        _, webhook = routes.write(request, site_id, webhook_id)
        tested = await routes.webhooks.test(webhook)
        outcome = tested.outcome
        return json_response(
            {
                "delivered": outcome.delivered,
                "status": outcome.status,
                "error": outcome.error,
                "detail": outcome.detail,
                "duration": round(outcome.duration, 3),
                "answer": outcome.answer.decode(errors="replace"),
                "topic": tested.topic,
                "delivery": tested.delivery,
            }
        )

    @router.post(
        "/{webhook_id}/enable",
        summary="Enable a webhook again",
        response_model=WebhookView,
        responses=problems("not-found", "invalid-request", "log-unavailable"),
    )
    async def enable(site_id: str, webhook_id: str, request: Request) -> Response:
        """It goes on where it stopped, or with `{"start": "now"}` with what happens from now on."""
        principal, webhook = routes.write(request, site_id, webhook_id)
        body = await request.body()
        form = await read_form(request, EnableForm) if body else EnableForm()
        start = await routes.webhooks.here() if form.start == "now" else None
        now = routes.access.clock()

        def update(old: Webhook) -> Webhook:
            return replace(_enabled(old, now), start=start if start is not None else old.start)

        return json_response(webhook_shown(await routes.directory.change(webhook, update, principal.actor)))

    @router.post(
        "/{webhook_id}/secrets",
        summary="Make a new signing secret",
        status_code=201,
        response_model=SecretView,
        responses=problems("not-found", "invalid-request", "log-unavailable"),
    )
    async def rotate(site_id: str, webhook_id: str, request: Request) -> Response:
        """The secrets of that version before it sign beside it for `overlap` seconds. It is never shown again."""
        principal, webhook = routes.write(request, site_id, webhook_id)
        body = await request.body()
        form = await read_form(request, RotationForm) if body else RotationForm()
        version = form.version or ("pdk" if webhook.form == "pdk" else "v1")
        new = secret_made(version, form.secret, routes.directory.now(), where="body.secret")
        now = routes.access.clock()
        await routes.directory.change(
            webhook, lambda old: rotated(old, new, now=now, overlap=max(form.overlap, 0.0)), principal.actor
        )
        shown = new.value if new.public_key is None else None  # the private half is of no use to anybody else
        answer = {"version": new.version, "secret": shown, "public_key": new.public_key}
        return json_response(answer, 201, _NO_STORE)

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


def _add_ledger(router: APIRouter, routes: _Routes) -> None:
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
            since=_query_time(since, "from"),
            until=_query_time(until, "to"),
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

    @router.get(
        "/{webhook_id}/deliveries/{delivery_id}/attempts",
        summary="The attempts of a delivery",
        responses=problems("not-found", "log-unavailable"),
    )
    async def get_attempts(site_id: str, webhook_id: str, delivery_id: str, request: Request) -> Response:
        webhook = routes.read(request, site_id, webhook_id)
        _, attempts = await routes.webhooks.delivery(webhook, delivery_id)
        return json_response({"items": [attempt_shown(attempt) for attempt in attempts]})


def _time(value: str | float | None, where: str) -> int | None:
    if value is None:
        return None
    try:
        return parse_time(value)
    except InvalidEvent:
        raise invalid([{"where": where, "what": "milliseconds since 1970, or an RFC 3339 time"}]) from None


def _query_time(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    try:
        return parse_time(int(text) if text.isdigit() else text.replace(" ", "+"))  # an unescaped + is a space
    except InvalidEvent:
        raise Problem("invalid-parameter", f"{name}: milliseconds since 1970, or an RFC 3339 time") from None


def _place(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isdigit() or len(cursor) > 18:  # noqa: PLR2004 - digits that a database's integer surely holds
        raise Problem("invalid-parameter", "cursor: use the value of `next` of the page before")
    return int(cursor)
