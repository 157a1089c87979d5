"""Programs on ``python-socketio``, whose handlers take one parameter (D13)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import socketio
from pdk_programs import ALLOWED, OPENED, put, seconds_left

from doorstream.testing.server import Demo, running_demo

PATIENCE = 15.0
TRANSPORTS = [["polling", "websocket"], ["websocket"], ["polling"]]
every_transport = pytest.mark.parametrize("transports", TRANSPORTS, ids=["default", "websocket", "polling"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for all tests of this file."""
    async with running_demo(system_token_ttl=2) as demo:
        yield demo
        assert "Traceback" not in demo.errors
        assert "eyJ" not in demo.errors


class Program:
    """What somebody writes who has read the vendor's page and knows Python."""

    def __init__(self, demo: Demo, topics: list[str], *, renews: bool = True) -> None:
        self.session = aiohttp.ClientSession()  # the library forgets to close its own after a lost connection
        self.client = socketio.AsyncClient(
            reconnection_delay=0.1, reconnection_delay_max=0.3, http_session=self.session
        )
        self.ids: list[str] = []
        self.told: list[str] = []
        self.changed = asyncio.Event()
        client = self.client

        @client.event
        async def connect() -> None:
            if topics:
                await client.emit("subscribeIsolated", {"topics": topics})
            self.note("connect")

        @client.on(ALLOWED)
        @client.on(OPENED)
        async def happened(event: dict[str, Any]) -> None:
            self.ids.append(event["id"])
            self.changed.set()

        @client.on("liveEvent")
        def live(event: dict[str, Any]) -> None:
            self.note(event["topic"])

        @client.on("invalidToken")
        async def renew(_: dict[str, Any]) -> None:
            self.note("invalidToken")
            if renews:
                await client.emit("renewedToken", {"token": await demo.system_token()})

        @client.event
        def connect_error(data: Any) -> None:
            self.note(f"refused: {data}")

    def note(self, what: str) -> None:
        """Keep what happened."""
        self.told.append(what)
        self.changed.set()

    async def end(self) -> None:
        """Disconnect for good."""
        await self.client.shutdown()
        await self.session.close()

    async def until(self, condition: Any) -> None:
        """Wait for something to have happened."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def program(demo: Demo, token: str, transports: list[str], *topics: str, **more: Any) -> AsyncIterator[Program]:
    """A connected program that has subscribed."""
    program = Program(demo, list(topics), **more)
    await program.client.connect(f"{demo.url}?systemId={demo.site_id}&token={token}", transports=transports)
    await program.until(lambda: "connect" in program.told)
    await program.client.call("subscribeIsolated", {"topics": []})
    try:
        yield program
    finally:
        await program.end()


@every_transport
async def test_handlers_with_one_parameter(demo: Demo, transports: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """They fail on a second one, with a traceback in the program's log: so there is none, and no pid."""
    async with program(demo, await demo.system_token(), transports, ALLOWED, OPENED) as running:
        name = transports[0] + str(len(transports))
        ids = await put(demo, f"{name}-1", f"{name}-2")
        ids += await put(demo, f"{name}-3", topic=OPENED)
        await running.until(lambda: len(running.ids) >= 3)
        assert running.ids == ids
    assert "Traceback" not in caplog.text


async def test_pdk_09_live_event(demo: Demo) -> None:
    """Without a subscription."""
    async with program(demo, await demo.system_token(), ["websocket"]) as running:
        await put(demo, "live-1", topic=OPENED)
        await put(demo, "live-2")
        await running.until(lambda: ALLOWED in running.told)
        assert running.ids == []


async def test_pdk_10_13_expired_at_the_door_and_again_later(demo: Demo) -> None:
    """PDK-10 and PDK-13: connects with a token that is over, renews, is complete; and the same when that one ends."""
    token = await demo.system_token()
    await asyncio.sleep(seconds_left(token))
    async with contextlib.AsyncExitStack() as exits:
        programs = [
            await exits.enter_async_context(program(demo, token, transports, ALLOWED)) for transports in TRANSPORTS
        ]
        ids = await put(demo, "expired-1", "expired-2")
        for running in programs:
            await running.until(lambda running=running: len(running.ids) >= 2)
        await asyncio.sleep(2.1)
        ids += await put(demo, "expired-3", "expired-4")
        for running in programs:
            await running.until(lambda running=running: len(running.ids) >= 4)
            assert running.ids == ids
            assert running.told.count("invalidToken") == 2


async def test_it_comes_back_by_itself(demo: Demo) -> None:
    """With its first token, which may be over; it has no recovery, and nothing comes twice."""
    token = await demo.system_token()
    async with program(demo, token, ["websocket"], ALLOWED) as running:
        await put(demo, "back-1")
        await running.until(lambda: running.ids)
        await running.client.eio.ws.close()
        await running.until(lambda: running.told.count("connect") == 2)
        await running.client.call("subscribeIsolated", {"topics": []})
        await put(demo, "back-2")
        await running.until(lambda: "back-2" in running.ids)
        assert running.ids == ["back-1", "back-2"]


async def test_refused(demo: Demo) -> None:
    """The program learns why."""
    running = Program(demo, [])
    with pytest.raises(socketio.exceptions.ConnectionError):
        await running.client.connect(f"{demo.url}?token=forged", transports=["websocket"], wait_timeout=5)
    await running.until(lambda: running.told)
    assert running.told == ["refused: {'message': 'invalid token'}"]
    await running.end()
