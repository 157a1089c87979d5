"""Webhooks of a site: where its events are posted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid5

from fastapi import APIRouter, Request, Response

from doorstream.auth import Principal
from doorstream.directory import AlreadyExists, Conflict, Directory
from doorstream.events.draft import parse_time
from doorstream.events.entities import Webhook
from doorstream.events.event import iso_utc
from doorstream.server.api.access import Access
from doorstream.server.api.bodies import convert, json_response, patched, read_form, read_json, read_patch
from doorstream.server.api.documentation import body_of, patch_of, problems
from doorstream.server.api.lists import Cursor, Limit, NameFilter, listing
from doorstream.server.api.problems import Problem, invalid
from doorstream.server.api.webhook_deliveries import add_deliveries
from doorstream.server.api.webhook_forms import (
    EnableForm,
    RotationForm,
    SecretView,
    WebhookCreated,
    WebhookForm,
    WebhookView,
    created_shown,
    digest_of,
    fields_of,
    rotated,
    secret_made,
    secrets_of,
    webhook_shown,
)
from doorstream.server.api.webhook_routes import READ, WRITE, WebhookRoutes
from doorstream.webhooks import Service, handshake
from doorstream.webhooks.guard import BadUrl

_KEY = "idempotency-key"
_MAX_KEY = 255
_SECRETS_AGAIN = 86_400.0  # seconds for which the answer to a repeated creation still has the secrets
_NOT_PATCHED = ("signing", "failures", "failing_since")
_NO_STORE = {"Cache-Control": "no-store"}


def webhooks_router(directory: Directory, access: Access, webhooks: Service) -> APIRouter:
    """The routes below ``/api/sites/{site_id}/webhooks``."""
    router = APIRouter(prefix="/api/sites/{site_id}/webhooks", tags=["webhooks"])
    routes = WebhookRoutes(directory, access, webhooks)
    _add_collection(router, routes)
    _add_single(router, routes)
    _add_actions(router, routes)
    add_deliveries(router, routes)
    return router


def _add_collection(router: APIRouter, routes: WebhookRoutes) -> None:
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
        _judge(routes, principal, form)
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
        agreed = await _agreement(routes, None, webhook)
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


def _repeated(routes: WebhookRoutes, wanted: Webhook) -> Response:
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


def _add_single(router: APIRouter, routes: WebhookRoutes) -> None:
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
                _judge(routes, principal, form)
            changed = replace(old, **fields_of(form, old))
            return _enabled(changed, routes.access.clock()) if changed.enabled and not old.enabled else changed

        agreed = await _agreement(routes, webhook, update(webhook))

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


def _add_actions(router: APIRouter, routes: WebhookRoutes) -> None:
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


def _judge(routes: WebhookRoutes, principal: Principal, form: WebhookForm) -> None:
    """Judge what only can be judged here: the address, and the rights at further sites."""
    try:
        routes.webhooks.check_url(form.url)
    except BadUrl as error:
        raise invalid([{"where": "body.url", "what": str(error)}]) from None
    for site_id in form.sites:
        principal.require(WRITE, site_id)


async def _agreement(routes: WebhookRoutes, before: Webhook | None, after: Webhook) -> handshake.Agreement | None:
    """What the receiver agrees to; None if it need not be asked. Raises Problem if it does not agree."""
    if not handshake.is_due(before, after):
        return None
    try:
        return await routes.webhooks.ask(after)
    except handshake.NotAgreed as error:
        what = f"the receiver did not agree to get events: {error}"
        raise Problem("handshake-refused", what, errors=[{"where": "body.url", "what": str(error)}]) from None
