"""A full disk: refused in time, recovered from without a hand, and nothing acknowledged is missing or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from faults_support import OPENED, Serve, SocketIOReader, SseReader, event, history, running, serving, until

SIZE = 64_000_000
RESERVE = 16_000_000  # what is left alone on so small a disk by default
PAGE = 4096
PROMPTLY = 15.0  # NATS is given 5 s to answer, and a busy machine adds to it
RECOVERED_WITHIN = 60.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, so that filling it harms nobody."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "doorstream-test", path]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        reason = f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


class Ballast:
    """A file of somebody else's on the same disk."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "ballast"
        self._disk = disk

    @property
    def free(self) -> int:
        """Bytes that are free on the disk."""
        status = os.statvfs(self._disk)
        return status.f_bavail * status.f_frsize

    def leave(self, wanted: int) -> None:
        """Grow until no more than that is free."""
        with self._path.open("ab", buffering=0) as file, contextlib.suppress(OSError):  # the server writes, too
            while (room := self.free - wanted) >= PAGE:
                file.write(b"\0" * min(room, 1_000_000))
        if self.free < wanted:
            os.truncate(self._path, self._path.stat().st_size - wanted)

    def remove(self) -> None:
        """Give everything back."""
        self._path.unlink()


class Source:
    """Puts events in by hand, and knows what was acknowledged."""

    def __init__(self, server: Serve, site: str) -> None:
        self._url = f"{server.url}/api/sites/{site}/events"
        self._key = {"X-API-Key": server.key}
        self.acknowledged: set[str] = set()

    async def array(self, events: Sequence[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        """All or none."""
        status, answer = await self._post(json.dumps(events), "application/json")
        if status == 200:
            self.acknowledged.update(each["id"] for each in events)
        return status, answer

    async def lines(self, events: Sequence[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        """One by one."""
        status, answer = await self._post("".join(json.dumps(each) + "\n" for each in events), "application/x-ndjson")
        if status == 200:
            self.acknowledged.update(each["id"] for each in events)
        return status, answer

    async def _post(self, data: str, media_type: str) -> tuple[int, dict[str, Any]]:
        began, headers = time.monotonic(), self._key | {"Content-Type": media_type}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self._url, data=BytesIO(data.encode()), headers=headers) as response,
        ):
            answer = await response.json(content_type=None)
        if response.status != 200:
            assert response.content_type == "application/problem+json", answer
            assert int(response.headers.get("Retry-After", "0")) > 0, answer
            assert time.monotonic() - began < PROMPTLY
        return response.status, answer


def large(name: str, number: int, size: int = 10_000) -> list[dict[str, Any]]:
    """Events of about that many bytes."""
    return [event(f"{name}-{n}", OPENED, body={"note": "x" * size}) for n in range(number)]


class Followers:
    """Two clients that must notice nothing."""

    def __init__(self, server: Serve, site: str, token: str) -> None:
        self.sse = SseReader(server.url, server.key, site)
        self.socket = SocketIOReader(server.url, site, token, [OPENED])

    def check(self, wanted: list[str]) -> None:
        """Both were never cut off, and have exactly that."""
        for reader in (self.sse, self.socket):
            assert reader.is_open
            assert reader.opened == 1
            assert reader.ids == wanted


async def follow(server: Serve, site: str) -> tuple[Followers, AsyncIterator[None]]:
    client = await server.api.create_client()
    token = await server.api.system_token(client["id"], client["secret"], site)
    followers = Followers(server, site, token)
    return followers, running(followers.sse.run(), followers.socket.run())


async def test_events_are_refused_before_the_disk_is_full(disk: Path, tmp_path: Path) -> None:
    """507 with ``Retry-After`` while there is still room; live clients stay; with more room it goes on by itself."""
    ballast = Ballast(disk)
    async with serving(tmp_path, data=disk / "data") as (server, site):
        source = Source(server, site)
        followers, following = await follow(server, site)
        async with following:
            await until(lambda: followers.sse.is_open and followers.socket.is_open, 60)
            assert (await source.array(large("a", 10)))[0] == 200
            ballast.leave(RESERVE + 8_000_000)

            status, problem = await source.lines(large("b", 2000))
            assert (status, problem["type"]) == (507, "urn:doorstream:problem:storage-full")
            assert 1_000_000 < ballast.free <= RESERVE, "it was refused too late or too early"
            assert (await source.array(large("c", 5)))[0] == 507
            ready = await refusal(server, "/readyz")
            assert ready == 507
            assert len((await server.api.call("GET", f"/api/sites/{site}/events"))["events"]) == 100
            stored = len(await history(server.api, site))
            assert 10 < stored < 2010, "the lines before the refusal are kept"

            ballast.remove()
            await until_taken(source, large("c", 5))
            status, report = await source.lines(large("b", 2000))
            assert status == 200
            assert report["duplicates"] == stored - 10
            assert report["accepted"] == 2000 - report["duplicates"]
            log = await history(server.api, site)
            assert set(log) == source.acknowledged
            await until(lambda: len(followers.sse.ids) == len(followers.socket.ids) == len(log), 60)
            followers.check(list(log))
        assert "Traceback" not in server.errors
        assert "no space left" not in (server.data / "nats/nats-server.log").read_text()


async def refusal(server: Serve, path: str) -> int:
    """The status with which a read is answered."""
    async with aiohttp.ClientSession() as session, session.get(server.url + path) as response:
        return response.status


async def until_refused(server: Serve) -> None:
    """Wait until it has noticed."""
    deadline = time.monotonic() + PROMPTLY
    while await refusal(server, "/readyz") != 507:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def until_taken(source: Source, events: list[dict[str, Any]]) -> None:
    """Repeat until it is acknowledged."""
    deadline = time.monotonic() + RECOVERED_WITHIN
    while (answer := await source.array(events))[0] != 200:
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.2)


@pytest.mark.parametrize("min_free", ["default", "0"])
async def test_a_disk_that_is_really_full_under_nats_server(disk: Path, tmp_path: Path, min_free: str) -> None:
    """A stream that meets a full disk freezes until nats-server is restarted; that is noticed and done.

    Without a reserve events reach the disk and freeze the stream; with one they are refused while somebody else fills
    the disk.
    """
    ballast = Ballast(disk)
    options = [] if min_free == "default" else ["--min-free", min_free]
    wanted = {"b": 50, "c": 1}  # a batch is refused, a single event freezes the stream
    async with serving(tmp_path, *options, data=disk / "data") as (server, site):
        source = Source(server, site)
        followers, following = await follow(server, site)
        async with following:
            await until(lambda: followers.sse.is_open and followers.socket.is_open, 60)
            assert (await source.array(large("a", 10)))[0] == 200
            ballast.leave(2 * PAGE)
            if min_free == "default":
                await until_refused(server)
            statuses = {(await source.array(large(name, number)))[0] for name, number in wanted.items()}
            assert statuses == ({507} if min_free == "default" else {503})
            if min_free == "0":
                await until(lambda: "does not answer and is restarted" in server.errors, 60)
                assert (await source.array(large("b", 50)))[0] in (503, 507)
            assert await refusal(server, "/readyz") in (503, 507)

            ballast.remove()
            for name, number in wanted.items():
                await until_taken(source, large(name, number))
            assert (await source.lines(large("d", 50)))[0] == 200
            log = await history(server.api, site)
            assert set(log) == source.acknowledged
            await until(lambda: len(followers.sse.ids) == len(followers.socket.ids) == len(log), 60)
            followers.check(list(log))
        assert "Traceback" not in server.errors
