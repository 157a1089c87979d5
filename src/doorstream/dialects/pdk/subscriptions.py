"""PDK's webhook subscriptions (PDK-15; vendor-apis.md 1.3): they are doorstream's webhooks of the form ``pdk``.

An organisation is a site here, and its id is the site's. The secret is in the answer to the creation only.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from doorstream.auth import of_client
from doorstream.dialects.pdk.errors import PdkError
from doorstream.dialects.pdk.rest import Pdk, accounts_host, permitted_site
from doorstream.directory import DirectoryError, SiteView
from doorstream.events.entities import Client, Webhook
from doorstream.log import LogUnavailable, StorageFull
from doorstream.webhooks import Service, make_secret
from doorstream.webhooks.guard import BadUrl

FORM = "pdk"
_ID_BYTES = 12
_MAX_BODY = 100_000
_EVERYTHING = "*"


class _Authentication(msgspec.Struct):
    type: str = "None"
    user: str | None = None
    password: str | None = None


class _Subscription(msgspec.Struct, rename="camel"):
    """What a client sends; other keys are ignored."""

    url: str
    name: str = ""
    scope: str | list[str] = "this"
    authentication: _Authentication | None = None
    events: list[str] = msgspec.field(default_factory=list)
    active: bool = True
    ssl_verification: bool = True
    secrecy_level: int = 0
    expires_at: str | None = None
    secret: str | None = None


_decode = msgspec.json.Decoder(_Subscription).decode
_Work = Callable[[Client, Request], Awaitable[Response]]


def subscriptions_router(pdk: Pdk, webhooks: Service) -> APIRouter:
    """The routes of subscriptions; their bearer is the id token."""
    router = APIRouter(prefix="/api/organizations/{organization_id}/subscriptions", tags=["pdk"])
    host = accounts_host(pdk)
    routes = _Subscriptions(pdk, webhooks)

    def answered(work: _Work) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return await host.answer_async(request, lambda client: _judged(work, client, request))

        return answer

    for method, path, work, summary in (
        ("GET", "", routes.list, "List the webhook subscriptions"),
        ("POST", "", routes.create, "Subscribe a webhook"),
        ("GET", "/{subscription_id}", routes.show, "A webhook subscription"),
        ("DELETE", "/{subscription_id}", routes.delete, "End a webhook subscription"),
    ):
        router.add_api_route(path, answered(work), methods=[method], summary=summary)
    return router


async def _judged(work: _Work, client: Client, request: Request) -> Response:
    try:
        return await work(client, request)
    except DirectoryError as error:
        raise PdkError(400, str(error)) from None
    except (LogUnavailable, StorageFull):
        raise PdkError(503, "not available at the moment: try again") from None


class _Subscriptions:
    """What the routes do."""

    def __init__(self, pdk: Pdk, webhooks: Service) -> None:
        self._pdk = pdk
        self._webhooks = webhooks

    async def list(self, client: Client, request: Request) -> Response:
        found = [each for each in self._view(client, request).webhooks if each.form == FORM]
        return _json([_shown(webhook) for webhook in found])

    async def show(self, client: Client, request: Request) -> Response:
        return _json(_shown(self._find(client, request)))

    async def create(self, client: Client, request: Request) -> Response:
        view = self._view(client, request)
        assert view.site is not None  # noqa: S101 - only sites that exist are found
        wanted = await _wanted(request)
        try:
            self._webhooks.check_url(wanted.url)
        except BadUrl as error:
            raise PdkError(400, f"url: {error}") from None
        directory = self._pdk.directory
        secret = make_secret(FORM, directory.now(), wanted.secret or secrets.token_hex(20))
        webhook = Webhook(
            id=secrets.token_hex(_ID_BYTES),
            site_id=view.site.id,
            created=directory.now(),
            start=await self._webhooks.here(),
            name=wanted.name or "PDK subscription",
            url=wanted.url,
            form=FORM,
            topics=tuple(wanted.events) or (_EVERYTHING,),
            cloud_nodes=tuple(wanted.scope) if isinstance(wanted.scope, list) else (),
            headers=_headers(wanted.authentication),
            verify_tls=wanted.ssl_verification,
            secrecy_level=wanted.secrecy_level,
            expires=wanted.expires_at,
            enabled=wanted.active,
            enabled_at=self._pdk.clock(),
            secrets=(secret,),
            dialect={
                "scope": wanted.scope if isinstance(wanted.scope, str) else None,
                "user": wanted.authentication.user if wanted.authentication is not None else None,
                "userId": client.id,
            },
        )
        created = await directory.create(webhook, of_client(client).actor)
        return _json(_shown(created) | {"secret": secret.value}, 201)

    async def delete(self, client: Client, request: Request) -> Response:
        await self._pdk.directory.delete(self._find(client, request), of_client(client).actor)
        return Response(status_code=204)

    def _view(self, client: Client, request: Request) -> SiteView:
        site = permitted_site(self._pdk, client, request.path_params["organization_id"])
        view = self._pdk.directory.site(site.id)
        assert view is not None  # noqa: S101 - it was found
        return view

    def _find(self, client: Client, request: Request) -> Webhook:
        found = self._view(client, request).webhooks.get(request.path_params["subscription_id"])
        if found is None or found.form != FORM:
            raise PdkError(404, "there is no such subscription")
        return found


async def _wanted(request: Request) -> _Subscription:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise PdkError(413, f"at most {_MAX_BODY} bytes")
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PdkError(400, str(error)) from None


def _headers(authentication: _Authentication | None) -> dict[str, str]:
    if authentication is None or authentication.type == "None":
        return {}
    if authentication.type != "Basic" or authentication.user is None:
        raise PdkError(400, "authentication.type: None, or Basic with user and password")
    credentials = f"{authentication.user}:{authentication.password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(credentials).decode()}"}


def _shown(webhook: Webhook) -> dict[str, Any]:
    """A subscription as the vendor shows it; passwords and secrets are never shown."""
    has_basic = "Authorization" in webhook.headers
    return {
        "id": webhook.id,
        "name": webhook.name,
        "url": webhook.url,
        "scope": list(webhook.cloud_nodes) or webhook.dialect.get("scope") or "this",
        "authentication": {
            "type": "Basic" if has_basic else "None",
            "user": webhook.dialect.get("user") if has_basic else None,
            "password": None,
        },
        "events": [topic for topic in webhook.topics if topic != _EVERYTHING],
        "active": webhook.enabled,
        "sslVerification": webhook.verify_tls,
        "secrecyLevel": webhook.secrecy_level,
        "expiresAt": webhook.expires,
        "userId": webhook.dialect.get("userId"),
        "odometer": 0,
        "secret": None,
    }


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
