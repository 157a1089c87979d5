"""Errors of PDK's REST and token routes, in the vendor's shape (vendor-apis.md 1.6)."""

from __future__ import annotations

import http

import msgspec
from starlette.responses import Response


class PdkError(Exception):
    """Answered as ``{"statusCode", "error", "message"}``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def response(self) -> Response:
        """The answer."""
        body = {"statusCode": self.status, "error": http.HTTPStatus(self.status).phrase, "message": str(self)}
        headers = {"WWW-Authenticate": "Bearer"} if self.status == http.HTTPStatus.UNAUTHORIZED else None
        return Response(msgspec.json.encode(body), self.status, headers, "application/json")
