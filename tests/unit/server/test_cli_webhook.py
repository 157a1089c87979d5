"""``doorstream webhook``, against a running demo and a receiver."""

from __future__ import annotations

import asyncio
import os
import sys

from doorstream.testing import until
from doorstream.testing.receiver import Answer, Receiver
from doorstream.testing.server import Demo, running_demo

PATIENCE = 30.0


async def run(demo: Demo, *arguments: str, status: int = 0, given: str = "") -> str:
    """Run a command, ``given`` that on its standard input; returns what it printed."""
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
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(given.encode())
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
        await until(lambda: len(receiver.requests) == 2, PATIENCE)
        assert receiver.requests[1].headers["x-key"] == "value"
        path = f"/api/sites/{demo.site_id}/webhooks/{webhook}"
        async with asyncio.timeout(PATIENCE):
            while not (await demo.api.call("GET", f"{path}/deliveries?state=dead"))["items"]:  # noqa: ASYNC110 - untold
                await asyncio.sleep(0.02)
            while (await demo.api.call("GET", path))["enabled"]:  # noqa: ASYNC110 - it is told nobody
                await asyncio.sleep(0.02)
        shown = await run(demo, "deliveries", webhook, "--state", "dead", "--event", "e1")
        assert "410" in shown
        await run(demo, "enable", webhook)
        assert "1 to be" in await run(demo, "replay", webhook, "--from", "2000-01-01T00:00:00Z")
        await until(lambda: len(receiver.requests) >= 3, PATIENCE)
        await run(demo, "remove", webhook)


async def test_what_is_secret_comes_from_the_standard_input() -> None:
    """On the command line it would be in every list of processes. ``--header -`` was once taken for an option."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    async with Receiver() as receiver, running_demo() as demo:
        assert secret in await run(demo, "add", receiver.url, "--signing", "-", given=f"{secret}\n")
        headers = ("--header", "-", "--topic", "x.*")
        made = await run(demo, "add", receiver.url, *headers, given="Authorization: Basic abc\nX-More: 1\n")
        await run(demo, "test", made.split()[2])
        sent = receiver.requests[0].headers
        assert (sent["authorization"], sent["x-more"]) == ("Basic abc", "1")
        assert "no secret" in await run(demo, "add", receiver.url, "--signing", "-", given="\n", status=2)
        both = ("--signing", "-", "--header", "-")
        assert "only one of" in await run(demo, "add", receiver.url, *both, given=secret, status=2)


async def test_s6_a_webhook_whose_receiver_is_asked_first() -> None:
    async with Receiver() as receiver, running_demo() as demo:
        refused = await run(demo, "add", receiver.url, "--handshake", status=1)
        assert "no WebHook-Allowed-Origin" in refused
        assert receiver.requests[0].headers["webhook-request-origin"] == "127.0.0.1"
        receiver.plan(Answer(204, {"WebHook-Allowed-Origin": "127.0.0.1"}))
        assert "webhook id" in await run(demo, "add", receiver.url, "--handshake", "--topic", "x.*")
