"""A receiver of webhooks that can misbehave in every way, for tests of whatever sends requests.

It listens on a real socket of this machine, notes every request, and answers as it is told::

    async with Receiver() as receiver:
        receiver.plan(Answer(500), Answer(429, {"Retry-After": "7"}), Answer())   # the last one stays
        ...                                                                        # send to receiver.url
        assert [request.body for request in receiver.requests] == [...]

It is a bare protocol over ``httptools``, so that it is not what a measurement measures: tens of thousands of
requests per second on one core.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import struct
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import httptools
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_ADDRESS = "127.0.0.1"
_TRAP = "/trap"
_YEARS = dt.timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Received:
    """One request: when its last byte came (seconds since 1970), its target, headers by lower-case names, its body."""

    time: float
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a plan may do with one request: ``write`` bytes, or break the connection."""

    receiver: Receiver
    request: Received
    transport: asyncio.Transport
    drained: Callable[[], Awaitable[None]]

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.transport.write(data)

    def reset(self) -> None:
        """Break the connection with a TCP reset, once what was written has left."""
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer after ``delay`` seconds: ``Answer(410)``, ``Answer(503, {"Retry-After": "7"})``."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0

    def encoded(self) -> bytes:
        """The bytes of the answer."""
        return _head(self.status, {**self.headers, "Content-Length": str(len(self.body))}) + self.body

    async def play(self, exchange: Exchange) -> None:
        """Wait and answer."""
        await asyncio.sleep(self.delay)
        exchange.write(self.encoded())


@dataclass(frozen=True, slots=True)
class Redirect:
    """Point elsewhere: by default to the receiver's own trap, whose visits are in ``Receiver.trapped``."""

    status: int = 302
    to: str | None = None

    async def play(self, exchange: Exchange) -> None:
        """Answer with the place."""
        place = exchange.receiver.trap_url if self.to is None else self.to
        exchange.write(Answer(self.status, {"Location": place}).encoded())


@dataclass(frozen=True, slots=True)
class Hang:
    """Take the request and never answer."""

    async def play(self, _: Exchange) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the connection: before the answer, or in the middle of its body, after ``sent`` bytes of a longer one."""

    in_body: bool = True
    sent: bytes = b"x" * 100

    async def play(self, exchange: Exchange) -> None:
        """Write what is to be written and reset."""
        if self.in_body:
            exchange.write(_head(200, {"Content-Length": str(2 * len(self.sent) + 1)}) + self.sent)
        exchange.reset()


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection in the proper way, without an answer."""

    async def play(self, exchange: Exchange) -> None:
        """Close."""
        exchange.transport.close()


@dataclass(frozen=True, slots=True)
class Raw:
    """Answer with these bytes, HTTP or not, and close."""

    data: bytes

    async def play(self, exchange: Exchange) -> None:
        """Write and close."""
        exchange.write(self.data)
        exchange.transport.close()


@dataclass(frozen=True, slots=True)
class Endless:
    """A body that never ends: ``chunk`` again and again, as fast as it is taken or every ``pause`` seconds."""

    status: int = 200
    chunk: bytes = b"x" * 16_384
    pause: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)

    async def play(self, exchange: Exchange) -> None:
        """Write until the other side has gone."""
        exchange.write(_head(self.status, {**self.headers, "Transfer-Encoding": "chunked"}))
        part = b"%x\r\n%b\r\n" % (len(self.chunk), self.chunk)
        while not exchange.transport.is_closing():
            exchange.write(part)
            exchange.receiver.endless_bytes += len(self.chunk)
            await asyncio.sleep(self.pause)
            await exchange.drained()


Plan = Answer | Redirect | Hang | Reset | Disconnect | Raw | Endless


class Receiver:
    """The receiver. ``tls`` makes it speak TLS: see ``Authority``; ``answer`` is what it answers unless told otherwise.

    ``requests`` are all requests in the order in which they came, ``trapped`` those to the trap, which are not among
    them. ``open`` is how many connections there are now, ``accepted`` how many there were. ``endless_bytes`` is how
    much of endless bodies was written.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, answer: Plan | None = None) -> None:
        self.requests: list[Received] = []
        self.trapped: list[Received] = []
        self.open = 0
        self.accepted = 0
        self.endless_bytes = 0
        self._tls = tls
        self._plans: dict[str | None, deque[Plan]] = {None: deque([answer or Answer()])}
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._port = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        """Where it listens; the same after a restart."""
        return self._port

    @property
    def origin(self) -> str:
        """Scheme, address and port."""
        return f"{'https' if self._tls else 'http'}://{_ADDRESS}:{self._port}"

    @property
    def url(self) -> str:
        """An address to send to. Any other path does as well."""
        return f"{self.origin}/hook"

    @property
    def trap_url(self) -> str:
        """Where nobody should come."""
        return self.origin + _TRAP

    def plan(self, *plans: Plan, path: str | None = None) -> None:
        """Answer the next requests (to this path, or to all that have no plan of their own) so; the last plan stays."""
        if not plans:
            raise ValueError("at least one plan")
        self._plans[path] = deque(plans)

    async def start(self) -> None:
        """Listen: at the first time on any free port, then on the same again."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), _ADDRESS, self._port, ssl=self._tls)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and break all connections. What was noted stays."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._connections):
                connection.abort()
            await self._server.wait_closed()
            self._server = None

    def _take(self, request: Received) -> Plan:
        """Note a request and say what is to be done with it."""
        if request.path == _TRAP:
            self.trapped.append(request)
            return Answer()
        self.requests.append(request)
        plans = self._plans.get(request.path) or self._plans[None]
        return plans.popleft() if len(plans) > 1 else plans[0]


class _Connection(asyncio.Protocol):
    """One connection of a sender; requests of one connection are answered one after the other."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._waiting: deque[Received] = deque()
        self._playing: asyncio.Task[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are of no common class
        self._receiver.open += 1
        self._receiver.accepted += 1
        self._receiver._connections.add(self)  # noqa: SLF001 - of one module

    def connection_lost(self, _: Exception | None) -> None:
        self._receiver.open -= 1
        self._receiver._connections.discard(self)  # noqa: SLF001 - of one module
        self._may_write.set()
        if self._playing is not None:
            self._playing.cancel()

    def abort(self) -> None:
        """Break it."""
        self._transport.abort()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    async def _drained(self) -> None:
        await self._may_write.wait()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # CONNECT: what follows is no HTTP
            pass
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        """Of httptools."""
        self._target, self._headers, self._body = b"", {}, []

    def on_url(self, url: bytes) -> None:
        """Of httptools."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of httptools. Repeated headers are joined, as RFC 9110 5.3 allows."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_body(self, body: bytes) -> None:
        """Of httptools."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Of httptools: answer at once where that is possible, for it is what a fast receiver does."""
        method = self._parser.get_method().decode()
        request = Received(time.time(), method, self._target.decode("latin-1"), self._headers, b"".join(self._body))
        if self._playing is not None:
            self._waiting.append(request)
        else:
            self._answer(request)

    def _answer(self, request: Received) -> None:
        plan = self._receiver._take(request)  # noqa: SLF001 - of one module
        if isinstance(plan, Answer) and not plan.delay:
            self._transport.write(plan.encoded())
            self._close_if_asked(request)
            return
        self._playing = asyncio.get_running_loop().create_task(self._play(plan, request))

    async def _play(self, plan: Plan, request: Received) -> None:
        with contextlib.suppress(OSError):  # the other side has gone meanwhile
            await plan.play(Exchange(self._receiver, request, self._transport, self._drained))
        self._playing = None
        self._close_if_asked(request)
        while self._waiting and self._playing is None:
            self._answer(self._waiting.popleft())

    def _close_if_asked(self, request: Received) -> None:
        if request.headers.get("connection", "").lower() == "close":
            self._transport.close()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode("latin-1")


class Authority:
    """A certificate authority of its own, made anew each time, for receivers that speak TLS."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _name("doorstream test authority")
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        self._certificate = (
            _builder(name, name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def server(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """What a receiver needs that has a certificate for these names and addresses; ``Receiver.url`` has 127.0.0.1.

        A wrong name is one that is not asked for; ``expired`` makes the certificate end yesterday.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as directory:  # the ssl module reads keys from files only
            path = Path(directory) / "both.pem"
            path.write_bytes(b"".join(self.issue(*names, expired=expired)))
            context.load_cert_chain(path)
        return context

    def issue(self, *names: str, expired: bool = False) -> tuple[bytes, bytes]:
        """A certificate for these names and addresses and its key, both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name(names[0]), self._certificate.subject, key.public_key(), expired=expired)
            .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def client(self) -> ssl.SSLContext:
        """What a sender needs that trusts this authority and no other."""
        return ssl.create_default_context(cadata=self.certificate.decode())

    @property
    def certificate(self) -> bytes:
        """The authority's own certificate, PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, expired: bool = False
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 3 * day)
        .not_valid_after(now - day if expired else now + _YEARS)
    )
