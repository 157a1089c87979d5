"""Access tokens of somebody else's identity server (OpenID Connect), checked by its published keys.

Which keys count is decided here and by the operator's JWKS address alone; what a token says about keys (``jwk``,
``jku``, ``x5u``) is ignored. Only asymmetric algorithms are known, so a public key can never be taken for a secret.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from doorstream.auth.access_tokens import AccessToken, decode_claims, stands
from doorstream.auth.errors import InvalidToken
from doorstream.directory import Directory

ALGORITHMS = ("RS256", "PS256", "ES256")
TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt"})
"""RFC 9068, 2.1 and what servers of before it write, in lower case."""

_KEY_TYPES = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC"}
_MAX_TOKEN = 16_384
_MAX_SET = 262_144
_MAX_KEYS = 100
_FETCH_SECONDS = 5.0
_FRESH = 3600.0
_PAUSE = 30.0
_LEEWAY = 30.0

Key = RSAKey | ECKey


class JwksError(Exception):
    """The keys cannot be fetched, or are no key set."""


@dataclass(frozen=True, slots=True)
class ExternalIssuer:
    """An identity server that the operator trusts. ``jwks_url`` is https; http only on this machine."""

    issuer: str
    audience: str
    jwks_url: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.jwks_url)
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
            raise ValueError("the address of the key set must begin with https://")


class ExternalTokens:
    """Checks tokens of an external issuer. Times are unix seconds.

    Keys are kept for an hour and fetched again for a key id that is not known, at most every 30 s whatever is asked.
    While the issuer cannot be reached, the keys that are known go on counting.
    """

    def __init__(
        self,
        external: ExternalIssuer,
        directory: Directory,
        *,
        fetch: Callable[[str], Awaitable[bytes]] | None = None,
    ) -> None:
        """``fetch`` gives the body at an address, or raises JwksError."""
        self._external = external
        self._directory = directory
        self._fetch = fetch or fetch_jwks
        self._keys: dict[str, Key] = {}
        self._fetched_at = -math.inf
        self._tried_at = -math.inf
        self._fetching: asyncio.Task[None] | None = None

    async def check(self, token: str, now: float) -> AccessToken:
        """Read a token; raises InvalidToken. Its subject must be the id or the name of a user of ours."""
        if len(token) > _MAX_TOKEN:
            raise InvalidToken
        try:
            header = jws.extract_compact(token.encode()).headers()
            key = await self._key(header, now)
            signed = jws.deserialize_compact(token, key, list(ALGORITHMS))
            claims = decode_claims(signed.payload or b"")
        except (JoseError, msgspec.DecodeError, ValueError, TypeError):
            raise InvalidToken from None
        if not claims.holds(self._external.issuer, self._external.audience, now, _LEEWAY):
            raise InvalidToken
        user = self._directory.users.get(claims.sub) or self._directory.user_named(claims.sub)
        if user is None:
            raise InvalidToken
        found = AccessToken(user.id, user.generation, None, "", claims.scopes, claims.exp)
        if not stands(self._directory, found):
            raise InvalidToken
        return found

    async def _key(self, header: dict[str, Any], now: float) -> Key:
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS or not isinstance(kid, str) or "crit" in header:
            raise InvalidToken
        if str(header.get("typ", "JWT")).lower() not in TYPES:
            raise InvalidToken
        waits = kid not in self._keys
        is_due = (waits or now - self._fetched_at > _FRESH) and now - self._tried_at >= _PAUSE
        if is_due and self._fetching is None:
            self._tried_at, waits = now, True
            self._fetching = asyncio.get_running_loop().create_task(self._refresh(now))
        if waits and self._fetching is not None:
            await asyncio.shield(self._fetching)  # it goes on when the caller leaves: others wait for it too
        key = self._keys.get(kid)
        if key is None or key.key_type != _KEY_TYPES[algorithm]:
            raise InvalidToken
        return key

    async def _refresh(self, now: float) -> None:
        try:
            self._keys = read_jwks(await self._fetch(self._external.jwks_url))
            self._fetched_at = now
        except JwksError:
            return
        finally:
            self._fetching = None


def read_jwks(body: bytes) -> dict[str, Key]:
    """The signing keys of a key set by their ids; others are left out. Raises JwksError."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise JwksError("not JSON") from None
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list) or len(listed) > _MAX_KEYS:
        raise JwksError("not a key set")
    keys: dict[str, Key] = {}
    for jwk in listed:
        if isinstance(jwk, dict) and isinstance(jwk.get("kid"), str) and jwk.get("use", "sig") == "sig":
            key = _import(jwk)
            if key is not None:
                keys[jwk["kid"]] = key
    return keys


def _import(jwk: dict[str, Any]) -> Key | None:
    kinds: dict[Any, type[Key]] = {"RSA": RSAKey, "EC": ECKey}
    kind = kinds.get(jwk.get("kty"))
    if kind is None:
        return None
    try:
        return kind.import_key({name: value for name, value in jwk.items() if name in _PUBLIC})
    except (JoseError, ValueError, TypeError, KeyError):
        return None


_PUBLIC = frozenset({"kty", "n", "e", "crv", "x", "y", "kid", "use", "alg"})


async def fetch_jwks(url: str) -> bytes:
    """Fetch a key set; raises JwksError. Redirects are not followed: they could lead anywhere."""
    timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as response,
        ):
            if response.status != 200:  # noqa: PLR2004 - the only good answer
                raise JwksError(f"status {response.status}")
            body = await response.content.read(_MAX_SET + 1)
            while len(body) <= _MAX_SET and (more := await response.content.read(_MAX_SET + 1 - len(body))):
                body += more
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise JwksError(str(error)) from None
    if len(body) > _MAX_SET:
        raise JwksError("too large")
    return body


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
