"""A PDK program on ``python-socketio``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import socketio
from pdk_programs import ALLOWED, OPENED

from doorstream.testing.server import Demo

PATIENCE = 60.0


class Program:
    """What somebody writes who has read the vendor's page and knows Python."""

    def __init__(self, demo: Demo, topics: list[str], *, renews: bool = True) -> None:
        self.session = aiohttp.ClientSession()  # the library forgets to close its own after a lost connection
        self.client = socketio.AsyncClient(
            reconnection_delay=0.1,
            reconnection_delay_max=0.3,
            http_session=self.session,
            request_timeout=PATIENCE,
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
    address = f"{demo.url}?systemId={demo.site_id}&token={token}"
    await program.client.connect(address, transports=transports, wait_timeout=PATIENCE)
    await program.until(lambda: "connect" in program.told)
    await program.client.call("subscribeIsolated", {"topics": []})
    try:
        yield program
    finally:
        await program.end()
