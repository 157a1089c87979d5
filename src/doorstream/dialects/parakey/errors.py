"""Errors of Parakey; the vendor documents no shape, so this is the recommended one (vendor-apis.md 3.5)."""

from __future__ import annotations

import msgspec
from starlette.responses import Response


class ParakeyError(Exception):
    """Answered as ``{"error": {"code", "message"}}``. Codes are stable, messages are for people."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}

    def response(self) -> Response:
        """The answer."""
        body = msgspec.json.encode({"error": {"code": self.code, "message": str(self)}})
        return Response(body, self.status, self.headers, "application/json")


def bad_parameter(name: str, what: str) -> ParakeyError:
    """A parameter of the query that cannot be read."""
    return ParakeyError(400, "bad-parameter", f"{name}: {what}")


def unauthenticated() -> ParakeyError:
    """No token, or none of ours (PAR-1)."""
    return ParakeyError(
        401,
        "unauthenticated",
        "the token is missing or not valid: send it as the header access-token",
        {"WWW-Authenticate": 'Bearer realm="doorstream"'},
    )


def not_permitted(scope: str) -> ParakeyError:
    """The token is good for other things."""
    return ParakeyError(403, "forbidden", f"the token lacks the scope {scope}")


def not_found() -> ParakeyError:
    """It does not exist, or not for this token."""
    return ParakeyError(404, "not-found", "there is no such thing in the domains of this token")
