"""SAL-10: every client idles for two minutes, all at the same time, so that the wait is paid once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from signalr_program import SKIP, Program, access_token, hub_client, hub_url
from signalr_python import python_client

from doorstream.testing.server import running_demo

IDLE = 125.0


@pytest.mark.browser
async def test_sal_10_idle_for_two_minutes() -> None:
    """Clients give up after 30 s of silence, and so do we: either must hear from the other."""
    async with running_demo() as demo, AsyncExitStack() as stack:
        url, token = hub_url(demo), await access_token(demo)
        clients = {
            "node": hub_client(url, token=token, options=SKIP),
            "node, MessagePack": hub_client(url, token=token, messagepack=True),
            "chromium": hub_client(url, token=token, browser=True, options=SKIP),
            "chromium, stateful": hub_client(url, token=token, browser=True, stateful=True, reconnect=True),
            "pysignalr": python_client("pysignalr", url, token=token),
            "signalrcore": python_client("signalrcore", url, token=token, pings=True),
            "signalrcore, direct": python_client("signalrcore", url, token=token, mode="skip", pings=True),
        }
        programs: dict[str, Program] = {}
        for name, client in clients.items():
            programs[name] = await stack.enter_async_context(client)
        for program in programs.values():
            await program.tells("connected")
        told = {name: list(program.told) for name, program in programs.items()}
        await asyncio.sleep(IDLE)
        assert {name: program.told for name, program in programs.items()} == told, "nobody noticed anything"
        event = {"id": "after", "topic": "device.request.allowed", "occurred": 1_720_000_000_000, "body": {}}
        await demo.api.ingest(demo.site_id, event)
        for program in programs.values():
            await program.tells("message")
            assert program.ids == ["after"]
