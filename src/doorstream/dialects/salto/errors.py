"""Errors of Salto KS, in the vendor's shape (vendor-apis.md 4.5, facts 9 and 10)."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from doorstream.gateway import Refusal

CODES = {400: 1100, 401: 1500, 403: 2203}
"""The code that belongs to a status, where nothing more is known."""

BAD_FILTER = 1102
OTHER = 2201


class SaltoError(Exception):
    """Answered as ``{"ErrorCode", "Message"}``. Without ``code`` the one that belongs to the status."""

    def __init__(self, status: int, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def response(self) -> Response:
        """The answer."""
        return Response(_body(self.status, str(self), self.code), self.status, _headers(self.status))


def refusal(status: int, message: str) -> Refusal:
    """The same for an upgrade or a negotiation."""
    return Refusal(status, _headers(status), _body(status, message, None))


def _body(status: int, message: str, code: int | None) -> bytes:
    return msgspec.json.encode({"ErrorCode": code or CODES.get(status, OTHER), "Message": message})


def _headers(status: int) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    return headers | {"WWW-Authenticate": "Bearer"} if status == 401 else headers  # noqa: PLR2004 - RFC 9110, 15.5.2
