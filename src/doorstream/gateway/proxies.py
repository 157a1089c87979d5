"""Who a request comes from when a proxy stands in between (reliability.md section 5, H1).

``X-Forwarded-For``, ``-Proto`` and ``-Host`` are what anybody can write. They count only where the connection comes
from a proxy that the operator named; everywhere else they are ignored. The standard's ``Forwarded`` (RFC 7239) is not
read at all: of two ways to say the same a proxy may set one and pass the other on.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

_FOR, _PROTO, _HOST = b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"
_SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}
_KNOWN = 1024

Headers = list[tuple[bytes, bytes]]
"""Names in lower case, as uvicorn has them."""


class Forwarded(NamedTuple):
    """What a trusted proxy says of a request; None where it says nothing."""

    client: str
    scheme: str | None
    host: bytes | None


class TrustedProxies:
    """The networks whose word counts, as ``10.0.0.0/8`` or single addresses; raises ValueError for anything else."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ip_network(each) for each in networks]
        self._trusts = functools.lru_cache(_KNOWN)(self._is_inside)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._networks)

    def read(self, peer: str, headers: Headers) -> Forwarded | None:
        """What the headers say, if ``peer``, the other end of the connection, is to be believed."""
        if not self._trusts(peer):
            return None
        scheme = _SCHEMES.get(_last(headers, _PROTO).lower())
        return Forwarded(self._client(peer, headers), scheme, _last(headers, _HOST) or None)

    def _client(self, peer: str, headers: Headers) -> str:
        """The last address that is none of the proxies': what stands before it, the client may have written."""
        client = peer
        for text in reversed(_all(headers, _FOR)):
            address = _parsed(text)
            if address is None:
                break
            client = str(address)
            if not self._trusts(client):
                break
        return client

    def _is_inside(self, text: str) -> bool:
        address = _parsed(text.encode())
        return address is not None and any(address in network for network in self._networks)


def _all(headers: Headers, wanted: bytes) -> list[bytes]:
    return [part.strip() for name, value in headers if name == wanted for part in value.split(b",")]


def _last(headers: Headers, wanted: bytes) -> bytes:
    """Of several values the one that the nearest proxy wrote."""
    found = _all(headers, wanted)
    return found[-1] if found else b""


def _parsed(text: bytes) -> IPv4Address | IPv6Address | None:
    """An address, with or without a port; one of IPv4 within IPv6 as what it is."""
    plain = text.decode("latin-1")
    if plain.startswith("["):
        plain = plain[1:].partition("]")[0]
    elif plain.count(":") == 1:
        plain = plain.partition(":")[0]
    try:
        address = ip_address(plain.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
