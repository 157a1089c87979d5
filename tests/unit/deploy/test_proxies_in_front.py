"""A real nginx with the shipped configuration in front of a real server: every kind of stream passes through it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import socketio

from doorstream.testing.receiver import Authority
from doorstream.testing.server import Demo, free_port, running_demo

DEPLOY = Path(__file__).parents[3] / "deploy"
TOPIC = "device.request.allowed"
pytestmark = pytest.mark.asyncio(loop_scope="module")  # TLS connections take a moment to close

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_MAIN = """\
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/doorstream.conf;
}}
"""


class Proxied:
    """A server behind nginx: ``demo.url`` is nginx's address."""

    def __init__(self, demo: Demo, directory: Path) -> None:
        self.demo = demo
        self._directory = directory

    @property
    def key(self) -> dict[str, str]:
        return {"X-API-Key": self.demo.credentials["admin"]["api_key"]}

    @property
    def site(self) -> str:
        return f"{self.demo.url}/api/sites/{self.demo.site_id}"

    def said(self, name: str) -> str:
        """A log of nginx."""
        return (self._directory / name).read_text()

    async def put(self, event_id: str) -> None:
        body = {"deviceId": "door-1"}
        await self.demo.api.ingest(
            self.demo.site_id, {"id": event_id, "topic": TOPIC, "occurred": 1_720_000_000_000, "body": body}
        )


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """The shipped configuration with this machine's addresses and places, and nothing else changed."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def configure(directory: Path, upstream: int, port: int) -> Path:
    shutil.copy(DEPLOY / "nginx/doorstream-locations.conf", directory)
    text = replaced(
        (DEPLOY / "nginx/doorstream.conf").read_text(),
        ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/nginx/tls", str(directory)),
        ("/etc/nginx/doorstream-locations.conf", str(directory / "doorstream-locations.conf")),
        ("/var/log/nginx/doorstream.log", str(directory / "access.log")),
    )
    (directory / "doorstream.conf").write_text(text)
    main = directory / "nginx.conf"
    main.write_text(_MAIN.format(directory=directory))
    return main


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxied(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxied]:
    if NGINX is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("missing: Debian's package nginx-light")
    directory = tmp_path_factory.mktemp("nginx")
    directory.chmod(0o755)
    authority = Authority()
    for name, content in zip(("fullchain.pem", "privkey.pem"), authority.issue("127.0.0.1"), strict=True):
        (directory / name).write_bytes(content)
    port, upstream = free_port(), free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", authority.client())
        url = f"https://127.0.0.1:{port}"
        async with running_demo(public_url=url, trusted_proxies="127.0.0.1", settings={"port": upstream}) as demo:
            assert demo.url == url
            command = [NGINX, "-e", str(directory / "error.log"), "-c", str(configure(directory, upstream, port))]
            process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL)
            try:
                await _answers(demo)
                yield Proxied(demo, directory)
            finally:
                process.terminate()
                await asyncio.wait_for(process.wait(), 10)


async def _answers(demo: Demo) -> None:
    async with asyncio.timeout(15):
        while True:
            try:
                assert (await demo.api.call("GET", "/readyz"))["status"] == "ready"
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]])
async def test_socket_io(proxied: Proxied, transports: list[str]) -> None:
    """Polling, WebSocket, and the change from one to the other."""
    client = socketio.AsyncClient(http_session=aiohttp.ClientSession())
    received: asyncio.Queue[str] = asyncio.Queue()
    client.on(TOPIC, lambda event: received.put_nowait(event["id"]))
    address = f"{proxied.demo.url}?systemId={proxied.demo.site_id}&token={await proxied.demo.system_token()}"
    wanted = f"through-{'-'.join(transports)}"
    try:
        await client.connect(address, transports=transports, wait_timeout=20)
        assert (await client.call("subscribeIsolated", {"topics": [TOPIC]}))["ok"]  # from here on, so before the event
        await proxied.put(wanted)
        async with asyncio.timeout(10):
            while await received.get() != wanted:
                pass
        assert client.transport() == transports[-1]
    finally:
        await client.disconnect()
        await client.eio.http.close()


async def test_events_come_as_they_happen(proxied: Proxied) -> None:
    """Nginx keeps nothing back: neither what goes out as server-sent events, nor an upload that is not complete yet."""
    more = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield b'{"id": "first-line", "topic": "x.test", "occurred": 1720000000000, "body": {}}\n'
        await more.wait()
        yield b'{"id": "second-line", "topic": "x.test", "occurred": 1720000000000, "body": {}}\n'

    async with aiohttp.ClientSession(headers=proxied.key) as session, session.get(f"{proxied.site}/stream") as stream:
        headers = {"Content-Type": "application/x-ndjson"}
        upload = asyncio.create_task(_answer(session.post(f"{proxied.site}/events", data=lines(), headers=headers)))
        async with asyncio.timeout(10):
            while b"first-line" not in await stream.content.readline():
                assert not upload.done()
            more.set()
            while b"second-line" not in await stream.content.readline():
                pass
        assert (await upload)["accepted"] == 2


async def _answer(request: Any) -> dict[str, Any]:
    async with request as response:
        found: dict[str, Any] = await response.json()
        return found


async def test_a_large_upload_passes(proxied: Proxied) -> None:
    """Nginx's own limit is 1 MB."""
    body = {"text": "x" * 2000}
    events = [{"id": f"large-{n}", "topic": "x.large", "occurred": 1_720_000_000_000, "body": body} for n in range(900)]
    data = io.BytesIO(json.dumps(events).encode())
    async with aiohttp.ClientSession(headers={**proxied.key, "Content-Type": "application/json"}) as session:
        assert (await _answer(session.post(f"{proxied.site}/events", data=data)))["accepted"] == 900


async def test_discovery_names_the_proxy(proxied: Proxied) -> None:
    found = await proxied.demo.api.call("GET", "/.well-known/openid-configuration")
    assert found["issuer"].rstrip("/") == proxied.demo.url
    assert all(value.startswith(proxied.demo.url) for key, value in found.items() if key.endswith("_endpoint"))


async def test_the_log_of_the_proxy_holds_no_token(proxied: Proxied) -> None:
    """Tokens travel in queries, and nginx's own format would write them down."""
    token = await proxied.demo.system_token()
    async with aiohttp.ClientSession() as session:
        address = f"{proxied.demo.url}/socket.io/?EIO=4&transport=polling&systemId={proxied.demo.site_id}&token={token}"
        async with session.get(address) as response:
            assert response.status == 200
        async with asyncio.timeout(10):
            while "/socket.io/" not in proxied.said("access.log"):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)
    assert "eyJ" not in proxied.said("access.log")
    assert "token=" not in proxied.said("access.log")
    assert proxied.said("error.log") == ""
