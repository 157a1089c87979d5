"""The documents as they are served: ``/openapi.json`` at ``/docs``, ``/asyncapi.json`` at ``/docs/streams``.

Nothing of them comes from elsewhere: the pages load files of this server only, and their policy lets them load nothing
else. The helpers are for routes that read their bodies themselves, and for the problems that they answer with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Response
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import BaseRoute, Route

from doorstream.server.api.bodies import json_response, schema_of
from doorstream.server.api.problems import CODES
from doorstream.server.documents.asyncapi import asyncapi_document
from doorstream.server.documents.openapi import complete, problem_response
from doorstream.server.documents.pages import STREAMS_POLICY, rest_page, rest_policy, streams_page

OPENAPI = "/openapi.json"
ASYNCAPI = "/asyncapi.json"
REST_PAGE = "/docs"
STREAMS_PAGE = "/docs/streams"

_ALWAYS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}


def describe(app: FastAPI) -> None:
    """Serve both documents and their pages. To be called when all routes are there."""
    generate: Callable[[], dict[str, Any]] = app.openapi
    made: list[dict[str, Any]] = []

    def document() -> dict[str, Any]:
        if not made:
            made.append(complete(generate()))
        return made[0]

    app.openapi = document  # type: ignore[method-assign]
    streams = asyncapi_document(app.version)
    page = streams_page(streams)

    async def show_streams(_: Request) -> Response:
        return HTMLResponse(page, headers=_ALWAYS | {"Content-Security-Policy": STREAMS_POLICY})

    async def show_rest(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        html = rest_page(root + OPENAPI, f"{root}/docs/static")
        return HTMLResponse(html, headers=_ALWAYS | {"Content-Security-Policy": rest_policy(html)})

    async def asyncapi(_: Request) -> Response:
        return json_response(streams)

    # Before the page of the framework's own, which has no policy.
    routes: list[BaseRoute] = [
        Route(ASYNCAPI, asyncapi, include_in_schema=False),
        Route(STREAMS_PAGE, show_streams, include_in_schema=False),
        Route(REST_PAGE, show_rest, include_in_schema=False),
    ]
    app.router.routes[:] = [*(route for route in app.router.routes if not _is_page(route)), *routes]


def _is_page(route: BaseRoute) -> bool:
    """Whether it is the framework's page of the document, or the end of a sign-in that no scheme here needs."""
    return getattr(route, "path", None) in (REST_PAGE, f"{REST_PAGE}/oauth2-redirect")


def body_of(form: type[Any]) -> dict[str, Any]:
    """A JSON body of that form."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema_of(form)}}}}


def patch_of(form: type[Any]) -> dict[str, Any]:
    """A merge patch of that form: each member may be left out."""
    schema = {key: value for key, value in schema_of(form).items() if key != "required"}
    return {"requestBody": {"required": True, "content": {"application/merge-patch+json": {"schema": schema}}}}


def problems(*slugs: str) -> dict[int | str, dict[str, Any]]:
    """The problems that a route of ours can answer with, beside those that every route can."""
    by_status: dict[int, list[str]] = {}
    for slug in ("unauthenticated", "forbidden", *slugs):
        by_status.setdefault(CODES[slug].status, []).append(slug)
    return {status: problem_response(*found) for status, found in by_status.items()}
