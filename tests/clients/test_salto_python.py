"""The Python clients of SignalR, in an environment of their own: their pins do not fit beside ours."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from signalr_program import USER, access_token, hub_url

from doorstream.testing.server import Demo, running_demo

PINS = ("pysignalr==1.3.3", "signalrcore==1.0.2")
PROGRAM = Path(__file__).with_name("signalr_peer.py")
MODES = [
    ("pysignalr", "header"),
    ("pysignalr", "query"),
    ("signalrcore", "header"),
    ("signalrcore", "query"),
    ("signalrcore", "skip"),
]


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of that environment, which is made once and kept in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "doorstream-tests" / ("-".join(PINS).replace("==", "-") + f"-{sys.version_info.minor}")
    ready = folder / ".installed"
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        install = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINS]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            if os.environ.get("CI"):
                pytest.fail(done.stderr)
            pytest.skip("the Python clients of SignalR cannot be installed")
        ready.touch()
    return folder / "bin/python"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors
        assert "eyJ" not in demo.errors


@contextlib.asynccontextmanager
async def peer(python: Path, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """A running program: what it tells."""
    process = await asyncio.create_subprocess_exec(
        python, PROGRAM, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def told(output: asyncio.StreamReader) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            line = await output.readline()
            assert line, "it ended"
            if line.startswith(b'{"what"'):
                found: dict[str, Any] = json.loads(line)
                return found


@pytest.mark.parametrize(("library", "mode"), MODES)
async def test_sal_03_08_09_connect_and_receive(demo: Demo, python: Path, library: str, mode: str) -> None:
    """SAL-3, 8, 9: with and without negotiation, token in header or query, handshake versions 0 and 1."""
    async with peer(python, library, hub_url(demo), await access_token(demo), mode) as output:
        assert (await told(output))["what"] == "open"
        event = {"id": f"{library}-{mode}", "topic": "device.request.allowed", "occurred": 1, "body": {}}
        await demo.api.ingest(demo.site_id, event)
        message = await told(output)
        assert message["what"] == "message"
        (text,) = message["value"]
        assert json.loads(text)["id"] == event["id"]


@pytest.mark.parametrize(
    ("library", "words"), [("pysignalr", ("AuthorizationError", "403")), ("signalrcore", ("401", "403"))]
)
async def test_sal_04_refused(demo: Demo, python: Path, library: str, words: tuple[str, str]) -> None:
    """401 for a bad token, 403 for a role that may not see the site: these libraries say which."""
    for token, word in zip(("forged", await access_token(demo, USER)), words, strict=True):
        async with peer(python, library, hub_url(demo), token, "header") as output:
            failure = await told(output)
            assert failure["what"] == "failed"
            assert word in failure["value"]
