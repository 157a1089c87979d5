"""Calls an ASGI application in the test's own event loop, without sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import Headers


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class AsgiClient:
    """A client with headers of its own, which each call can add to."""

    def __init__(self, app: Any, headers: Mapping[str, str] | None = None) -> None:
        self._app = app
        self._headers = dict(headers or {})

    async def call(
        self, method: str, target: str, *, value: Any = None, body: bytes | None = None, **headers: str
    ) -> Answer:
        """Send ``value`` as JSON or ``body`` as it is; underscores in the names of headers become dashes."""
        given = {name.replace("_", "-"): text for name, text in (self._headers | headers).items()}
        if value is not None:
            body = json.dumps(value).encode()
            given.setdefault("content-type", "application/json")
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), text.encode("latin-1")) for name, text in given.items()],
            "client": ("198.51.100.7", 40000),
            "server": ("doors.example", 443),
            "state": {},
        }
        sent: list[dict[str, Any]] = []
        waiting = [{"type": "http.request", "body": body or b"", "more_body": False}]

        async def receive() -> dict[str, Any]:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        payload = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(sent[0]["status"], Headers(raw=sent[0]["headers"]), payload)

    async def get(self, target: str, **headers: str) -> Answer:
        """GET."""
        return await self.call("GET", target, **headers)

    async def post(self, target: str, value: Any = None, **headers: str) -> Answer:
        """POST a JSON value."""
        return await self.call("POST", target, value=value, **headers)

    async def patch(self, target: str, value: Any, **headers: str) -> Answer:
        """PATCH with a merge patch."""
        return await self.call("PATCH", target, value=value, **headers)

    async def delete(self, target: str, **headers: str) -> Answer:
        """DELETE."""
        return await self.call("DELETE", target, **headers)
