"""Who asks, and about which domains: a token is an API key of ours, good for one domain or several."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator

from doorstream.auth import Auth, InvalidCredentials, Principal
from doorstream.dialects.parakey.errors import not_permitted, unauthenticated
from doorstream.directory import Directory

Headers = Iterable[tuple[bytes, bytes]]
"""As ASGI has them: names in lower case."""

EVENTS, READ, WRITE = "events:read", "directory:read", "directory:write"


class Callers:
    """Judges tokens: the header ``access-token``, else ``Authorization`` as Bearer or Basic (vendor-apis.md 3.5)."""

    def __init__(self, auth: Auth, directory: Directory) -> None:
        self._auth = auth
        self._directory = directory

    def of(self, headers: Headers) -> Principal:
        """The caller; raises ParakeyError (401)."""
        authorization = b""
        for name, value in headers:
            if name == b"access-token":
                return self._judge((value.strip(),))
            if name == b"authorization":
                authorization = value
        return self._judge(_tokens(authorization))

    def sites(self, principal: Principal, scope: str, domain_id: str | None = None) -> tuple[str, ...]:
        """The ids of the sites where the caller has a scope, or that one of them; raises ParakeyError (403).

        A domain that is somebody else's is none, as one that does not exist.
        """
        if not ({scope, "admin"} & principal.scopes):
            raise not_permitted(scope)
        sites = self._directory.sites
        if domain_id is not None:
            candidates: Iterable[str] = (domain_id.lower(),)
        elif principal.sites is not None:
            candidates = principal.sites
        else:
            candidates = (site.id for site in sites)
        return tuple(sorted(each for each in candidates if sites.get(each) is not None and principal.sees(each)))

    def _judge(self, tokens: Iterable[bytes]) -> Principal:
        for token in tokens:
            try:
                return self._auth.by_api_key(token.decode("ascii"))
            except (InvalidCredentials, UnicodeDecodeError):
                continue
        raise unauthenticated()


def _tokens(authorization: bytes) -> Iterator[bytes]:
    """The token of a Bearer, or password and user of a Basic: integrators put it in either."""
    kind, _, rest = authorization.partition(b" ")
    if kind.lower() == b"bearer":
        yield rest.strip()
    elif kind.lower() == b"basic":
        try:
            user, _, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return
        yield from (password, user)
