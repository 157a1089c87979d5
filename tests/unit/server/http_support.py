"""Talking to a running demo over HTTP as a program without our libraries would."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import aiohttp

from doorstream.testing.server import Demo

NDJSON = "application/x-ndjson"
_PATIENCE = 20.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def problem(self) -> str:
        """The last part of a problem document's type; the document is as RFC 9457 says."""
        assert self.headers["Content-Type"] == "application/problem+json", self
        assert {"type", "title", "status", "detail"} <= set(self.body)
        assert self.body["status"] == self.status
        assert "Traceback" not in self.body["detail"]
        assert ".py" not in self.body["detail"]
        return str(self.body["type"]).rpartition(":")[2]


async def ask(
    demo: Demo, method: str, path: str, *, key: str | None = "", headers: Mapping[str, str] | None = None, **more: Any
) -> Answer:
    """One request, with the administrator's key unless another is given (None: with none)."""
    key = demo.credentials["admin"]["api_key"] if key == "" else key
    sent = ({"X-API-Key": key} if key is not None else {}) | dict(headers or {})
    if isinstance(more.get("data"), bytes):
        more["data"] = BytesIO(more["data"])
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_PATIENCE), auto_decompress=False) as session,
        session.request(method, demo.url + path, headers=sent, **more) as response,
    ):
        body = await response.read()
        is_json = response.content_type.endswith("json") and body
        return Answer(response.status, response.headers, json.loads(body) if is_json else body)


async def put(demo: Demo, body: Any, content_type: str = "application/json", site: str = "", **more: Any) -> Answer:
    """Put something in, as it is if it is bytes or a stream, else as JSON."""
    data = body if isinstance(body, bytes) or hasattr(body, "__aiter__") else json.dumps(body).encode()
    headers = {"Content-Type": content_type} | more.pop("headers", {})
    return await ask(demo, "POST", events_path(demo, site), data=data, headers=headers, **more)


async def read(demo: Demo, site: str = "", **query: Any) -> Answer:
    """Read the history."""
    return await ask(demo, "GET", events_path(demo, site), params=query)


def events_path(demo: Demo, site: str = "") -> str:
    return f"/api/sites/{site or demo.site_id}/events"


def lines(*events: Any) -> bytes:
    """NDJSON of these; bytes are lines as they are."""
    return b"".join((each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in events)


def event(event_id: str | None = None, topic: str = "x.test", occurred: Any = 1_780_000_000_000, **more: Any) -> Any:
    """An event to put in."""
    return {"topic": topic, "occurred": occurred, "body": {}} | ({"id": event_id} if event_id else {}) | more


@contextlib.asynccontextmanager
async def websocket(
    demo: Demo, path: str, headers: Mapping[str, str] | None = None, **query: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A WebSocket. What is not received from it stays unsent soon: its buffers are small."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=_small_socket)) as session,
        session.ws_connect(
            demo.url + path,
            params=query,
            headers=headers,
            timeout=aiohttp.ClientWSTimeout(ws_receive=_PATIENCE),
        ) as ws,
    ):
        yield ws


@contextlib.asynccontextmanager
async def pdk_client(demo: Demo, token: str | None = None) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A Socket.IO client whose CONNECT was sent; it gets ``liveEvent``."""
    token = token if token is not None else await demo.system_token()
    async with websocket(demo, "/socket.io/", EIO="4", transport="websocket", token=token) as ws:
        await ws.receive_str()
        await ws.send_str("40")
        yield ws


def _small_socket(info: Any) -> socket.socket:
    family, kind, protocol, *_ = info
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # its size is fixed then
    return made


class Connection:
    """A bare TCP connection, for what no HTTP library would send."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, demo: Demo) -> None:
        self._reader = reader
        self._writer = writer
        self._key = demo.credentials["admin"]["api_key"]

    def request(self, method: str, path: str, **headers: Any) -> None:
        """Send a request's head; underscores in names of headers are hyphens."""
        named = {"Host": "127.0.0.1", "X-API-Key": self._key} | headers
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
        self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode())

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)

    def chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body (RFC 9112, 7.1)."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def answer(self) -> tuple[int, bytes]:
        """The status and the body."""
        async with asyncio.timeout(_PATIENCE):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            return int(head.split()[1]), await self._reader.readexactly(int(length.split(b":")[1]))

    async def read(self, size: int) -> bytes:
        """What came, up to that many bytes."""
        return await self._reader.read(size)

    async def leave(self) -> None:
        """Close in the middle of whatever it is."""
        await self._writer.drain()
        await asyncio.sleep(0.2)  # the other end is to have read it
        self._writer.transport.abort()


@contextlib.asynccontextmanager
async def connection(demo: Demo) -> AsyncIterator[Connection]:
    """A connection that is closed in the end."""
    host, port = demo.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Connection(reader, writer, demo)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
