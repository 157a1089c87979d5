"""How secrets are hashed, for whoever may not know the rest of ``auth``: the import of files."""

from __future__ import annotations

from doorstream.auth import credentials


class Hashes:
    """``directory.toml.Hashes``, done with SHA-256 for secrets and argon2 for passwords."""

    def __init__(self, passwords: credentials.Passwords) -> None:
        self._passwords = passwords

    def hash_secret(self, secret: str) -> str:
        """What is stored of a client's secret."""
        return credentials.hash_secret(secret)

    def is_secret_hash(self, text: str) -> bool:
        """Tell whether the text has the form of such a hash."""
        return credentials.is_secret_hash(text)

    async def hash_password(self, password: str) -> str:
        """What is stored of a password."""
        return await self._passwords.hash(password)

    async def is_password(self, password: str, stored: str | None) -> bool:
        """Tell whether that is the password."""
        return await self._passwords.matches(password, stored)

    def is_password_hash(self, text: str) -> bool:
        """Tell whether the text has the form of such a hash."""
        return credentials.is_password_hash(text)

    def new_generation(self) -> str:
        """A value that ends all tokens of a client or user."""
        return credentials.new_generation()
