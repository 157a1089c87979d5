"""Reading the history over HTTP: filters, pages, positions, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from http_support import Answer, ask, event, events_path, put, read

from doorstream.testing import until
from doorstream.testing.server import Demo, running_demo
from faults.faults_support import serving

OPENED, ALLOWED, DENIED = "device.input.dps.opened", "device.request.allowed", "device.request.denied"
T0 = 1_700_000_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for all tests of this file; whatever they did to it, it must not have been surprised."""
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors, demo.errors


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def building(demo: Demo) -> str:
    """A site with ten events, a second of ``occurred`` apart, told late and out of order."""
    site = await demo.api.create_site(name="Filtered")
    events = [
        event(
            f"e{number}",
            topic,
            T0 + 1000 * number,
            body={"deviceId": f"door-{number % 2}"} | ({"holderId": f"holder-{number % 3}"} if topic != OPENED else {}),
        )
        for number, topic in enumerate(
            (OPENED, ALLOWED, DENIED, OPENED, "x.a", "x.a.b", "x.ab", ALLOWED, DENIED, OPENED)
        )
    ]
    for start in (5, 0):  # the later ones first
        answer = await put(demo, events[start : start + 5], site=site)
        assert answer.status == 200
    return site


NEWEST_FIRST = ["e4", "e3", "e2", "e1", "e0", "e9", "e8", "e7", "e6", "e5"]


async def ids(demo: Demo, site: str, **query: Any) -> list[str]:
    answer = await read(demo, site, **query)
    assert answer.status == 200, answer
    return [each["id"] for each in answer.body["events"]]


def moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()


FILTERS: list[tuple[dict[str, Any], set[int]]] = [
    ({}, set(range(10))),
    ({"topic": OPENED}, {0, 3, 9}),
    ({"topic": "device.request.*"}, {1, 2, 7, 8}),
    ({"topic": "x.a"}, {4}),
    ({"topic": "x.a.*"}, {5}),
    ({"topic": "x.*"}, {4, 5, 6}),
    ({"topic": [ALLOWED, "x.ab"]}, {1, 6, 7}),
    ({"topic": "nonsense"}, set()),
    ({"topic": "device"}, set()),
    ({"topic": "%"}, set()),
    ({"topic": "x.a' OR 1=1 --"}, set()),
    ({"device": "door-0"}, {0, 2, 4, 6, 8}),
    ({"device": "door-1"}, {1, 3, 5, 7, 9}),
    ({"device": "door-2"}, set()),
    ({"holder": "holder-1"}, {1, 4, 7}),
    ({"holder": "holder-2", "device": "door-0"}, {2, 8}),
    ({"from": T0 + 7000}, {7, 8, 9}),
    ({"to": T0 + 1000}, {0, 1}),
    ({"from": T0 + 3000, "to": T0 + 3000}, {3}),
    ({"from": moment(T0 + 8000)}, {8, 9}),
    ({"from": moment(T0 + 3000), "to": T0 + 5000, "topic": "x.*"}, {4, 5}),
    ({"from": T0 + 5000, "to": T0}, set()),
    ({"recorded_from": 0}, set(range(10))),
    ({"recorded_to": T0}, set()),
    ({"recorded_from": "2026-01-01T00:00:00Z", "topic": DENIED}, {2, 8}),
]


@pytest.mark.parametrize(("query", "wanted"), FILTERS)
async def test_filters(demo: Demo, building: str, query: dict[str, Any], wanted: set[int]) -> None:
    """Newest first by position, whatever was filtered; and the same oldest first."""
    expected = [each for each in NEWEST_FIRST if int(each[1:]) in wanted]
    assert await ids(demo, building, **query) == expected
    start = f"{(await demo.api.call('GET', '/readyz'))['epoch']}.0"
    assert await ids(demo, building, after=start, **query) == expected[::-1]


async def test_recorded_is_when_it_came(demo: Demo, building: str) -> None:
    """Two times: filters on ``recorded`` follow the order of the log."""
    events = (await read(demo, building)).body["events"]
    latest = max(each["recorded"] for each in events)
    assert [each["recorded"] for each in events] == sorted((each["recorded"] for each in events), reverse=True)
    assert await ids(demo, building, recorded_from=latest + 1) == []
    assert await ids(demo, building, recorded_to=latest) == NEWEST_FIRST


@pytest.mark.parametrize("limit", [1, 3, 4, 10, 11])
async def test_pages(demo: Demo, building: str, limit: int) -> None:
    """Every event is on one page, and the last page says so, in both directions."""
    start = f"{(await demo.api.call('GET', '/readyz'))['epoch']}.0"
    for more, wanted in (({}, NEWEST_FIRST), ({"after": start}, NEWEST_FIRST[::-1])):
        assert await paged(demo, building, limit=limit, **more) == wanted


async def paged(demo: Demo, site: str, between: Callable[[], Awaitable[None]] | None = None, **query: Any) -> list[str]:
    """All pages; ``between`` two of them that is waited for."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        body = (await read(demo, site, **query, **cursor)).body
        assert len(body["events"]) <= query["limit"]
        found += [each["id"] for each in body["events"]]
        if body["next"] is None:
            return found
        cursor = {"cursor": body["next"]}
        if between is not None:
            await between()


async def test_a_position_is_a_place_to_go_on(demo: Demo, building: str) -> None:
    """``after`` takes the position of any event; what it names is not in the answer."""
    events = (await read(demo, building)).body["events"]
    for at, each in enumerate(events):
        assert await ids(demo, building, after=each["position"]) == NEWEST_FIRST[:at][::-1]


async def test_pages_while_events_come_in(demo: Demo) -> None:
    """Newest first, what comes meanwhile is not on later pages; oldest first, it comes at the end."""
    site = await demo.api.create_site(name="Busy")
    before = [f"before-{number}" for number in range(60)]
    await put(demo, [event(each) for each in before], site=site)
    number = 0

    async def feed() -> None:
        nonlocal number
        while True:
            await put(demo, event(f"during-{number}"), site=site)
            number += 1

    async def one_more() -> None:
        so_far = number
        await until(lambda: number > so_far, 30)

    feeding = asyncio.create_task(feed())
    newest = await paged(demo, site, one_more, limit=7)
    oldest = await paged(demo, site, one_more, limit=7, after=f"{(await demo.api.call('GET', '/readyz'))['epoch']}.0")
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    assert [each for each in newest if each.startswith("before")] == before[::-1]
    assert oldest[:60] == before
    assert oldest[60:] == [f"during-{each}" for each in range(len(oldest) - 60)]


async def test_a_read_sees_what_was_acknowledged(demo: Demo) -> None:
    """At once, not some milliseconds later."""
    site = await demo.api.create_site(name="Impatient")
    for number in range(50):
        await put(demo, event(f"e{number}"), site=site)
        assert (await ids(demo, site, limit=1)) == [f"e{number}"]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "10001"},
        {"limit": "many"},
        {"limit": "-1"},
        {"cursor": "nonsense"},
        {"cursor": ""},
        {"after": "1"},
        {"after": "a.b.c"},
        {"after": "a.99999999999999999999999"},
        {"after": "é.1"},
        {"from": "yesterday"},
        {"from": "2026-01-31T10:00:00"},
        {"to": "²"},
        {"to": "9" * 5000},
        {"recorded_from": "1e9"},
        {"recorded_to": "\0"},
        {"topics": OPENED},
        {"device_id": "door-1"},
        {"topic": ["x.a"] * 101},
    ],
)
async def test_queries_that_make_no_sense(demo: Demo, building: str, query: dict[str, Any]) -> None:
    """A parameter that nobody knows is an error too: a misspelt filter would show everything."""
    answer = await read(demo, building, **query)
    assert answer.status == 422, answer
    assert answer.problem in ("invalid-parameter", "invalid-request")
    assert next(iter(query)) in answer.body["detail"] or "position" in answer.body["detail"]


async def test_a_hundred_topics(demo: Demo, building: str) -> None:
    assert await ids(demo, building, topic=[*(f"x.{number}.*" for number in range(98)), OPENED, "x.*"]) == [
        each for each in NEWEST_FIRST if int(each[1:]) in (0, 3, 4, 5, 6, 9)
    ]


async def test_positions_of_another_log(demo: Demo, building: str) -> None:
    """410 with the first position that is kept, from which it goes on; a position that is yet to come is none."""
    (epoch, _, last) = (await read(demo, building)).body["events"][0]["position"].partition(".")
    for query in (
        {"after": "0000abcd.3"},
        {"cursor": "0000abcd.3"},
        {"after": f"{epoch}.0", "cursor": "0000abcd.3"},
        {"after": f"{epoch}.{int(last) + 1_000_000}"},
    ):
        answer = await read(demo, building, **query)
        assert (answer.status, answer.problem) == (410, "position-gone")
        assert answer.body["first"] == f"{epoch}.0"
    assert await ids(demo, building, after=answer.body["first"]) == NEWEST_FIRST[::-1]


async def test_what_is_no_longer_kept(tmp_path: Path) -> None:
    """The size of the log is limited: who comes back too late is told, and goes on with what there is."""
    async with serving(tmp_path, "--log-max-bytes", "400000") as (server, site):

        def events(name: str) -> list[dict[str, Any]]:
            return [event(f"{name}-{number}", body={"note": "x" * 1000}) for number in range(100)]

        path = f"/api/sites/{site}/events"
        first = await server.api.ingest(site, *events("a"))
        for name in "bcdefgh":
            last = await server.api.ingest(site, *events(name))
        gone = await _ask(server, path, after=first[50])
        assert (gone.status, gone.problem) == (410, "position-gone")
        page = await _ask(server, path, after=gone.body["first"])
        assert page.status == 200
        assert page.body["events"][-1]["position"] == last[-1] or page.body["next"]
        oldest = int(gone.body["first"].partition(".")[2]) + 1
        assert int(page.body["events"][0]["position"].partition(".")[2]) == oldest
        assert (await _ask(server, path, after=last[0])).body["events"][0]["position"] == last[1]
        back = await _ask(server, path, cursor=first[50])
        assert back.status == 200, "who goes back in time misses nothing there"


async def _ask(server: Any, path: str, **query: str) -> Answer:
    """``ask`` of another kind of server."""
    server.credentials = {"admin": {"api_key": server.key}}
    return await ask(server, "GET", path, params=query)


async def test_who_may_not_read(demo: Demo, building: str) -> None:
    own = await demo.api.create_site(name="Of its own")
    writer = await demo.api.create_client(scopes=["events:write"])
    elsewhere = await demo.api.create_client(scopes=["events:read"], sites=[own])
    for key, status, problem in (
        (None, 401, "unauthenticated"),
        ("ds_nobody_nothing", 401, "unauthenticated"),
        (writer["api_key"], 403, "forbidden"),
        (elsewhere["api_key"], 403, "forbidden"),
    ):
        answer = await ask(demo, "GET", events_path(demo, building), key=key)
        assert (answer.status, answer.problem) == (status, problem)
    assert (await ask(demo, "GET", events_path(demo, own), key=elsewhere["api_key"])).status == 200
    answer = await ask(demo, "GET", events_path(demo, "nowhere"))
    assert (answer.status, answer.problem) == (404, "not-found")
