"""The signing keys: RSA for RS256, kept in the directory as one ring so that every process has the same.

The newest key signs. A retired one keeps only its public half, for as long as events are kept: tokens of whatever age
must still be told from forged ones (design D2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from joserfc.jwk import RSAKey

from doorstream.auth.errors import InvalidToken
from doorstream.directory import Directory
from doorstream.events.entities import Entity, KeyRing, SigningKey

ALGORITHM = "RS256"
_RING = "tokens"
_BITS = 2048
_PUBLIC = ("kty", "n", "e", "kid", "use", "alg")


class SigningKeys:
    """The ring, ready to sign and to look up public keys."""

    def __init__(self, directory: Directory, make: Callable[[float], Awaitable[SigningKey]]) -> None:
        """``make`` makes a key of that time (unix seconds)."""
        self._directory = directory
        self._make = make
        self._private: RSAKey | None = None
        self._public: dict[str, RSAKey] = {}
        self._jwks: list[dict[str, str]] = []
        directory.on_change(self._changed)

    async def open(self, now: float) -> None:
        """Make the first key if there is none; ``now`` in unix seconds. Raises LogUnavailable."""
        if self._directory.key_ring(_RING) is None:
            first = await self._make(now)
            await self._directory.change_key_ring(_RING, lambda old: old or KeyRing(id=_RING, keys=(first,)))
        self._load()

    async def rotate(self, now: float) -> None:
        """Sign with a new key from now on; the old one is retired and loses its private half."""
        newest = await self._make(now)

        def update(old: KeyRing | None) -> KeyRing:
            keys = old.keys if old is not None else ()
            return KeyRing(id=_RING, keys=(newest, *(_retired(key, now) for key in keys)))

        await self._directory.change_key_ring(_RING, update)

    async def prune(self, retired_before: float) -> None:
        """Forget the keys that were retired before that time (unix seconds)."""

        def update(old: KeyRing | None) -> KeyRing:
            keys = old.keys if old is not None else ()
            return KeyRing(
                id=_RING, keys=tuple(key for key in keys if key.retired is None or key.retired >= retired_before)
            )

        await self._directory.change_key_ring(_RING, update)

    async def maintain(self, now: float, *, max_age: float, keep: float) -> None:
        """Rotate a key that is older than ``max_age``, and forget those retired longer ago than ``keep`` (seconds)."""
        ring = self._directory.key_ring(_RING)
        if ring is None:
            return
        if ring.keys[0].created < now - max_age:
            await self.rotate(now)
        if any(key.retired is not None and key.retired < now - keep for key in ring.keys):
            await self.prune(now - keep)

    @property
    def signing(self) -> RSAKey:
        """The key that signs."""
        assert self._private is not None, "open() comes first"  # noqa: S101 - a contract
        return self._private

    def public(self, kid: Any) -> RSAKey:
        """The public key of that id, retired ones included; raises InvalidToken."""
        key = self._public.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise InvalidToken
        return key

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JSON Web Key Set (RFC 7517)."""
        return {"keys": self._jwks}

    def _changed(self, kind: str, _: Entity | None, new: Entity | None) -> None:
        if kind == "key-ring" and isinstance(new, KeyRing) and new.id == _RING:
            self._load()

    def _load(self) -> None:
        ring = self._directory.key_ring(_RING)
        if ring is None:
            return
        newest = ring.keys[0]
        if self._private is None or self._private.kid != newest.kid:  # importing one takes some 30 ms
            self._private = RSAKey.import_key({**newest.jwk})
        self._jwks = [_public_part(key.jwk) for key in ring.keys]
        known = self._public
        self._public = {jwk["kid"]: known.get(jwk["kid"]) or RSAKey.import_key({**jwk}) for jwk in self._jwks}


async def new_signing_key(now: float) -> SigningKey:
    """A fresh RSA key, made in a thread: it can take a second."""
    key = await asyncio.to_thread(
        RSAKey.generate_key, _BITS, {"use": "sig", "alg": ALGORITHM}, private=True, auto_kid=True
    )
    jwk = {name: str(value) for name, value in key.as_dict(private=True).items()}
    return SigningKey(kid=jwk["kid"], created=now, jwk=jwk)


def _retired(key: SigningKey, now: float) -> SigningKey:
    if key.retired is not None:
        return key
    return SigningKey(kid=key.kid, created=key.created, retired=now, jwk=_public_part(key.jwk))


def _public_part(jwk: dict[str, str]) -> dict[str, str]:
    return {name: jwk[name] for name in _PUBLIC if name in jwk}
