"""Tools of the gateway tests: a clock to turn by hand, a raw client, and a real server in the test's loop."""

import asyncio
import contextlib
import heapq
import itertools
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from doorstream.gateway import Gateway
from doorstream.gateway.serve import gateway_app, uvicorn_config
from doorstream.protocols.websocket import Opcode, encode_frame, unmask

MASK = b"\x37\xfa\x21\x3d"


@dataclass(order=True)
class FakeTimer:
    """A call that waits for its time."""

    when: float
    order: int
    callback: Callable[..., Any] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Take it back."""
        self.cancelled = True


class FakeClock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[FakeTimer] = []
        self._order = itertools.count()

    def time(self) -> float:
        """The time shown."""
        return self.now

    def call_at(self, when: float, callback: Callable[..., Any], /) -> FakeTimer:
        """Remember a call."""
        timer = FakeTimer(when, next(self._order), callback)
        heapq.heappush(self.timers, timer)
        return timer

    def turn(self, seconds: float) -> None:
        """Let time pass, and make the calls that fall due, each at its time."""
        end = self.now + seconds
        while self.timers and self.timers[0].when <= end:
            timer = heapq.heappop(self.timers)
            if not timer.cancelled:
                self.now = max(self.now, timer.when)
                timer.callback()
        self.now = end


def client_frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """Build a frame as a client sends it."""
    plain = encode_frame(opcode, payload, fin=fin)
    header = bytearray(plain[: len(plain) - len(payload)])
    header[1] |= 0x80
    return bytes(header) + MASK + unmask(payload, MASK)


class RawClient:
    """A WebSocket client that does what a test says, right or wrong."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""

    def send(self, data: str | bytes) -> None:
        """Send one message."""
        opcode = Opcode.TEXT if isinstance(data, str) else Opcode.BINARY
        self.send_frame(opcode, data.encode() if isinstance(data, str) else data)

    def send_frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> None:
        """Send one frame."""
        self.writer.write(client_frame(opcode, payload, fin=fin))

    async def frame(self) -> tuple[int, bytes]:
        """Read one frame: opcode and payload."""
        first, size = await self.reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.reader.readexactly(8), "big")
        return first & 0x0F, await self.reader.readexactly(size)

    async def receive(self) -> str | bytes:
        """Read one message."""
        opcode, payload = await self.frame()
        assert opcode in {Opcode.TEXT, Opcode.BINARY}, (opcode, payload)
        return payload.decode() if opcode == Opcode.TEXT else payload

    async def closed(self) -> int:
        """Read until the close frame, and give its code."""
        while True:
            opcode, payload = await self.frame()
            if opcode == Opcode.CLOSE:
                return int.from_bytes(payload[:2], "big")

    async def end(self) -> bytes:
        """Read until the server hangs up."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.read()
        return b""

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


class RunningServer:
    """A server for one test."""

    def __init__(self, gateway: Gateway, server: uvicorn.Server, port: int) -> None:
        self.gateway = gateway
        self.server = server
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.clients: list[RawClient] = []

    async def connect(self) -> RawClient:
        """Open a connection and say nothing."""
        client = RawClient(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def request(self, target: str = "/", *, extra: bytes = b"", **headers: str) -> RawClient:
        """Open a connection, ask for an upgrade, and read the head of the answer."""
        client = await self.connect()
        lines = [
            f"GET {target} HTTP/1.1",
            "Host: server",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        ]
        client.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + extra)
        client.head = await client.reader.readuntil(b"\r\n\r\n")
        return client

    async def open(self, target: str = "/", **headers: str) -> RawClient:
        """Open a WebSocket."""
        client = await self.request(target, **headers)
        assert client.head.startswith(b"HTTP/1.1 101 "), client.head
        return client


Start = Callable[..., Awaitable[RunningServer]]


async def start_server(gateway: Gateway, app: Any = None, **settings: Any) -> tuple[RunningServer, asyncio.Task[None]]:
    """Start a server on a port of its own; the task ends when `should_exit` was set."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    settings = {"timeout_graceful_shutdown": 3, "log_level": "warning", **settings}
    server = uvicorn.Server(uvicorn_config(app or gateway_app(gateway), **settings))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    running = RunningServer(gateway, server, listener.getsockname()[1])
    await eventually(lambda: server.started)
    return running, task


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something is so; the test's time-out is the limit."""
    while not condition():  # noqa: ASYNC110 - most of these conditions have no event
        await asyncio.sleep(0.002)
