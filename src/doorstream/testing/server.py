"""The real server as a child process, for tests of whatever talks to it: start, kill, restart, and a small client.

Nothing here belongs to an event loop, so a server can be shared by tests that each have a loop of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from doorstream.log.embedded import free_port as free_port  # noqa: PLC0414 - tests have it from here

_START_PATIENCE = 90.0
_STOP_PATIENCE = 60.0
_POLL = 0.01
_PROGRAM = """
import json, os
import msgspec
import doorstream.cli.serve as command
from doorstream.cli import main

made, overrides = command._settings, json.loads(os.environ["DOORSTREAM_TEST_SETTINGS"])
command._settings = lambda *args, **more: msgspec.structs.replace(made(*args, **more), **overrides)
main()
"""
_NATS = "nats-server"
_WORKER = "doorstream.server.worker"


class ServerFailed(Exception):
    """The server did not start or did not end as it should; the message holds what it said."""


class ApiRefused(Exception):
    """A request was answered with an error: ``status`` and ``body``."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


class Api:
    """The routes that tests need. ``key`` is an administrator's API key."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._key = key

    async def ingest(self, site_id: str, *events: Mapping[str, Any]) -> list[str]:
        """Put events in, all or none; returns their positions."""
        answer = await self.call("POST", f"/api/sites/{site_id}/events", json=list(events))
        positions: list[str] = answer["positions"]
        return positions

    async def create_site(self, **fields: Any) -> str:
        """Create a site; returns its id."""
        site: dict[str, Any] = await self.call("POST", "/api/sites", json={"name": "Site"} | fields)
        return str(site["id"])

    async def create_client(self, **fields: Any) -> dict[str, Any]:
        """Create a client, of PDK and for all sites unless told otherwise; its ``secret`` is in the answer."""
        body = {"name": "client", "scopes": ["pdk"], "sites": "all"} | fields
        client: dict[str, Any] = await self.call("POST", "/api/clients", json=body)
        return client

    async def delete_client(self, client_id: str) -> None:
        """Delete a client, which ends its tokens."""
        await self.call("DELETE", f"/api/clients/{client_id}")

    async def id_token(self, client_id: str, secret: str) -> str:
        """The id token for a client's credentials (PDK-1)."""
        basic = {"Authorization": aiohttp.encode_basic_auth(client_id, secret)}
        form = {"grant_type": "client_credentials"}
        answer = await self.call("POST", "/oauth2/token", data=form, headers=basic)
        return str(answer["id_token"])

    async def system_token(self, client_id: str, secret: str, system_id: str) -> str:
        """A PDK system token, by way of an id token as PDK's clients do it (PDK-3)."""
        bearer = {"Authorization": f"Bearer {await self.id_token(client_id, secret)}"}
        answer = await self.call("POST", f"/api/systems/{system_id}/token", headers=bearer)
        return str(answer["token"])

    async def call(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **request: Any) -> Any:
        """One request, with the key unless ``headers`` are given; raises ApiRefused for anything but a success."""
        headers = {"X-API-Key": self._key} if headers is None else headers
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, headers=headers, **request) as response,
        ):
            text = await response.text()
            if not response.ok:
                raise ApiRefused(response.status, text)
            return json.loads(text) if text else None


class Demo:
    """A running ``doorstream demo``: ``credentials`` is its first line (design.md, "Surfaces of our own")."""

    def __init__(
        self, directory: Path, options: Sequence[str], *, port: int = 0, settings: Mapping[str, Any] | None = None
    ) -> None:
        """Everything is kept in ``directory``. With a port of its own the server can be started again at the same."""
        self.data_directory = directory / "data"
        self._output = directory / "stdout"
        self._errors = directory / "stderr"
        self._options = options
        self._port = port
        self._settings = settings or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.credentials: dict[str, Any] = {}

    @property
    def url(self) -> str:
        """The base address."""
        return str(self.credentials["url"])

    @property
    def site_id(self) -> str:
        """The id of the simulated building's site, which is PDK's system id."""
        return str(self.credentials["site_id"])

    @property
    def api(self) -> Api:
        """A client with the administrator's key."""
        return Api(self.url, self.credentials["admin"]["api_key"])

    @property
    def errors(self) -> str:
        """What the server has written to its standard error, over all its starts."""
        return self._errors.read_text() if self._errors.exists() else ""

    async def system_token(self) -> str:
        """A fresh system token of the demo's own PDK client."""
        pdk = self.credentials["pdk"]
        return await self.api.system_token(pdk["client_id"], pdk["client_secret"], pdk["system_id"])

    def start(self) -> None:
        """Start, or start again on the same data; returns when the server answers. Raises ServerFailed."""
        command = [sys.executable, "-c", _PROGRAM, "demo", "--json", "--port", str(self._port)]
        command += ["--data-dir", str(self.data_directory), *self._options]
        environment = os.environ | {"DOORSTREAM_TEST_SETTINGS": json.dumps(self._settings)}
        with self._output.open("wb") as output, self._errors.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment
            )
        deadline = time.monotonic() + _START_PATIENCE
        while b"\n" not in (line := self._output.read_bytes()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"the demo did not start: {self.errors}")
            time.sleep(_POLL)
        self.credentials = json.loads(line.partition(b"\n")[0])

    def stop(self) -> int:
        """End it as Ctrl-C does; returns the exit status. Does nothing when it does not run."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(_STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"the demo did not end: {self.errors}") from None
        finally:
            self._process = None

    def kill(self) -> None:
        """``kill -9`` of the parent; returns when its children are gone too."""
        process, self._process = self._process, None
        if process is None:
            return
        children = [pid for pid, _ in _children(process.pid)]
        process.kill()
        process.wait()
        _wait_until_gone(children)

    def kill_worker(self) -> None:
        """``kill -9`` of the worker, which the parent replaces."""
        self._kill_child(_WORKER)

    def kill_nats(self) -> None:
        """``kill -9`` of nats-server, which the parent starts again."""
        self._kill_child(_NATS)

    def worker_pid(self) -> int:
        """The process that serves."""
        return self._child(_WORKER)

    def _kill_child(self, name: str) -> None:
        pid = self._child(name)
        os.kill(pid, signal.SIGKILL)
        _wait_until_gone([pid])

    def _child(self, name: str) -> int:
        deadline = time.monotonic() + _START_PATIENCE
        while self._process is not None and time.monotonic() < deadline:
            for pid, command in _children(self._process.pid):
                if name in command:
                    return pid
            time.sleep(_POLL)
        raise ServerFailed(f"the demo has no {name}")


@contextlib.asynccontextmanager
async def running_demo(
    *, fixed_port: bool = False, settings: Mapping[str, Any] | None = None, **options: Any
) -> AsyncIterator[Demo]:
    """Run ``doorstream demo`` on a free port and an empty directory, with no simulated events unless ``rate`` is given.

    ``options`` are those of the command: ``system_token_ttl=2`` is ``--system-token-ttl 2``, a boolean is a flag.
    ``settings`` are fields of ``doorstream.server.settings.Settings`` that no option sets. Whoever starts the server
    again needs ``fixed_port``.
    """
    arguments = _arguments({"rate": 0, "pdk_rate_limits": False} | options)
    with tempfile.TemporaryDirectory(prefix="doorstream-") as directory:
        demo = Demo(Path(directory), arguments, port=free_port() if fixed_port else 0, settings=settings)
        try:
            await asyncio.to_thread(demo.start)
            yield demo
            await asyncio.to_thread(demo.stop)
        finally:
            demo.kill()


def _arguments(options: Mapping[str, Any]) -> list[str]:
    named = {key.replace("_", "-"): value for key, value in options.items()}
    return [*itertools.chain.from_iterable(_argument(key, value) for key, value in named.items())]


def _argument(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", str(value)]


def _children(parent: int) -> list[tuple[int, str]]:
    """The children of a process and their command lines (Linux)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(after_name[1]) == parent and after_name[0] != "Z":
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found.append((int(entry.name), command))
    return found


def _wait_until_gone(pids: Sequence[int]) -> None:
    deadline = time.monotonic() + _STOP_PATIENCE
    while any(_is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            raise ServerFailed("children of a killed server are still there")
        time.sleep(_POLL)


def _is_alive(pid: int) -> bool:
    """Whether a process runs: one that ended may stay as a zombie for a moment."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
