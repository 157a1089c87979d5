"""Access tokens of Salto KS: RS256, ``typ`` ``at+jwt``, audience ``user_api`` (vendor-apis.md 4.2, facts 3 and 4).

A token speaks for a user (password grant) or for a client alone (client credentials). It names both, with the
generation of each: it ends when either is disabled or gets new credentials. What its bearer may see is not in it; that
is asked of the directory each time (fact 6).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import GuestProtocol, RSAKey

from doorstream.auth.errors import InvalidToken
from doorstream.auth.keys import ALGORITHM, SigningKeys
from doorstream.auth.signing import Signer
from doorstream.directory import Directory
from doorstream.events.entities import Client, User

ACCESS_TTL = 3600.0
"""Seconds that an access token lives (SAL-1)."""

REFRESH_TTL = 30 * 86_400.0
"""Seconds after a sign-in for which refresh tokens are taken."""

AUDIENCE = "user_api"
FULL_ACCESS = "user_api.full_access"
"""The scope that the hubs and lists ask for (seed 003)."""

OFFLINE_ACCESS = "offline_access"
"""The scope that asks for a refresh token."""

_TYP = "at+jwt"
_MAX_TOKEN = 16_384
_ALGORITHMS = [ALGORITHM]

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A genuine token that has not expired. ``user_id`` None: of a client alone; ``client_id`` None: not one of ours.

    ``expires_at`` in unix seconds.
    """

    user_id: str | None
    user_generation: str
    client_id: str | None
    client_generation: str
    scopes: frozenset[str]
    expires_at: float

    @property
    def subject(self) -> str:
        """Who holds it, as one text."""
        return f"user {self.user_id}" if self.user_id is not None else f"client {self.client_id}"


class Claims(msgspec.Struct):
    """What is read of a token, ours or another server's. ``scope`` is an array or space-separated text (SAL-5)."""

    iss: str
    sub: str
    exp: float
    aud: str | list[str]
    nbf: float = 0.0
    scope: list[str] | str = ""
    client_id: str | None = None
    gen: str = ""
    client_gen: str = ""

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes as a set."""
        return frozenset(self.scope.split(" ") if isinstance(self.scope, str) else self.scope)

    def holds(self, issuer: str, audience: str, now: float, leeway: float = 0.0) -> bool:
        """Tell whether the token is of that issuer, for that audience, and neither too old nor too young."""
        audiences = [self.aud] if isinstance(self.aud, str) else self.aud
        in_time = self.nbf - leeway <= now < self.exp + leeway
        return self.iss == issuer and audience in audiences and in_time


class _Refresh(msgspec.Struct, array_like=True):
    user_id: str
    user_generation: str
    client_id: str
    client_generation: str
    scopes: list[str]
    auth_time: float


decode_claims = msgspec.json.Decoder(Claims).decode
_decode_refresh = msgspec.json.Decoder(_Refresh).decode


class AccessTokens:
    """Issues and checks access and refresh tokens. Times are unix seconds and come in as arguments."""

    def __init__(self, keys: SigningKeys, directory: Directory, *, issuer: str, ttl: float = ACCESS_TTL) -> None:
        """``issuer`` is the base URL; ``ttl`` the seconds that a token lives."""
        self._keys = keys
        self._directory = directory
        self._issuer = issuer
        self.ttl = ttl

    def issue_for_user(
        self, user: User, client: Client, scopes: Iterable[str], now: float, *, auth_time: float | None = None
    ) -> str:
        """A token with which the client acts for the user, who signed in at ``auth_time`` (now)."""
        signed_in = int(now if auth_time is None else auth_time)
        claims = {"sub": user.id, "gen": user.generation, "amr": ["pwd"], "idp": "local", "auth_time": signed_in}
        return self._issue(client, scopes, now, claims)

    def issue_for_client(self, client: Client, scopes: Iterable[str], now: float) -> str:
        """A token with which the client acts for itself."""
        return self._issue(client, scopes, now, {"sub": client.id})

    async def check(self, token: str, now: float) -> AccessToken:
        """Read a token; raises InvalidToken for one that is forged, of another kind, expired or revoked."""
        if len(token) > _MAX_TOKEN:
            raise InvalidToken
        try:
            signed = jws.deserialize_compact(token, self._key, _ALGORITHMS)
            claims = decode_claims(signed.payload or b"")
        except (JoseError, msgspec.DecodeError, ValueError):
            raise InvalidToken from None
        if signed.headers().get("typ") != _TYP or not claims.holds(self._issuer, AUDIENCE, now):
            raise InvalidToken
        user_id = claims.sub if claims.sub != claims.client_id else None
        found = AccessToken(user_id, claims.gen, claims.client_id, claims.client_gen, claims.scopes, claims.exp)
        if claims.client_id is None or not stands(self._directory, found):
            raise InvalidToken
        return found

    def issue_refresh(self, signer: Signer, user: User, client: Client, scopes: Iterable[str], auth_time: float) -> str:
        """A refresh token of a sign-in at ``auth_time``."""
        payload = _Refresh(user.id, user.generation, client.id, client.generation, sorted(scopes), auth_time)
        return signer.sign(_encode(payload))

    def redeem(self, signer: Signer, text: str, client: Client, now: float) -> tuple[User, list[str], float]:
        """Whose refresh token it is, with which scopes, and when they signed in; raises InvalidToken.

        It is good until 30 days after the sign-in, for the client that it was given to, and as often as is wanted.
        """
        try:
            refresh = _decode_refresh(signer.verify(text))
        except msgspec.DecodeError:
            raise InvalidToken from None
        user = self._directory.users.get(refresh.user_id)
        if user is None or user.disabled or user.generation != refresh.user_generation:
            raise InvalidToken
        if (client.id, client.generation) != (refresh.client_id, refresh.client_generation):
            raise InvalidToken
        if refresh.auth_time + REFRESH_TTL <= now:
            raise InvalidToken
        return user, refresh.scopes, refresh.auth_time

    def _issue(self, client: Client, scopes: Iterable[str], now: float, more: dict[str, Any]) -> str:
        key = self._keys.signing
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "scope": sorted(scopes),
            "client_id": client.id,
            "client_gen": client.generation,
            "iat": int(now),
            "nbf": int(now),
            "exp": round(now + self.ttl, 3) if self.ttl % 1 else int(now + self.ttl),
            "jti": secrets.token_hex(16),
        }
        header = {"alg": ALGORITHM, "kid": key.kid, "typ": _TYP}
        return jws.serialize_compact(header, _encode(claims | more), key, _ALGORITHMS)

    def _key(self, token: GuestProtocol) -> RSAKey:
        return self._keys.public(token.headers().get("kid"))


def stands(directory: Directory, token: AccessToken) -> bool:
    """Tell whether neither the user nor the client of a token was revoked. Ask again when the directory changes."""
    if token.client_id is not None:
        client = directory.clients.get(token.client_id)
        if client is None or client.disabled or client.generation != token.client_generation:
            return False
    if token.user_id is None:
        return token.client_id is not None
    user = directory.users.get(token.user_id)
    return user is not None and not user.disabled and user.generation == token.user_generation
