"""Where outgoing requests may go: rules S1 to S4 of reliability.md section 5.

A webhook's URL is written by whoever may create webhooks, and is requested from inside the operator's network. So
every address is judged just before a socket is made for it, and the socket goes to what was judged:

* ``check_url`` reads the URL with the parser that the HTTP client uses, so that both see the same host, and judges an
  address that is written out;
* ``Resolver`` is what the HTTP client asks about names. It judges **all** answers, refuses the name if one of them is
  not allowed, and nothing is kept between two connections, so a name that changes its mind is judged again.

::

    ValueError
    ├── BadUrl              a URL that no request is made to
    │   └── BlockedAddress  it leads, or the name in it leads, to an address that the policy does not allow
    └── BadHeader           a header that cannot be sent
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from doorstream.directory.webhook_rules import CONNECTION_HEADERS, HEADER_NAME, HEADER_VALUE
from doorstream.webhooks.lookup import SystemLookup

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Lookup = Callable[[str], Awaitable[list[str]]]
"""From a name to all its addresses as texts; raises OSError (``socket.gaierror``) where there are none."""

MAX_URL = 2048
"""Characters of a URL."""

_PORTS = (range(80, 81), range(443, 444), range(1024, 65536))
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,253}")
_ENDS_IN_NUMBER = re.compile(r"(?:^|\.)(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?$")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")
_AUTHORITY_END = re.compile(r"[/?#]")

# The special-purpose registries of IANA, and three addresses that clouds use for metadata inside public space or that
# are worth a word of their own. The first match names the reason.
_BLOCKED: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), reason)
    for network, reason in (
        ("169.254.169.254/32", "a cloud's metadata service"),
        ("168.63.129.16/32", "a cloud's metadata service"),
        ("100.100.100.200/32", "a cloud's metadata service"),
        ("fd00:ec2::254/128", "a cloud's metadata service"),
        ("0.0.0.0/8", "this machine"),
        ("127.0.0.0/8", "a loopback address"),
        ("10.0.0.0/8", "a private address"),
        ("172.16.0.0/12", "a private address"),
        ("192.168.0.0/16", "a private address"),
        ("100.64.0.0/10", "a shared address of a provider (CGNAT)"),
        ("169.254.0.0/16", "a link-local address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a reserved address"),
        ("192.31.196.0/24", "a reserved address"),
        ("192.52.193.0/24", "a reserved address"),
        ("192.88.99.0/24", "a relay of 6to4"),
        ("192.175.48.0/24", "a reserved address"),
        ("198.18.0.0/15", "a reserved address"),
        ("198.51.100.0/24", "a reserved address"),
        ("203.0.113.0/24", "a reserved address"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("::/128", "this machine"),
        ("::1/128", "a loopback address"),
        ("::ffff:0:0/96", "an IPv4 address in IPv6 (mapped)"),
        ("::ffff:0:0:0/96", "an IPv4 address in IPv6 (translated)"),
        ("::/96", "an IPv4 address in IPv6 (compatible)"),
        ("64:ff9b::/96", "an IPv4 address in IPv6 (NAT64)"),
        ("64:ff9b:1::/48", "an IPv4 address in IPv6 (NAT64)"),
        ("2002::/16", "an IPv4 address in IPv6 (6to4)"),
        ("2001::/32", "an IPv4 address in IPv6 (Teredo)"),
        ("2001::/23", "a reserved address"),
        ("2001:db8::/32", "a reserved address"),
        ("2620:4f:8000::/48", "a reserved address"),
        ("3fff::/20", "a reserved address"),
        ("fc00::/7", "a private address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a private address"),
        ("ff00::/8", "a multicast address"),
    )
)
_PUBLIC_IPV6 = IPv6Network("2000::/3")
_ENDING_IN_IPV4 = tuple(
    IPv6Network(network) for network in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
)
_ISATAP_MARKS = (0x0000_5EFE, 0x0200_5EFE)


class BadUrl(ValueError):
    """A URL that no request is made to; the message says why."""


class BlockedAddress(BadUrl):
    """An address that the policy does not allow; the message names it and how to allow it."""


class BadHeader(ValueError):
    """A header that cannot be sent; the message names it, never its value."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator allows.

    ``allowed`` are networks that may be reached although they are not public: receivers in the building. An IPv6
    address that carries an IPv4 address needs both to be allowed. ``require_https`` refuses plain http. ``ports`` are
    those that may be asked: by default 80, 443 and what no system service uses.
    """

    allowed: tuple[Network, ...] = ()
    require_https: bool = True
    ports: tuple[range, ...] = _PORTS

    @classmethod
    def of(cls, allowed: Iterable[str] = (), *, require_https: bool = True) -> Policy:
        """A policy from networks as texts (``192.168.10.0/24``, ``10.1.2.3``); raises ValueError."""
        return cls(tuple(ipaddress.ip_network(text) for text in allowed), require_https)


def check_url(text: str, policy: Policy) -> URL:
    """Judge a URL as far as this is possible without asking for names; returns it parsed.

    Only http and https, no user or password, a port that the policy allows, and for a host that is written as an
    address, an allowed one. IPv4 addresses must be written in the usual way: ``2130706433``, ``0x7f.1`` and
    ``0177.0.0.1`` are refused, whatever they mean. Raises BadUrl or BlockedAddress.
    """
    if len(text) > MAX_URL or _UNPRINTABLE.search(text) or "\\" in text:
        raise BadUrl(f"a URL has at most {MAX_URL} characters, and no spaces or backslashes")
    try:
        url = URL(text)
        host, port = url.raw_host, url.port
    except (ValueError, TypeError, LookupError):  # yarl itself stumbles over some: ``http://[]@``
        raise BadUrl("this is not a URL") from None
    if url.scheme not in {"http", "https"} or not host or port is None:
        raise BadUrl("a URL starts with https:// or http:// and a host")
    if url.scheme == "http" and policy.require_https:
        raise BadUrl("the URL must start with https://")
    authority = _AUTHORITY_END.split(text.partition("//")[2], maxsplit=1)[0]
    if "@" in authority:
        raise BadUrl("a user or password does not belong into the URL; use a header")
    if not any(port in ports for ports in policy.ports):
        raise BadUrl(f"port {port} is not allowed")
    if "[" in authority and ":" not in host:
        raise BadUrl("only an IPv6 address stands in brackets")
    _check_host(host, policy)
    return url


def _check_host(host: str, policy: Policy) -> None:
    if ":" in host:
        check_address(host, policy)
    elif _ENDS_IN_NUMBER.search(host):
        try:
            IPv4Address(host)
        except ValueError:
            raise BadUrl("an IPv4 address is written as four decimal numbers") from None
        check_address(host, policy)
    elif not _NAME.fullmatch(host):
        raise BadUrl("the host is neither a name nor an address")


def is_address(host: str) -> bool:
    """Whether a host that ``check_url`` let through is an address rather than a name."""
    return ":" in host or _ENDS_IN_NUMBER.search(host) is not None


def check_address(text: str, policy: Policy) -> None:
    """Judge one address, with or without the scope id of a link (``%eth0``); raises BlockedAddress."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        raise BlockedAddress("this is not an address") from None
    reason = _reason_against(address, policy.allowed)
    if reason is not None:
        raise BlockedAddress(f"{address} is {reason}; the operator can allow networks")


def _reason_against(address: Address, allowed: tuple[Network, ...]) -> str | None:
    """Why an address is refused, or None."""
    if any(address in network for network in allowed):
        # Allowing 64:ff9b::/96 opens the way to IPv4 addresses behind NAT64, not to the private ones among them.
        return next((reason for inner in _carried(address) if (reason := _reason_against(inner, allowed))), None)
    for network, reason in _BLOCKED:
        if address in network:
            return reason
    if isinstance(address, IPv6Address) and (address not in _PUBLIC_IPV6 or _is_isatap(address)):
        return "a reserved address"
    return None if address.is_global else "a reserved address"


def _carried(address: Address) -> list[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_unspecified:
        return []
    carried = [*(address.teredo or ())]
    carried += [inner for inner in (address.ipv4_mapped, address.sixtofour) if inner is not None]
    if _is_isatap(address) or any(address in network for network in _ENDING_IN_IPV4):
        carried.append(IPv4Address(int(address) & 0xFFFF_FFFF))
    return carried


def _is_isatap(address: IPv6Address) -> bool:
    """Whether the lower half is a tunnel's end by RFC 5214 6.1, whatever the network is."""
    return (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP_MARKS


def check_headers(headers: Mapping[str, str]) -> None:
    """Judge a request's headers: names and values that HTTP allows, none of CONNECTION_HEADERS; raises BadHeader."""
    _check_header_names(tuple(headers))
    joined = "".join(headers.values())  # one look at all of them is enough for each delivery
    if (joined.isascii() and joined.isprintable()) or HEADER_VALUE.fullmatch(joined):
        return
    name = next(name for name, value in headers.items() if not HEADER_VALUE.fullmatch(value))
    raise BadHeader(f"the value of the header {name} has something else than printable ASCII characters")


@functools.lru_cache(maxsize=1024)  # a webhook's deliveries have the same names
def _check_header_names(names: tuple[str, ...]) -> None:
    for name in names:
        if not HEADER_NAME.fullmatch(name):
            raise BadHeader("a header's name has only letters, digits and hyphens")
        if name.lower() in CONNECTION_HEADERS:
            raise BadHeader(f"the header {name} is set by the sender alone")


class Resolver(AbstractResolver):
    """Names to allowed addresses, for aiohttp's connector, whose own cache of names must be off."""

    def __init__(self, policy: Policy, lookup: Lookup | None = None) -> None:
        """``lookup`` asks for names; by default it is the system's resolver."""
        self._policy = policy
        self._lookup = SystemLookup() if lookup is None else lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of a name. Raises BlockedAddress if one of them is not allowed, OSError if there are none."""
        addresses = await self._lookup(host)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        for address in addresses:
            check_address(address, self._policy)
        results = [_result(host, address, port) for address in addresses]
        return [result for result in results if family in {socket.AF_UNSPEC, result["family"]}]

    async def close(self) -> None:
        """Nothing is held."""


def _result(name: str, address: str, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=name,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
