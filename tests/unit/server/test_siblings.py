"""The workers of one server answer for each other."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from cli_support import at, run
from http_support import ask, event, put

from doorstream.log import Connection
from doorstream.server import siblings as module
from doorstream.server.siblings import Answer, Siblings
from doorstream.testing.server import Demo, running_demo

PATIENCE = 20.0
PLENTY = 300


@contextlib.asynccontextmanager
async def opened(nats_url: str, number: int, *, server: str = "one", workers: int = 2) -> AsyncIterator[Siblings]:
    """One worker, with a connection of its own as in real life."""
    connection = Connection()
    await connection.open(nats_url)
    siblings = Siblings(connection, server=server, number=number, workers=workers)
    await siblings.open()
    await connection.client.flush()  # from here on it is asked
    try:
        yield siblings
    finally:
        await siblings.close()
        await connection.close()


def answering(text: str) -> Answer:
    """An answer that repeats the question."""

    async def answer(data: bytes) -> bytes:
        return text.encode() + data

    return answer


async def test_everybody_of_the_same_server_is_asked(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", PATIENCE)
    async with (
        opened(nats_url, 0, workers=3) as first,
        opened(nats_url, 1, workers=3) as second,
        opened(nats_url, 2, workers=3) as third,
        opened(nats_url, 1, server="another") as stranger,
    ):
        for siblings in (first, second, third, stranger):
            siblings.on("name", answering(f"{siblings.number} "))
        assert await first.ask("name", b"a") == {1: b"1 a", 2: b"2 a"}
        assert await third.ask("name") == {0: b"0 ", 1: b"1 "}
        several = await asyncio.gather(*(second.ask("name", b"%d" % number) for number in range(50)))
        assert several == [{0: b"0 %d" % number, 2: b"2 %d" % number} for number in range(50)]


async def test_who_does_not_answer_is_left_out(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not there, one that fails, one that has too much to say, and one that takes for ever."""

    async def fail(_: bytes) -> bytes:
        raise RuntimeError("a fault")

    async def stand_still(_: bytes) -> bytes:
        await asyncio.sleep(60)
        return b""

    async with opened(nats_url, 0) as first, opened(nats_url, 1) as second:
        much = answering("x" * second.limit)
        for question, answer in {"name": answering("1 "), "fail": fail, "stand": stand_still, "much": much}.items():
            second.on(question, answer)
        with pytest.raises(ValueError, match="answered already"):
            second.on("name", fail)
        with monkeypatch.context() as patch:
            patch.setattr(module, "PATIENCE", 0.2)
            for question in ("fail", "stand", "unknown"):
                assert await first.ask(question) == {}
            assert await first.ask("much", b"more") == {}
        monkeypatch.setattr(module, "PATIENCE", PATIENCE)
        assert await first.ask("name") == {1: b"1 "}
        assert await first.ask("much") == {1: b"x" * second.limit}


async def test_who_answered_is_told_though_another_did_not(nats_url: str) -> None:
    async with opened(nats_url, 0, workers=3) as first, opened(nats_url, 1, workers=3) as second:
        second.on("name", answering("1 "))
        async with asyncio.timeout(PATIENCE):
            while not (found := await first.ask("name")):  # one that is busy may not answer in time
                pass
        assert found == {1: b"1 "}
        assert first.missing(found) == [2]


async def test_a_lone_worker_asks_nobody(nats_url: str) -> None:
    async with opened(nats_url, 0, workers=1) as siblings:
        assert await siblings.ask("name") == {}
        assert siblings.workers == {0}


async def test_without_nats_nobody_answers(nats_url: str) -> None:
    async with opened(nats_url, 0) as first:
        await first._connection.close()
        assert await first.ask("name") == {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """A server with two workers."""
    async with running_demo(workers=2) as demo:
        yield demo
        assert "Traceback" not in demo.errors, demo.errors


@contextlib.asynccontextmanager
async def streams_at_both(demo: Demo) -> AsyncIterator[dict[str, aiohttp.ClientResponse]]:
    """Streams, at least one with each worker, by the ids of their connections."""
    headers = {"X-API-Key": demo.credentials["admin"]["api_key"]}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(None)) as session:
        found: dict[str, aiohttp.ClientResponse] = {}
        while len({each.partition("-")[0] for each in found}) < 2:
            assert len(found) < PLENTY, "the kernel gives everything to one worker"
            opening = (session.get(f"{demo.url}/api/sites/{demo.site_id}/stream", headers=headers) for _ in range(20))
            responses = await asyncio.gather(*opening)
            known = await listed(demo, len(found) + len(responses))
            found |= dict(zip([each for each in known if each not in found], responses, strict=True))
        try:
            yield found
        finally:
            for response in found.values():
                response.close()


async def listed(demo: Demo, count: int) -> list[str]:
    """The ids of all connections, as soon as there are so many."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = (await ask(demo, "GET", "/api/connections")).body
            assert answer["total"] == len(answer["items"])
            if answer["total"] == count and not answer["missing"]:  # one that is busy may not answer in time
                return [each["id"] for each in answer["items"]]
            await asyncio.sleep(0.02)


async def test_whoever_answers_knows_the_connections_of_all_and_ends_any(demo: Demo) -> None:
    async with streams_at_both(demo) as streams:
        for _ in range(20):  # each over a connection of its own: both workers are asked
            assert len(await listed(demo, len(streams))) == len(streams)
        leaving = {each.partition("-")[0]: each for each in streams}
        for left, connection in enumerate(leaving.values(), 1):
            statuses = await disconnected(demo, connection)
            assert statuses[-1] == 204 or statuses[-2:] == [503, 404]
            assert connection not in await listed(demo, len(streams) - left)
        assert (await disconnected(demo, "1-abc"))[-1] == 404


async def disconnected(demo: Demo, connection: str) -> list[int]:
    """What is answered, until its worker answers in time: one that is busy may not, and ends it all the same."""
    statuses: list[int] = []
    async with asyncio.timeout(PATIENCE):
        while not statuses or statuses[-1] == 503:
            statuses.append((await ask(demo, "DELETE", f"/api/connections/{connection}")).status)
    return statuses


async def metrics_of_all(demo: Demo) -> list[str]:
    """The lines of ``/metrics``, as soon as every worker answered in time."""
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{demo.url}/metrics", headers={"Connection": "close"}) as answer:
                lines = (await answer.text()).splitlines()
            if 'doorstream_workers{state="missing"} 0.0' in lines:
                return lines


async def test_metrics_are_of_all_workers(demo: Demo) -> None:
    """Counters are summed by whoever reads them, so each worker's are there whichever answers."""
    async with streams_at_both(demo) as streams:
        wanted = Counter(each.partition("-")[0] for each in streams)
        for _ in range(20):
            lines = await metrics_of_all(demo)
            found = {}
            for line in lines:
                if line.startswith('doorstream_connections{dialect="events"'):
                    labels, _, value = line.rpartition(" ")
                    found[labels.partition('worker="')[2].partition('"')[0]] = float(value)
            assert found == wanted
            assert 'doorstream_workers{state="answered",worker=' not in "\n".join(lines)
            assert 'doorstream_workers{state="answered"} 2.0' in lines
            assert sum(line.startswith("process_resident_memory_bytes{") for line in lines) == 2
            assert len([line for line in lines if line.startswith("# TYPE")]) == len(
                {line.split()[2] for line in lines if line.startswith("# TYPE")}
            ), "a family is there once"


async def test_the_index_of_every_worker_is_made_anew(demo: Demo) -> None:
    await put(demo, [event(f"made-{number}") for number in range(300)])
    files = [demo.data_directory / name for name in ("index.sqlite", "index-1.sqlite")]
    for file in files:
        with contextlib.closing(sqlite3.connect(file, timeout=PATIENCE)) as old:
            old.execute("CREATE TABLE old (a)")
    ended = await run("index", "rebuild", *at(demo))
    async with asyncio.timeout(PATIENCE):
        while "did not answer" in ended.errors:  # one that is busy may not answer in time
            ended = await run("index", "rebuild", *at(demo))
    assert ended.status == 0, ended
    assert "the index is complete" in ended.output
    async with asyncio.timeout(PATIENCE):
        while (index := (await ask(demo, "GET", "/api/index")).body)["missing"]:
            pass
    assert index["applied"] == index["last"]
    for file in files:
        with (
            contextlib.closing(sqlite3.connect(file, timeout=PATIENCE)) as new,
            pytest.raises(sqlite3.OperationalError),
        ):
            new.execute("SELECT * FROM old")
