"""The paths of the dialect, in the spellings that clients use (PAR-14), and what the OpenAPI document says of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorstream.dialects.parakey.asked import DEFAULT, MOST
from doorstream.dialects.parakey.callers import READ, Callers
from doorstream.dialects.parakey.errors import ParakeyError, not_found
from doorstream.dialects.parakey.event_logs import EventLogs, unavailable
from doorstream.dialects.parakey.grants import Grants
from doorstream.dialects.parakey.lists import ACCESS_KEYS, ACCESSES, DEVICES, DOMAINS, USERS, Kind, Lists
from doorstream.log import LogUnavailable

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
Handler = Callable[[Request], Awaitable[Response]]

_TEXT = {"type": "string"}
_TIME = {"oneOf": [{"type": "string", "format": "date-time"}, {"type": "integer"}]}
_PAGE: dict[str, tuple[Any, str]] = {
    "domainId": (_TEXT, "Only of this domain"),
    "limit": ({"type": "integer", "minimum": 1, "maximum": MOST}, "At most so many; `Link` leads to the next page"),
    "cursor": (_TEXT, "Part of a link to the next page"),
}
_LOGS: dict[str, tuple[Any, str]] = {
    "after": (_TEXT, "Only what came after this event log (its `id`): the cursor that misses nothing"),
    "startDate": (_TIME, "Only with `createdAt` from this time on; ISO 8601 (without zone: UTC) or milliseconds"),
    "endDate": (_TIME, "Only with `createdAt` up to this time"),
    "orderBy": (
        {"type": "string", "pattern": "^(createdAt|timestamp)(:(ASC|DESC))?$"},
        "`createdAt:DESC` unless given; with equal times the id decides, with `after` the order of arrival",
    ),
    **_PAGE,
}
_POLL = f"""An array, newest first: of everything with `startDate` or `after`, else of {DEFAULT} event logs at most.

Send the `ETag` of the answer before as `If-None-Match`: 304 means that there is no new event log."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its paths, the first of which is documented, and who answers."""

    paths: tuple[str, ...]
    summary: str
    endpoint: ASGIApp
    method: str = "GET"
    description: str = ""
    query: dict[str, tuple[Any, str]] | None = None
    is_polled: bool = False


class Guarded:
    """Answers what goes wrong in the vendor's way, and passes everything else on."""

    def __init__(self, endpoint: ASGIApp) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        try:
            await self._endpoint(scope, receive, send)
        except ParakeyError as error:
            await error.response()(scope, receive, send)
        except LogUnavailable as error:
            await unavailable(error).response()(scope, receive, send)


def operations(logs: EventLogs, lists: Lists, grants: Grants, callers: Callers) -> list[Operation]:
    """Everything that the dialect answers."""

    async def batch(request: Request) -> Response:
        callers.sites(callers.of(request.scope["headers"]), READ)
        raise not_found()

    found = [
        Operation(
            ("/eventLogs", "/event-logs"), "Poll the event log", logs, description=_POLL, query=_LOGS, is_polled=True
        ),
        Operation(("/eventLogs/{id:path}", "/event-logs/{id:path}"), "An event log", logs.one),
        Operation(("/access-keys", "/accessKeys"), "Give and take access keys", _asgi(grants.change), "POST"),
        Operation(("/batches/{id:path}",), "A batch: none is kept", _asgi(batch)),
    ]
    for paths, kind in (
        (("/domains",), DOMAINS),
        (("/devices",), DEVICES),
        (("/users",), USERS),
        (("/accesses",), ACCESSES),
        (("/access-keys", "/accessKeys"), ACCESS_KEYS),
    ):
        name = kind.name
        plural = f"{name}es" if name.endswith("s") else f"{name}s"
        found.append(Operation(paths, f"List {plural}", _asgi(_every(lists, kind)), query=_PAGE))
        single = tuple(f"{path}/{{id:path}}" for path in paths)
        article = "An" if name.startswith("a") else "A"
        found.append(Operation(single, f"{article} {name}", _asgi(_one(lists, kind))))
    return found


def add(app: FastAPI, wanted: list[Operation]) -> None:
    """Add the routes, and what the document says of them."""
    for operation in wanted:
        endpoint = Guarded(operation.endpoint)
        routes = [Route(path, endpoint, methods=[operation.method]) for path in operation.paths]
        if operation.is_polled:
            app.router.routes[:0] = routes  # routes are tried in turn, which for the last costs more than all the rest
        else:
            app.router.routes.extend(routes)
    generate = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            paths = generate().setdefault("paths", {})
            for operation in wanted:
                path = operation.paths[0].replace("{id:path}", "{id}")
                paths.setdefault(path, {})[operation.method.lower()] = _described(operation, path)
        return generate()

    app.openapi = document  # type: ignore[method-assign]


def _every(lists: Lists, kind: Kind) -> Handler:
    async def every(request: Request) -> Response:
        return await lists.every(kind, request)

    return every


def _one(lists: Lists, kind: Kind) -> Handler:
    async def one(request: Request) -> Response:
        return await lists.one(kind, request)

    return one


def _asgi(handler: Handler) -> ASGIApp:
    async def endpoint(scope: Any, receive: Any, send: Any) -> None:
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)

    return endpoint


def _described(operation: Operation, path: str) -> dict[str, Any]:
    described: list[dict[str, Any]] = [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": what}
        for name, (schema, what) in (operation.query or {}).items()
    ]
    if "{id}" in path:
        described.append({"name": "id", "in": "path", "required": True, "schema": _TEXT})
    answers = {"200": {"description": "OK"}, "401": {"description": "The token is missing or not valid"}}
    if operation.method == "GET":
        condition = {"name": "If-None-Match", "in": "header", "required": False, "schema": _TEXT}
        described.append(condition)
        answers["304"] = {"description": "Nothing has changed"}
    return {
        "tags": ["parakey"],
        "summary": operation.summary,
        "description": operation.description,
        "operationId": f"parakey {operation.method} {path}".replace("/", "_").replace(" ", "_"),
        "parameters": described,
        "responses": answers,
    }
