"""The Python clients of SignalR, in an environment of their own: their pins do not fit beside ours."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import subprocess
import sys
import venv
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from signalr_program import Program

PINS = ("pysignalr==1.3.3", "signalrcore==1.0.2")
PEER = Path(__file__).with_name("signalr_peer.py")


def interpreter() -> Path:
    """The interpreter of that environment, which is made once and kept in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "doorstream-tests" / ("-".join(PINS).replace("==", "-") + f"-{sys.version_info.minor}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Several files of tests run at once, and each may be the first.
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(folder)
    return folder / "bin/python"


def _install(folder: Path) -> None:
    """Make the environment unless it is there."""
    ready = folder / ".installed"
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        install: list[str | Path] = [
            folder / "bin/python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *PINS,
        ]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            if os.environ.get("CI"):
                pytest.fail(done.stderr)
            pytest.skip("the Python clients of SignalR cannot be installed")
        ready.touch()


@contextlib.asynccontextmanager
async def python_client(
    library: str, url: str, *, token: str, mode: str = "header", again: bool = False, pings: bool = False
) -> AsyncIterator[Program]:
    """Run ``signalr_peer.py``, which says what these mean; it tells what ``node/hub_program.js`` tells."""
    config = {"library": library, "url": url, "token": token, "mode": mode, "again": again, "pings": pings}
    process = await asyncio.create_subprocess_exec(
        *(interpreter(), PEER, json.dumps(config)), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    program = Program(process)
    watching = asyncio.create_task(program.watch())
    try:
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await watching
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # its pipes, before the loop is closed
