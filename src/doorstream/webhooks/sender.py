"""One attempt to deliver: a request that goes only where the guard allows and always ends in time.

What cannot be set from outside: redirects are not followed, nothing is taken from the environment, cookies are not
kept, answers are not decompressed, and of an answer's body 64 KB are read at most and 1 KB is kept (S4, S5).
Connections are kept for the next delivery to the same place, each to an address that was checked when it was made.

**Descriptors**: sockets in use are bounded by ``lanes``; while more than ``KEPT_OPEN`` are open, deliveries ask for
their connection to be closed afterwards. So there are at most ``KEPT_OPEN`` + ``lanes.SPARE`` + one for each endpoint.
"""

from __future__ import annotations

import errno
import functools
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec
import structlog
from yarl import URL

from doorstream import __version__
from doorstream.webhooks.guard import (
    BadHeader,
    BadUrl,
    Lookup,
    Policy,
    Resolver,
    check_address,
    check_headers,
    check_url,
    is_address,
)
from doorstream.webhooks.lanes import Lanes
from doorstream.webhooks.time_limit import TimeLimit

_logger = structlog.get_logger(__name__)

ERRORS: Mapping[str, str] = {
    "blocked": "the URL or an address that it leads to is not allowed",
    "header": "a header cannot be sent",
    "dns": "the name has no address",
    "refused": "nobody listens at the port",
    "unreachable": "there is no way to the address",
    "tls": "no secure connection: a wrong or unknown certificate, or no TLS at all",
    "timeout": "no complete answer in time",
    "reset": "the connection broke before the answer was complete",
    "not http": "the answer is not HTTP",
    "redirect": "the answer points elsewhere, which is not followed",
    "proxy": "the forward proxy failed; the endpoint was not asked",
    "local": "this machine had no descriptor, port or memory left, or the sender was closed",
}
"""What ``Outcome.error`` can be, and what it means."""

NOT_THE_ENDPOINT = frozenset({"proxy", "local"})
"""The errors that say nothing about the endpoint and must not count against it (S7)."""

TIMEOUT = 15.0
KEPT_BYTES = 1024
READ_BYTES = 65_536
KEPT_OPEN = 256
"""Open sockets beyond which no connection is kept for later."""

# aiohttp applies it to the TLS handshake inside of a tunnel as well: one that takes longer counts as the proxy's.
_CONNECT_TO_PROXY = 5.0
# Many servers close an idle connection after 5 s (Node, uvicorn): a delivery that crosses this would be lost.
_IDLE = 4.0
_READ_BUFFER = 16_384
_DETAIL_CHARACTERS = 300
_PROXY_AUTHENTICATION = 407
_SECONDS = re.compile(r"[0-9]{1,9}")
_NO_WAY = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Request(msgspec.Struct, frozen=True):
    """A delivery ready to be sent; ``headers`` hold everything but what belongs to the connection.

    Any other ``method`` than POST is sent without a body. ``wanted`` are the headers that matter in the answer.
    """

    url: str
    headers: Mapping[str, str]
    body: bytes
    verify_tls: bool = True
    method: str = "POST"
    wanted: tuple[str, ...] = ()


class Outcome(msgspec.Struct, frozen=True):
    """How an attempt ended.

    ``status`` is what was answered, or None. ``error`` is a word of ERRORS, or None where the status tells all: an
    answer in full, or one whose body was too long to be read to its end. ``duration`` is in seconds, without the time
    spent waiting for a turn. ``answer`` are the first 1,024 bytes of the body. ``retry_after`` is what the endpoint
    asked for, in seconds from now. ``detail`` is for people: more about the error, without secrets. ``headers`` are
    those of the answer that the request wanted, by the names it gave.
    """

    status: int | None
    error: str | None
    duration: float
    answer: bytes = b""
    retry_after: float | None = None
    detail: str | None = None
    headers: Mapping[str, str] = {}

    @property
    def told(self) -> str | None:
        """What people are told of the error: its word, and more about it."""
        return self.error if self.detail is None else f"{self.error}: {self.detail[:_DETAIL_CHARACTERS]}"

    @property
    def delivered(self) -> bool:
        """Whether the endpoint took it: any 2xx, answered in time."""
        return self.error is None and self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - HTTP's


class _Socket(socket.socket):
    """A socket that is counted while it is open."""

    open = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        type(self).open += 1

    def close(self) -> None:
        self._count_off()
        super().close()

    def detach(self) -> int:
        """How uvloop tells a socket that it has closed it."""
        self._count_off()
        return super().detach()

    def _count_off(self) -> None:
        if self.fileno() >= 0:
            type(self).open -= 1


class Sender:
    """Sends requests; one for each worker. Takes its first request, and is closed, inside one event loop."""

    def __init__(  # noqa: PLR0913 - each has a default
        self,
        policy: Policy,
        *,
        timeout: float = TIMEOUT,
        proxy: str | None = None,
        user_agent: str = f"doorstream/{__version__}",
        tls: ssl.SSLContext | None = None,
        lookup: Lookup | None = None,
        lanes: Lanes | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``timeout`` covers an attempt from its first lookup to the last byte of the answer, in seconds.

        ``proxy`` (``http://user:password@host:port``) is asked for every request. The operator's proxy may be anywhere;
        the target is looked up and checked here before the proxy is asked. The proxy looks it up once more, so it has
        to refuse what it must not reach as well. ``tls`` says which certificates are trusted (by default the system's).
        ``now`` is the time of day, for answers that name a date. Raises ValueError for a proxy that is no http(s) URL.
        """
        self._policy = policy
        self._limit = TimeLimit(timeout)
        self._proxy = None if proxy is None else _proxy(proxy)
        self._user_agent = user_agent
        self._tls: ssl.SSLContext | bool = True if tls is None else tls
        self._resolver = Resolver(policy, lookup)
        self._lanes = Lanes() if lanes is None else lanes
        self._now = now
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._checked = functools.lru_cache(maxsize=4096)(functools.partial(check_url, policy=policy))

    async def send(self, request: Request) -> Outcome:
        """Make one attempt. Raises nothing but CancelledError: what goes wrong is told in the outcome."""
        try:
            url = self._checked(request.url)
            check_headers(request.headers)
        except BadUrl as error:
            return Outcome(None, "blocked", 0.0, detail=str(error))
        except BadHeader as error:
            return Outcome(None, "header", 0.0, detail=str(error))
        lane = await self._lanes.enter(request.url)
        answered = False
        try:
            outcome = await self._attempt(url, request)
            answered = outcome.status is not None
        finally:
            self._lanes.leave(lane, answered=answered)
        return outcome

    async def close(self) -> None:
        """Close all connections; attempts that are under way fail."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _attempt(self, url: URL, request: Request) -> Outcome:
        if self._closed:
            return Outcome(None, "local", 0.0, detail="the sender is closed")
        started = time.perf_counter()
        status, answer, wait = None, b"", None
        headers: Mapping[str, str] = {}
        error: str | None = None
        detail: str | None = None
        try:
            with self._limit.attempt():
                if self._proxy is not None and not is_address(url.raw_host or ""):
                    await self._look_up(url)
                async with self._exchange(url, request) as response:
                    status, wait = response.status, _retry_after(response, self._now)
                    headers = {name: response.headers[name] for name in request.wanted if name in response.headers}
                    error = self._judge_status(url, status)
                    answer = await _read(response)
        except Exception as failure:  # noqa: BLE001 - whatever it is, it must end in the ledger
            error, detail = self._explain(failure)
        return Outcome(status, error, time.perf_counter() - started, answer, wait, detail, headers)

    async def _look_up(self, url: URL) -> None:
        try:
            await self._resolver.resolve(url.raw_host or "")
        except OSError as failure:
            raise _UnknownName(str(failure.strerror)) from None

    def _exchange(self, url: URL, request: Request) -> Any:
        if self._session is None:
            self._session = self._open()
        headers = request.headers
        if _Socket.open > KEPT_OPEN:
            headers = {**headers, "Connection": "close"}
        body = aiohttp.BytesPayload(request.body) if request.method == "POST" else None  # as aiohttp would find out
        return self._session.request(
            request.method,
            url,
            data=body,
            headers=headers,
            allow_redirects=False,
            proxy=self._proxy,
            ssl=self._tls if request.verify_tls else False,
        )

    def _open(self) -> aiohttp.ClientSession:
        resolver = self._resolver if self._proxy is None else Resolver(Policy.of(["0.0.0.0/0", "::/0"]))
        connector = aiohttp.TCPConnector(
            resolver=resolver,
            use_dns_cache=False,  # each connection is checked anew (S2)
            limit=0,  # the lanes set the limits
            keepalive_timeout=_IDLE,
            socket_factory=self._socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TO_PROXY if self._proxy else None),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=_READ_BUFFER,
        )

    def _socket(self, info: Any) -> socket.socket:
        """The last word before a connection: whichever way the address came, it is one that may be reached."""
        family, kind, protocol, _, address = info
        if self._proxy is None:
            check_address(address[0], self._policy)
        return _Socket(family, kind, protocol)

    def _judge_status(self, url: URL, status: int) -> str | None:
        if self._proxy is not None and url.scheme == "http" and status == _PROXY_AUTHENTICATION:
            return "proxy"
        return "redirect" if 300 <= status < 400 else None  # noqa: PLR2004 - HTTP's ranges

    def _explain(self, failure: Exception) -> tuple[str, str | None]:
        """The word and a text for what went wrong."""
        if self._closed:
            return "local", "the sender was closed"
        if self._proxy is not None and _is_of_proxy(failure, URL(self._proxy)):
            return "proxy", _text(failure)
        word = _word(failure)
        if word is None:
            _logger.error("webhook attempt failed", exc_info=failure)
            return "local", type(failure).__name__
        return word, _text(failure)


class _UnknownName(Exception):
    """The target's name has no address, found out before the proxy was asked."""


def _proxy(text: str) -> str:
    url = URL(text)
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("a proxy is given as http://host:port or https://host:port")
    return text


def _is_of_proxy(failure: Exception, proxy: URL) -> bool:
    """Whether the proxy is to blame. aiohttp's own time-out is that of the connection to it, ours is a TimeoutError."""
    match failure:
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError() | aiohttp.ClientConnectorDNSError():
            return True
        case aiohttp.ServerTimeoutError():
            return True
        case aiohttp.ClientConnectorError() | aiohttp.ClientConnectorCertificateError():
            return (failure.host, failure.port) == (proxy.host, proxy.port)
    return False


def _word(failure: Exception) -> str | None:  # noqa: PLR0911 - a table
    match failure:
        case BadUrl() | aiohttp.InvalidURL():
            return "blocked"
        case TimeoutError():
            return "timeout"
        case _UnknownName() | aiohttp.ClientConnectorDNSError():
            return "dns"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "tls"
        case aiohttp.ClientConnectorError():
            return "reset" if isinstance(failure.os_error, ConnectionResetError) else _word_of_system(failure.errno)
        case aiohttp.ClientResponseError():
            return "not http"
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | ConnectionError():
            return "reset"
        case OSError():
            return _word_of_system(failure.errno)
    return None


def _word_of_system(number: int | None) -> str:
    if number == errno.ECONNREFUSED:
        return "refused"
    if number in _NO_ROOM:
        return "local"
    if number == errno.ETIMEDOUT:
        return "timeout"
    return "unreachable" if number is None or number in _NO_WAY else "reset"


def _text(failure: Exception) -> str | None:
    """What may be shown: an aiohttp error's own text can hold the URL, whose query can hold a token."""
    match failure:
        case aiohttp.ClientConnectorCertificateError():
            return str(failure.certificate_error)
        case aiohttp.ClientConnectorError():
            return failure.strerror or type(failure.os_error).__name__
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answered {failure.status}"
        case aiohttp.ClientResponseError():
            return " ".join(failure.message.partition(":")[0].split())  # what follows can be what we sent, echoed
        case BadUrl() | _UnknownName() | ssl.SSLError():
            return str(failure)
    return None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The first bytes of the body. The rest is read up to a limit, so that the connection can be used again."""
    kept, size = b"", 0
    while chunk := await response.content.readany():
        kept += chunk[: KEPT_BYTES - len(kept)]
        size += len(chunk)
        if size >= READ_BYTES:
            response.close()
            break
    return kept


def _retry_after(response: aiohttp.ClientResponse, now: Callable[[], float]) -> float | None:
    """RFC 9110 10.2.3: seconds, or a date; None for anything else."""
    text = response.headers.get("Retry-After")
    if text is None:
        return None
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now())
    except (ValueError, OverflowError):
        return None
