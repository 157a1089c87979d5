"""Cross-origin access for browsers (design.md D11), as ASGI middleware.

A credential in a header or in the query works from any origin, so any origin is echoed. A cookie must not, and that
is not decided here: whoever reads a credential from a cookie compares the origin himself.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

ALLOWED_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ALLOWED_HEADERS = (
    "Accept",
    "Authorization",
    "CLP-Continuation-Token",
    "CLP-disable-odata-v3-conversion",
    "Content-Type",
    "If-None-Match",
    "Last-Event-ID",
    "X-API-Key",
    "X-Request-ID",
    "X-Requested-With",
    "X-SignalR-User-Agent",
    "access-token",
)
EXPOSED_HEADERS = (
    "Content-Range",
    "ETag",
    "Link",
    "Location",
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-ID",
    "X-Total-Count",
)

_PREFIX = b"access-control-"


class CORS:
    """Lets pages of every origin use the application below: answers preflights, marks answers.

    `credentials` allows requests with cookies; the origin is then echoed, as `*` is not allowed with them. Headers of
    an answer that the application set itself are left alone.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        allowed_headers: Iterable[str] = ALLOWED_HEADERS,
        exposed_headers: Iterable[str] = EXPOSED_HEADERS,
        credentials: bool = True,
        max_age: int = 600,
    ) -> None:
        self._app = app
        self._credentials: list[tuple[bytes, bytes]] = (
            [(b"access-control-allow-credentials", b"true")] if credentials else []
        )
        self._exposed = (b"access-control-expose-headers", ", ".join(exposed_headers).encode("latin-1"))
        self._preflight = [
            (b"access-control-allow-methods", ", ".join(ALLOWED_METHODS).encode("latin-1")),
            (b"access-control-allow-headers", ", ".join(allowed_headers).encode("latin-1")),
            (b"access-control-max-age", str(max_age).encode("ascii")),
            (b"content-length", b"0"),
        ]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        origin = headers.get(b"origin")
        if origin is not None and scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            start = [*self._marks(origin), *self._preflight]
            await send({"type": "http.response.start", "status": 204, "headers": start})
            await send({"type": "http.response.body"})
            return

        async def marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._add(list(message.get("headers", ())), origin)}
            await send(message)

        await self._app(scope, receive, marked)

    def _marks(self, origin: bytes) -> list[tuple[bytes, bytes]]:
        return [(b"access-control-allow-origin", origin), *self._credentials, (b"vary", b"Origin")]

    def _add(self, headers: list[tuple[bytes, bytes]], origin: bytes | None) -> list[tuple[bytes, bytes]]:
        """Mark an answer. `Vary` goes on every one, or a cache would give a page another page's answer."""
        if any(name.lower().startswith(_PREFIX) for name, _ in headers):
            return headers
        if origin is None:
            return [*headers, (b"vary", b"Origin")]
        return [*headers, *self._marks(origin), self._exposed]
