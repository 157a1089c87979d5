"""Tokens for passwords, codes, refresh tokens and clients (vendor-apis.md 2.3, facts 5 and 6; RFC 6749)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
from fastapi import Request
from starlette.responses import Response

from doorstream.auth import AuthError, InvalidToken, Principal, of_client, of_user
from doorstream.dialects.placeos.access import Door
from doorstream.dialects.placeos.forms import OAuthError, client_credentials, read_form
from doorstream.dialects.placeos.request_ids import HEADER, request_id_of
from doorstream.dialects.placeos.rights import Identity
from doorstream.dialects.placeos.tokens import TOKEN_TTL, scopes_of

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

Form = dict[str, str]


class TokenEndpoint:
    """Hands out tokens."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._grants: dict[str, Callable[[Request, Form], Awaitable[dict[str, Any]]]] = {
            "password": self._password,
            "authorization_code": self._code,
            "refresh_token": self._refresh,
            "client_credentials": self._client,
        }

    async def answer(self, request: Request) -> Response:
        """Grant a token or say why not."""
        try:
            form = await read_form(request)
            grant = self._grants.get(form.get("grant_type", ""), self._unsupported)
            granted = msgspec.json.encode(await grant(request, form))
            response = Response(granted, headers=_NO_STORE, media_type="application/json")
        except OAuthError as error:
            response = error.response()
        response.headers[HEADER] = request_id_of(request.headers)
        return response

    async def _unsupported(self, *_: object) -> dict[str, Any]:
        raise OAuthError("unsupported_grant_type", f"supported: {', '.join(self._grants)}")

    async def _password(self, _: Request, form: Form) -> dict[str, Any]:
        """RFC 6749, 4.3."""
        try:
            user = await self._door.auth.check_user(form.get("username", ""), form.get("password", ""))
        except AuthError:
            raise OAuthError("invalid_grant", "the user name or password is wrong") from None
        now = self._door.clock()
        return self._granted(of_user(user), form.get("client_id", ""), scopes_of(form.get("scope")), now)

    async def _code(self, _: Request, form: Form) -> dict[str, Any]:
        """RFC 6749, 4.1.3, and RFC 7636, 4.6."""
        now = self._door.clock()
        try:
            principal, code = self._door.tokens.redeem_code(form.get("code", ""), now)
        except InvalidToken:
            raise OAuthError("invalid_grant", "the code is not valid, was used already, or is too old") from None
        if (form.get("client_id"), form.get("redirect_uri")) != (code.client_id, code.redirect_uri):
            raise OAuthError("invalid_grant", "the code was given to another application")
        if code.challenge and not _answers(code.challenge, form.get("code_verifier", "")):
            raise OAuthError("invalid_grant", "code_verifier does not fit the challenge")
        return self._granted(principal, code.client_id, code.scopes, now)

    async def _refresh(self, _: Request, form: Form) -> dict[str, Any]:
        """RFC 6749, 6."""
        client_id = form.get("client_id", "")
        try:
            found = self._door.tokens.redeem_refresh(form.get("refresh_token", ""), client_id, self._door.clock())
        except InvalidToken:
            raise OAuthError("invalid_grant", "the refresh token is not valid, or no longer") from None
        principal, refresh = found
        asked = scopes_of(form["scope"]) if form.get("scope") else refresh.scopes
        if not set(asked) <= set(refresh.scopes):
            raise OAuthError("invalid_scope", "a refresh grants no more than the sign-in did")
        return self._granted(principal, client_id, asked, refresh.auth_time)

    async def _client(self, request: Request, form: Form) -> dict[str, Any]:
        """RFC 6749, 4.4. A client needs no refresh token: it has its secret."""
        credentials = client_credentials(request, form)
        try:
            if credentials is None:
                raise InvalidToken
            principal = of_client(self._door.auth.check_client(*credentials))
        except AuthError:
            raise OAuthError("invalid_client", "the client id or secret is missing or wrong", 401) from None
        if not Identity(principal).is_known:
            raise OAuthError("unauthorized_client", "the client needs the scope placeos, placeos:support or admin")
        return self._token(principal, scopes_of(form.get("scope")))

    def _granted(self, principal: Principal, client_id: str, scopes: Iterable[str], auth_time: float) -> dict[str, Any]:
        if not Identity(principal).is_known:
            raise OAuthError("unauthorized_client", "this person has no role that gives rights in PlaceOS")
        scopes = list(scopes)
        refresh = self._door.tokens.issue_refresh(principal, client_id, scopes, auth_time)
        return self._token(principal, scopes) | {"refresh_token": refresh}

    def _token(self, principal: Principal, scopes: Iterable[str]) -> dict[str, Any]:
        scopes, now = list(scopes), self._door.clock()
        return {
            "access_token": self._door.tokens.issue(principal, scopes, now),
            "token_type": "Bearer",
            "expires_in": int(TOKEN_TTL),
            "scope": " ".join(scopes),
            "created_at": int(now),
        }


def _answers(challenge: str, verifier: str) -> bool:
    """Whether the verifier is that of the challenge, by S256."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), challenge)
