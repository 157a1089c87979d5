"""The command line as people use it: against a running server, and when something is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import cyclopts
import pytest
import pytest_asyncio
from cli_support import COMMAND, PATIENCE, Ended, at, check_refused, environment, launch, run
from http_support import ask, event, lines, put, read

from doorstream.cli.main import app
from doorstream.testing.server import Demo, free_port, running_demo

CTRL_C = 130


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for all tests of this file."""
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors, demo.errors


def commands_of(commands: cyclopts.App, name: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The names of all commands and the commands below them."""
    for each in commands:
        if not each.startswith("-"):
            yield (*name, each)
            yield from commands_of(commands[each], (*name, each))


@pytest.mark.parametrize("command", [(), *commands_of(app)], ids=" ".join)
def test_help(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Every command says what it does, and what each of its options is for."""
    app([*command, "--help"], result_action="return_value")
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: {' '.join(('doorstream', *command))}")
    assert len(text.splitlines()) > 3
    options = [line for line in text.splitlines() if line.startswith("│ --")]
    for option in options:
        name, _, explanation = option.strip("│ ").partition("  ")
        assert explanation.strip() or name.endswith(("--version",)) or len(name) > 30, f"{name} is not explained"


@contextlib.asynccontextmanager
async def tailing(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``doorstream tail`` in the background."""
    process = await launch("tail", *arguments)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def printed(process: asyncio.subprocess.Process, number: int) -> list[str]:
    """The next lines that it prints."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return [(await process.stdout.readline()).decode().rstrip("\n") for _ in range(number)]


async def follows(demo: Demo, process: asyncio.subprocess.Process, topic: str = "x.test") -> int:
    """Put events in until one is printed; returns how many were put in after the printed one."""
    assert process.stdout is not None
    waiting = asyncio.create_task(process.stdout.readline())
    for number in range(200):
        await put(demo, event(f"begin-{os.getpid()}-{process.pid}-{number}", topic))
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        if done:
            first = int(json.loads(waiting.result())["id"].rpartition("-")[2])
            return number - first
    pytest.fail("nothing is printed")


async def test_tail_as_json(demo: Demo) -> None:
    """Each event on a line, as the API gives it; Ctrl-C ends it without a fuss."""
    async with tailing("--json", *at(demo)) as process:
        await printed(process, await follows(demo, process))
        await put(demo, [event("a", body={"text": "ü"}), event("b", "device.input.dps.opened")])
        found = [json.loads(line) for line in await printed(process, 2)]
        assert found == (await read(demo, limit=2)).body["events"][::-1]
        process.send_signal(signal.SIGINT)
        output, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert (process.returncode, output, errors) == (CTRL_C, b"", b"")


async def test_tail_of_some_topics_from_a_position(demo: Demo) -> None:
    first = (await put(demo, event("start"))).body["positions"][0]
    await put(demo, [event("c", "x.c"), event("d", "x.d.e"), event("e", "x.f")])
    async with tailing("--json", "--after", first, "--topic", "x.c", "--topic", "x.d.*", *at(demo)) as process:
        assert [json.loads(line)["id"] for line in await printed(process, 2)] == ["c", "d"]


async def test_tail_for_people(demo: Demo) -> None:
    """Time, topic, door and person; nothing that only a terminal understands in a pipe."""
    position = (await put(demo, event())).body["positions"][0]
    device = demo_device = (await ask(demo, "GET", f"/api/sites/{demo.site_id}/devices")).body["items"][0]
    holder = (await ask(demo, "GET", f"/api/sites/{demo.site_id}/holders")).body["items"][0]
    body = {"deviceId": device["id"], "holderId": holder["id"]}
    await put(demo, event("f", "device.request.allowed", body=body))
    async with tailing("--after", position, *at(demo)) as process:
        (line,) = await printed(process, 1)
    assert "device.request.allowed" in line
    assert demo_device["name"] in line
    assert (holder.get("name") or holder["last_name"]) in line
    assert "late" in line
    assert "\x1b" not in line


async def test_tail_tells_what_is_missing(demo: Demo) -> None:
    async with tailing("--json", "--after", "0000abcd.1", *at(demo)) as process:
        (line,) = await printed(process, 1)
        assert json.loads(line)["gap"]["first"].endswith(".0")


async def test_tail_goes_on_after_a_restart() -> None:
    """What happened meanwhile is there, once and in order, after a crash and after an orderly stop."""
    async with running_demo(fixed_port=True) as demo, tailing("--json", *at(demo)) as process:
        await printed(process, await follows(demo, process))
        await asyncio.to_thread(demo.kill)
        await asyncio.to_thread(demo.start)
        wanted = [f"e{number}" for number in range(20)]
        await put(demo, [event(each) for each in wanted])
        assert [json.loads(line)["id"] for line in await printed(process, 20)] == wanted
        await asyncio.to_thread(demo.stop)
        await asyncio.sleep(1.5)
        await asyncio.to_thread(demo.start)
        await put(demo, event("again"))
        assert [json.loads(line)["id"] for line in await printed(process, 1)] == ["again"]
        process.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert b"trying again" in errors
        assert b"Traceback" not in errors


async def test_tail_that_is_cut_off_within_an_event() -> None:
    """The id of an event comes before its data; going on after an event of which only the id came lost it."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = b'{"items": [{"id": "harbour", "name": "Harbour House"}]}'
        if b"/stream" in head:
            asked.append(head)
            body = b'id: e.1\n\nid: e.2\nevent: x.test\ndata: {"topic": '
        kind = b"text/event-stream" if b"/stream" in head else b"application/json"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nConnection: close\r\n\r\n%b" % (kind, body))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with tailing("--url", url, "--api-key", "x", "--json"), asyncio.timeout(PATIENCE):
            while len(asked) < 2:  # noqa: ASYNC110 - the server is the test's own
                await asyncio.sleep(0.05)
    assert b"Last-Event-ID" not in asked[0]
    assert b"Last-Event-ID: e.1\r\n" in asked[1]


async def test_tail_into_head(demo: Demo) -> None:
    """A reader that has seen enough is no error."""
    await put(demo, [event() for _ in range(5)])
    start = f"{(await demo.api.call('GET', '/readyz'))['epoch']}.0"
    command = f"{COMMAND} tail --json --after {start} --data-dir {demo.data_directory} | head -1"
    process = await asyncio.create_subprocess_shell(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )

    async def happen() -> None:
        while True:  # what is written before head has ended goes into the pipe, and nobody notices
            await put(demo, event())
            await asyncio.sleep(0.1)

    happening = asyncio.create_task(happen())
    output, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    happening.cancel()
    assert (output.count(b"\n"), errors) == (1, b"")


async def test_ingest_of_a_file(demo: Demo, tmp_path: Path) -> None:
    """It says what became of the lines; what was rejected makes it fail. No progress bar but at a terminal."""
    path = tmp_path / "events.ndjson"
    path.write_bytes(lines(event("file-1"), event("file-2")))
    ended = await run("ingest", str(path), *at(demo))
    assert ended == Ended(0, "", "2 accepted, 0 duplicates, 0 rejected\n")
    path.write_bytes(lines(event("file-2"), b"nonsense [red]", event("file-3"), event(topic="y")))
    ended = await run("ingest", str(path), "--site", demo.site_id, *at(demo))
    assert (ended.status, ended.output) == (1, "")
    told = ended.errors.splitlines()
    assert told[0] == "1 accepted, 1 duplicates, 2 rejected"
    assert told[1].startswith("  line 2: ")
    assert told[2].startswith("  line 4: topic: ")
    assert told[3] == "doorstream: 2 lines were rejected"
    assert "\x1b" not in ended.errors


async def test_ingest_of_standard_input(demo: Demo) -> None:
    """A pipe, a file, and nothing."""
    ended = await run("ingest", "-", *at(demo), stdin=lines(event("pipe-1"), event("pipe-2")))
    assert ended == Ended(0, "", "2 accepted, 0 duplicates, 0 rejected\n")
    assert (await run("ingest", "-", *at(demo))).errors.startswith("0 accepted")


async def test_ingest_of_a_pipe_that_stays_open(demo: Demo) -> None:
    """Whoever writes may take his time; Ctrl-C is heard meanwhile."""
    process = await launch("ingest", "-", *at(demo))
    assert process.stdin is not None
    process.stdin.write(lines(event("slow-1")))
    await until_newest(demo, "slow-1")
    await asyncio.sleep(0.5)
    process.stdin.write(lines(event("slow-2")))
    await until_newest(demo, "slow-2", "slow-1")
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(PATIENCE):
        await process.wait()
    assert process.returncode == CTRL_C
    process.stdin.close()
    assert await process.communicate() == (b"", b"")


async def until_newest(demo: Demo, *wanted: str) -> None:
    """Wait until these are the newest events."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = (await read(demo, limit=len(wanted))).body["events"]
            if [each["id"] for each in found] == [*wanted]:
                break
            await asyncio.sleep(0.05)


async def test_ingest_that_is_refused(demo: Demo) -> None:
    """In the middle of a large file, by a key that may not."""
    key = demo.credentials["parakey"]["access_token"]
    data = lines(event(body={"note": "x" * 1000})) * 10_000
    ended = await run("ingest", "-", "--api-key", key, *at(demo), stdin=data)
    check_refused(ended, 1, "403", "events:write")


async def test_what_is_wrong_is_one_line(demo: Demo, tmp_path: Path) -> None:
    """Status 1 if the server says no, 2 if something that is needed is not there."""
    closed = f"http://127.0.0.1:{free_port()}"
    key = demo.credentials["admin"]["api_key"]
    cases: list[tuple[tuple[str, ...], int, tuple[str, ...]]] = [
        (("tail", "--data-dir", str(tmp_path)), 2, ("--url", "DOORSTREAM_URL")),
        (("tail", "--url", closed, "--api-key", "x"), 2, ("cannot be reached", closed)),
        (("tail", "--url", "localhost:8080", "--api-key", "x"), 2, ("localhost:8080", "http://")),
        (("tail", "--url", demo.url, "--api-key", "x"), 1, ("401",)),
        (("tail", "--site", "nowhere", *at(demo)), 1, ("--site",)),
        (("tail", "--after", "nonsense", *at(demo)), 1, ("422", "position")),
        (("ingest", str(tmp_path / "nothing"), *at(demo)), 2, ("nothing", "No such file")),
        (("ingest", str(tmp_path), *at(demo)), 2, ("directory",)),
        (("client", "remove", "nobody", *at(demo)), 1, ("404", "nobody")),
        (("client", "add", "app", "--scope", "nonsense", *at(demo)), 1, ("422", "scopes")),
        (("user", "add", "ada@example.com", "--password", "a-password", "--role", "x", *at(demo)), 1, ("SITE_ID",)),
        (("simulate", closed, "--api-key", key), 2, ("cannot be reached",)),
        (("simulate", demo.url, "--api-key", demo.credentials["parakey"]["access_token"]), 1, ("403",)),
        (("token", "--site", "nowhere", *at(demo)), 1, ("--site",)),
    ]
    for start in range(0, len(cases), 4):
        some = cases[start : start + 4]
        for ended, (arguments, status, words) in zip(
            await asyncio.gather(*(run(*each[0]) for each in some)), some, strict=True
        ):
            check_refused(ended, status, *words)
            assert key not in ended.errors, arguments


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("serve", "--port", "70000"), ("demo", "--rate", "-1"), ("ingest",), ("token", "x")]
)
async def test_a_command_that_makes_no_sense(arguments: tuple[str, ...]) -> None:
    ended = await run(*arguments)
    assert ended.status == 2
    assert "Error" in ended.errors + ended.output


async def test_which_server(demo: Demo, tmp_path: Path) -> None:
    """Options, then the environment, then the demo's file, which others cannot read."""
    key = demo.credentials["admin"]["api_key"]
    file = demo.data_directory / "client.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = json.loads(file.read_text())
    assert (content["url"], content["api_key"]) == (demo.url, key)
    assert content["sign_in"].startswith(f"{demo.url}/#/sign-in/")
    nowhere = environment(DOORSTREAM_URL="http://127.0.0.1:1", DOORSTREAM_API_KEY="ds_x_y")
    here = environment(DOORSTREAM_URL=demo.url + "/", DOORSTREAM_API_KEY=key)
    by_option, by_environment, environment_first = await asyncio.gather(
        run("token", "--url", demo.url, "--api-key", key, env=nowhere, cwd=tmp_path),
        run("token", env=here, cwd=tmp_path),
        run("token", *at(demo), env=nowhere),
    )
    assert by_option.status == by_environment.status == 0
    check_refused(environment_first, 2, "127.0.0.1:1")


async def test_the_demos_key_is_for_the_demo_only(demo: Demo) -> None:
    """With only an address given, the key of the file went to whatever server that was."""
    asked: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        ended = await run("tail", "--url", f"http://127.0.0.1:{port}", *at(demo))
        check_refused(ended, 2, "--api-key")
        assert asked == []
    assert (await run("token", "--url", demo.url, *at(demo))).status == 0


async def test_clients(demo: Demo) -> None:
    """A key that is created works, is listed without its secret, and ends when the client is removed."""
    added = await run("client", "add", "An app", "--scope", "events:read", "--site", demo.site_id, *at(demo))
    assert added.status == 0
    told = dict(line.split("  ", 1) for line in added.output.splitlines())
    client_id, key = told["client id"].strip(), told["API key"].strip()
    assert "only now" in added.errors
    path = f"/api/sites/{demo.site_id}/events"
    assert (await ask(demo, "GET", path, key=key)).status == 200
    listed = await run("client", "list", *at(demo), env=environment(COLUMNS="200"))
    assert "An app" in listed.output
    assert client_id in listed.output
    assert told["client secret"].strip() not in listed.output
    assert await run("client", "remove", client_id, *at(demo)) == Ended(0, "", "")
    assert (await ask(demo, "GET", path, key=key)).status == 401


async def test_users(demo: Demo) -> None:
    """The password may come by standard input, and is never shown."""
    role = f"{demo.site_id}=site_admin"
    added = await run("user", "add", "ada@example.com", "--role", role, *at(demo), stdin="a long password\n")
    assert added.status == 0
    assert "ada@example.com" in added.output
    assert "password" not in added.output + added.errors
    check_refused(await run("user", "add", "ada@example.com", *at(demo), stdin="another password\n"), 1, "409")
    check_refused(await run("user", "add", "bob@example.com", *at(demo), stdin="short\n"), 1, "422", "password")
    listed = await run("user", "list", *at(demo), env=environment(COLUMNS="200"))
    assert "ada@example.com" in listed.output
    user_id = added.output.split()[2]
    assert (await run("user", "remove", user_id, *at(demo))).status == 0


async def test_tokens(demo: Demo) -> None:
    """What is printed can be used at once, and nothing else is printed."""
    system, ticket = await asyncio.gather(run("token", *at(demo)), run("token", "ticket", *at(demo)))
    assert (system.status, system.errors, system.output.count("\n")) == (0, "", 1)
    query = {"EIO": "4", "transport": "polling", "token": system.output.strip(), "systemId": demo.site_id}
    answer = await ask(demo, "GET", "/socket.io/", key=None, params=query)
    assert answer.body.startswith(b'0{"sid"')
    stream = f"/api/sites/{demo.site_id}/stream"
    assert (await ask(demo, "HEAD", stream, key=None, params={"ticket": ticket.output.strip()})).status == 405
    ticket_again = await ask(demo, "GET", stream, key=None, params={"ticket": "x" + ticket.output.strip()})
    assert ticket_again.problem == "unauthenticated"


async def test_simulate(demo: Demo) -> None:
    """It creates the building at another server and plays it there until it is interrupted."""
    key = demo.credentials["admin"]["api_key"]
    process = await launch("simulate", demo.url, "--api-key", key, "--seed", "another", "--rate", "50")
    try:
        for _ in range(200):
            sites = (await demo.api.call("GET", "/api/sites"))["items"]
            other = [each["id"] for each in sites if each["id"] != demo.site_id]
            if other and len((await read(demo, other[0])).body["events"]) > 30:
                break
            await asyncio.sleep(0.1)
        else:
            pytest.fail("nothing happens there")
        assert len((await ask(demo, "GET", f"/api/sites/{other[0]}/devices")).body["items"]) >= 10
    finally:
        process.send_signal(signal.SIGINT)
        output, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, output) == (CTRL_C, b"")
    assert errors.count(b"\n") <= 2
    assert b"Traceback" not in errors
