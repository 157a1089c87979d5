"""Signing in to the dashboard: an API key or a one-time code becomes a cookie (design D11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, with_config

from doorstream.auth import COOKIE_PATH, SESSION_TTL, Auth, InvalidCredentials, Principal
from doorstream.server.api.access import Access
from doorstream.server.api.bodies import json_response, read_form
from doorstream.server.api.documentation import body_of, problems
from doorstream.server.api.problems import invalid

_NO_STORE = {"Cache-Control": "no-store"}


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True, kw_only=True)
class SessionForm:
    """What a session begins with: an API key, or the code of a one-time link. One of the two."""

    api_key: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """Who somebody is, and what they may do where. ``expires_at`` (unix seconds) is null for who calls with a key."""

    id: str
    name: str
    kind: str
    scopes: list[str]
    sites: str | list[str]
    expires_at: float | None


def session_router(auth: Auth, access: Access) -> APIRouter:
    """``/api/session``."""
    router = APIRouter(prefix="/api/session", tags=["session"])

    @router.post(
        "",
        summary="Sign in",
        response_model=SessionView,
        openapi_extra=body_of(SessionForm),
        responses=problems("invalid-request", "log-unavailable"),
    )
    async def begin(request: Request) -> Response:
        """Begin a session of 12 hours with an API key or a one-time code, which is used up.

        The answer sets a cookie that scripts cannot read. It counts for requests of the dashboard's own origin with
        the header ``X-Requested-With: doorstream``, as does this one.
        """
        auth.sessions.check_origin(request.headers)
        form = await read_form(request, SessionForm)
        principal = await _judge(auth, form, access.clock())
        cookie, expires_at = auth.sessions.issue(principal, access.clock())
        response = json_response(_shown(principal, expires_at), headers=_NO_STORE)
        _set_cookie(response, auth, cookie, round(SESSION_TTL))
        return response

    @router.get("", summary="Read who you are", response_model=SessionView, responses=problems())
    async def read(request: Request) -> Response:
        """Whoever calls, by a key or by the dashboard's session."""
        return json_response(_shown(*access.signed(request)), headers=_NO_STORE)

    @router.delete("", summary="Sign out", status_code=204)
    async def end(request: Request) -> Response:
        """Have the browser forget the session."""
        auth.sessions.check_origin(request.headers)
        response = Response(status_code=204)
        _set_cookie(response, auth, "", 0)
        return response

    return router


async def _judge(auth: Auth, form: SessionForm, now: float) -> Principal:
    """Who signs in; raises Problem, InvalidCredentials or LogUnavailable."""
    if form.api_key is not None and form.code is None:
        return auth.by_api_key(form.api_key.strip())
    if form.code is None or form.api_key is not None:
        raise invalid([{"where": "body", "what": "either api_key or code"}])
    principal = auth.client(await auth.codes.redeem(form.code, now))
    if principal is None:
        raise InvalidCredentials
    return principal


def _shown(principal: Principal, expires_at: float | None) -> dict[str, Any]:
    return {
        "id": principal.id,
        "name": principal.name,
        "kind": principal.kind,
        "scopes": sorted(principal.scopes),
        "sites": "all" if principal.sites is None else sorted(principal.sites),
        "expires_at": expires_at,
    }


def _set_cookie(response: Response, auth: Auth, value: str, max_age: int) -> None:
    sessions = auth.sessions
    response.set_cookie(
        sessions.cookie,
        value,
        max_age=max_age,
        path=COOKIE_PATH,
        secure=sessions.is_secure,
        httponly=True,
        samesite="strict",
    )
