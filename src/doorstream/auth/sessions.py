"""Sessions of the dashboard: a signed cookie for browsers, and one-time codes that begin one (design D11).

A cookie comes with every request that any page makes, so it counts only where the request is our own page's: with the
header ``X-Requested-With: doorstream``, which no form and no link can send, and from our own origin or a configured
one. Nothing is stored: a session ends with its time, or with the generation of its client.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from doorstream.auth.credentials import hash_secret, new_secret
from doorstream.auth.errors import InvalidCredentials, InvalidToken
from doorstream.auth.principal import Principal
from doorstream.auth.signing import Signer
from doorstream.directory import SYSTEM, Directory, NotFound, Wanted
from doorstream.directory.keys import key_for
from doorstream.events.entities import Entity, Secret

SESSION_TTL = 43_200.0
"""Seconds for which a session lasts."""

CODE_TTL = 900.0
"""Seconds within which a one-time code must be used."""

COOKIE_PATH = "/api"
"""The cookie is sent to no other path."""

REQUESTED_WITH = "x-requested-with"
REQUESTED_BY = "doorstream"
"""What a request with the cookie must have in that header."""

_NOT_OURS = "a session counts only for the dashboard's own requests: this one is of another page"


class _Session(msgspec.Struct, array_like=True):
    kind: str
    subject: str
    generation: str
    expires_at: float


_decode = msgspec.json.Decoder(_Session).decode
_encode = msgspec.json.Encoder().encode


class Signed(NamedTuple):
    """Who calls, and when their session ends (unix seconds); None for who called with a key."""

    principal: Principal
    expires_at: float | None


class Sessions:
    """Makes cookies and reads them back. Times are unix seconds.

    ``resolve(kind, id, generation)`` gives the subject as it stands now, or None when it was revoked.
    ``allowed_origins`` are origins whose pages may use a session beside our own, as ``https://doors.example``.
    """

    def __init__(
        self,
        signer: Signer,
        resolve: Callable[[str, str, str], Principal | None],
        *,
        issuer: str = "",
        allowed_origins: Iterable[str] = (),
    ) -> None:
        self._signer = signer
        self._resolve = resolve
        self.is_secure = issuer.startswith("https://")
        """Whether browsers are to send the cookie over TLS only."""
        self.cookie = f"doorstream-{signer.sign(b'')[:8]}"
        """The cookie's name. Cookies know no ports: installations on one host must not share a name."""
        self._origins = {origin.rstrip("/").lower() for origin in (issuer, *allowed_origins) if origin}

    def issue(self, principal: Principal, now: float) -> tuple[str, float]:
        """A cookie with which the bearer is ``principal``, and when that ends."""
        expires_at = now + SESSION_TTL
        session = _Session(principal.kind, principal.id, principal.generation, expires_at)
        return self._signer.sign(_encode(session)), expires_at

    def authenticate(self, headers: Mapping[str, str], now: float) -> Signed:
        """Whose session a request has; ``headers`` has lower-case names. Raises InvalidCredentials."""
        text = _cookie_of(headers, self.cookie)
        if text is None:
            raise InvalidCredentials
        self.check_origin(headers)
        try:
            session = _decode(self._signer.verify(text))
        except (InvalidToken, msgspec.DecodeError):
            raise InvalidCredentials from None
        principal = self._resolve(session.kind, session.subject, session.generation)
        if principal is None or session.expires_at <= now:
            raise InvalidCredentials("the session has ended: sign in again")
        return Signed(principal, session.expires_at)

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """Raise InvalidCredentials unless the request is one of our own page's.

        Browsers leave ``Origin`` out of their page's own reads, and ``Sec-Fetch-Site`` where the address is neither
        TLS nor loopback. A foreign page cannot have neither: with the header it needs CORS, which sends ``Origin``.
        """
        if headers.get(REQUESTED_WITH, "").lower() != REQUESTED_BY:
            raise InvalidCredentials(_NOT_OURS)
        origin = headers.get("origin")
        if origin is not None:
            if not self._is_ours(origin.lower(), headers.get("host", "").lower()):
                raise InvalidCredentials(_NOT_OURS)
        elif headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise InvalidCredentials(_NOT_OURS)

    def _is_ours(self, origin: str, host: str) -> bool:
        if origin in self._origins:
            return True
        parts = urlsplit(origin)
        schemes = ("https",) if self.is_secure else ("http", "https")
        return bool(host) and parts.netloc == host and parts.scheme in schemes


def _cookie_of(headers: Mapping[str, str], name: str) -> str | None:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return None
    return cookies[name].value if name in cookies else None


class SignInCode(NamedTuple):
    """A one-time code before it is stored: what to print, what to keep, and until when it counts (unix seconds)."""

    text: str
    hash: str
    expires_at: float

    @classmethod
    def make(cls, client_id: str, now: float) -> SignInCode:
        """A new code with which the bearer is that client once."""
        secret = new_secret()
        return cls(f"{client_id}_{secret}", hash_secret(secret), now + CODE_TTL)


class _Kept(msgspec.Struct, array_like=True):
    """What is stored of a code; ``hash`` is empty once it was used."""

    hash: str
    expires_at: float
    made: str


_decode_kept = msgspec.json.Decoder(_Kept).decode


class SignInCodes:
    """One-time codes, one for each client: a newer one replaces it. Only hashes are stored, in the directory.

    A code is used by changing its record, so that of several workers only one takes it, and a worker that is
    replaced neither forgets it nor makes a used one good again.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def keep(self, client_id: str, code_hash: str, expires_at: float) -> None:
        """Have the code count, unless it is known already; raises LogUnavailable."""
        fresh = Secret(id=_name(client_id), value=_encode(_Kept(code_hash, expires_at, code_hash)).decode())

        def update(old: Entity | None) -> Entity:
            if isinstance(old, Secret) and _decode_kept(old.value).made == code_hash:
                return old
            return fresh

        await self._directory.put_all([Wanted(key_for("secret", fresh.id), update)])

    async def redeem(self, text: str, now: float) -> str:
        """Use a code up and give its client's id; raises InvalidCredentials or LogUnavailable."""
        client_id, _, secret = text.rpartition("_")
        kept = self._directory.secret(_name(client_id))
        if kept is None:
            raise InvalidCredentials(_USED)

        def update(old: Secret) -> Secret:
            code = _decode_kept(old.value)
            if not hmac.compare_digest(hash_secret(secret), code.hash.ljust(64, "-")) or code.expires_at <= now:
                raise InvalidCredentials(_USED)
            return Secret(id=old.id, value=_encode(_Kept("", code.expires_at, code.made)).decode())

        try:
            await self._directory.change(kept, update, SYSTEM)
        except NotFound:
            raise InvalidCredentials(_USED) from None
        return client_id


_USED = "the link was used already, or is too old: sign in with an API key"


def _name(client_id: str) -> str:
    return f"sign-in {client_id}"
