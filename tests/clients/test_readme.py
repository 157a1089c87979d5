"""Every example of the README, run exactly as printed against ``make demo``'s server on its own port."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("doorstream")
EXAMPLES = dict(
    re.findall(r"<!-- example: (.+?) -->\n```\w+\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
)
PATIENCE = 60.0


@pytest.fixture(scope="module", autouse=True)
def _node() -> None:
    if shutil.which("node") is None and not os.environ.get("CI"):
        pytest.skip("Node.js is not installed")


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Path]:
    """The demo with its defaults, port and name of the data directory included; gives that directory."""
    directory = tmp_path / ".doorstream-demo"
    process = await asyncio.create_subprocess_exec(
        COMMAND, "demo", "--data-dir", directory, "--rate", "20", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readuntil(b"Ctrl-C"), PATIENCE)
    yield directory
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.wait(), PATIENCE)


async def output_of(*command: str | Path, shows: Sequence[str] = (), environment: dict[str, str] | None = None) -> str:
    """What a command prints until it has shown all of these, in whatever order; without any, until it ends."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env=os.environ | (environment or {}), cwd=ROOT
    )
    assert process.stdout is not None
    printed = b""
    try:
        async with asyncio.timeout(PATIENCE):
            while not shows or any(text.encode() not in printed for text in shows):
                chunk = await process.stdout.read(4096)
                if not chunk:
                    break
                printed += chunk
    except TimeoutError as error:
        error.add_note(f"printed so far: {printed.decode(errors='replace')}")
        raise
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    for text in shows:
        assert text.encode() in printed
    return printed.decode()


def node(example: str, tmp_path: Path) -> tuple[str, Path]:
    """The command that runs a JavaScript example with the clients that are installed for the tests."""
    program = tmp_path / "example.js"
    program.write_text(EXAMPLES[example])
    return "node", program


async def test_examples_of_the_readme(demo: Path, tmp_path: Path) -> None:
    """One demo for all of them: they use its fixed port and credentials."""
    modules = {"NODE_PATH": str(ROOT / "tests/clients/node/node_modules")}
    token = (await output_of(COMMAND, "token", "--data-dir", demo)).strip()

    await output_of(*node("socket.io-client", tmp_path), shows=["opened"], environment=modules)
    await output_of(
        *node("ws", tmp_path), shows=["'device.input.relay.on'", "cloudNode"], environment=modules | {"TOKEN": token}
    )
    await output_of(*node("signalr", tmp_path), shows=["lock_opened"], environment=modules)
    await output_of(
        *node("placeos", tmp_path),
        shows=['"type":"notify"', '"value":"false"', '{"id":2,"type":"success"'],
        environment=modules,
    )
    await output_of("sh", "-c", f"exec {EXAMPLES['parakey']}", shows=['"unlock"', "createdAt"])

    command = EXAMPLES["webhook"].replace(".venv/bin/doorstream", str(COMMAND))
    assert "webhook id" in await output_of("sh", "-c", f"cd {demo.parent} && exec {command}")

    for duplicates in (0, 1):
        answer = await output_of("sh", "-c", f"exec {EXAMPLES['curl ingest']}")
        assert f'"duplicates":{duplicates}' in answer
    await output_of("sh", "-c", f"exec {EXAMPLES['curl stream']}", shows=["event: device."])


def test_every_example_is_tried() -> None:
    """A new example needs a test."""
    tried = {"socket.io-client", "ws", "signalr", "placeos", "parakey", "webhook", "curl ingest", "curl stream"}
    assert set(EXAMPLES) == tried
