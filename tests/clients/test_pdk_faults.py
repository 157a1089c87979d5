"""Faults on purpose, as ``doorstream demo`` offers them, and idle connections: seen by the real clients."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from pdk_programs import ALLOWED, KINDS, RECOVERING, assert_calm, program, programs, put

from doorstream.testing.server import running_demo

pytestmark = pytest.mark.node


async def test_drop_connections_every() -> None:
    """Each is cut after that time, again and again, and a recovering client misses nothing for it."""
    async with running_demo(drop_connections_every=0.8) as demo:
        token = await demo.system_token()
        began = time.monotonic()
        # A transport that is lost while it upgrades needs the client's own time-outs; what is tested is the switch.
        async with contextlib.AsyncExitStack() as exits:
            # Nothing is asked of them before the events come: they may be cut before they are told the answer.
            running = {
                kind: await exits.enter_async_context(program(demo, kind, token, topics=[ALLOWED]))
                for kind in (*RECOVERING[1:], "ws")
            }
            for client in running.values():
                await client.tells("connect")
            started = time.monotonic()
            ids: list[str] = []

            def is_enough() -> bool:
                return all(len(running[kind].all("disconnect")) >= 3 for kind in RECOVERING[1:])

            while time.monotonic() < started + 3.5 or not is_enough():
                assert time.monotonic() < started + 60, "they are not cut again and again"
                ids += await put(demo, f"drop-{len(ids)}")
                await asyncio.sleep(0.05)
            for kind in RECOVERING[1:]:
                client = running[kind]
                await client.until(lambda client=client: client.ids[-1:] == ids[-1:])
                assert client.ids == ids[ids.index(client.ids[0]) :], "since it has subscribed"
                assert len(running[kind].all("disconnect")) <= (time.monotonic() - began) / 0.8, "cut too early"
            await running["ws"].tells("disconnect")


async def test_duplicate_rate_and_delay() -> None:
    """Every event twice, in order, and so many seconds after it was acknowledged."""
    async with running_demo(duplicate_rate=1, delay=3) as demo:
        async with programs(demo, ("4-websocket", "2", "ws"), await demo.system_token(), ALLOWED) as running:
            before = time.monotonic()
            await put(demo, "dup-1", "dup-2")
            acknowledged = time.monotonic() - before
            for client in running.values():
                assert await client.receives(4) == ["dup-1", "dup-1", "dup-2", "dup-2"]
            assert time.monotonic() - before >= 3
            assert acknowledged < 2 * 3, "each was acknowledged before it was told"
        assert_calm(demo)


async def test_idle_clients_stay_connected() -> None:
    """Through many heartbeats, which go in opposite directions in the two versions of Engine.IO."""
    async with running_demo(settings={"ping_interval": 0.3, "ping_timeout": 5}) as demo:
        async with programs(demo, KINDS, await demo.system_token(), ALLOWED, beat=300) as running:
            await asyncio.sleep(6)
            await put(demo, "idle-1")
            for kind, client in running.items():
                assert await client.receives(1) == ["idle-1"], kind
                assert not client.all("disconnect"), kind
                assert len(client.all("connect")) == 1, kind
            beating = running["ws"]
            await beating.until(lambda: len([item for item in beating.all("packet") if item["packet"] == "3"]) >= 5)
        assert_calm(demo)
