"""Bearer tokens of PlaceOS: RS256, with the vendor's claims (vendor-apis.md 2.1, facts 7 and 8).

A token speaks for a user or, by client credentials, for a client. It ends when the user or client is disabled or gets
new credentials. What its bearer may is asked of the directory each time; ``u`` only tells programs what to show.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import GuestProtocol, RSAKey

from doorstream.auth import ALGORITHM, Auth, InvalidToken, Principal
from doorstream.dialects.placeos.rights import PUBLIC, RANKS, Identity

TOKEN_TTL = 7200.0
"""Seconds that an access token lives (vendor-apis.md 2.1, fact 8)."""

REFRESH_TTL = 30 * 86_400.0
"""Seconds after a sign-in for which refresh tokens are taken."""

CODE_TTL = 60.0
"""Seconds within which an authorization code must be used."""

_TYP = "placeos+jwt"
_MAX_TOKEN = 8192
_ALGORITHMS = [ALGORITHM]

_encode = msgspec.json.Encoder().encode


class _Claims(msgspec.Struct):
    iss: str
    aud: str
    sub: str
    kind: str
    gen: str
    exp: float
    scope: list[str]


class Refresh(msgspec.Struct, array_like=True):
    """What a refresh token says; ``auth_time`` in unix seconds."""

    kind: str
    subject: str
    generation: str
    client_id: str
    scopes: list[str]
    auth_time: float


class Code(msgspec.Struct, array_like=True):
    """What an authorization code says; ``challenge`` is that of PKCE (RFC 7636), empty for none."""

    id: str
    user_id: str
    generation: str
    client_id: str
    redirect_uri: str
    challenge: str
    scopes: list[str]
    expires_at: float


_decode = msgspec.json.Decoder(_Claims).decode
_decode_refresh = msgspec.json.Decoder(Refresh).decode
_decode_code = msgspec.json.Decoder(Code).decode


class Tokens:
    """Issues and checks them. Times are unix seconds and come in as arguments.

    Codes that were used are remembered by this process until they would have expired; with several workers another one
    takes a code once more within its minute, from the same client and with the same verifier.
    """

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self._refresh = auth.signer("placeos refresh token")
        self._codes = auth.signer("placeos code")
        self._used: dict[str, float] = {}

    def issue(self, principal: Principal, scopes: Iterable[str], now: float) -> str:
        """An access token for a caller."""
        key = self._auth.keys.signing
        rank = RANKS[Identity(principal).level]
        claims: dict[str, Any] = {
            "iss": self._auth.issuer,
            "aud": urlsplit(self._auth.issuer).netloc,
            "sub": principal.id,
            "kind": principal.kind,
            "gen": principal.generation,
            "scope": sorted(scopes),
            "iat": int(now),
            "exp": int(now + TOKEN_TTL),
            "jti": secrets.token_hex(16),
            "u": {"n": principal.name, "e": "", "p": rank - 1, "r": sorted(set(principal.roles.values()))},
        }
        return jws.serialize_compact({"alg": ALGORITHM, "kid": key.kid, "typ": _TYP}, _encode(claims), key, _ALGORITHMS)

    def check(self, token: str, now: float) -> Identity:
        """Whose token it is; raises InvalidToken for one that is forged, of another kind, expired or revoked."""
        if len(token) > _MAX_TOKEN:
            raise InvalidToken
        try:
            signed = jws.deserialize_compact(token, self._key, _ALGORITHMS)
            claims = _decode(signed.payload or b"")
        except (JoseError, msgspec.DecodeError, ValueError):
            raise InvalidToken from None
        if signed.headers().get("typ") != _TYP or claims.iss != self._auth.issuer or claims.exp <= now:
            raise InvalidToken
        return Identity(self._standing(claims.kind, claims.sub, claims.gen), frozenset(claims.scope))

    def issue_refresh(self, principal: Principal, client_id: str, scopes: Iterable[str], auth_time: float) -> str:
        """A refresh token of a sign-in at ``auth_time``."""
        kind, generation = principal.kind, principal.generation
        return self._refresh.sign(
            _encode(Refresh(kind, principal.id, generation, client_id, sorted(scopes), auth_time))
        )

    def redeem_refresh(self, text: str, client_id: str, now: float) -> tuple[Principal, Refresh]:
        """Whose refresh token it is; good for 30 days after the sign-in, for its client. Raises InvalidToken."""
        try:
            refresh = _decode_refresh(self._refresh.verify(text))
        except msgspec.DecodeError:
            raise InvalidToken from None
        if refresh.client_id != client_id or refresh.auth_time + REFRESH_TTL <= now:
            raise InvalidToken
        return self._standing(refresh.kind, refresh.subject, refresh.generation), refresh

    def issue_code(  # noqa: PLR0913 - what an authorization request says, each once
        self, principal: Principal, *, client_id: str, redirect_uri: str, challenge: str, scopes: list[str], now: float
    ) -> str:
        """An authorization code for somebody who is signed in."""
        code = Code(
            secrets.token_hex(12),
            principal.id,
            principal.generation,
            client_id,
            redirect_uri,
            challenge,
            scopes,
            now + CODE_TTL,
        )
        return self._codes.sign(_encode(code))

    def redeem_code(self, text: str, now: float) -> tuple[Principal, Code]:
        """Whose code it is; each is good once. Raises InvalidToken."""
        try:
            code = _decode_code(self._codes.verify(text))
        except msgspec.DecodeError:
            raise InvalidToken from None
        self._used = {used: expires_at for used, expires_at in self._used.items() if expires_at > now}
        if code.id in self._used or code.expires_at <= now:
            raise InvalidToken
        self._used[code.id] = code.expires_at
        return self._standing("user", code.user_id, code.generation), code

    def _standing(self, kind: str, subject: str, generation: str) -> Principal:
        principal = self._auth.resolve(kind, subject, generation)
        if principal is None:
            raise InvalidToken
        return principal

    def _key(self, token: GuestProtocol) -> RSAKey:
        return self._auth.keys.public(token.headers().get("kid"))


def scopes_of(text: str | None) -> list[str]:
    """The scopes that are asked for; without any, all (``public``)."""
    return sorted(set((text or "").split())) or [PUBLIC]
