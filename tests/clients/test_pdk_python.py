"""Programs on ``python-socketio``, whose handlers take one parameter (D13)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import socketio
from pdk_programs import ALLOWED, OPENED, assert_calm, put, seconds_left
from python_program import PATIENCE, Program, program

from doorstream.testing.server import Demo, running_demo

TTL = 5.0
"""Seconds: long enough for what is done with a fresh token."""
TRANSPORTS = [["polling", "websocket"], ["websocket"], ["polling"]]
every_transport = pytest.mark.parametrize("transports", TRANSPORTS, ids=["default", "websocket", "polling"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for all tests of this file."""
    async with running_demo(system_token_ttl=TTL) as demo:
        yield demo
        assert_calm(demo)


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
        await asyncio.sleep(TTL + 0.1)
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
        await running.until(lambda: running.told.count("connect") >= 2)
        await running.client.call("subscribeIsolated", {"topics": []})
        await put(demo, "back-2")
        await running.until(lambda: "back-2" in running.ids)
        assert running.ids == ["back-1", "back-2"]


async def test_refused(demo: Demo) -> None:
    """The program learns why."""
    running = Program(demo, [])
    with pytest.raises(socketio.exceptions.ConnectionError):
        await running.client.connect(f"{demo.url}?token=forged", transports=["websocket"], wait_timeout=PATIENCE)
    await running.until(lambda: running.told)
    assert running.told == ["refused: {'message': 'invalid token'}"]
    await running.end()
