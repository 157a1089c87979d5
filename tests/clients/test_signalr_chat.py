"""The chat example with the unmodified client: send, broadcast, results both ways, streams, in both encodings."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from signalr_program import hub_client

from doorstream.testing.server import free_port

EXAMPLE = Path(__file__).parents[2] / "examples/signalr_chat.py"

pytestmark = pytest.mark.node


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """The example, running."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, EXAMPLE, "--port", str(port))
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            break
    yield f"http://127.0.0.1:{port}/chat"
    process.terminate()
    assert await process.wait() in (0, -15)


@pytest.mark.parametrize("messagepack", [False, True])
@pytest.mark.parametrize("options", [{}, {"skipNegotiation": True, "transport": 1}])
async def test_chat(url: str, messagepack: bool, options: dict[str, object]) -> None:
    kind = {"messagepack": messagepack, "options": options}
    async with hub_client(url, **kind, methods={"Name": "Ann"}) as ann, hub_client(url, **kind) as bob:
        await ann.tells("connected")
        await bob.tells("connected")
        ann.do("invoke", target="Send", args=["ann", "hello"])
        for program in (ann, bob):
            assert (await program.tells("message"))["args"] == ["ann", "hello"]
        assert await ann.tells("result") == {"what": "result", "target": "Send", "value": None}
        ann.do("send", target="Send", args=["ann", "again"])
        assert (await bob.tells("message", 2))["args"] == ["ann", "again"]
        ann.do("invoke", target="Add", args=[1, 2])
        assert (await ann.tells("result", 2))["value"] == 3
        ann.do("invoke", target="Greet", args=[])
        assert (await ann.tells("result", 3))["value"] == "Hello Ann"
        ann.do("invoke", target="Nothing", args=[])
        assert "no such method" in (await ann.tells("failed"))["message"]
        bob.do("stream", target="Count", args=[3, 0])
        assert (await bob.tells("complete"))["items"] == [0, 1, 2]
        bob.do("stream", target="Count", args=[1_000_000, 0.001], stop=2)
        await bob.tells("item", 5)
        bob.do("invoke", target="Add", args=[1, 1])
        await bob.tells("result")
        assert not ann.all("crash")
