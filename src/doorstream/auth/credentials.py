"""API keys, client secrets and passwords: made, hashed, compared.

An API key is ``ds_<client id>_<secret>``; the same id and secret are the OAuth client of every dialect. The prefix lets
secret scanners find a key that was published by mistake. Secrets that we make have 256 random bits, so one SHA-256 is
enough to store them; passwords are made by people and take argon2.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from typing import NamedTuple

import argon2

from doorstream.auth.errors import InvalidCredentials

PREFIX = "ds_"
_HASHES_AT_ONCE = 2  # each takes 64 MiB and a processor
_SHA256_HEX = 64


class ApiKey(NamedTuple):
    """An API key taken apart."""

    client_id: str
    secret: str


def new_secret() -> str:
    """A client secret: 256 random bits as hexadecimal text."""
    return secrets.token_hex(32)


def new_generation() -> str:
    """A new value for the generation of a client or user: ends every token that has the old one."""
    return secrets.token_hex(8)


def api_key(client_id: str, secret: str) -> str:
    """The API key of a client."""
    return f"{PREFIX}{client_id}_{secret}"


def parse_api_key(text: str) -> ApiKey:
    """Take an API key apart; raises InvalidCredentials."""
    if not text.startswith(PREFIX):
        raise InvalidCredentials
    client_id, underscore, secret = text[len(PREFIX) :].partition("_")
    if not client_id or not underscore or not secret:
        raise InvalidCredentials
    return ApiKey(client_id, secret)


def hash_secret(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_secret_hash(text: str) -> bool:
    """Tell whether the text has the form of a stored secret."""
    return len(text) == _SHA256_HEX and all(character in "0123456789abcdef" for character in text)


def matches_secret(secret: str, stored: str) -> bool:
    """Compare a secret with what is stored, in the same time wherever they differ."""
    return hmac.compare_digest(hash_secret(secret), stored)


class Passwords:
    """Hashes and checks passwords with argon2, in threads, few at a time."""

    def __init__(self, hasher: argon2.PasswordHasher | None = None) -> None:
        self._hasher = hasher or argon2.PasswordHasher()
        self._few = asyncio.Semaphore(_HASHES_AT_ONCE)
        self._decoy: str | None = None

    async def hash(self, password: str) -> str:
        """What is stored of a password."""
        async with self._few:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, password: str, stored: str | None) -> bool:
        """Compare a password with what is stored; without anything stored it takes as long and is False."""
        if stored is None:
            if self._decoy is None:
                self._decoy = await self.hash(secrets.token_hex(16))
            await self._verify(password, self._decoy)
            return False
        return await self._verify(password, stored)

    async def _verify(self, password: str, stored: str) -> bool:
        async with self._few:
            try:
                return await asyncio.to_thread(self._hasher.verify, stored, password)
            except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
                return False


def is_password_hash(text: str) -> bool:
    """Tell whether the text has the form of a stored password."""
    try:
        argon2.extract_parameters(text)
    except argon2.exceptions.InvalidHashError:
        return False
    return True
