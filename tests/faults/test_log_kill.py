"""nats-server dies under load: what was acknowledged is there, and a tail sees it once and in order."""

import asyncio
import contextlib
import itertools
import random
import signal
from collections.abc import AsyncIterator

import pytest

from doorstream.events import Retention
from doorstream.log import Connection, DuplicateId, EventLog, LogUnavailable
from doorstream.log import commit as commit_module
from doorstream.log import connection as connection_module
from doorstream.log import reader as reader_module
from doorstream.testing import SITE, NatsServer, nats_server, until

BODY = b'{"id":"%b","topic":"x.a","siteId":"s","occurred":1,"body":{},"cloudNode":null,"metadata":null}'


def event(event_id):
    """One event to append."""
    return (SITE, "x.a", event_id, BODY % event_id.encode())


class Load:
    """Writers that repeat what was not acknowledged, with the same id, as a careful client does."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._numbers = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = False
        self.acknowledged: dict[str, int] = {}
        self.failures = 0

    def start(self, singles: int, arrays: int) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self._singles()) for _ in range(singles)]
        self._tasks += [asyncio.create_task(self._arrays(40)) for _ in range(arrays)]

    async def stop(self) -> None:
        """End when everything begun is acknowledged."""
        self._ending = True
        async with asyncio.timeout(50):
            await asyncio.gather(*self._tasks)

    async def _singles(self):
        while not self._ending:
            await self._single(f"single-{next(self._numbers)}")

    async def _single(self, one):
        while True:
            try:
                stored = await self._log.append(event(one))
            except LogUnavailable:
                self.failures += 1
                await asyncio.sleep(0.01)
            else:
                self.acknowledged[one] = stored.sequence
                return stored

    async def _arrays(self, size):
        while not self._ending:
            ids = [f"array-{next(self._numbers)}" for _ in range(size)]
            while True:
                try:
                    stored = await self._log.append_batch([event(one) for one in ids])
                    self.acknowledged.update(zip(ids, (place.sequence for place in stored), strict=True))
                    break
                except LogUnavailable:
                    self.failures += 1
                    await asyncio.sleep(0.01)
                except DuplicateId:  # the first attempt was stored, though its answer was lost
                    for one in ids:
                        assert (await self._single(one)).duplicate, "half an array was stored"
                    break


@contextlib.asynccontextmanager
async def followed_log(server: NatsServer) -> AsyncIterator[tuple[Connection, EventLog, list[tuple[int, str]]]]:
    """A log with a tail that collects (sequence, id)."""
    connection = Connection()
    await connection.open(server.url)
    log = EventLog(connection, Retention(86_400))
    await log.open()
    got: list[tuple[int, str]] = []
    tail = log.tail(lambda found: got.append((found.sequence, found.id)))
    await tail.start(0)
    try:
        yield connection, log, got
    finally:
        await tail.stop()
        await log.close()
        await connection.close()


async def check(log, got, acknowledged):
    """The tail has the whole log, once and in order, and the log has what was acknowledged, where it was said to be."""
    last = (await log.extent()).last
    await until(lambda: got and got[-1][0] >= last)
    assert [sequence for sequence, _ in got] == list(range(1, last + 1))
    place = {found: sequence for sequence, found in got}
    assert len(place) == len(got), "an event is stored twice"
    assert {one: place[one] for one in acknowledged} == acknowledged


PATIENCE = 60.0
"""Seconds for an answer where none is to be waited for: much more than a busy machine takes to say so at once."""


def be_patient(monkeypatch):
    """Have everybody wait for answers for so long."""
    for each in (commit_module, connection_module, reader_module):
        monkeypatch.setattr(each, "REQUEST_TIMEOUT", PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_server_that_ends_under_load(number):
    """Three times; the tail goes on at once when the server is back (nats-py's own takes 16 s and more)."""
    chance = random.Random(7)  # noqa: S311 - repeatable on purpose
    async with nats_server() as server, followed_log(server) as (_, log, got):
        load = Load(log)
        load.start(singles=20, arrays=3)
        for _ in range(3):
            await asyncio.sleep(0.3 + chance.random() / 5)
            server.signal(number)
            await server.embedded.wait()
            await asyncio.sleep(0.2)
            seen = len(got)
            await server.start()
            await until(lambda seen=seen: len(got) > seen, 15)
        await load.stop()
        assert load.failures
        assert len(load.acknowledged) > 100
        await check(log, got, load.acknowledged)


async def test_a_server_that_dies_again_while_everybody_comes_back(monkeypatch):
    """A request for a new consumer that got no answer used to hold the tail up until it was given up."""
    monkeypatch.setattr(connection_module, "REQUEST_TIMEOUT", 60.0)
    async with nats_server() as server, followed_log(server) as (connection, log, got):
        load = Load(log)
        load.start(singles=5, arrays=1)
        await until(lambda: got)
        for pause in (0, 0.005, 0.02, 0.05):
            await server.kill()
            await server.start()
            await until(lambda: connection.client.is_connected)
            await asyncio.sleep(pause)
        await server.kill()
        await server.start()
        seen = len(got)
        await until(lambda: len(got) > seen, 40)
        await load.stop()
        await check(log, got, load.acknowledged)


async def test_nothing_is_sent_later_than_its_caller_was_told(monkeypatch):
    """nats-py would buffer while the server is away, and store what was answered with 503."""
    be_patient(monkeypatch)
    async with nats_server() as server, followed_log(server) as (connection, log, got):
        await log.append(event("before"))
        await server.kill()
        await until(lambda: not connection.client.is_connected)
        told = asyncio.get_running_loop().time()
        results = await asyncio.gather(
            *(log.append(event(f"single-{n}")) for n in range(30)),
            log.append_batch([event(f"array-{n}") for n in range(30)]),
            log.extent(),
            return_exceptions=True,
        )
        assert {type(result) for result in results} == {LogUnavailable}
        assert asyncio.get_running_loop().time() - told < PATIENCE / 2
        await server.start()
        await until(lambda: connection.client.is_connected)
        assert (await log.append(event("after"))).sequence == 2
        await until(lambda: len(got) == 2)
        assert [one for _, one in got] == ["before", "after"]


async def test_what_waits_fails_at_once_when_the_server_dies(monkeypatch):
    """Appends, reads and requests that are on their way: nobody will answer them."""
    be_patient(monkeypatch)
    loop = asyncio.get_running_loop()
    async with nats_server() as server, followed_log(server) as (_, log, _got):
        await log.append(event("before"))
        await server.pause()
        waiting = [
            *(asyncio.create_task(log.append(event(f"single-{n}"))) for n in range(40)),
            asyncio.create_task(log.append_batch([event(f"array-{n}") for n in range(500)])),
            asyncio.create_task(log.extent()),
            asyncio.create_task(log._stream.reader.read(0, "events.>")),
        ]
        await asyncio.sleep(0.1)
        assert [task for task in waiting if task.done()] == []
        server.signal(signal.SIGKILL)
        died = loop.time()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(result) for result in results} == {LogUnavailable}
        assert loop.time() - died < PATIENCE / 2
