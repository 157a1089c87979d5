"""JSON Web Tokens: issued to clients, checked when they come back. All are RS256 by a key of the ring.

Each kind has a ``typ`` of its own in the signed header, so that none can stand in for another. Whatever else the header
of a token says about keys (``jwk``, ``jku``, ``x5u``) is ignored: keys are only looked up in our own ring.

Every token carries the client's ``gen``: it ends when the client's secret changes or the client is disabled.
"""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple, TypeVar

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import GuestProtocol, RSAKey

from doorstream.auth.errors import InvalidToken
from doorstream.auth.keys import ALGORITHM, SigningKeys
from doorstream.auth.principal import of_client
from doorstream.directory import Directory
from doorstream.events.entities import Client

ID_TOKEN = "JWT"  # noqa: S105 - the value of a header, which OpenID clients know
ACCESS_TOKEN = "at+jwt"  # noqa: S105 - RFC 9068, 2.1
SYSTEM_TOKEN = "system+jwt"  # noqa: S105 - ours

TOKEN_TTL = 300.0
"""Seconds that a token lives unless set otherwise (vendor-apis.md 1.1, facts 2 and 6)."""

SYSTEM_AUDIENCE = "system"
_MAX_TOKEN = 8192
_ALGORITHMS = [ALGORITHM]

_encode = msgspec.json.Encoder().encode


class SystemToken(NamedTuple):
    """A genuine PDK system token: which system it names, whose it is, and when it expires (unix seconds)."""

    site_id: str
    client_id: str
    generation: str
    expires_at: float
    expired: bool


class _Claims(msgspec.Struct):
    """What the tokens of a client have in common. RFC 7519 allows fractions in its times."""

    iss: str
    aud: str
    sub: str
    gen: str
    exp: float


class _SystemClaims(_Claims):
    site: str


_C = TypeVar("_C", bound=_Claims)


class Tokens:
    """Issues and checks tokens. Times are unix seconds and come in as arguments."""

    def __init__(
        self,
        keys: SigningKeys,
        directory: Directory,
        *,
        issuer: str,
        token_ttl: float = TOKEN_TTL,
        system_token_ttl: float = TOKEN_TTL,
    ) -> None:
        """``issuer`` is the base URL; the lives are seconds, of a system token with fractions."""
        self._keys = keys
        self._directory = directory
        self.issuer = issuer
        self.token_ttl = token_ttl
        self.system_token_ttl = system_token_ttl

    def issue_id_token(self, client: Client, now: float) -> str:
        """An OpenID id token (OpenID Connect Core 1.0, 2), the bearer of PDK's accounts routes."""
        claims = {"aud": client.id, "name": client.name, "iat": int(now), "exp": int(now + self.token_ttl)}
        return self._issue(ID_TOKEN, client, claims)

    def issue_access_token(self, client: Client, now: float) -> str:
        """An access token; PDK's clients get it and never use it (vendor-apis.md 1.1, fact 3)."""
        claims = {"aud": self.issuer, "client_id": client.id, "iat": int(now), "exp": int(now + self.token_ttl)}
        return self._issue(ACCESS_TOKEN, client, claims)

    def issue_system_token(self, client: Client, site_id: str, now: float) -> str:
        """A PDK system token, for one site's stream and lists."""
        exp = round(now + self.system_token_ttl, 3)
        claims = {"aud": SYSTEM_AUDIENCE, "site": site_id, "iat": round(now, 3), "exp": exp}
        return self._issue(SYSTEM_TOKEN, client, claims)

    def check_id_token(self, token: str, now: float) -> Client:
        """The client to whom the id token was given; raises InvalidToken, also when it has expired."""
        claims = self._check(token, ID_TOKEN, _Claims)
        if claims.aud != claims.sub or claims.exp <= now:
            raise InvalidToken
        return self._client(claims.sub, claims.gen)

    def check_system_token(self, token: str, now: float) -> SystemToken:
        """Read a PDK system token; an expired one is still genuine (design D2) and says so.

        Raises InvalidToken for one that is forged, of another kind, or of a client or site that is gone, disabled, or
        no longer allowed.
        """
        # Clients keep their first token for as long as they live: it stays genuine when the server's address changes.
        claims = self._check(token, SYSTEM_TOKEN, _SystemClaims, of_any_address=True)
        if claims.aud != SYSTEM_AUDIENCE:
            raise InvalidToken
        found = SystemToken(claims.site, claims.sub, claims.gen, claims.exp, claims.exp <= now)
        if not self.stands(found):
            raise InvalidToken
        return found

    def stands(self, token: SystemToken) -> bool:
        """Tell whether the token's client still may what the token says. Ask again when the directory changes."""
        client = self._directory.clients.get(token.client_id)
        return (
            client is not None
            and not client.disabled
            and client.generation == token.generation
            and of_client(client).may("pdk", token.site_id)
            and self._directory.site(token.site_id) is not None
        )

    def _client(self, client_id: str, generation: str) -> Client:
        client = self._directory.clients.get(client_id)
        if client is None or client.disabled or client.generation != generation:
            raise InvalidToken
        return client

    def _issue(self, kind: str, client: Client, claims: dict[str, Any]) -> str:
        key = self._keys.signing
        common = {"iss": self.issuer, "sub": client.id, "gen": client.generation, "jti": secrets.token_hex(16)}
        header = {"alg": ALGORITHM, "kid": key.kid, "typ": kind}
        return jws.serialize_compact(header, _encode(common | claims), key, _ALGORITHMS)

    def _check(self, token: str, kind: str, shape: type[_C], *, of_any_address: bool = False) -> _C:
        if len(token) > _MAX_TOKEN:
            raise InvalidToken
        try:
            signed = jws.deserialize_compact(token, self._key, _ALGORITHMS)
            claims = msgspec.json.decode(signed.payload or b"", type=shape)
        except (JoseError, msgspec.DecodeError, ValueError):
            raise InvalidToken from None
        if signed.headers().get("typ") != kind or not (of_any_address or claims.iss == self.issuer):
            raise InvalidToken
        return claims

    def _key(self, token: GuestProtocol) -> RSAKey:
        return self._keys.public(token.headers().get("kid"))
