"""Following a site by server-sent events: resume, gaps, tickets, rights, and readers that are slow or gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio
from http_support import ask, connection, event, put

from doorstream.auth import Principal
from doorstream.directory import SYSTEM, SiteView
from doorstream.events.entities import Site
from doorstream.gateway import Gateway
from doorstream.live import Interest, unframed
from doorstream.server.api import stream as stream_module
from doorstream.server.api.access import Reader
from doorstream.server.api.stream import SseEncoder, SseStream
from doorstream.server.services import Services
from doorstream.server.settings import Settings
from doorstream.testing import until
from doorstream.testing.server import Demo, running_demo

PATIENCE = 30.0
MAY_GROW_BY = 30_000_000
FOREIGN = "0000abcd.3"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for all tests of this file; whatever they did to it, it must not have been surprised."""
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors, demo.errors


class Item(NamedTuple):
    """One server-sent event, or a comment (which has no name)."""

    name: str
    id: str
    data: Any


class Follower:
    """A response that is being read, item by item."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self._buffer = b""

    async def next(self) -> Item:
        """The next event or comment; raises EOFError at the end."""
        async with asyncio.timeout(PATIENCE):
            while b"\n\n" not in self._buffer:
                chunk = await self.response.content.readany()
                if not chunk:
                    raise EOFError
                self._buffer += chunk
        item, _, self._buffer = self._buffer.partition(b"\n\n")
        fields = dict(line.split(": ", 1) for line in item.decode().split("\n") if not line.startswith(":"))
        return Item(fields.get("event", ""), fields.get("id", ""), json.loads(fields.get("data", "null")))

    async def events(self, number: int) -> list[Item]:
        """The next so many events."""
        return [await self.next() for _ in range(number)]

    async def ids(self, number: int) -> list[str]:
        """The ids of the next so many events."""
        return [item.data["id"] for item in await self.events(number)]


@contextlib.asynccontextmanager
async def follow(
    demo: Demo, site: str = "", *, key: str | None = "", headers: dict[str, str] | None = None, **query: Any
) -> AsyncIterator[Follower]:
    """Follow a site; what the stream begins with has been read."""
    key = demo.credentials["admin"]["api_key"] if key == "" else key
    sent = ({"X-API-Key": key} if key else {}) | (headers or {})
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
        session.get(f"{demo.url}{path(demo, site)}", headers=sent, params=query) as response,
    ):
        assert response.status == 200, await response.text()
        reader = Follower(response)
        reader.begin = await reader.next()  # type: ignore[attr-defined]
        yield reader


def path(demo: Demo, site: str = "") -> str:
    return f"/api/sites/{site or demo.site_id}/stream"


async def new_site(demo: Demo) -> str:
    return await demo.api.create_site(name="Followed")


async def test_events_as_they_happen(demo: Demo) -> None:
    """Each with its position, its topic, and its public form."""
    site = await new_site(demo)
    async with follow(demo, site) as reader:
        assert reader.response.content_type == "text/event-stream"
        assert reader.response.headers["Cache-Control"] == "no-store"
        answer = (
            await put(demo, [event("a"), event("b", "device.input.dps.opened"), event("ü".encode().hex())], site=site)
        ).body
        items = await reader.events(3)
    assert [item.id for item in items] == answer["positions"]
    assert [item.name for item in items] == ["x.test", "device.input.dps.opened", "x.test"]
    kept = (await ask(demo, "GET", f"/api/sites/{site}/events")).body["events"]
    assert [item.data for item in items] == kept[::-1]


async def test_resume(demo: Demo) -> None:
    """After any event, by header or by query; the header is what a browser sends by itself, so it wins."""
    site = await new_site(demo)
    positions = (await put(demo, [event(f"e{number}") for number in range(5)], site=site)).body["positions"]
    for at, position in enumerate(positions[:-1]):
        for how in (
            {"headers": {"Last-Event-ID": position}},
            {"after": position},
            {"after": positions[3], "headers": {"Last-Event-ID": position}},
        ):
            async with follow(demo, site, **how) as reader:
                assert await reader.ids(4 - at) == [f"e{number}" for number in range(at + 1, 5)]
    async with follow(demo, site, after=positions[-1]) as reader:
        await put(demo, event("next"), site=site)
        assert await reader.ids(1) == ["next"]


async def test_a_stream_begins_with_where_it_stands(demo: Demo) -> None:
    """A reader that is cut off before its first event misses nothing either."""
    site = await new_site(demo)
    await put(demo, event("before"), site=site)
    async with follow(demo, site) as reader:
        begin = reader.begin  # type: ignore[attr-defined]
    assert begin.name == ""
    await put(demo, event("meanwhile"), site=site)
    async with follow(demo, site, headers={"Last-Event-ID": begin.id}) as reader:
        assert await reader.ids(1) == ["meanwhile"]


async def test_topics(demo: Demo) -> None:
    """Several, exact or all below; other sites' events are not there."""
    site, other = await new_site(demo), await new_site(demo)
    async with (
        follow(demo, site, topic=["x.a.*", "device.input.dps.opened"]) as reader,
        follow(demo, site) as all_of_it,
    ):
        topics = ["x.a", "x.a.b", "x.ab", "device.input.dps.opened", "device.input.dps.closed", "x.a.c"]
        await put(demo, event("elsewhere", "x.a.b"), site=other)
        await put(demo, [event(topic, topic) for topic in topics], site=site)
        assert await reader.ids(3) == ["x.a.b", "device.input.dps.opened", "x.a.c"]
        assert await all_of_it.ids(6) == topics


@pytest.mark.parametrize("position", [FOREIGN, "ahead"])
async def test_a_gap_is_told(demo: Demo, position: str) -> None:
    """A position of another log, or one that is yet to come: what is missing is not known, and it goes on (D15)."""
    site = await new_site(demo)
    epoch, _, last = (await put(demo, event("a"), site=site)).body["positions"][0].partition(".")
    position = f"{epoch}.{int(last) + 1_000_000}" if position == "ahead" else position
    async with follow(demo, site, headers={"Last-Event-ID": position}) as reader:
        gap = await reader.next()
        assert (gap.name, gap.data) == ("gap", {"first": gap.id})
        assert await reader.ids(1) == ["a"]
        await put(demo, event("b"), site=site)
        assert await reader.ids(1) == ["b"]
    async with follow(demo, site, headers={"Last-Event-ID": gap.id}) as reader:
        assert await reader.ids(2) == ["a", "b"]


@pytest.mark.parametrize("position", ["nonsense", "1", "a.b", "a.-1"])
async def test_what_is_no_position(demo: Demo, position: str) -> None:
    answer = await ask(demo, "GET", path(demo), headers={"Last-Event-ID": position})
    assert (answer.status, answer.problem) == (422, "invalid-parameter")


async def test_a_ticket_is_good_for_one_stream(demo: Demo) -> None:
    """For browsers, which cannot send a header here: once, for its site (D11)."""
    site, other = await new_site(demo), await new_site(demo)

    async def new_ticket(at: str) -> str:
        answer = await ask(demo, "POST", f"/api/sites/{at}/tokens", json={"kind": "ticket"})
        assert answer.status == 201
        return str(answer.body["token"])

    ticket = await new_ticket(site)
    async with follow(demo, site, key=None, ticket=ticket) as reader:
        await put(demo, event("a"), site=site)
        assert await reader.ids(1) == ["a"]
        again = await ask(demo, "GET", f"{path(demo, site)}?ticket={ticket}", key=None)
        assert (again.status, again.problem) == (401, "unauthenticated")
    for wrong in (ticket, await new_ticket(other), ticket[:-2], "", "nonsense"):
        answer = await ask(demo, "GET", path(demo, site), key=None, params={"ticket": wrong})
        assert (answer.status, answer.problem) == (401, "unauthenticated")


async def test_who_may_not_follow(demo: Demo) -> None:
    site = await new_site(demo)
    writer = await demo.api.create_client(scopes=["events:write"])
    elsewhere = await demo.api.create_client(scopes=["events:read"], sites=[site])
    for key, status in ((None, 401), ("ds_x_y", 401), (writer["api_key"], 403), (elsewhere["api_key"], 403)):
        answer = await ask(demo, "GET", path(demo), key=key)
        assert answer.status == status
        assert answer.problem
    assert (await ask(demo, "GET", path(demo, "nowhere"))).problem == "not-found"


@pytest.mark.parametrize("how", ["delete", "disable", "scope", "site", "another site"])
async def test_a_right_that_is_taken_away_ends_the_stream(demo: Demo, how: str) -> None:
    """At once, and for nobody else."""
    site = await new_site(demo)
    client = await demo.api.create_client(scopes=["events:read"], sites=[site])
    path_of_client = f"/api/clients/{client['id']}"
    async with follow(demo, site, key=client["api_key"]) as reader, follow(demo) as other:
        if how == "delete":
            await demo.api.delete_client(client["id"])
        elif how == "disable":
            await demo.api.call("PATCH", path_of_client, json={"disabled": True})
        elif how == "scope":
            await demo.api.call("PATCH", path_of_client, json={"scopes": ["directory:read"]})
        elif how == "another site":
            await demo.api.call("PATCH", path_of_client, json={"sites": [demo.site_id]})
        else:
            await demo.api.call("DELETE", f"/api/sites/{site}")
        with pytest.raises(EOFError):  # a busy machine may be late: the bound is that of ``next``
            await reader.next()
        await put(demo, event())
        assert (await other.next()).name == "x.test"


async def test_a_page_of_another_origin(demo: Demo) -> None:
    """Any origin may, with a key or a ticket (D11)."""
    origin = {"Origin": "https://page.example"}
    async with follow(demo, headers=origin) as reader:
        assert reader.response.headers["Access-Control-Allow-Origin"] == "https://page.example"
    asked = origin | {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "last-event-id"}
    answer = await ask(demo, "OPTIONS", path(demo), headers=asked, key=None)
    assert answer.status == 204
    assert "Last-Event-ID" in answer.headers["Access-Control-Allow-Headers"]
    refused = await ask(demo, "GET", path(demo), headers=origin, key=None)
    assert refused.headers["Access-Control-Allow-Origin"] == "https://page.example"


async def test_a_reader_that_reads_nothing_for_a_while(demo: Demo) -> None:
    """It costs a bounded amount of memory, others do not notice, and in the end it gets everything."""
    site = await new_site(demo)
    await fill_the_ring(demo)
    worker = Path(f"/proc/{demo.worker_pid()}/status")
    ids = [f"e{number}" for number in range(4000)]
    async with connection(demo) as slow, follow(demo, site) as quick:
        slow.request("GET", path(demo, site))
        text = bytearray()
        async with asyncio.timeout(PATIENCE):
            while b"id: " not in text:  # it follows
                text += await slow.read(90_000)
        before = _resident(worker)
        quick_ids: list[str] = []
        for start in range(0, len(ids), 100):
            await put(demo, [event(each, body={"note": "x" * 9000}) for each in ids[start : start + 100]], site=site)
            quick_ids += await quick.ids(100)
        assert quick_ids == ids
        assert _resident(worker) - before < MAY_GROW_BY
        async with asyncio.timeout(30):
            while b'"e3999"' not in text[-100_000:]:
                text += await slow.read(90_000)
        assert re.findall(r'^data: {"id":"(\w+)"', text.decode(), flags=re.MULTILINE) == ids
        await put(demo, event("live-again"), site=site)
        async with asyncio.timeout(PATIENCE):
            while b'"live-again"' not in text[-100_000:]:
                text += await slow.read(90_000)


async def fill_the_ring(demo: Demo) -> None:
    """The ring of recent events is there for everybody; its growth is nobody's fault."""
    other = await new_site(demo)
    for _ in range(45):
        await put(demo, [event(body={"note": "x" * 9000}) for _ in range(100)], site=other)


def _resident(status: Path) -> int:
    return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmRSS"))


async def test_readers_that_leave_are_forgotten(demo: Demo) -> None:
    """Their sockets are closed and their places are free, though they never said anything."""
    before = _open_files(demo)
    for _ in range(5):
        async with contextlib.AsyncExitStack() as exits:
            for _ in range(10):
                client = await exits.enter_async_context(connection(demo))
                client.request("GET", path(demo))
            await asyncio.sleep(0.05)
    for _ in range(600):
        if _open_files(demo) <= before + 2:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{_open_files(demo) - before} sockets stay open")


def _open_files(demo: Demo) -> int:
    return len(list(Path(f"/proc/{demo.worker_pid()}/fd").iterdir()))


# What needs a look inside: the response's body by itself, on a worker's services.

SITE = Site(id="0738b8df-329a-4d50-88e7-7a48928c4d6f", name="Harbour House", created="2026-01-31T10:00:00.000Z")


@pytest.fixture
async def services(nats_url: str, tmp_path: Path) -> AsyncIterator[Services]:
    """A worker's parts, with one site."""
    async with Services.open(Settings(data_dir=tmp_path), nats_url, Gateway()) as services:
        await services.directory.create(SITE, SYSTEM)
        yield services


def stream_of(services: Services, ends: float | None = None, *, may: Callable[[], bool] = lambda: True) -> SseStream:
    interest = Interest(SITE.id, SseEncoder(services.log.epoch, ()), unframed)
    reader = Reader(Principal("c", "client", "client", frozenset(), None, "g"), may, ends)
    return SseStream(services, interest, None, reader, "198.51.100.7")


async def put_in(services: Services, number: int) -> None:
    site = services.directory.site(SITE.id)
    assert isinstance(site, SiteView)
    receipts = await services.ingest.put_values(SITE.id, site, [event(f"e{number}")])
    await services.hub.reached(receipts[-1].sequence)


async def test_a_stream_ends_with_the_session_of_its_reader(services: Services) -> None:
    """A cookie of twelve hours must not be good for a stream of for ever."""
    async with asyncio.timeout(PATIENCE):
        chunks = [chunk async for chunk in stream_of(services, services.clock() + 0.05).chunks()]
    assert len(chunks) == 1, "the beginning, and then the end"
    assert len(services.presence) == 0


async def test_a_right_that_is_taken_away_before_the_response_begins(services: Services) -> None:
    """The rights were looked at before; the directory may not change again for days."""
    async with asyncio.timeout(PATIENCE):
        chunks = [chunk async for chunk in stream_of(services, may=lambda: False).chunks()]
    assert len(chunks) == 1, "the beginning, and then the end"


async def test_a_comment_keeps_the_connection_alive(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies close what is silent."""
    monkeypatch.setattr(stream_module, "_KEEP_ALIVE", 0.02)
    chunks = stream_of(services).chunks()
    begin = await anext(chunks)
    assert begin.startswith(b": ")
    assert [await anext(chunks) for _ in range(3)] == [b": keep-alive\n\n"] * 3
    await put_in(services, 1)
    while (chunk := await anext(chunks)) == b": keep-alive\n\n":
        pass
    assert b'"e1"' in chunk
    await chunks.aclose()
    assert len(services.presence) == 0


async def test_a_reader_that_catches_up_at_once_stays_live(services: Services) -> None:
    """One burst passed the bound and was taken before the stream had fallen back; then it did, and stayed silent."""
    stream = stream_of(services)
    got: list[bytes] = []
    gate = asyncio.get_running_loop().create_future()

    async def read() -> None:
        async for chunk in stream.chunks():
            got.append(chunk)
            if len(got) == 2:
                await gate

    reading = asyncio.create_task(read())
    await put_in_until(services, lambda: len(got) == 2)
    gate.set_result(None)  # the reader goes on right before the stream would fall back
    stream.write(b"x" * 1_000_001)
    await until(lambda: len(got[-1]) >= 1_000_001)
    await put_in(services, 1000)
    await until(lambda: b'"e1000"' in got[-1])
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


async def put_in_until(services: Services, condition: Any) -> None:
    for number in range(100):
        await put_in(services, number)
        await asyncio.sleep(0.01)
        if condition():
            return
    pytest.fail("it did not happen")
