"""Unchanged polls of the event log per second, against an empty endpoint of the same framework. Prints JSON.

Both servers are one process on uvicorn with uvloop and httptools and answer 304 without a body; they take turns. The
empty one is FastAPI with a single route: what a poll costs beyond that is ours. ``per_cpu_second`` is of the worker
alone and does not depend on what else the machine does. nats-server is counted beside it: an unchanged poll asks it up
to where the log is acknowledged, together with the polls that came at the same time. So few connections wait for it,
and many do not notice.

    .venv/bin/python bench/parakey.py --seconds 3 --rounds 3 --connections 32
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import uvloop

from doorstream.testing.server import free_port, running_demo

REQUIRED_RATIO = 0.7
REQUIRED_RATE = 5000
_TICKS = os.sysconf("SC_CLK_TCK")
_EMPTY = """
import sys
import uvicorn
from fastapi import FastAPI, Response

app = FastAPI()

@app.get("/empty")
async def empty():
    return Response(status_code=304)

uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning")
"""


class Target(NamedTuple):
    """What is asked, and the process that answers."""

    url: str
    pid: int
    headers: tuple[str, ...] = ()


class Sample(NamedTuple):
    """One run: answers a second, answers for each second of the server's processor."""

    per_second: float
    per_cpu_second: float


class Connection(asyncio.Protocol):
    """Asks again as soon as it is answered; only answers of 304 count."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.answers = 0
        self.others = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self.transport = transport  # type: ignore[assignment]
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Ask again."""
        assert self.transport is not None  # noqa: S101 - connection_made came first
        assert data.endswith(b"\r\n\r\n")  # noqa: S101 - a head without a body, which comes in one piece
        if data.startswith(b"HTTP/1.1 304"):
            self.answers += 1
        else:
            self.others += 1
        self.transport.write(self._request)


def cpu_seconds(pid: int) -> float:
    """What a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def measure(target: Target, connections: int, seconds: float) -> Sample:
    """Ask for that long."""
    parts = urlsplit(target.url)
    lines = [f"GET {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}", *target.headers]
    request = "\r\n".join([*lines, "", ""]).encode()
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: Connection(request), parts.hostname, parts.port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds / 5)  # warm
    before, used, begun = sum(each.answers for each in opened), cpu_seconds(target.pid), time.perf_counter()
    await asyncio.sleep(seconds)
    count, elapsed = sum(each.answers for each in opened) - before, time.perf_counter() - begun
    used = cpu_seconds(target.pid) - used
    for each in opened:
        if each.transport is not None:
            each.transport.abort()
    if any(each.others for each in opened) or not count:
        raise RuntimeError(f"{target.url} did not answer 304")
    return Sample(count / elapsed, count / used)


@contextmanager
def empty_endpoint() -> Iterator[Target]:
    """The other server."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/empty"
    process = subprocess.Popen([sys.executable, "-c", _EMPTY, str(port)])
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(url, timeout=1)
            except OSError as error:
                if getattr(error, "code", None) == 304:  # noqa: PLR2004 - not modified
                    break
            time.sleep(0.1)
        yield Target(url, process.pid)
    finally:
        process.kill()
        process.wait()


async def event_log(demo: Any) -> Target:
    """Doorstream with some event logs."""
    event = {"topic": "device.request.allowed", "occurred": 1_780_000_000_000, "body": {"deviceId": "d"}}
    await demo.api.ingest(demo.site_id, *[event] * 100)
    token = demo.credentials["parakey"]["access_token"]
    url = f"{demo.url}/eventLogs?limit=1"
    async with aiohttp.ClientSession(headers={"access-token": token}) as session, session.get(url) as answer:
        etag = answer.headers["ETag"]
    return Target(url, demo.worker_pid(), (f"access-token: {token}", f"If-None-Match: {etag}"))


def medians(samples: list[Sample]) -> dict[str, float]:
    """Of each column."""
    columns = zip(*samples, strict=True)
    return dict(zip(Sample._fields, [round(statistics.median(column)) for column in columns], strict=True))


async def run(connections: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Take turns."""
    ours: list[Sample] = []
    theirs: list[Sample] = []
    async with running_demo() as demo:
        with empty_endpoint() as empty:
            polled = await event_log(demo)
            nats = demo._child("nats-server")  # noqa: SLF001 - nobody else wants to know
            used, polls = 0.0, 0.0
            for _ in range(rounds):
                theirs.append(await measure(empty, connections, seconds))
                before = cpu_seconds(nats)
                ours.append(await measure(polled, connections, seconds))
                used += cpu_seconds(nats) - before
                polls += ours[-1].per_second * seconds * 1.2
    poll, nothing = medians(ours), medians(theirs)
    ratios = {name: round(poll[name] / nothing[name], 2) for name in Sample._fields}
    return {
        "unchanged_poll": poll,
        "empty_endpoint": nothing,
        "ratio": ratios,
        "nats_cpu_microseconds_a_poll": round(used / polls * 1e6, 1),
        "connections": connections,
        "required": {"ratio": REQUIRED_RATIO, "per_cpu_second": REQUIRED_RATE},
        "met": ratios["per_cpu_second"] >= REQUIRED_RATIO and poll["per_cpu_second"] >= REQUIRED_RATE,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    result = uvloop.run(run(options.connections, options.seconds, options.rounds))
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["met"] else 1)


if __name__ == "__main__":
    main()
