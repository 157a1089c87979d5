"""The programs of the page Connect, copied and run as they stand, but for the time between two polls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from node_client import FOLDER
from person import Person, happened, person_at
from websockets.asyncio.client import connect

from doorstream.testing.server import ApiRefused, Demo, running_demo

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN_TTL = 1.0
"""Seconds for which a system token of PDK's dialect counts: a program that does not renew it falls silent."""

UNRUN = {("salto", "C#"), ("salto", "Java")}
"""Their tool chains are not here."""

PROGRAMS = {
    ("pdk", "JavaScript (socket.io-client)"): "{name} was let in at Test door",
    ("pdk", "JavaScript (ws)"): "device.input.relay.on.*{name}",
    ("placeos", "JavaScript (ws)"): "locked is false",
    ("placeos", "Python (websockets)"): "'notify', 'value': 'false'",
    ("parakey", "JavaScript (fetch)"): "{name}",
    ("parakey", "Python"): "{name}",
    ("salto", "JavaScript (@microsoft/signalr)"): "{name}",
    ("own", "Follow (curl)"): "{name}",
    ("own", "Python"): "device.request.allowed .*{name}",
}
"""What each program that goes on says of an event."""

_DIALECTS = ("pdk", "placeos", "parakey", "salto", "own")
_LANGUAGES = "[...document.querySelectorAll('[aria-label=Languages] [role=radio]')].map((each) => each.textContent)"
_CODE = "document.querySelector('.code code').textContent"
_PATIENCE = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """A building whose system tokens expire soon."""
    async with running_demo(system_token_ttl=TOKEN_TTL) as demo:
        yield demo


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs(signed_in: Person) -> dict[tuple[str, str], str]:
    """Every program by dialect and language, with a fresh credential in it."""
    texts: dict[tuple[str, str], str] = {}
    for dialect in _DIALECTS:
        await filled_in(signed_in, dialect)
        for language in await signed_in.does("ask", code=_LANGUAGES):
            texts[dialect, language] = await copied(signed_in, language)
    return texts


async def filled_in(person: Person, dialect: str) -> None:
    """Open the programs of a dialect and have a credential put into them."""
    await person.opens(f"connect/{dialect}")
    await person.clicks("Fill in a fresh credential")
    await person.sees("The programs below hold the client")


async def copied(person: Person, language: str) -> str:
    """The text of the program in that language."""
    await person.does("click", role="radio", name=language, exact=True)
    await person.sees(role="region", name=f"Program in {language}", exact=True)
    return str(await person.does("ask", code=_CODE))


class Copied:
    """A program that somebody copied: what it has said so far."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._changed = asyncio.Event()
        self.said = ""

    async def listen(self) -> None:
        """Read what it says until it ends."""
        assert self._process.stdout is not None
        while data := await self._process.stdout.read(65_536):
            self.said += data.decode()
            self._changed.set()

    async def says(self, pattern: str, meanwhile: Callable[[], Any]) -> None:
        """Wait until it has said that; ``meanwhile`` is done again and again, for nobody sees when it has begun."""
        deadline = time.monotonic() + _PATIENCE
        while re.search(pattern, self.said, re.DOTALL) is None:
            assert time.monotonic() < deadline, f"{pattern} is not in {self.said}"
            assert self._process.returncode is None, f"it has ended: {self.said}"
            await meanwhile()
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 0.2)


def command(language: str, code: str) -> list[str]:
    """How a program in that language is run."""
    if language.startswith("JavaScript"):
        return ["node", "-e", code.replace("60_000)", "100)")]
    if language.startswith("Python"):
        return [sys.executable, "-u", "-c", code.replace("time.sleep(60)", "time.sleep(0.1)")]
    return ["sh", "-c", code]


@contextlib.asynccontextmanager
async def running(language: str, code: str) -> AsyncIterator[Copied]:
    """Run a copied program until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *command(language, code), cwd=FOLDER, stdout=PIPE, stderr=STDOUT, start_new_session=True
    )
    program = Copied(process)
    listening = asyncio.create_task(program.listen())
    try:
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a shell has children
        await process.wait()
        listening.cancel()
        process._transport.close()  # type: ignore[attr-defined]  # its pipes, before the loop is closed


async def first_door(demo: Demo) -> dict[str, Any]:
    """In a body: the device that is Door 1 of PlaceOS's dialect."""
    modules = (await demo.api.call("GET", f"/api/sites/{demo.site_id}/modules"))["items"]
    (device,) = (each["device_id"] for each in modules if (each["name"], each["index"]) == ("Door", 1))
    return {"deviceId": device, "device": {"id": device, "name": "Door 1"}}


async def test_every_program_is_run_here(programs: dict[tuple[str, str], str]) -> None:
    once = {("parakey", "curl"), ("own", "Put in (curl)")}
    assert set(programs) == set(PROGRAMS) | once | UNRUN


@pytest.mark.parametrize(("dialect", "language"), PROGRAMS)
async def test_a_copied_program_tells_what_happens(
    demo: Demo, programs: dict[tuple[str, str], str], dialect: str, language: str
) -> None:
    name = f"{dialect} {language}".replace("(", "").replace(")", "")
    door = await first_door(demo)

    async def something_happens() -> None:
        opened = happened("device.input.relay.on", None, **door, note=name)
        await demo.api.ingest(demo.site_id, happened("device.request.allowed", name), opened)

    async with running(language, programs[dialect, language]) as program:
        await program.says(PROGRAMS[dialect, language].format(name=name), something_happens)


@pytest.mark.parametrize("language", ["JavaScript (socket.io-client)", "JavaScript (ws)"])
async def test_a_copied_pdk_program_renews_its_token(
    demo: Demo, programs: dict[tuple[str, str], str], language: str
) -> None:
    """What happens after the token has expired is said once the program has renewed it."""
    begun = math.inf  # until the program has begun, which may take long
    name = f"Renewed {language[12:-1]}"

    async def goes_on() -> None:
        who = "Too early" if time.monotonic() < begun + 2 * TOKEN_TTL else name
        opened = happened("device.input.relay.on", who)
        await demo.api.ingest(demo.site_id, happened("device.request.allowed", who), opened)

    async with running(language, programs["pdk", language]) as program:
        await program.says("Too early", goes_on)
        begun = time.monotonic()  # its token is older than that
        await program.says(name, goes_on)


async def test_connections_show_a_program_and_that_its_token_has_expired(demo: Demo, signed_in: Person) -> None:
    """What it follows, and, as it does not renew its token, why it hears nothing."""
    address = f"ws{demo.url[4:]}/socket.io/?systemId={demo.site_id}&transport=websocket&token="
    row = {"css": "tbody tr:has-text('demo-pdk')"}
    async with connect(address + await demo.system_token(), open_timeout=_PATIENCE) as socket:
        while await socket.recv() != "40":
            pass
        topics = ["device.request.allowed", "device.request.denied", "device.alarm.*", "sync.synced"]
        await socket.send("42" + json.dumps(["subscribeIsolated", {"topics": topics}]))
        await signed_in.opens("connections")
        await signed_in.does("see", **row)
        assert "PDK\nwebsocket" in (await signed_in.does("read", **row))
        await signed_in.does("see", within=row, text="device.request.allowed, ")
        await signed_in.does("see", within=row, text="token expired")
        await signed_in.clicks("Disconnect demo-pdk")
        await signed_in.does("click", within={"css": "dialog"}, role="button", name="Disconnect")
        await signed_in.does("lose", **row)
        await asyncio.wait_for(socket.wait_closed(), _PATIENCE)


async def test_the_copied_commands_that_run_once(programs: dict[tuple[str, str], str]) -> None:
    """Parakey's answers with an ETag, which asked with again says that nothing has happened; the own puts in."""

    async def output(code: str) -> str:
        process = await asyncio.create_subprocess_exec(*command("sh", code), stdout=PIPE, stderr=PIPE)
        out, error = await asyncio.wait_for(process.communicate(), _PATIENCE)
        assert process.returncode == 0, error.decode()
        return out.decode()

    put = json.loads(await output(programs["own", "Put in (curl)"]))
    assert len(put["positions"]) == 1
    polled = programs["parakey", "curl"]
    found = re.search(r"(?im)^etag: (\S+)", await output(polled))
    assert found is not None
    answers = await output(polled.replace("PUT_THE_ETAG_HERE", found[1]))
    assert re.findall(r"HTTP/1.1 (\d+)", answers) == ["200", "304"]


async def test_copied_programs_outlive_their_server() -> None:
    """They begin before the server is there again, say why they wait, wait in between, and then go on."""

    async def nothing() -> None:
        pass

    async with running_demo(fixed_port=True) as demo, person_at(demo) as person:
        codes = []
        for dialect in ("own", "parakey"):
            await filled_in(person, dialect)
            codes.append(await copied(person, "Python"))
        await asyncio.to_thread(demo.kill)

        async def somebody_comes() -> None:
            with contextlib.suppress(ApiRefused):
                await demo.api.ingest(demo.site_id, happened("device.request.allowed", "Later"))

        async with running("Python", codes[0]) as own, running("Python", codes[1]) as parakey:
            for program in (own, parakey):
                await program.says("going on .*because", nothing)
            await asyncio.to_thread(demo.start)
            for program in (own, parakey):
                await program.says("Later", somebody_comes)
                assert "Traceback" not in program.said
                assert len(program.said.splitlines()) < 10 * _PATIENCE, "it does not ask without a pause"
