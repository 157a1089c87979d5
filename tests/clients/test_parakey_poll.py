"""The polling script of the examples, run as its user runs it, and polls while NATS is away."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from patient import put_at_last

from doorstream.testing.server import Demo, running_demo

SCRIPT = Path(__file__).parents[2] / "examples" / "parakey_poll.py"
PATIENCE = 60.0
INTERVAL = "0.02"
NOW = 1_780_000_000_000

_numbers = itertools.count()

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    async with running_demo() as demo:
        yield demo


class Script:
    """A running script."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def begun(self) -> None:
        """It has polled once."""
        assert self._process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            assert b"connected" in await self._process.stderr.readline()

    async def next(self) -> str:
        """The id of the next event log that it prints."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return str(json.loads(await self._process.stdout.readline())["id"])

    async def end(self) -> tuple[int, str]:
        """It ends by itself: its status and what it said."""
        async with asyncio.timeout(PATIENCE):
            _, said = await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode, said.decode()


@contextlib.asynccontextmanager
async def script(demo: Demo, *options: str, token: str | None = None) -> AsyncIterator[Script]:
    """Run the script."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        demo.url,
        "--token",
        token or demo.credentials["parakey"]["access_token"],
        "--interval",
        INTERVAL,
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Script(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


async def put(demo: Demo, *, late: int = 0, count: int = 1) -> list[str]:
    """Put event logs in, all at once."""
    ids = [f"u{next(_numbers):04}" for _ in range(count)]
    event = {"topic": "device.request.allowed", "occurred": NOW - late, "body": {"deviceId": "d"}}
    await put_at_last(demo, *[event | {"id": event_id} for event_id in ids])
    return ids


async def test_the_seeds_recipe(demo: Demo) -> None:
    """Every event log is printed, late ones too, and perhaps some again.

    The next is put in when the one before was printed, so that nothing happens in the moment before the client looks at
    its clock.
    """
    await put(demo)
    async with script(demo) as running:
        await running.begun()
        for late in (0, 3_600_000, 86_400_000, 0):
            [expected] = await put(demo, late=late)
            while (found := await running.next()) != expected:
                assert found < expected


async def test_the_cursor(demo: Demo, tmp_path: Path) -> None:
    """Each is printed once and in order, whatever happens when; also what happens while the script does not run."""
    state = tmp_path / "place"
    options = ("--cursor", "--state", str(state))
    async with script(demo, *options) as running:
        await running.begun()
        expected = [event_id for count in (1, 1, 3, 1, 20) for event_id in await put(demo, count=count)]
        assert [await running.next() for _ in expected] == expected
        async with asyncio.timeout(PATIENCE):
            while not state.exists() or state.read_text() != expected[-1]:  # noqa: ASYNC110 - another process's file
                await asyncio.sleep(0.01)
    missed = await put(demo, count=3)
    async with script(demo, *options) as running:
        assert [await running.next() for _ in missed] == missed
        more = await put(demo, count=2)
        assert [await running.next() for _ in more] == more


async def test_what_is_hopeless_ends_it(demo: Demo, tmp_path: Path) -> None:
    """With words: a wrong token, and a place that is not kept."""
    async with script(demo, token="wrong") as running:
        status, said = await running.end()
    assert status == 1
    assert "access-token" in said
    state = tmp_path / "place"
    state.write_text("nobody")
    async with script(demo, "--cursor", "--state", str(state)) as running:
        status, said = await running.end()
    assert status == 1
    assert "startDate" in said


async def test_a_poll_while_nats_is_away() -> None:
    """It is answered with 503 and ``Retry-After``, never with an old 304; then it goes on, and nothing is missing.

    With two workers: one that is alone knows without NATS that nothing happened.
    """
    async with running_demo(workers=2) as demo, aiohttp.ClientSession() as session:
        headers = {"access-token": demo.credentials["parakey"]["access_token"]}
        url = f"{demo.url}/eventLogs?limit=1"

        async def poll(etag: str | None) -> tuple[int, str | None]:
            sent = headers | ({"If-None-Match": etag} if etag is not None else {})
            async with session.get(url, headers=sent) as response:
                if response.status == 503:
                    assert int(response.headers["Retry-After"]) > 0
                    assert (await response.json())["error"]["code"] == "unavailable"
                return response.status, response.headers.get("ETag")

        await put(demo)
        _, etag = await poll(None)
        statuses: list[int] = []

        async def answered(etag: str | None, wanted: int) -> str | None:
            """Poll until NATS is there again, which another worker may know earlier, and give the entity tag."""
            async with asyncio.timeout(PATIENCE):
                while True:
                    status, found = await poll(etag)
                    statuses.append(status)
                    if status != 503:
                        assert status == wanted
                        return found
                    await asyncio.sleep(0.02)

        while statuses.count(200) < 3 or 503 not in statuses:  # it may be back before a poll finds it away
            await asyncio.to_thread(demo.kill_nats)
            await answered(etag, 304)
            await put(demo)
            etag = await answered(etag, 200)
