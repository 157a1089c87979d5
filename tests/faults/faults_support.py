"""What fault tests share: clients that come back by themselves, a feeder that repeats itself, and what the log says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from clients.patient import at_last
from doorstream.testing.server import Api, free_port

_T = TypeVar("_T")

COMMAND = str(Path(sys.executable).with_name("doorstream"))
OPENED, DENIED, OWN = "device.input.dps.opened", "device.request.denied", "x.fault.test"
TOPICS = (OPENED, DENIED, OWN)
PDK_TOPICS = (OPENED, DENIED)
_AWAY = (aiohttp.ClientError, OSError, TimeoutError)
_DIAL_AGAIN = 0.05
_REPEAT_AFTER = 0.05
_CHILDREN = re.compile(rb"nats-server|doorstream\.server\.worker")


@contextlib.asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have these run in the background; if one fails, so does the test."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], Any], patience: float, story: Callable[[], str] = lambda: "") -> None:
    """Wait for a condition; the story is told if it does not come true."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {patience} s. {story()}"
        await asyncio.sleep(0.02)


class SseReader:
    """Follows a site by server-sent events, and goes on with ``Last-Event-ID`` whenever it is cut off."""

    def __init__(self, url: str, key: str, site_id: str, *, topics: Sequence[str] = ()) -> None:
        self._url = f"{url}/api/sites/{site_id}/stream"
        self._headers = {"X-API-Key": key}
        self._topics = [("topic", topic) for topic in topics]
        self._last: str | None = None
        self.opened = 0
        self.is_open = False
        self.gaps = 0
        self.ids: list[str] = []

    async def run(self) -> None:
        """Follow until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            while True:
                with contextlib.suppress(*_AWAY):
                    await self._follow(session)
                self.is_open = False
                await asyncio.sleep(_DIAL_AGAIN)

    async def _follow(self, session: aiohttp.ClientSession) -> None:
        headers = self._headers | ({"Last-Event-ID": self._last} if self._last is not None else {})
        async with session.get(self._url, headers=headers, params=self._topics) as response:
            if response.status != 200:
                return
            buffer = b""
            async for chunk in response.content.iter_any():
                buffer += chunk
                *items, buffer = buffer.split(b"\n\n")
                for item in items:
                    self._take(item)

    def _take(self, item: bytes) -> None:
        fields = dict(line.split(": ", 1) for line in item.decode().splitlines() if not line.startswith(":"))
        self._last = fields.get("id", self._last)
        if not self.is_open:
            self.is_open = True
            self.opened += 1
        if fields.get("event") == "gap":
            self.gaps += 1
        elif "data" in fields:
            self.ids.append(json.loads(fields["data"])["id"])


class SocketIOReader:
    """A Socket.IO client with connection state recovery, frame by frame; it subscribes unless it was recovered."""

    def __init__(self, url: str, site_id: str, token: str, topics: Sequence[str]) -> None:
        self._url = f"{url}/socket.io/"
        self._query = {"systemId": site_id, "token": token, "EIO": "4", "transport": "websocket"}
        self._subscription = json.dumps(["subscribeIsolated", {"topics": list(topics)}])
        self._pid: str | None = None
        self._offset: str | None = None
        self.opened = 0
        self.recovered = 0
        self.is_open = False
        self.refused: list[str] = []
        self.events: list[tuple[str, Any]] = []

    @property
    def ids(self) -> list[str]:
        """The ids of the events that came under their own names."""
        return [argument["id"] for name, argument in self.events if name != "liveEvent"]

    async def run(self) -> None:
        """Follow until cancelled or refused."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            while not self.refused:
                with contextlib.suppress(*_AWAY):
                    async with session.ws_connect(self._url, params=self._query) as socket:
                        async for message in socket:
                            if message.type is aiohttp.WSMsgType.TEXT:
                                await self._take(socket, message.data)
                self.is_open = False
                await asyncio.sleep(_DIAL_AGAIN)

    async def _take(self, socket: aiohttp.ClientWebSocketResponse, packet: str) -> None:
        if packet.startswith("0"):
            recovery = {"pid": self._pid} | ({"offset": self._offset} if self._offset else {})
            await socket.send_str("40" + (json.dumps(recovery) if self._pid else ""))
        elif packet == "2":
            await socket.send_str("3")
        elif packet.startswith("40"):
            pid = json.loads(packet[2:])["pid"]
            is_recovered, self._pid = pid == self._pid, pid
            self.opened += 1
            self.recovered += is_recovered
            self.is_open = is_recovered
            if not is_recovered:
                await socket.send_str(f"420{self._subscription}")
        elif packet.startswith("430"):
            self.is_open = True  # from now on it is told what it subscribed
        elif packet.startswith("42"):
            name, argument, self._offset = json.loads(packet[2:])
            self.events.append((name, argument))
        elif packet.startswith("44"):
            self.refused.append(packet)


class Feeder:
    """Puts numbered events in and repeats every request, ids and all, until it is acknowledged."""

    def __init__(self, url: str, key: str, site_id: str, name: str, *, seed: str = "", pause: float = 0.02) -> None:
        self._url = f"{url}/api/sites/{site_id}/events"
        self._headers = {"X-API-Key": key}
        self._name = name
        self._rng = random.Random(f"{seed} {name}")  # noqa: S311 - repeatable on purpose
        self._pause = pause
        self._number = 0
        self.acknowledged: dict[str, str | None] = {}
        self.statuses: dict[int, int] = {}
        self.slowest = 0.0
        self.stopping = False

    async def run(self) -> None:
        """Feed until told to stop; what is under way then is still brought to its end."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
            while not self.stopping:
                events = self._events()
                while not await self._is_acknowledged(session, events):  # noqa: ASYNC110 - the server tells by its answer
                    await asyncio.sleep(_REPEAT_AFTER)
                await asyncio.sleep(self._rng.uniform(0, 2 * self._pause))

    def _events(self) -> list[dict[str, Any]]:
        events = []
        for _ in range(self._rng.choice((1, 1, 2, 5, 20))):
            self._number += 1
            events.append(event(f"{self._name}-{self._number}", self._rng.choice(TOPICS)))
        return events

    async def _is_acknowledged(self, session: aiohttp.ClientSession, events: list[dict[str, Any]]) -> bool:
        body: Any = events[0] if len(events) == 1 else events
        as_lines = len(events) > 1 and self._rng.random() < 0.5
        data = "".join(json.dumps(each) + "\n" for each in events) if as_lines else json.dumps(body)
        headers = self._headers | {"Content-Type": "application/x-ndjson" if as_lines else "application/json"}
        began = time.monotonic()
        try:
            async with session.post(self._url, data=data, headers=headers) as response:
                answer = await response.json(content_type=None)
        except _AWAY:
            return False
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.statuses[response.status] = self.statuses.get(response.status, 0) + 1
        if response.status != 200:
            assert response.status in (503, 507), answer
            assert int(response.headers["Retry-After"]) > 0
            return False
        places = [None] * len(events) if as_lines else answer["positions"]
        self.acknowledged.update(zip((each["id"] for each in events), places, strict=True))
        return True


def event(event_id: str, topic: str = OPENED, **more: Any) -> dict[str, Any]:
    """An event to put in."""
    return {"id": event_id, "topic": topic, "occurred": 1_780_000_000_000, "body": {"deviceId": "door-1"}} | more


async def patiently(ask: Callable[[], Coroutine[Any, Any, _T]], patience: float = 60.0) -> _T:
    """What is asked for, as soon as the server is there again."""
    return await at_last(ask, patience, away=_AWAY)


async def history(api: Api, site_id: str) -> dict[str, tuple[str, str]]:
    """Every event that is kept, in the order of the log: topic and position by id. Fails if one is there twice."""
    found: dict[str, tuple[str, str]] = {}

    async def page(**params: str) -> Any:
        """As soon as it is given: each may come from another worker, or find that NATS has just gone."""
        return await patiently(lambda: api.call("GET", f"/api/sites/{site_id}/events", params=params))

    newest = (await page(limit="1"))["events"]
    wanted = {"after": f"{newest[0]['position'].partition('.')[0]}.0"} if newest else {}
    while True:
        got = await page(limit="5000", **wanted)
        for each in got["events"]:
            assert each["id"] not in found, f"{each['id']} is kept twice: {found[each['id']]} and {each['position']}"
            found[each["id"]] = (each["topic"], each["position"])
        if got["next"] is None:
            return found
        wanted["cursor"] = got["next"]


def check_acknowledged(feeders: Sequence[Feeder], log: Mapping[str, tuple[str, str]]) -> int:
    """Everything acknowledged is in the log, where the answer said; returns how many that are."""
    number = 0
    for feeder in feeders:
        for event_id, place in feeder.acknowledged.items():
            assert event_id in log, f"{event_id} was acknowledged at {place} and is not in the log"
            assert place in (None, log[event_id][1]), f"{event_id} was acknowledged at {place}, is at {log[event_id]}"
            number += 1
    return number


def difference(wanted: Sequence[str], received: Sequence[str]) -> str:
    """Where what was received departs from what should have been, for people."""
    at = next((at for at, pair in enumerate(zip(wanted, received, strict=False)) if pair[0] != pair[1]), None)
    at = min(len(wanted), len(received)) if at is None else at
    missing, extra = set(wanted) - set(received), set(received) - set(wanted)
    twice = len(received) - len(set(received))
    return (
        f"{len(received)} received, {len(wanted)} wanted; from {at} on: wanted {wanted[at : at + 5]}, got "
        f"{received[at : at + 5]}; {len(missing)} missing, {len(extra)} unknown, {twice} twice"
    )


def children_of(pid: int) -> dict[int, str]:
    """The nats-server and the workers of a server, by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                matched = _CHILDREN.search((entry / "cmdline").read_bytes())
                if int(fields[1]) == pid and fields[0] != "Z" and matched:
                    found[int(entry.name)] = matched[0].decode()
    return found


def command_line(pid: int) -> str:
    """What everybody on the machine can see of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text()


def is_running(pid: int) -> bool:
    """Whether a process runs. One that ended may stay as a zombie until whoever inherited it collects it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Serve:
    """``doorstream serve`` as a child process, on a port that stays the same, with what it prints in files."""

    def __init__(self, directory: Path, *options: str, data: Path | None = None) -> None:
        self.data = data or directory / "data"
        self.options = options
        self.port = free_port()
        self.key = ""
        self._output, self._errors = directory / "serve.out", directory / "serve.err"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> Api:
        """A client with the administrator's key."""
        return Api(self.url, self.key)

    @property
    def output(self) -> str:
        """What the last start printed."""
        return self._output.read_text()

    @property
    def errors(self) -> str:
        """What it wrote to its standard error, over all its starts."""
        return self._errors.read_text()

    @property
    def pid(self) -> int:
        """The parent's process id."""
        assert self.process is not None
        return self.process.pid

    def launch(self) -> None:
        """Start it and wait for nothing."""
        command = [COMMAND, "serve", "--port", str(self.port)]
        with self._output.open("wb") as output, self._errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*command, "--data-dir", str(self.data), *self.options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )

    async def start(self, patience: float = 90.0) -> None:
        """Start it, or start it again, and wait until it says that it listens.

        Whoever joins others, who have an administrator, is given the ``key`` before.
        """
        self.launch()
        assert self.process is not None
        process = self.process
        # Where a key is not known yet it is printed, right after the address: a moment later.
        wanted = "listens on" if self.key else r"listens on .*\n(.*\n)*.* ds_\S+\n"
        await until(lambda: re.search(wanted, self.output) or process.poll() is not None, patience, lambda: self.errors)
        assert process.poll() is None, self.errors
        printed = re.search(r"ds_\S+", self.output)
        self.key = printed[0] if printed else self.key

    async def stop(self, number: signal.Signals = signal.SIGTERM, patience: float = 60.0) -> int:
        """End it; returns its exit status. Does nothing if it does not run."""
        process, self.process = self.process, None
        if process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            return await asyncio.to_thread(process.wait, patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"it did not end within {patience} s: {self.errors}") from None


@contextlib.asynccontextmanager
async def serving(directory: Path, *options: str, data: Path | None = None) -> AsyncIterator[tuple[Serve, str]]:
    """A running ``doorstream serve`` and the id of a site in it."""
    server = Serve(directory, *options, data=data)
    try:
        await server.start()
        yield server, await server.api.create_site(name="Harbour House")
        await server.stop()
    finally:
        await server.stop(signal.SIGKILL)


def environment(**more: str) -> dict[str, str]:
    """The environment for a command, without what would lead it to another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DOORSTREAM_")} | more
