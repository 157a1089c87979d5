"""Starting, and not being able to: one clear line, exit status 2, and nothing left running."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest
from faults_support import COMMAND, Serve, children_of, environment, event, history, is_running, serving, until

from doorstream.testing.nats import nats_server
from doorstream.testing.server import Api, free_port

MARK = "DOORSTREAM_TEST_RUN"


class Ended(NamedTuple):
    """A command that came to its end."""

    status: int
    output: str
    errors: str
    seconds: float


async def run(*arguments: str | Path, patience: float = 60.0) -> Ended:
    """Run ``doorstream`` to its end; whatever it started has ended with it."""
    mark = uuid.uuid4().hex
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *map(str, arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment() | {MARK: mark},
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), patience)
    finally:
        if process.returncode is None:
            process.kill()
    seconds = time.monotonic() - began
    await until(lambda: not marked(mark), 60, lambda: f"left running: {marked(mark)}")
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode(), seconds)


def marked(mark: str) -> list[int]:
    """The processes that bear a mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if is_running(pid)]


def check_refused(ended: Ended, *words: str) -> None:
    """One clear line on standard error, and status 2."""
    assert ended.status == 2, ended
    assert ended.output == ""
    assert ended.errors.startswith("doorstream: ")
    assert ended.errors.count("\n") == 1
    for word in words:
        assert word in ended.errors


async def test_an_occupied_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = await run("serve", "--port", str(port), "--data-dir", tmp_path)
    check_refused(ended, f"cannot listen on 127.0.0.1 port {port}", "in use")


async def test_an_address_of_another_machine(tmp_path: Path) -> None:
    check_refused(
        await run("serve", "--host", "192.0.2.1", "--port", "0", "--data-dir", tmp_path), "cannot listen on 192.0.2.1"
    )


async def test_a_data_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check_refused(
        await run("serve", "--port", "0", "--data-dir", tmp_path / "file" / "data"), "cannot be written", "file/data"
    )


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
async def test_a_data_directory_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o555)
    check_refused(await run("serve", "--port", "0", "--data-dir", tmp_path / "data"), "cannot be written")


async def test_a_data_directory_whose_parts_are_something_else(tmp_path: Path) -> None:
    (tmp_path / "nats").write_text("no directory")
    check_refused(await run("serve", "--port", "0", "--data-dir", tmp_path), "cannot be written")
    (tmp_path / "nats").unlink()
    (tmp_path / "index.sqlite").mkdir()
    check_refused(await run("serve", "--port", "0", "--data-dir", tmp_path), "index.sqlite")


async def test_a_data_directory_in_use_and_nats_that_cannot_be_reached(tmp_path: Path) -> None:
    """Both may get better by themselves, so each is waited for, some 10 s."""
    port = free_port()
    async with serving(tmp_path) as (server, _), nats_server() as nats:
        in_use, unreachable, refused = await asyncio.gather(
            run("serve", "--port", "0", "--data-dir", server.data),
            run("serve", "--port", "0", "--data-dir", tmp_path / "b", "--nats-url", f"nats://127.0.0.1:{port}"),
            run(
                "serve", "--port", "0", "--data-dir", tmp_path / "c",
                "--nats-url", re.sub("://.*@", "://doorstream:wrong-password@", nats.url),
            ),
        )  # fmt: skip
        check_refused(in_use, "is in use by another doorstream", str(server.data))
        assert in_use.seconds > 9
        check_refused(unreachable, "NATS cannot be reached")
        check_refused(refused, "NATS cannot be reached", "Authorization")
        assert "wrong-password" not in refused.errors
        await server.api.call("GET", "/api/sites")


async def test_a_start_waits_for_its_predecessor(tmp_path: Path) -> None:
    """A restart by an operator who is quicker than the server."""
    async with serving(tmp_path) as (server, site):
        await server.api.ingest(site, event("before"))
        other = Serve(tmp_path, data=server.data)
        other.key = server.key
        other.launch()
        await asyncio.sleep(1.5)
        assert other.output == ""
        await server.stop()
        try:
            await until(lambda: "listens on" in other.output, 60, lambda: other.errors)
            assert list(await history(other.api, site)) == ["before"]
        finally:
            assert await other.stop() == 0


def has_open(pid: int, path: Path) -> bool:
    """Whether a process has that file open."""
    return any(link.resolve() == path for link in Path(f"/proc/{pid}/fd").iterdir())


async def test_a_start_that_waits_can_be_interrupted(tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM while it waits for a data directory that is in use."""
    async with serving(tmp_path) as (server, _):
        waiting = [Serve(tmp_path, data=server.data) for _ in range(2)]
        for other in waiting:
            other.launch()
        lock = (server.data / "lock").resolve()
        await until(lambda: all(has_open(other.pid, lock) for other in waiting), 60)
        await asyncio.sleep(0.2)  # it tries again and again
        # Whoever goes on waiting ends in vain and says 2.
        stopped = await asyncio.gather(waiting[0].stop(signal.SIGINT), waiting[1].stop(signal.SIGTERM))
        assert stopped == [0, 0]


async def test_an_import_file_that_cannot_be_used(tmp_path: Path) -> None:
    """Nothing of the file is stored, and what the first start shows only once is still to be shown."""
    path = tmp_path / "building.toml"
    start = ("serve", "--port", "0", "--data-dir", tmp_path / "data", "--import", path)
    check_refused(await run(*start), "building.toml")
    path.write_text("[[sites]\n")
    check_refused(await run(*start), "building.toml", "TOML")
    path.write_text("[[sites]]\nid = 'harbour'\ncastle = 3\n")
    check_refused(await run(*start), "building.toml", "sites[0]", "castle")
    path.write_text(
        "[[clients]]\nid = 'app'\nname = 'App'\nscopes = ['events:read']\nsites = 'all'\n"
        "secret = 'a-long-secret-0123456789'\n"
    )
    server = Serve(tmp_path, "--import", str(path))
    await server.start()
    try:
        clients = (await server.api.call("GET", "/api/clients"))["items"]
        assert sorted(client["id"] for client in clients) == ["admin", "app"]
    finally:
        assert await server.stop() == 0


async def test_the_first_line_of_the_demo(tmp_path: Path) -> None:
    """It is there, whole and flushed, as soon as the server answers; a second start says the same."""
    printed = []
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            COMMAND, "demo", "--json", "--port", "0", "--rate", "0", "--data-dir", tmp_path / "data",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        credentials = json.loads(line)
        api = Api(credentials["url"], credentials["admin"]["api_key"])
        assert (await api.call("GET", "/readyz"))["status"] == "ready"
        assert [site["id"] for site in (await api.call("GET", "/api/sites"))["items"]] == [credentials["site_id"]]
        process.send_signal(signal.SIGTERM)
        rest, errors = await asyncio.wait_for(process.communicate(), 60)
        assert (process.returncode, rest, errors) == (0, b"", b"")
        printed.append(credentials)
    first, second = printed
    check_demo_line(first)
    assert _without_url(second) == _without_url(first)


def check_demo_line(line: dict[str, object]) -> None:
    """The form that design.md gives; other tools rely on it."""
    text, user = str, {"username": str, "password": str, "user_id": str}
    form = {
        "url": text,
        "site_id": text,
        "admin": {"api_key": text},
        "pdk": {"client_id": text, "client_secret": text, "system_id": text},
        "placeos": {"api_key": text, "system_id": text},
        "parakey": {"access_token": text, "domain_id": text},
        "salto": {
            "token_url": text,
            "client_id": text,
            "client_secret": text,
            "site_id": text,
            "users": {"site_admin": user, "site_super_user": user, "site_user": user},
        },
    }

    def shape(value: object) -> object:
        return {name: shape(each) for name, each in value.items()} if isinstance(value, dict) else type(value)

    assert shape(line) == form
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", str(line["url"]))


def _without_url(line: dict[str, object]) -> str:
    return json.dumps(line).replace(str(line["url"]), "")


async def test_the_administrators_key_is_told_once(tmp_path: Path) -> None:
    """At the first start, on standard output; it is kept nowhere but as a hash."""
    async with serving(tmp_path) as (server, _):
        assert server.output.count(server.key) == 1
        assert "administrator" in server.output
        children = children_of(server.pid)
        assert await server.stop(signal.SIGINT) == 0
        await until(lambda: not any(map(is_running, children)), 60)
        await server.start()
        assert "ds_" not in server.output
        await server.api.call("GET", "/api/clients")
        assert server.key not in server.errors
    secret = server.key.encode()
    for path in server.data.rglob("*"):
        assert not path.is_file() or secret not in path.read_bytes(), f"{path} holds the key"
