"""Programs in a real headless Chromium, driven by Playwright, started and watched by tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

from node_client import FOLDER, NodeClient

_START_PATIENCE = 90.0
_END_PATIENCE = 10.0

AnyClient = TypeVar("AnyClient", bound=NodeClient)


def chromium() -> str | None:
    """The browser's program, None where there is none."""
    return shutil.which("chromium")


@contextlib.asynccontextmanager
async def browser_client(make: type[AnyClient], driver: str, config: Mapping[str, Any]) -> AsyncIterator[AnyClient]:
    """Run a driver of ``node`` (``node/browser.cjs`` says what that is) in a browser of its own with an empty profile.

    ``make`` is what reads the lines that it tells.
    """
    with tempfile.TemporaryDirectory(prefix="doorstream-browser-", ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            *("node", FOLDER / "browser.cjs", chromium() or "chromium", driver, json.dumps(config)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=10_000_000,
            env=os.environ | {"TMPDIR": folder, "HOME": folder},
            start_new_session=True,
        )
        program = make(process)
        watching = asyncio.create_task(program.watch())
        try:
            await program.tells("browser", patience=_START_PATIENCE)
            yield program
        finally:
            assert process.stdin is not None
            process.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _END_PATIENCE)
            with contextlib.suppress(ProcessLookupError):  # what the browser started and did not end
                os.killpg(process.pid, signal.SIGKILL)
            await watching
            await process.wait()
            process._transport.close()  # type: ignore[attr-defined]  # its pipes, before the loop is closed
