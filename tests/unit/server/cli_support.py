"""Running commands as people do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from doorstream.testing.server import Demo

COMMAND = str(Path(sys.executable).with_name("doorstream"))
PATIENCE = 60.0


class Ended(NamedTuple):
    """A command that came to its end."""

    status: int
    output: str
    errors: str


def environment(**more: str) -> dict[str, str]:
    """Without what would lead to another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DOORSTREAM_")} | more


async def launch(*arguments: str, **options: Any) -> asyncio.subprocess.Process:
    """Start ``doorstream``."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return await asyncio.create_subprocess_exec(COMMAND, *arguments, **pipes | {"env": environment()} | options)


async def run(*arguments: str, stdin: str | bytes = "", **options: Any) -> Ended:
    """Run ``doorstream`` to its end."""
    process = await launch(*arguments, **options)
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    output, errors = await asyncio.wait_for(process.communicate(data), PATIENCE)
    assert process.returncode is not None
    assert b"Traceback" not in errors, errors.decode()
    return Ended(process.returncode, output.decode(), errors.decode())


def at(demo: Demo) -> tuple[str, ...]:
    """The options that lead to a demo: its own file."""
    return ("--data-dir", str(demo.data_directory))


def check_refused(ended: Ended, status: int, *words: str) -> None:
    """One line that says what is wrong."""
    assert ended.status == status, ended
    assert ended.output == ""
    assert ended.errors.startswith("doorstream: ")
    assert ended.errors.count("\n") == 1
    for word in words:
        assert word in ended.errors
