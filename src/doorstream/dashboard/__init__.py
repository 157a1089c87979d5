"""The dashboard: a page of static files, built from ``ui/`` in the repository and kept in this package.

It has no rights of its own: it uses the routes that everybody can use. What is special is only how it is served: with a
content security policy that lets nothing run or load but these files, and caching by content.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

STATIC: Final = Path(__file__).parent / "static"

_POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "manifest-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
CONTENT_SECURITY_POLICY: Final = "; ".join(f"{name} {value}" for name, value in _POLICY.items())
"""What the browser lets the page do: load and run these files, and talk with this server."""

_SECURITY: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"  # the name of such a file has the hash of its content
_ASK_AGAIN: Final = "no-cache"
_WORTH_PACKING: Final = 1000
_TEXTS: Final = ("text/", "application/json", "image/svg")


@dataclass(frozen=True, slots=True)
class File:
    """One file, ready to be sent."""

    content: bytes
    packed: bytes | None
    media_type: str
    etag: str
    cache_control: str

    @classmethod
    def read(cls, path: Path, *, hashed: bool) -> File:
        """Read it; ``hashed`` tells that its name changes with its content."""
        content = path.read_bytes()
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if path.suffix == ".js":
            media_type = "text/javascript"  # what a system's own table says of it differs
        is_text = media_type.startswith(_TEXTS)
        packed = gzip.compress(content, 9, mtime=0) if is_text and len(content) >= _WORTH_PACKING else None
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        if is_text:
            media_type += "; charset=utf-8"
        return cls(content, packed, media_type, etag, _FOR_EVER if hashed else _ASK_AGAIN)

    def answer(self, request: Request) -> Response:
        """Send it, or say that the browser has it already (RFC 9110, 13.1.2)."""
        headers = {**_SECURITY, "Cache-Control": self.cache_control, "ETag": self.etag}
        if self.packed is not None:
            headers["Vary"] = "Accept-Encoding"
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if self.etag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        content = self.content
        if self.packed is not None and _takes_gzip(request):
            headers["Content-Encoding"] = "gzip"
            content = self.packed
        return Response(content, headers=headers, media_type=self.media_type)


def dashboard_routes(static: Path = STATIC) -> list[Route]:
    """``/`` and what it refers to. Everything is read now and kept in memory: it is a few hundred kilobytes."""
    routes = []
    for path in sorted(static.rglob("*")):
        if path.is_file():
            name = path.relative_to(static).as_posix()
            file = File.read(path, hashed=name.startswith("assets/"))
            address = "/" if name == "index.html" else f"/{name}"
            routes.append(Route(address, _serving(file), methods=["GET"], include_in_schema=False))
    return routes


def _serving(file: File) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        return file.answer(request)

    return serve


def _takes_gzip(request: Request) -> bool:
    for choice in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, quality = choice.partition(";")
        if name.strip() in ("gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
