"""The real clients over TLS, with a certificate of an authority that was made for the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import socketio
from pdk_programs import ALLOWED, KINDS, program, put, subscribed
from python_program import PATIENCE
from signalr_program import SKIP, access_token, hub_client, hub_url

from doorstream.testing.receiver import Authority
from doorstream.testing.server import Demo, running_demo


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """One server for all tests of this file, whose authority everybody trusts here."""
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority()
    chain, key = authority.issue("127.0.0.1")
    (directory / "chain.pem").write_bytes(chain)
    (directory / "key.pem").write_bytes(key)
    (directory / "authority.pem").write_bytes(authority.certificate)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NODE_EXTRA_CA_CERTS", str(directory / "authority.pem"))
        # aiohttp makes its context when it is imported.
        patch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", authority.client())
        async with running_demo(tls_cert=directory / "chain.pem", tls_key=directory / "key.pem") as demo:
            assert demo.url.startswith("https://127.0.0.1:")
            yield demo
            assert "Traceback" not in demo.errors


def passed(event_id: str) -> dict[str, object]:
    """Somebody passes a door."""
    return {"id": event_id, "topic": ALLOWED, "occurred": 1_720_000_000_000, "body": {"deviceId": "door-1"}}


@pytest.mark.node
@pytest.mark.parametrize("kind", KINDS)
async def test_pdk_clients(demo: Demo, kind: str) -> None:
    """socket.io-client 4 and 2, over polling, over WebSocket and changing over; and ``ws``."""
    token = await demo.system_token()
    async with program(demo, kind, token, system_id=demo.site_id, topics=[ALLOWED]) as client:
        await client.tells("connect")
        await subscribed(client, kind)
        await put(demo, f"tls-{kind}")
        await client.until(lambda: f"tls-{kind}" in client.ids)


@pytest.mark.node
@pytest.mark.parametrize("config", [{"options": SKIP}, {}, {"stateful": True, "reconnect": True}])
async def test_signalr(demo: Demo, config: dict[str, object]) -> None:
    """@microsoft/signalr with and without negotiation; what the negotiation names is TLS, too."""
    async with hub_client(hub_url(demo), token=await access_token(demo), **config) as hub:
        await hub.tells("connected")
        event_id = f"tls-{json.dumps(config)}".replace(" ", "")
        await demo.api.ingest(demo.site_id, passed(event_id))
        await hub.until(lambda: event_id in hub.ids)


async def test_python_socketio(demo: Demo) -> None:
    """Polling first, then WebSocket."""
    client = socketio.AsyncClient(http_session=aiohttp.ClientSession(), request_timeout=PATIENCE)
    received: asyncio.Queue[str] = asyncio.Queue()
    client.on(ALLOWED, lambda event: received.put_nowait(event["id"]))
    try:
        address = f"{demo.url}?systemId={demo.site_id}&token={await demo.system_token()}"
        await client.connect(address, wait_timeout=PATIENCE)
        await client.emit("subscribeIsolated", {"topics": [ALLOWED]})
        await put(demo, "tls-python")
        async with asyncio.timeout(PATIENCE):
            while await received.get() != "tls-python":
                pass
    finally:
        await client.disconnect()
        await client.eio.http.close()


async def test_sse_and_history(demo: Demo) -> None:
    """The event as it happens, and afterwards; discovery names addresses that can be used."""
    headers = {"X-API-Key": demo.credentials["admin"]["api_key"]}
    stream = f"{demo.url}/api/sites/{demo.site_id}/stream"
    async with aiohttp.ClientSession(headers=headers) as session, session.get(stream) as response:
        assert response.status == 200
        await demo.api.ingest(demo.site_id, passed("tls-sse"))
        async with asyncio.timeout(PATIENCE):
            while b"tls-sse" not in await response.content.readline():
                pass
    page = await demo.api.call("GET", f"/api/sites/{demo.site_id}/events", params={"limit": "1"})
    assert page["events"][0]["id"] == "tls-sse"
    discovery = await demo.api.call("GET", "/.well-known/openid-configuration")
    assert discovery["issuer"].rstrip("/") == demo.url


async def test_who_speaks_no_tls_gets_nothing(demo: Demo) -> None:
    """A plain request is cut off; the server goes on."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(demo.url.replace("https:", "http:") + "/healthz")
    assert await demo.api.call("GET", "/healthz") == {"status": "ok"}


def test_the_client_file_names_the_address(demo: Demo) -> None:
    """``doorstream tail`` and the like find the demo by it."""
    assert json.loads(Path(demo.data_directory, "client.json").read_text())["url"] == demo.url
