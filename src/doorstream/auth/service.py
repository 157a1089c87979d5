"""Credentials in, ``Principal`` out."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping

from doorstream.auth.access_tokens import ACCESS_TTL, AccessTokens
from doorstream.auth.credentials import Passwords, matches_secret, parse_api_key
from doorstream.auth.errors import InvalidCredentials
from doorstream.auth.keys import SigningKeys, new_signing_key
from doorstream.auth.principal import Principal, of_client, of_user
from doorstream.auth.sessions import Sessions, Signed, SignInCodes
from doorstream.auth.signing import Signer
from doorstream.auth.tickets import Tickets
from doorstream.auth.tokens import TOKEN_TTL, Tokens
from doorstream.directory import Directory
from doorstream.events.entities import Client, Secret, SigningKey, User

_BEARER = "bearer "
_NO_SECRET = "0" * 64  # the hash of nothing: compared with where the client is unknown
_SIGNER_SECRET = "signer"  # noqa: S105 - the name of a record


class Auth:
    """Authenticates callers. ``open`` comes first: it makes the installation's keys at the first start.

    ``issuer`` is the base URL of this server without a slash at its end. Lives are seconds, fractions allowed.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        issuer: str,
        system_token_ttl: float = TOKEN_TTL,
        access_token_ttl: float = ACCESS_TTL,
        make_key: Callable[[float], Awaitable[SigningKey]] = new_signing_key,
    ) -> None:
        self._directory = directory
        self.issuer = issuer
        self.keys = SigningKeys(directory, make_key)
        self.tokens = Tokens(self.keys, directory, issuer=issuer, system_token_ttl=system_token_ttl)
        self.access = AccessTokens(self.keys, directory, issuer=issuer, ttl=access_token_ttl)
        self.passwords = Passwords()
        self.codes = SignInCodes(directory)
        self._secret = b""
        self._principals: dict[str, tuple[Client, Principal]] = {}

    async def open(self, now: float, *, allowed_origins: Iterable[str] = ()) -> None:
        """Make ready; ``now`` in unix seconds. Raises LogUnavailable.

        ``allowed_origins`` are those whose pages may use a session's cookie beside our own (D11).
        """
        await self.keys.open(now)
        fresh = Secret(id=_SIGNER_SECRET, value=secrets.token_hex(32))
        found = self._directory.secret(_SIGNER_SECRET) or await self._directory.ensure_secret(fresh)
        self._secret = bytes.fromhex(found.value)
        self.tickets = Tickets(self.signer("ticket"), self.resolve, now)
        self.sessions = Sessions(
            self.signer("session"), self.resolve, issuer=self.issuer, allowed_origins=allowed_origins
        )

    def signer(self, purpose: str) -> Signer:
        """A signer for one purpose, the same in every process of this installation."""
        assert self._secret, "open() comes first"  # noqa: S101 - a contract
        return Signer(self._secret, purpose)

    def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """Who calls one of our own routes, by ``Authorization: Bearer <api key>`` or ``X-API-Key``.

        ``headers`` has lower-case names. Raises InvalidCredentials.
        """
        authorization = headers.get("authorization")
        if authorization is not None:
            if authorization[: len(_BEARER)].lower() != _BEARER:
                raise InvalidCredentials
            return self.by_api_key(authorization[len(_BEARER) :].strip())
        key = headers.get("x-api-key")
        if key is None:
            raise InvalidCredentials
        return self.by_api_key(key.strip())

    def caller(self, headers: Mapping[str, str], now: float) -> Signed:
        """Who calls a route that the dashboard uses: by a key as in ``authenticate``, or else by its session's cookie.

        A key in a header counts from any origin; a cookie only for our own pages (D11). Raises InvalidCredentials.
        """
        if "authorization" in headers or "x-api-key" in headers:
            return Signed(self.authenticate(headers), None)
        return self.sessions.authenticate(headers, now)

    def by_api_key(self, text: str) -> Principal:
        """The client of an API key; raises InvalidCredentials."""
        return self.principal(self.check_client(*parse_api_key(text)))

    def check_client(self, client_id: str, secret: str) -> Client:
        """The client of that id, if the secret is its own and it is not disabled; raises InvalidCredentials.

        Takes as long for an unknown client as for a wrong secret.
        """
        client = self._directory.clients.get(client_id)
        matches = matches_secret(secret, client.secret_hash if client is not None else _NO_SECRET)
        if client is None or client.disabled or not matches:
            raise InvalidCredentials
        return client

    async def check_user(self, username: str, password: str) -> User:
        """The user of that name, if the password is their own and they are not disabled; raises InvalidCredentials.

        Takes as long for an unknown user as for a wrong password.
        """
        user = self._directory.user_named(username)
        matches = await self.passwords.matches(password, user.password_hash if user is not None else None)
        if user is None or user.disabled or not matches:
            raise InvalidCredentials
        return user

    def principal(self, client: Client) -> Principal:
        """The principal that a client is."""
        known = self._principals.get(client.id)
        if known is None or known[0] is not client:
            known = self._principals[client.id] = (client, of_client(client))
        return known[1]

    def client(self, client_id: str) -> Principal | None:
        """The client of that id, None if there is none or it is disabled."""
        client = self._directory.clients.get(client_id)
        return self.principal(client) if client is not None and not client.disabled else None

    def resolve(self, kind: str, subject: str, generation: str) -> Principal | None:
        """A client or user as it stands now; None when it is gone, disabled, or all its credentials were ended."""
        found = self._directory.users.get(subject) if kind == "user" else self._directory.clients.get(subject)
        if found is None or found.disabled or found.generation != generation:
            return None
        return self.principal(found) if isinstance(found, Client) else of_user(found)

    def current(self, principal: Principal) -> Principal | None:
        """The same caller with its newest rights; None when it was revoked and its connections must be closed."""
        return self.resolve(principal.kind, principal.id, principal.generation)
