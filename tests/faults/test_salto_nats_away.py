"""NATS is away while SignalR clients dial: whoever needs the log is told 503 by HTTP, promptly, and served later."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from doorstream.log import MAX_BATCH
from doorstream.testing.nats import NatsServer, nats_server
from doorstream.testing.server import ApiRefused, Demo, running_demo

ALLOWED = "device.request.allowed"
END = "\x1e"
PROMPTLY = 15.0  # half of what clients wait for: REQUEST_TIMEOUT, and what a busy machine adds
PATIENCE = 60.0
PING = 6
IN_MEMORY = 10_000  # events of the ring
STATEFUL = {"negotiateVersion": "1", "useStatefulReconnect": "true"}


def entry(event_id: str) -> dict[str, Any]:
    """Somebody passes a door."""
    return {"id": event_id, "topic": ALLOWED, "occurred": 1_720_000_000_000, "body": {}}


class Client:
    """Dials the hub of entries at the demo's site, by hand."""

    def __init__(self, session: aiohttp.ClientSession, demo: Demo, token: str) -> None:
        self._session = session
        self._url = f"{demo.url}/v1/hub/entries"
        self._site = demo.site_id
        self._headers = {"Authorization": f"Bearer {token}"}

    def _query(self, more: Mapping[str, str]) -> str:
        return urlencode({"site_id": self._site, **more})

    async def negotiate(self, **query: str) -> tuple[int, dict[str, Any]]:
        """The status of a negotiation and its answer, which must come promptly."""
        began = time.monotonic()
        url = f"{self._url}/negotiate?{self._query(query)}"
        async with self._session.post(url, headers=self._headers) as answer:
            body = await answer.read()
        assert time.monotonic() - began < PROMPTLY
        if answer.status == 503:
            assert int(answer.headers["Retry-After"]) > 0
        return answer.status, json.loads(body) if answer.status == 200 else {}

    async def refused(self, **query: str) -> int:
        """The status with which an upgrade is refused, promptly."""
        began = time.monotonic()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await self._session.ws_connect(f"{self._url}?{self._query(query)}", headers=self._headers)
        assert time.monotonic() - began < PROMPTLY
        if refused.value.status == 503:
            assert refused.value.headers is not None
            assert int(refused.value.headers["Retry-After"]) > 0
        return refused.value.status

    @contextlib.asynccontextmanager
    async def following(self, version: int = 1, **query: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A hub after the handshake."""
        url = f"{self._url}?{self._query(query)}"
        async with self._session.ws_connect(url, headers=self._headers) as socket:
            await socket.send_str(json.dumps({"protocol": "json", "version": version}) + END)
            assert await socket.receive_str(timeout=PATIENCE) == "{}" + END
            yield socket


async def received(socket: aiohttp.ClientWebSocketResponse, number: int) -> list[str]:
    """The ids of the next entries, so many."""
    ids: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while len(ids) < number:
            for record in (await socket.receive_str()).split(END)[:-1]:
                message = json.loads(record)
                if message["type"] == 1:
                    ids.append(json.loads(message["arguments"][0])["id"])
                else:
                    assert message["type"] == PING
    return ids


@pytest.fixture
async def nats() -> AsyncIterator[NatsServer]:
    """Somebody else's NATS."""
    async with nats_server() as server:
        yield server


async def salto_token(demo: Demo) -> str:
    """A token of the demo's site administrator."""
    salto = demo.credentials["salto"]
    user = salto["users"]["site_admin"]
    form = {"grant_type": "password", "username": user["username"], "password": user["password"]}
    form |= {"scope": "user_api.full_access", "client_id": salto["client_id"], "client_secret": salto["client_secret"]}
    answer = await demo.api.call("POST", "/connect/token", data=form, headers={})
    return str(answer["access_token"])


async def back(demo: Demo, event_id: str) -> None:
    """Put an event in as soon as that is possible again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(ApiRefused, aiohttp.ClientError):
                await demo.api.ingest(demo.site_id, entry(event_id))
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("how", ["gone", "silent"])
async def test_who_dials_while_nats_is_away_is_told_so_and_served_later(nats: NatsServer, how: str) -> None:
    """A client that names where it goes on needs the log: 503, whether nobody listens or nobody answers.

    One that begins now needs no log, and is let in: it has what comes when the log is back.
    """
    async with running_demo(nats_url=nats.url) as demo, aiohttp.ClientSession() as session:
        await demo.api.ingest(demo.site_id, entry("before"), entry("missed"))
        client = Client(session, demo, await salto_token(demo))
        status, granted = await client.negotiate(since="before", **STATEFUL)
        assert status == 200
        known = str(granted["connectionToken"])
        filler = {"topic": "x.fault.test", "occurred": 1_720_000_000_000, "body": {}}
        for _ in range(IN_MEMORY // MAX_BATCH + 1):  # until only the log has what was before
            await demo.api.ingest(demo.site_id, *[filler] * MAX_BATCH)
        await (nats.kill() if how == "gone" else nats.pause())
        assert await client.refused(since="before") == 503
        assert await client.refused(id=known) == 503
        assert (await client.negotiate(since="before", **STATEFUL))[0] == 503
        async with client.following() as newcomer:
            if how == "gone":
                await nats.start()
            else:
                nats.resume()
            await back(demo, "after")
            assert await received(newcomer, 1) == ["after"]
        async with client.following(since="before") as again:
            assert await received(again, 2) == ["missed", "after"]
        async with client.following(2, id=known) as again:
            assert await received(again, 2) == ["missed", "after"]
        assert "Traceback" not in demo.errors


async def test_who_dials_a_worker_that_waits_for_nats_is_told_so_and_served_later(nats: NatsServer) -> None:
    """It knows nobody's rights yet: 503 for everybody, also for the negotiation."""
    async with running_demo(nats_url=nats.url) as demo, aiohttp.ClientSession() as session:
        client = Client(session, demo, await salto_token(demo))
        await nats.terminate()
        await asyncio.to_thread(demo.kill_worker)
        assert await client.refused() == 503
        assert (await client.negotiate(negotiateVersion="1"))[0] == 503
        await nats.start()
        await back(demo, "before")
        async with client.following() as socket:
            await demo.api.ingest(demo.site_id, entry("after"))
            assert await received(socket, 1) == ["after"]
