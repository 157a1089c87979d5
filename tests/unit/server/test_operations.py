"""What administrators do with a server as a whole: check, back up, restore, build the index again."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import stat
import tarfile
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from cli_support import at, check_refused, environment, launch, run
from http_support import event

from doorstream.cli.main import app
from doorstream.events import Position
from doorstream.log import Connection
from doorstream.testing import until
from doorstream.testing.receiver import Receiver
from doorstream.testing.server import Api, ApiRefused, Demo, free_port, running_demo

DAY = 86_400


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for all tests of this file."""
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors, demo.errors


def members_of(path: Path) -> list[str]:
    """The names in a tar file."""
    with tarfile.open(path) as file:
        return file.getnames()


async def history(url: str, site: str, key: str) -> list[dict[str, object]]:
    """All events of a site, newest first."""
    answer = await Api(url, key).call("GET", f"/api/sites/{site}/events?limit=10000")
    return answer["events"]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_backup_is_taken_while_events_flow_and_put_back(demo: Demo, tmp_path: Path) -> None:
    """All that was acknowledged before it is in it; what is put back is another log for clients of the first."""
    key, site = demo.credentials["admin"]["api_key"], demo.site_id
    await demo.api.ingest(site, *[event(f"before-{n}") for n in range(500)])
    file, going_on = tmp_path / "all.tar", True

    async def feed() -> None:
        number = 0
        while going_on:
            await demo.api.ingest(site, event(f"meanwhile-{number}"))
            number += 1

    feeding = asyncio.create_task(feed())
    ended = await run("backup", str(file), *at(demo))
    going_on = False
    await feeding
    assert ended.status == 0, ended.errors
    assert "EVENTS" in ended.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert members_of(file)[0] == "manifest.json"
    assert members_of(file)[-1] == "complete"

    restored = await run("restore", str(file), "--data-dir", str(tmp_path / "again"))
    assert restored.status == 0, restored.errors
    kept = int(re.search(r"restored: (\d+) events", restored.output).group(1))
    check_refused(await run("restore", str(file), "--data-dir", str(tmp_path / "again")), 2, "already")

    port = free_port()
    process = await launch("serve", "--port", str(port), "--data-dir", str(tmp_path / "again"))
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        assert line == f"doorstream listens on http://127.0.0.1:{port}\n"
        again = await history(f"http://127.0.0.1:{port}", site, key)
    finally:
        process.terminate()
        await process.communicate()
    original = await history(demo.url, site, key)
    assert {f"before-{n}" for n in range(500)} <= {each["id"] for each in again}
    assert len(again) == kept
    assert [each["id"] for each in again] == [each["id"] for each in original][len(original) - kept :]
    positions = [Position.parse(each["position"]) for each in (again[0], original[-1])]
    assert positions[0].epoch != positions[1].epoch


async def test_webhooks_go_on_where_a_backup_was_made(tmp_path: Path) -> None:
    """The copy is another log for clients; what was delivered before it was sent a second time, from the very start."""
    file, data = tmp_path / "all.tar", tmp_path / "again"
    async with Receiver() as receiver, running_demo() as demo:
        site = demo.site_id
        await demo.api.ingest(site, event("older"))
        body = {"url": receiver.url, "form": "native", "topics": ["x.*"]}
        await demo.api.call("POST", f"/api/sites/{site}/webhooks", json=body)
        await demo.api.ingest(site, *[event(f"before-{n}") for n in range(20)])
        await until(lambda: len(receiver.requests) == 20, 20)
        deliveries = f"/api/sites/{site}/webhooks/{await the_webhook(demo.api, site)}/deliveries?limit=100"
        while len((await demo.api.call("GET", deliveries))["items"]) < 20:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)
        assert (await run("backup", str(file), *at(demo))).status == 0
        restored = await run("restore", str(file), "--data-dir", str(data))
        assert restored.status == 0, restored.errors
        port, options = free_port(), ("--webhook-allow", "127.0.0.0/8", "--no-webhook-require-https")
        process = await launch("serve", "--port", str(port), "--data-dir", str(data), *options)
        try:
            await asyncio.wait_for(process.stdout.readline(), 30)
            again = Api(f"http://127.0.0.1:{port}", demo.credentials["admin"]["api_key"])
            await again.ingest(site, event("after"))
            await until(lambda: "after" in ids_of(receiver), 20)
        finally:
            process.terminate()
            await process.communicate()
    assert sorted(ids_of(receiver)) == sorted(["after", *[f"before-{n}" for n in range(20)]])


def ids_of(receiver: Receiver) -> list[str]:
    """The ids of the events that arrived, each as often as it did."""
    return [json.loads(request.body)["id"] for request in receiver.requests]


async def the_webhook(api: Api, site: str) -> str:
    """The id of a site's only webhook."""
    return (await api.call("GET", f"/api/sites/{site}/webhooks"))["items"][0]["id"]


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_no_whole_backup_is_refused(demo: Demo, tmp_path: Path) -> None:
    whole = tmp_path / "whole.tar"
    assert (await run("backup", str(whole), *at(demo))).status == 0
    check_refused(await run("backup", str(whole), *at(demo)), 2, "exists already")
    content = whole.read_bytes()
    for name, data in {
        "empty": b"",
        "text": b"root:x:0:0\n" * 100,
        "cut in a member": content[: len(content) // 2],
        "cut between members": content[:-1536],
        "without its end": content[:-1024],
    }.items():
        part = tmp_path / "part.tar"
        part.write_bytes(data)
        ended = await run("restore", str(part), "--data-dir", str(tmp_path / "new"))
        if name == "without its end":  # only zeros of the tar format are missing
            assert ended.status == 0
        else:
            check_refused(ended, 2, "part.tar is no")
            assert not (tmp_path / "new").exists()
    check_refused(await run("restore", str(tmp_path / "none.tar")), 2, "cannot be read")


@pytest.mark.asyncio(loop_scope="module")
async def test_only_administrators_take_backups_and_rebuild(demo: Demo, tmp_path: Path) -> None:
    key = demo.credentials["parakey"]["access_token"]
    check_refused(await run("backup", str(tmp_path / "b.tar"), "--api-key", key, *at(demo)), 1, "403", "admin")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ApiRefused) as refused:
        await Api(demo.url, key).call("POST", "/api/index/rebuild")
    assert refused.value.status == 403


@pytest.mark.asyncio(loop_scope="module")
async def test_the_index_is_built_again(demo: Demo) -> None:
    """While it is used; afterwards it holds the same."""
    key, site = demo.credentials["admin"]["api_key"], demo.site_id
    await demo.api.ingest(site, *[event(f"indexed-{n}") for n in range(300)])
    before = await history(demo.url, site, key)
    ended = await run("index", "rebuild", *at(demo))
    assert ended.status == 0, ended.errors
    assert re.fullmatch(r"the index is complete: \d+ events\n", ended.output)
    after = await history(demo.url, site, key)
    assert after[-len(before) :] == before


async def test_an_index_is_deleted_while_no_server_runs(tmp_path: Path) -> None:
    for name in ("index.sqlite", "index.sqlite-wal", "index-1.sqlite", "other.sqlite"):
        (tmp_path / name).touch()
    ended = await run("index", "rebuild", "--offline", str(tmp_path))
    assert ended.output.startswith("3 files deleted")
    assert (tmp_path / "other.sqlite").exists()
    check_refused(await run("index", "rebuild", "--offline", str(tmp_path / "none")), 2, "no directory")


@pytest.mark.asyncio(loop_scope="module")
async def test_an_index_in_use_is_not_deleted(demo: Demo) -> None:
    ended = await run("index", "rebuild", "--offline", str(demo.data_directory))
    check_refused(ended, 2, "in use by another doorstream")


async def test_check_finds_nothing_wrong(tmp_path: Path) -> None:
    """And leaves nothing behind."""
    ended = await run("check", "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert ended.status == 0, ended
    for subject in ("address", "data directory", "disk", "nats-server", "clock", "open files"):
        assert f" {subject}: " in ended.output
    assert list(tmp_path.iterdir()) == []


async def test_check_says_what_is_wrong(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "file").touch()
        options = ("--port", str(port), "--data-dir", str(tmp_path / "file"), "--nats-url", "nats://127.0.0.1:1")
        ended = await run("check", *options)
    assert ended.status == 1
    assert f"error   address: cannot listen on 127.0.0.1 port {port}: Address already in use" in ended.output
    assert "error   data directory: " in ended.output
    assert "error   NATS: NATS cannot be reached: Connection refused" in ended.output
    assert ended.errors == "doorstream: a server could not run like this\n"


async def test_a_configuration_file(tmp_path: Path) -> None:
    """Less counts than the environment, which counts less than the command line."""
    taken = [free_port() for _ in range(3)]
    file = tmp_path / "doorstream.toml"
    file.write_text(f'port = {taken[0]}\nhost = "127.0.0.1"\ndata-dir = "{tmp_path / "data"}"\n')
    ended = await run("check", "--config", str(file))
    assert f"port {taken[0]} is free" in ended.output
    assert str(tmp_path / "data") in ended.output
    ended = await run("check", "--config", str(file), env=environment(DOORSTREAM_PORT=str(taken[1])))
    assert f"port {taken[1]} is free" in ended.output
    options = ("check", "--config", str(file), "--port", str(taken[2]))
    ended = await run(*options, env=environment(DOORSTREAM_PORT=str(taken[1])))
    assert f"port {taken[2]} is free" in ended.output
    check_refused(await run("check", "--config", str(tmp_path / "none.toml")), 2, "there is no file")
    file.write_text("prot = 8080\n")
    ended = await run("check", "--config", str(file))
    assert ended.status != 0
    assert "prot" in ended.output + ended.errors


@pytest.mark.parametrize("where", ["file", "command line"])
async def test_how_long_each_class_is_kept(connection: Connection, nats_url: str, tmp_path: Path, where: str) -> None:
    """What leaves earlier than the rest says so itself; the log forgets the rest. A table given as options is whole."""
    file = tmp_path / "doorstream.toml"
    wanted = {"alarm": 365, "own": 2, "door": 0.5}
    table = wanted if where == "file" else {"access": 1}
    file.write_text(
        "\n".join(["retention-days = 30.0", "[retain]", *(f"{name} = {days}" for name, days in table.items())])
    )
    options = ["--config", str(file), "--nats-url", nats_url, "--data-dir", str(tmp_path / "data"), "--port", "0"]
    if where == "command line":
        options += [f"--retain.{name}={days}" for name, days in wanted.items()]
    process = await launch("serve", *options)
    assert process.stdout is not None
    try:
        line, told = [(await asyncio.wait_for(process.stdout.readline(), 30)).decode() for _ in range(2)]
        api = Api(line.split()[-1], told.split()[-1])
        site = await api.create_site()
        topics = ("x.test", "device.input.dps.opened", "device.alarm.forced", "device.request.allowed")
        await api.ingest(site, *[event(topic, topic) for topic in topics])
    finally:
        process.terminate()
        await process.communicate()
    lives = {}
    for topic in topics:
        query = {"last_by_subj": f"events.{site}.{topic}"}
        message = (await connection.api("STREAM.MSG.GET.EVENTS", query))["message"]
        life = re.search(r"Nats-TTL: *(\d+)s", base64.b64decode(message["hdrs"]).decode())
        lives[topic] = int(life[1]) / DAY if life is not None else None
    assert lives == dict(zip(topics, (2, 0.5, None, 30), strict=True))
    assert (await connection.api("STREAM.INFO.EVENTS"))["config"]["max_age"] == 365 * DAY * 10**9


async def test_a_class_that_does_not_exist(tmp_path: Path) -> None:
    ended = await run("serve", "--data-dir", str(tmp_path / "data"), "--retain.doors", "3")
    check_refused(ended, 2, "--retain: no class of topics: doors; there are access, alarm, door, own, system")


def test_every_setting_is_in_the_reference_file() -> None:
    """With its default, where it has one; and nothing else is."""
    text = (Path(__file__).parents[3] / "docs" / "doorstream.toml").read_text()
    documented = tomllib.loads(re.sub(r"^# (?=[a-z-]+ = |\[)", "", text, flags=re.MULTILINE))
    arguments = app["serve"].assemble_argument_collection(parse_docstring=True)
    settings = {each.name.removeprefix("--"): each.field_info.default for each in arguments if each.show}
    settings = {name.partition(".")[0]: default for name, default in settings.items()}
    assert set(documented) == set(settings)
    fixed = {name: default for name, default in settings.items() if isinstance(default, bool | int | float | str)}
    assert {name: documented[name] for name in fixed} == fixed
