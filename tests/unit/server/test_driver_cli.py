"""``doorstream driver run``: one driver in the simulated building, as its author tries it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from cli_support import PATIENCE, Ended, check_refused, launch, run

QUIET = ("--rate", "0")
CTRL_C = 130
LAMP = """
from doorstream.drivers import Driver


class Lamp(Driver):
    \"\"\"A lamp.\"\"\"

    name = "lamp"

    async def on_load(self) -> None:
        self.status["colour"] = "COLOUR"
        self.status["door"] = self.module.device_id is not None

    async def open(self) -> object:
        \"\"\"Open the door beside it.\"\"\"
        return await self.call("Door", 1, "unlock")
"""


@pytest.fixture
def lamp(tmp_path: Path) -> Path:
    """A driver's file."""
    path = tmp_path / "lamp.py"
    path.write_text(LAMP)
    return path


async def try_it(path: Path, *options: str) -> Ended:
    """Run a driver to the end."""
    return await run("driver", "run", str(path), *QUIET, *options)


@contextlib.asynccontextmanager
async def running(path: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a driver in the background until Ctrl-C; it must end as that ends commands."""
    process = await launch("driver", "run", str(path), *QUIET, *options)
    try:
        yield process
        process.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode == CTRL_C, errors
        assert b"Traceback" not in errors, errors
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


async def line_of(process: asyncio.subprocess.Process, text: str) -> list[str]:
    """The lines that it prints up to one with that text."""
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while not lines or text not in lines[-1]:
            line = await process.stdout.readline()
            assert line, f"it ended without {text!r}: {lines}"
            lines.append(line.decode().rstrip())
    return lines


def check_has(output: str, lines: Sequence[str]) -> None:
    """These lines, among others."""
    missing = [line for line in lines if line not in output.splitlines()]
    assert not missing, output


async def test_the_driver_that_new_writes(tmp_path: Path) -> None:
    """What the module says, keeps and is called shows; ``--set`` reaches it."""
    assert (await run("driver", "new", "gate_lamp", "--directory", str(tmp_path))).status == 0
    wanted = [
        "running GateLamp 1 of the driver gate_lamp",
        "status  greeted = 0",
        "status  greeted = 2",
        "log     info: greeting you",
        'exec    greet ["you", 2] -> "good day you good day you"',
        'event   x.gate_lamp.greeted {"name":"you"}',
    ]
    options = ("--set", "greeting=good day", "--exec", 'greet ["you", 2]', "--seconds", "100")
    lines: list[str] = []
    async with running(tmp_path / "gate_lamp.py", *options) as process, asyncio.timeout(PATIENCE):
        while set(wanted) - set(lines):
            lines += await line_of(process, "")  # the next one, whichever it is


async def test_calls_that_fail(tmp_path: Path) -> None:
    """Each says why, those behind it are made, and the command ends with 1."""
    assert (await run("driver", "new", "gate_lamp", "--directory", str(tmp_path))).status == 0
    calls = ('greet ["you", 0]', "dance", 'greet {"name": "me"}')
    ended = await try_it(tmp_path / "gate_lamp.py", *(part for call in calls for part in ("--exec", call)))
    assert ended.status == 1
    assert "2 of 3 calls failed" in ended.errors
    assert 'exec    greet ["you", 0] failed: times: at least 1' in ended.output
    assert "exec    dance [] failed: " in ended.output
    assert 'exec    greet {"name": "me"} -> "hello me"' in ended.output


async def test_a_door_of_the_building(lamp: Path) -> None:
    """The module stands for it with ``--door``, and calls the building's modules."""
    ended = await try_it(lamp, "--door", "2", "--exec", "open")
    assert ended.status == 0, ended
    check_has(ended.output, ["status  door = true", "exec    open [] -> true"])


async def test_a_file_that_is_edited_is_loaded_anew(lamp: Path) -> None:
    async with running(lamp) as process:
        assert 'status  colour = "COLOUR"' in await line_of(process, "running Lamp 1")
        lamp.write_text(LAMP.replace("COLOUR", "a warm white"))
        await line_of(process, 'status  colour = "a warm white"')


async def test_a_driver_that_does_not_begin(lamp: Path) -> None:
    lamp.write_text(LAMP.replace('self.status["colour"] = "COLOUR"', 'raise RuntimeError("no power")'))
    ended = await try_it(lamp, "--seconds", "0")
    assert ended.status == 1, ended
    assert "lamp does not run: " in ended.errors
    assert "no power" in ended.errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--door", "1000"), ("--door 1000", "doors")),
        (("--exec", "open {"), ("--exec open {", "no JSON")),
        (("--set", "colour"), ("--set colour", "name=value")),
        (("--driver", "other"), ("--driver", "lamp")),
    ],
)
async def test_options_that_cannot_be(lamp: Path, options: tuple[str, ...], words: tuple[str, ...]) -> None:
    check_refused(await try_it(lamp, *options), 2, *words)


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    check_refused(await try_it(tmp_path / "none.py"), 2, "there is no file")
