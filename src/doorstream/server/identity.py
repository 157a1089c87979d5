"""One issuer for all dialects: OpenID discovery, the key set and the token endpoint (design D14, PDK-1, PDK-2).

``/oauth2/token`` (PDK) and ``/connect/token`` (Salto KS) are one handler. What a client gets follows from its kind.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from doorstream.auth import ALGORITHM, Auth, InvalidCredentials, of_client
from doorstream.dialects.pdk.limits import RateLimiter
from doorstream.events.entities import Client

PDK_TOKEN_PATH = "/oauth2/token"  # noqa: S105 - a path
SALTO_TOKEN_PATH = "/connect/token"  # noqa: S105 - a path
_MAX_BODY = 65_536
_MAX_FIELDS = 50
_FORM = "application/x-www-form-urlencoded"
_CACHED = {"Cache-Control": "public, max-age=300"}
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

_encode = msgspec.json.Encoder().encode


class OAuthError(Exception):
    """Answered as RFC 6749, 5.2 says: ``{"error", "error_description"}``."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.status = status

    def response(self) -> Response:
        """The answer."""
        headers = dict(_NO_STORE)
        if self.status == 401:  # noqa: PLR2004 - RFC 6749, 5.2
            headers["WWW-Authenticate"] = 'Basic realm="doorstream"'
        body = {"error": self.error, "error_description": str(self)}
        return Response(_encode(body), self.status, headers, "application/json")


_SLOW_DOWN = OAuthError("slow_down", "too many requests: wait, and wait longer each time", 429)


def identity_router(auth: Auth, clock: Callable[[], float], limiter: RateLimiter | None) -> APIRouter:
    """The routes. ``limiter`` is that of PDK's accounts host and counts on its token route only."""
    router = APIRouter(tags=["identity"])
    endpoint = _TokenEndpoint(auth, clock)

    @router.get("/.well-known/openid-configuration", summary="OpenID discovery")
    async def configuration() -> Response:
        """OpenID Connect Discovery 1.0, 3."""
        return Response(_encode(_configuration(auth.issuer)), headers=_CACHED, media_type="application/json")

    @router.get("/.well-known/jwks.json", summary="The public keys")
    async def jwks() -> Response:
        """RFC 7517, 5."""
        return Response(_encode(auth.keys.jwks()), headers=_CACHED, media_type="application/json")

    @router.post(SALTO_TOKEN_PATH, summary="Get a token")
    async def connect_token(request: Request) -> Response:
        """Client credentials by Basic or in the form, ``grant_type=client_credentials``."""
        return await endpoint.answer(request, None)

    @router.post(PDK_TOKEN_PATH, summary="Get an id token")
    async def oauth2_token(request: Request) -> Response:
        """Client credentials by Basic or in the form, ``grant_type=client_credentials``."""
        return await endpoint.answer(request, limiter)

    return router


class _TokenEndpoint:
    """Reads the request, authenticates the client, and hands over to the grant."""

    def __init__(self, auth: Auth, clock: Callable[[], float]) -> None:
        self._auth = auth
        self._clock = clock
        self._grants: dict[str, Callable[[Client, Mapping[str, str]], dict[str, Any]]] = {
            "client_credentials": self._client_credentials,
        }

    async def answer(self, request: Request, limiter: RateLimiter | None) -> Response:
        """Grant a token or say why not."""
        key = f"address {request.client.host if request.client is not None else ''}"  # of whoever is nobody yet
        try:
            parameters = await _parameters(request)
            client = self._client(request, parameters)
        except OAuthError as error:
            return self._within(limiter, key, error.response)
        return self._within(limiter, client.id if client else key, lambda: self._response(client, parameters))

    def _within(self, limiter: RateLimiter | None, key: str, respond: Callable[[], Response]) -> Response:
        """The answer, unless it is one too many."""
        if limiter is None:
            return respond()
        verdict = limiter.take(key, write=True)
        response = respond() if verdict.allowed else _SLOW_DOWN.response()
        response.headers.update(verdict.headers)
        return response

    def _response(self, client: Client | None, parameters: Mapping[str, str]) -> Response:
        try:
            return self._granted(client, parameters)
        except OAuthError as error:
            return error.response()

    def _granted(self, client: Client | None, parameters: Mapping[str, str]) -> Response:
        if client is None:
            raise OAuthError("invalid_client", "the client id or secret is missing or wrong", 401)
        grant_type = parameters.get("grant_type")
        if grant_type is None:
            raise OAuthError("invalid_request", "grant_type is missing")
        grant = self._grants.get(grant_type)
        if grant is None:
            raise OAuthError("unsupported_grant_type", f"supported: {', '.join(self._grants)}")
        return Response(_encode(grant(client, parameters)), headers=_NO_STORE, media_type="application/json")

    def _client(self, request: Request, parameters: Mapping[str, str]) -> Client | None:
        """The authenticated client; None when it is not known or its secret is wrong."""
        for client_id, secret in _credentials(request, parameters):
            try:
                return self._auth.check_client(client_id, secret)
            except InvalidCredentials:
                continue
        return None

    def _client_credentials(self, client: Client, _: Mapping[str, str]) -> dict[str, Any]:
        """RFC 6749, 4.4; the answer of vendor-apis.md 1.1, fact 2."""
        principal = of_client(client)
        if not principal.scopes & {"pdk", "admin"}:
            raise OAuthError("unauthorized_client", "the client needs the scope pdk")
        now = self._clock()
        tokens = self._auth.tokens
        return {
            "access_token": tokens.issue_access_token(client, now),
            "id_token": tokens.issue_id_token(client, now),
            "token_type": "Bearer",
            "expires_in": int(tokens.token_ttl),
        }


def _configuration(issuer: str) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "token_endpoint": issuer + PDK_TOKEN_PATH,
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "response_types_supported": ["none"],
        "grant_types_supported": ["client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": ["openid"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "name"],
    }


async def _parameters(request: Request) -> dict[str, str]:
    """The form, and what only the query has; raises OAuthError. RFC 6749, 3.2: none may come twice."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise OAuthError("invalid_request", f"at most {_MAX_BODY} bytes", 413)
    media_type = request.headers.get("content-type", _FORM).partition(";")[0].strip().lower()
    if body and media_type != _FORM:
        raise OAuthError("invalid_request", f"the body must be {_FORM}")
    try:
        form = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise OAuthError("invalid_request", "the body is no form") from None
    if len({name for name, _ in form}) < len(form):
        raise OAuthError("invalid_request", "a parameter comes twice")
    return dict(request.query_params) | dict(form)


def _credentials(request: Request, parameters: Mapping[str, str]) -> list[tuple[str, str]]:
    """The client's id and secret as it may have meant them.

    Clients should encode both as form values before they go into a Basic header (RFC 6749, 2.3.1), and many do not.
    """
    authorization = request.headers.get("authorization")
    if authorization is None:
        client_id, secret = parameters.get("client_id"), parameters.get("client_secret")
        return [(client_id, secret)] if client_id is not None and secret is not None else []
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return []
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return []
    client_id, colon, secret = text.partition(":")
    if not colon:
        return []
    plain, decoded = (client_id, secret), (unquote_plus(client_id), unquote_plus(secret))
    return [decoded] if decoded == plain else [decoded, plain]
