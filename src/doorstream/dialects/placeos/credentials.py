"""Where a credential may be, and how the place decides what ``notify.value`` looks like.

Six places, in the vendor's order (vendor-apis.md 2.1, fact 2); the first that is there counts, good or not. A cookie
counts only when the page is of this server's own origin or of a configured one (D11).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from doorstream.dialects.placeos.messages import Form

API_KEY = "api-key"
BEARER_TOKEN = "bearer_token"  # noqa: S105 - a name
NOTIFY_VALUE = "notify_value"
"""The parameter of the query that chooses the form of values whatever the credential's place (D4)."""

_PREFIXES = ("bearer ", "token ")


@dataclass(frozen=True, slots=True)
class Asking:
    """The parts of a request that may hold a credential; names of headers are lower-case."""

    headers: Mapping[str, str]
    query: Sequence[tuple[str, str]]
    cookies: Mapping[str, str]

    def parameter(self, name: str) -> str:
        """The first value of that name in the query, or nothing."""
        return next((value for key, value in self.query if key == name), "")


@dataclass(frozen=True, slots=True)
class Credential:
    """What was found. ``kind`` says how it was offered: as an API key or as a bearer token."""

    kind: Literal["api-key", "bearer"]
    text: str
    form: Form


def find(asking: Asking, own_origins: Iterable[str]) -> Credential | None:
    """The credential of a request, or None."""
    headers = asking.headers
    cookies = asking.cookies if cookie_counts(headers, own_origins) else {}
    chosen = asking.parameter(NOTIFY_VALUE)
    places: Sequence[tuple[Literal["api-key", "bearer"], str, Form]] = (
        ("api-key", headers.get("x-api-key", ""), Form.STRING),
        ("api-key", asking.parameter(API_KEY), Form.JSON),
        ("api-key", cookies.get(API_KEY, ""), Form.JSON),
        ("bearer", _stripped(headers.get("authorization", "")), Form.STRING),
        ("bearer", asking.parameter(BEARER_TOKEN), Form.JSON),
        ("bearer", cookies.get(BEARER_TOKEN, ""), Form.JSON),
    )
    for kind, text, form in places:
        if text:
            return Credential(kind, text.strip(), Form(chosen) if chosen in set(Form) else form)
    return None


def cookie_counts(headers: Mapping[str, str], own_origins: Iterable[str]) -> bool:
    """Tell whether the request does not come from a foreign page. Browsers name the page's origin."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    return is_own(origin, headers.get("host", ""), own_origins)


def is_own(origin: str, host: str, own_origins: Iterable[str]) -> bool:
    """Tell whether an origin is this server's, as the client addressed it, or a configured one."""
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return False
    return parts.netloc.lower() == host.lower() or f"{parts.scheme}://{parts.netloc}".lower() in {
        own.rstrip("/").lower() for own in own_origins
    }


def _stripped(authorization: str) -> str:
    for prefix in _PREFIXES:
        if authorization[: len(prefix)].lower() == prefix:
            return authorization[len(prefix) :]
    return authorization
