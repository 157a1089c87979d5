"""One issuer for all dialects: OpenID discovery, the key set and the token endpoint (design D14, PDK-1, PDK-2).

``/oauth2/token`` (PDK) and ``/connect/token`` (Salto KS) are one handler. What a client gets follows from its kind:
with the scope ``pdk`` PDK's id token; who asks for ``user_api.full_access``, or signs a user in, an access token of
Salto KS (vendor-apis.md 4.2).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from doorstream.auth import (
    ALGORITHM,
    FULL_ACCESS,
    OFFLINE_ACCESS,
    Auth,
    InvalidCredentials,
    InvalidToken,
    of_client,
)
from doorstream.dialects.pdk.limits import RateLimiter
from doorstream.events.entities import Client, User

PDK_TOKEN_PATH = "/oauth2/token"  # noqa: S105 - a path
SALTO_TOKEN_PATH = "/connect/token"  # noqa: S105 - a path
SALTO_SCOPES = frozenset({FULL_ACCESS, OFFLINE_ACCESS})
_PDK_SCOPES = frozenset({"pdk", "admin"})
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


Grant = Callable[[Client, Mapping[str, str]], Awaitable[dict[str, Any]]]


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
        """Grants ``password``, ``refresh_token`` and ``client_credentials``; the client by Basic or in the form."""
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
        self._signer = auth.signer("refresh token")
        self._grants: dict[str, Grant] = {
            "client_credentials": self._client_credentials,
            "password": self._password,
            "refresh_token": self._refresh_token,
        }

    async def answer(self, request: Request, limiter: RateLimiter | None) -> Response:
        """Grant a token or say why not."""
        key = f"address {request.client.host if request.client is not None else ''}"  # of whoever is nobody yet
        try:
            parameters = await _parameters(request)
            client = self._client(request, parameters)
        except OAuthError as error:
            refusal = error.response()
            return await self._within(limiter, key, lambda: _done(refusal))
        return await self._within(limiter, client.id if client else key, lambda: self._response(client, parameters))

    async def _within(
        self, limiter: RateLimiter | None, key: str, respond: Callable[[], Awaitable[Response]]
    ) -> Response:
        """The answer, unless it is one too many."""
        if limiter is None:
            return await respond()
        verdict = limiter.take(key, write=True)
        response = await respond() if verdict.allowed else _SLOW_DOWN.response()
        response.headers.update(verdict.headers)
        return response

    async def _response(self, client: Client | None, parameters: Mapping[str, str]) -> Response:
        try:
            return await self._granted(client, parameters)
        except OAuthError as error:
            return error.response()

    async def _granted(self, client: Client | None, parameters: Mapping[str, str]) -> Response:
        if client is None:
            raise OAuthError("invalid_client", "the client id or secret is missing or wrong", 401)
        grant_type = parameters.get("grant_type")
        if grant_type is None:
            raise OAuthError("invalid_request", "grant_type is missing")
        grant = self._grants.get(grant_type)
        if grant is None:
            raise OAuthError("unsupported_grant_type", f"supported: {', '.join(self._grants)}")
        return Response(_encode(await grant(client, parameters)), headers=_NO_STORE, media_type="application/json")

    def _client(self, request: Request, parameters: Mapping[str, str]) -> Client | None:
        """The authenticated client; None when it is not known or its secret is wrong."""
        for client_id, secret in _credentials(request, parameters):
            try:
                return self._auth.check_client(client_id, secret)
            except InvalidCredentials:
                continue
        return None

    async def _client_credentials(self, client: Client, parameters: Mapping[str, str]) -> dict[str, Any]:
        """RFC 6749, 4.4; the answer of vendor-apis.md 1.1, fact 2, or of 4.2, fact 3."""
        principal = of_client(client)
        now = self._clock()
        is_pdk = bool(principal.scopes & _PDK_SCOPES)
        if _wants_salto(parameters):
            scopes = _scopes(parameters, {FULL_ACCESS})
            token = self._auth.access.issue_for_client(client, scopes, now)
            return self._salto_answer(token, scopes)
        if not is_pdk:
            raise OAuthError(
                "unauthorized_client", "the client needs the scope pdk; for Salto KS ask for user_api.full_access"
            )
        tokens = self._auth.tokens
        return {
            "access_token": tokens.issue_access_token(client, now),
            "id_token": tokens.issue_id_token(client, now),
            "token_type": "Bearer",
            "expires_in": int(tokens.token_ttl),
        }

    async def _password(self, client: Client, parameters: Mapping[str, str]) -> dict[str, Any]:
        """RFC 6749, 4.3 (SAL-1)."""
        username, password = parameters.get("username"), parameters.get("password")
        if not username or not password:
            raise OAuthError("invalid_request", "username or password is missing")
        scopes = _scopes(parameters, SALTO_SCOPES)
        try:
            user = await self._auth.check_user(username, password)
        except InvalidCredentials:
            raise OAuthError("invalid_grant", "the user name or password is wrong") from None
        return self._signed_in(user, client, scopes, self._clock())

    async def _refresh_token(self, client: Client, parameters: Mapping[str, str]) -> dict[str, Any]:
        """RFC 6749, 6."""
        text = parameters.get("refresh_token")
        if not text:
            raise OAuthError("invalid_request", "refresh_token is missing")
        try:
            user, granted, signed_in = self._auth.access.redeem(self._signer, text, client, self._clock())
        except InvalidToken:
            raise OAuthError("invalid_grant", "the refresh token is not valid, or no longer") from None
        scopes = _scopes(parameters, granted, default=granted)
        return self._signed_in(user, client, scopes, signed_in)

    def _signed_in(self, user: User, client: Client, scopes: list[str], signed_in: float) -> dict[str, Any]:
        access = self._auth.access
        token = access.issue_for_user(user, client, scopes, self._clock(), auth_time=signed_in)
        answer = self._salto_answer(token, scopes)
        if OFFLINE_ACCESS in scopes:
            answer["refresh_token"] = access.issue_refresh(self._signer, user, client, scopes, signed_in)
        return answer

    def _salto_answer(self, token: str, scopes: Iterable[str]) -> dict[str, Any]:
        """The keys of vendor-apis.md 4.2, fact 3."""
        return {
            "access_token": token,
            "expires_in": int(self._auth.access.ttl),
            "token_type": "Bearer",
            "scope": " ".join(scopes),
        }


async def _done(response: Response) -> Response:
    return response


def _wants_salto(parameters: Mapping[str, str]) -> bool:
    return FULL_ACCESS in (parameters.get("scope") or "").split()


def _scopes(
    parameters: Mapping[str, str], allowed: Iterable[str], *, default: Iterable[str] = (FULL_ACCESS,)
) -> list[str]:
    """The scopes that are asked for, as far as they are allowed; raises OAuthError if that is none."""
    wanted = (parameters.get("scope") or "").split()
    granted = sorted(set(wanted) & set(allowed)) if wanted else sorted(default)
    if not granted:
        raise OAuthError("invalid_scope", f"supported: {', '.join(sorted(allowed))}")
    return granted


def _configuration(issuer: str) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "token_endpoint": issuer + PDK_TOKEN_PATH,
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "response_types_supported": ["none"],
        "grant_types_supported": ["client_credentials", "password", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": ["openid", *sorted(SALTO_SCOPES)],
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
