"""Reading forms, and the client's own credentials in requests for tokens (RFC 6749, 2.3.1 and 3.2)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote_plus

import msgspec
from fastapi import Request
from starlette.responses import Response

MAX_BODY = 65_536
_MAX_FIELDS = 50
_FORM = "application/x-www-form-urlencoded"
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OAuthError(Exception):
    """Answered as RFC 6749, 5.2 says: ``{"error", "error_description"}``."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.status = status

    def response(self) -> Response:
        """The answer."""
        body = msgspec.json.encode({"error": self.error, "error_description": str(self)})
        return Response(body, self.status, _NO_STORE, "application/json")


async def read_form(request: Request) -> dict[str, str]:
    """The form, and what only the query has: the browser client sends either. Raises OAuthError."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise OAuthError("invalid_request", f"at most {MAX_BODY} bytes", 413)
    media_type = request.headers.get("content-type", _FORM).partition(";")[0].strip().lower()
    if body and media_type == "application/json":
        return dict(request.query_params) | _texts(body)
    if body and media_type not in (_FORM, "text/plain"):
        raise OAuthError("invalid_request", f"the body must be {_FORM}")
    try:
        form = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise OAuthError("invalid_request", "the body is no form") from None
    return dict(request.query_params) | dict(form)


def client_credentials(request: Request, form: Mapping[str, str]) -> tuple[str, str] | None:
    """The id and secret of the client, by Basic or in the form; None where there is no secret."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            text = base64.b64decode(encoded.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            return None
        client_id, colon, secret = text.partition(":")
        return (unquote_plus(client_id), unquote_plus(secret)) if colon else None
    client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    return (client_id, secret) if secret else None


def _texts(body: bytes) -> dict[str, str]:
    try:
        return msgspec.json.decode(body, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise OAuthError("invalid_request", "the body must be an object of texts") from None
