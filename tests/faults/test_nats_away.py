"""NATS is away: ingest is told so at once, live clients stay and lose nothing, and nothing hangs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from faults_support import (
    PDK_TOPICS,
    Feeder,
    SocketIOReader,
    SseReader,
    check_acknowledged,
    children_of,
    difference,
    event,
    history,
    running,
    serving,
    until,
)

from doorstream.testing.nats import NatsServer, nats_server
from doorstream.testing.server import Demo, running_demo

PROMPTLY = 15.0  # REQUEST_TIMEOUT, and what a busy machine adds
WORKER_STARTS_WITHIN = 40.0  # and answers that it is recovering
BACK_WITHIN = 60.0


async def ask(url: str, path: str, key: str = "", *, within: float = PROMPTLY, **request: object) -> int:
    """The status of an answer, which must come soon."""
    began = time.monotonic()
    method = "POST" if request else "GET"
    async with (
        aiohttp.ClientSession(headers={"X-API-Key": key}) as session,
        session.request(method, url + path, **request) as response,  # type: ignore[arg-type]
    ):
        await response.read()
    assert time.monotonic() - began < within, f"{path} took too long"
    if response.status == 503:
        assert int(response.headers["Retry-After"]) > 0
        assert response.content_type == "application/problem+json"
    return response.status


class Watch:
    """What the clients of a server see while its log is away."""

    def __init__(self, demo: Demo, token: str) -> None:
        self.demo, self.site, self.key = demo, demo.site_id, demo.credentials["admin"]["api_key"]
        self.sse = SseReader(demo.url, self.key, self.site)
        self.socket = SocketIOReader(demo.url, self.site, token, PDK_TOPICS)
        self.feeder = Feeder(demo.url, self.key, self.site, "fed")

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Have events go in and out."""
        feeding = asyncio.create_task(self.feeder.run())
        async with running(self.sse.run(), self.socket.run()):
            await until(lambda: self.sse.is_open and self.socket.is_open and self.feeder.acknowledged, 60)
            await asyncio.sleep(0.5)
            yield
            acknowledged = len(self.feeder.acknowledged)
            await until(lambda: len(self.feeder.acknowledged) > acknowledged, BACK_WITHIN)
            self.feeder.stopping = True
            await asyncio.wait_for(feeding, BACK_WITHIN)
            await self.demo.api.ingest(self.site, event("end"))
            await until(lambda: "end" in self.sse.ids and "end" in self.socket.ids, BACK_WITHIN)
            await self.check()

    async def check(self) -> None:
        """Nothing was lost, doubled or disturbed, and every answer came soon."""
        log = await history(self.demo.api, self.site)
        check_acknowledged([self.feeder], log)
        for reader, topics in ((self.sse, None), (self.socket, PDK_TOPICS)):
            assert reader.opened == 1, "a client was disconnected"
            wanted = [each for each, (topic, _) in log.items() if topics is None or topic in topics]
            missed = wanted.index(reader.ids[0])  # the feeder was quicker than the client
            assert reader.ids == wanted[missed:], difference(wanted[missed:], reader.ids)
        assert self.feeder.slowest < PROMPTLY
        assert set(self.feeder.statuses) == {200, 503}
        assert "Traceback" not in self.demo.errors

    async def ask_everything(self) -> None:
        """Every kind of request is answered, and says how it stands."""
        events = f"/api/sites/{self.site}/events"
        answers = await asyncio.gather(
            ask(self.demo.url, events, self.key, json=event("away")),
            ask(self.demo.url, events, self.key, json=[event("away-1"), event("away-2")]),
            ask(self.demo.url, events, self.key),
            ask(self.demo.url, "/readyz"),
            ask(self.demo.url, "/healthz"),
            ask(self.demo.url, f"/api/sites/{self.site}/devices", self.key),
        )
        assert answers == [503, 503, 503, 503, 200, 200]


@pytest.fixture
async def nats() -> AsyncIterator[NatsServer]:
    """Somebody else's NATS."""
    async with nats_server() as server:
        yield server


async def test_nats_does_not_answer_for_long(nats: NatsServer, tmp_path: Path) -> None:
    """Both take their time, so they are waited for together."""
    await asyncio.gather(paused_for_30_seconds(nats), embedded_and_hanging(tmp_path))


async def paused_for_30_seconds(nats: NatsServer) -> None:
    """Its sockets stay open and nobody answers: the worst kind of being away, at full length."""
    async with running_demo(nats_url=nats.url) as demo:
        watch = Watch(demo, await demo.system_token())
        async with watch.watching():
            await nats.pause()
            began = time.monotonic()
            while time.monotonic() - began < 29 - PROMPTLY:
                await watch.ask_everything()
                await asyncio.sleep(1)
            await asyncio.sleep(30 - (time.monotonic() - began))
            nats.resume()


async def embedded_and_hanging(tmp_path: Path) -> None:
    """It is there and does not answer, and would never again: SIGTERM does not reach it, so it is killed."""
    async with serving(tmp_path) as (server, site):
        reader = SseReader(server.url, server.key, site)
        async with running(reader.run()):
            await until(lambda: reader.is_open, 60)
            hanging = next(pid for pid, name in children_of(server.pid).items() if name == "nats-server")
            os.kill(hanging, signal.SIGSTOP)
            path = f"/api/sites/{site}/events"
            deadline = time.monotonic() + 60
            while await ask(server.url, path, server.key, json=event("repeated")) != 200:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
            assert list(await history(server.api, site)) == ["repeated"]
            await until(lambda: reader.ids == ["repeated"], 60)
            assert reader.opened == 1
            assert hanging not in children_of(server.pid)


@pytest.mark.parametrize("end", ["kill", "terminate"])
async def test_nats_is_gone_for_some_seconds(nats: NatsServer, end: str) -> None:
    """Nobody listens at its address, then it is back with the same store."""
    how: dict[str, Callable[[], Awaitable[None]]] = {"kill": nats.kill, "terminate": nats.terminate}
    async with running_demo(nats_url=nats.url) as demo:
        watch = Watch(demo, await demo.system_token())
        async with watch.watching():
            await how[end]()
            for _ in range(5):
                await watch.ask_everything()
                await asyncio.sleep(0.3)
            await nats.start()


async def test_a_worker_that_starts_without_nats(nats: NatsServer) -> None:
    """It says that it is recovering, and needs nobody to go on when NATS is back."""
    async with running_demo(nats_url=nats.url) as demo:
        key, site = demo.credentials["admin"]["api_key"], demo.site_id
        reader = SseReader(demo.url, key, site)
        async with running(reader.run()):
            await until(lambda: reader.is_open, 60)
            await demo.api.ingest(site, event("before"))
            await until(lambda: reader.ids == ["before"], 60)
            await nats.terminate()
            await asyncio.to_thread(demo.kill_worker)
            path = f"/api/sites/{site}/events"
            assert await ask(demo.url, path, key, within=WORKER_STARTS_WITHIN, json=event("during")) == 503
            assert await ask(demo.url, "/api/sites", key) == 503
            await nats.start()
            deadline = time.monotonic() + BACK_WITHIN
            while await ask(demo.url, path, key, json=event("after")) != 200:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
            await until(lambda: reader.ids == ["before", "after"], 60)
