"""What the Python clients of SignalR have of their own: ways to connect, and words for a refusal."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from signalr_program import USER, access_token, hub_url
from signalr_python import python_client

from doorstream.testing.server import Demo, running_demo

MODES = [
    ("pysignalr", "header"),
    ("pysignalr", "query"),
    ("signalrcore", "header"),
    ("signalrcore", "query"),
    ("signalrcore", "skip"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors
        assert "eyJ" not in demo.errors


@pytest.mark.parametrize(("library", "mode"), MODES)
async def test_sal_03_08_09_connect_and_receive(demo: Demo, library: str, mode: str) -> None:
    """SAL-3, 8, 9: with and without negotiation, token in header or query, handshake versions 0 and 1."""
    async with python_client(library, hub_url(demo), token=await access_token(demo), mode=mode) as program:
        await program.tells("connected")
        event = {"id": f"{library}-{mode}", "topic": "device.request.allowed", "occurred": 1, "body": {}}
        await demo.api.ingest(demo.site_id, event)
        assert (await program.tells("message"))["types"] == ["string"]
        assert program.ids == [event["id"]]


@pytest.mark.parametrize(
    ("library", "words"), [("pysignalr", ("AuthorizationError", "403")), ("signalrcore", ("401", "403"))]
)
async def test_sal_04_refused(demo: Demo, library: str, words: tuple[str, str]) -> None:
    """401 for a bad token, 403 for a role that may not see the site: these libraries say which."""
    for token, word in zip(("forged", await access_token(demo, USER)), words, strict=True):
        async with python_client(library, hub_url(demo), token=token) as program:
            assert word in (await program.tells("refused"))["message"]
