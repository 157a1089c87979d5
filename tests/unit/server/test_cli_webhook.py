"""``doorstream webhook``, against a running demo and a receiver."""

from __future__ import annotations

import asyncio
import os
import sys

from doorstream.testing import until
from doorstream.testing.receiver import Answer, Receiver
from doorstream.testing.server import Demo, running_demo


async def run(demo: Demo, *arguments: str, status: int = 0) -> str:
    """Run a command; returns what it printed."""
    environment = os.environ | {
        "DOORSTREAM_URL": demo.url,
        "DOORSTREAM_API_KEY": demo.credentials["admin"]["api_key"],
        "COLUMNS": "300",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "doorstream",
        "webhook",
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == status, output
    return output.decode()


async def test_a_webhook_by_command() -> None:
    async with Receiver() as receiver, running_demo() as demo:
        made = await run(demo, "add", receiver.url, "--topic", "x.*", "--header", "X-Key: value", "--name", "mine")
        assert "whsec_" in made
        webhook = made.split()[2]
        assert "mine" in await run(demo, "list")
        receiver.plan(Answer(500, body=b"broken"), Answer(410), Answer(200))
        assert "500" in await run(demo, "test", webhook, status=1)
        await demo.api.ingest(demo.site_id, {"id": "e1", "topic": "x.test", "occurred": 1_780_000_000_000, "body": {}})
        await until(lambda: len(receiver.requests) == 2)
        assert receiver.requests[1].headers["x-key"] == "value"
        shown = await run(demo, "deliveries", webhook, "--state", "dead", "--event", "e1")
        assert "410" in shown
        await run(demo, "enable", webhook)
        assert "1 to be" in await run(demo, "replay", webhook, "--from", "2000-01-01T00:00:00Z")
        await until(lambda: len(receiver.requests) >= 3)
        await run(demo, "remove", webhook)
