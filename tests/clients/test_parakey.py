"""The event log over HTTP on the real server: the rows PAR-1 to PAR-9 and PAR-14, and bad input."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
import pytest_asyncio
from patient import put_at_last

from doorstream.testing.server import Demo, running_demo

ALLOWED, RELAY = "device.request.allowed", "device.input.relay.on"
DAY = 86_400_000
NOW = 1_780_000_000_000

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def etag(self) -> str:
        """The entity tag, which is a strong one."""
        tag = self.headers["ETag"]
        assert tag.startswith('"')
        return tag

    @property
    def logs(self) -> list[Any]:
        """The event logs."""
        assert self.status == 200, self.body
        assert self.headers["Content-Type"] == "application/json"
        found: list[Any] = json.loads(self.body)
        assert isinstance(found, list)
        return found

    @property
    def ids(self) -> list[str]:
        """Their ids."""
        return [log["id"] for log in self.logs]

    @property
    def error(self) -> str:
        """The code of an error, which says in words what to do."""
        assert self.headers["Content-Type"] == "application/json"
        error = json.loads(self.body)["error"]
        assert error.keys() == {"code", "message"}
        assert error["message"]
        return str(error["code"])


class Parakey:
    """A client with a token."""

    def __init__(self, demo: Demo, token: str | None, session: aiohttp.ClientSession) -> None:
        self.demo = demo
        self._token = token
        self._session = session

    async def get(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """One request; underscores in names of headers are hyphens."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._token is not None:
            given["access-token"] = self._token
        async with self._session.request(method, self.demo.url + path, headers=given) as response:
            return Answer(response.status, response.headers, await response.read())

    async def logs(self, query: str = "", **headers: str) -> Answer:
        """Event logs."""
        return await self.get(f"/eventLogs?{query}", **headers)

    async def put(self, *events: Mapping[str, Any], site: str | None = None) -> None:
        """Put events in."""
        await self.demo.api.ingest(site or self.demo.site_id, *events)

    def other(self, token: str | None) -> Parakey:
        """The same with another token."""
        return Parakey(self.demo, token, self._session)


_numbers = itertools.count()


def unlock(event_id: str | None = None, *, occurred: int = NOW, topic: str = ALLOWED, **more: Any) -> dict[str, Any]:
    """Somebody unlocks a door."""
    return {
        "id": event_id or f"u{next(_numbers)}",
        "topic": topic,
        "occurred": occurred,
        "body": {"deviceId": "d"},
    } | more


def created(log: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(log["createdAt"])


@contextlib.asynccontextmanager
async def parakey(demo: Demo) -> AsyncIterator[Parakey]:
    """A client with the demo's token."""
    async with aiohttp.ClientSession() as session:
        yield Parakey(demo, demo.credentials["parakey"]["access_token"], session)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors


@pytest_asyncio.fixture(loop_scope="module")
async def client(demo: Demo) -> AsyncIterator[Parakey]:
    async with parakey(demo) as client:
        yield client


async def a_site(demo: Demo) -> str:
    """A site of its own, so that a test knows everything in it."""
    return await demo.api.create_site()


async def a_client(
    client: Parakey, *sites: str, scopes: tuple[str, ...] = ("events:read", "directory:read")
) -> Parakey:
    """A client for those sites."""
    made = await client.demo.api.create_client(scopes=list(scopes), sites=list(sites))
    return client.other(f"ds_{made['id']}_{made['secret']}")


@pytest_asyncio.fixture(loop_scope="module")
async def alone(client: Parakey) -> tuple[Parakey, str]:
    """A client for a site of its own, and the site."""
    site = await a_site(client.demo)
    return await a_client(client, site), site


async def test_par_1_tokens(client: Parakey) -> None:
    """The header of the vendor; Bearer, and Basic with the token as user or password. Else 401 in JSON."""
    token = client.demo.credentials["parakey"]["access_token"]
    nobody = client.other(None)
    assert (await client.logs("limit=1")).status == 200
    for good in (f"Bearer {token}", f"bearer {token}", basic(f"x:{token}"), basic(f"{token}:"), basic(f"{token}:x")):
        assert (await nobody.logs("limit=1", Authorization=good)).status == 200, good
    wrong = ("Bearer", "Bearer x", basic("a:b"), "Basic ???", f"Digest {token}", basic(""), f"Bearer {token}0", token)
    for bad in wrong:
        answer = await nobody.logs("limit=1", Authorization=bad)
        assert (answer.status, answer.error) == (401, "unauthenticated"), bad
    for bad in ("", "x", token[:-1], token + "0", "ds_nobody_" + "0" * 64, "ä"):
        answer = await client.other(bad).logs("limit=1")
        assert (answer.status, answer.error) == (401, "unauthenticated"), bad
    for path in ("/eventLogs", "/eventLogs/x", "/domains", "/users/x", "/access-keys", "/batches/x"):
        assert (await nobody.get(path)).status == 401, path
    assert (await nobody.get("/access-keys", method="POST")).status == 401


async def test_par_1_scopes(client: Parakey) -> None:
    """What a token is not for is 403."""
    reader = await a_client(client, client.demo.site_id, scopes=("directory:read",))
    assert (await reader.get("/users")).status == 200
    assert ((await reader.logs()).status, (await reader.logs()).error) == (403, "forbidden")
    poller = await a_client(client, client.demo.site_id, scopes=("events:read",))
    assert (await poller.get("/users")).status == 403
    assert (await poller.logs()).status == 200


def basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


async def test_par_2_at_most_one(alone: tuple[Parakey, str]) -> None:
    client, site = alone
    empty = await client.logs("limit=1")
    assert (empty.logs, bool(empty.etag)) == ([], True)
    await client.put(unlock(), unlock(), site=site)
    one = await client.logs("limit=1")
    assert len(one.logs) == 1
    assert one.headers["X-Total-Count"] == "2"
    assert one.etag != empty.etag


async def test_par_3_304_until_there_is_a_new_log(alone: tuple[Parakey, str]) -> None:
    """It is empty and repeats what a cache needs; what is no event log changes nothing."""
    client, site = alone
    first = await client.logs("limit=1")
    await client.put(
        unlock(topic=RELAY, metadata={"cause": "request"}),
        unlock(topic=RELAY),
        unlock(topic="device.input.dps.opened"),
        unlock(topic="device.request.denied"),
        site=site,
    )
    await client.put(unlock())  # elsewhere
    unchanged = await client.logs("limit=1", If_None_Match=first.etag)
    assert (unchanged.status, unchanged.body, unchanged.etag) == (304, b"", first.etag)
    for name in ("ETag", "Cache-Control"):
        assert unchanged.headers[name] == first.headers[name]
    for answer in (first, unchanged):
        vary = {name for line in answer.headers.getall("Vary") for name in line.split(", ")}  # type: ignore[attr-defined]
        assert {"access-token", "Authorization"} <= vary
    for event in (unlock(), unlock(topic=RELAY, metadata={"cause": "command"})):
        await client.put(event, site=site)
        changed = await client.logs("limit=1", If_None_Match=first.etag)
        assert changed.status == 200
        assert changed.ids == [event["id"]]
        assert changed.etag != first.etag
        first = changed


async def test_par_4_a_late_log_changes_the_etag(alone: tuple[Parakey, str]) -> None:
    """Also when it is not the first in the order that was asked for."""
    client, site = alone
    await client.put(unlock("today"), site=site)
    queries = ("limit=1", "limit=1&orderBy=timestamp:DESC", "", f"startDate={quote('2020-01-01')}")
    before = [await client.logs(query) for query in queries]
    await client.put(unlock("yesterday", occurred=NOW - DAY), site=site)
    for query, old in zip(queries, before, strict=True):
        new = await client.logs(query, If_None_Match=old.etag)
        assert new.status == 200
        assert new.etag != old.etag
    assert (await client.logs("limit=1")).ids == ["yesterday"]
    assert (await client.logs("limit=1&orderBy=timestamp:DESC")).ids == ["today"]


async def test_par_5_comparison(client: Parakey) -> None:
    """RFC 9110 13.1.2."""
    await client.put(unlock("par-5"))
    for path in (
        "/eventLogs?limit=1",
        "/eventLogs/par-5",
        "/domains",
        "/devices",
        "/users",
        "/accesses",
        "/access-keys",
    ):
        tag = (await client.get(path)).etag
        for same in (tag, f"W/{tag}", f'"a", {tag}', f'W/"a",W/{tag} , "b"', "*", " * ", f'"a,b",{tag}'):
            answer = await client.get(path, If_None_Match=same)
            assert (answer.status, answer.body, answer.etag) == (304, b"", tag), (path, same)
        for other in (tag[:-1], tag.strip('"'), f'"{tag}"', '"*"', tag[:-2] + '"', "", '"a", "b"', f"w/{tag[1:]}"):
            assert (await client.get(path, If_None_Match=other)).status == 200, (path, other)
    for path in ("/domains", "/devices", "/users", "/accesses", "/access-keys"):
        first = json.loads((await client.get(path)).body)[0]["id"]
        one = await client.get(f"{path}/{quote(first)}")
        assert json.loads(one.body)["id"] == first
        assert (await client.get(f"{path}/{quote(first)}", If_None_Match=one.etag)).status == 304


async def test_par_6_start_date(alone: tuple[Parakey, str]) -> None:
    """Compared with ``createdAt``, itself included, in every form of a time; ``endDate`` likewise."""
    client, site = alone
    for number in range(3):
        await client.put(unlock(f"par-6-{number}", occurred=NOW - number * DAY), site=site)
        await asyncio.sleep(0.005)
    newest, middle, oldest = (await client.logs()).logs
    moment = created(middle)
    assert created(oldest) < moment < created(newest)
    forms = [
        middle["createdAt"],
        moment.isoformat(),
        moment.isoformat().replace("+00:00", "z"),
        moment.replace(tzinfo=None).isoformat(),
        str(round(moment.timestamp() * 1000)),
        (moment + timedelta(hours=1)).isoformat().replace("+00:00", "+01:00"),
        (moment - timedelta(hours=9, minutes=30)).isoformat().replace("+00:00", "-09:30"),
        moment.strftime("%Y%m%dT%H%M%S") + f".{moment.microsecond // 1000:03d}Z",
    ]
    for form in forms:
        assert (await client.logs(f"startDate={quote(form)}")).ids == ["par-6-2", "par-6-1"], form
        assert (await client.logs(f"startDate={quote(form, safe=':+')}")).ids == ["par-6-2", "par-6-1"], form
        assert (await client.logs(f"endDate={quote(form)}")).ids == ["par-6-1", "par-6-0"], form
        assert (await client.logs(f"startDate={quote(form)}&endDate={quote(form)}")).ids == ["par-6-1"], form
    for form in (f"{moment:%a %b %d %Y %H:%M:%S} GMT+0000 (UTC)", f"{moment:%a, %d %b %Y %H:%M:%S} GMT"):
        assert "par-6-1" in (await client.logs(f"startDate={quote(form, safe='+')}")).ids, form
    just_after = moment + timedelta(microseconds=1)
    assert (await client.logs(f"startDate={quote(just_after.isoformat())}")).ids == ["par-6-2"]
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert (await client.logs(f"startDate={quote(tomorrow.isoformat())}")).logs == []


async def test_par_7_order(alone: tuple[Parakey, str]) -> None:
    """Event logs of one atomic batch have equal times, and their ids decide; pages break no tie."""
    client, site = alone
    made = [unlock(f"par-7-{(number * 7) % 40:02}", occurred=NOW + number % 5) for number in range(40)]
    await client.put(*made, site=site)
    found = (await client.logs()).logs
    assert len({log["createdAt"] for log in found}) < 40
    keys = {
        "createdAt": lambda log: (log["createdAt"], log["id"]),
        "timestamp": lambda log: (log["timestamp"], log["id"]),
    }
    for field, key in keys.items():
        for direction, backwards in (("ASC", False), ("asc", False), ("DESC", True)):
            expected = [log["id"] for log in sorted(found, key=key, reverse=backwards)]
            query = f"orderBy={field}:{direction}"
            assert (await client.logs(query)).ids == expected
            assert (await client.logs(f"startDate=2020-01-01&{query}")).ids == expected
            assert await paged(client, f"limit=7&{query}") == expected
    assert (await client.logs("orderBy=createdAt")).ids == (await client.logs("orderBy=createdAt:ASC")).ids
    assert (await client.logs()).ids == (await client.logs("orderBy=createdAt:DESC")).ids


async def paged(client: Parakey, query: str) -> list[str]:
    """The ids of all pages, following the links."""
    path: str | None = f"/eventLogs?{query}"
    found: list[str] = []
    totals = set()
    while path is not None:
        answer = await client.get(path)
        found += answer.ids
        totals.add(answer.headers["X-Total-Count"])
        link = answer.headers.get("Link")
        if link is None:
            break
        address, _, relation = link.partition(">; ")
        assert relation == 'rel="next"'
        parts = urlsplit(address.lstrip("<"))
        path = f"{parts.path}?{parts.query}"
    assert totals == {str(len(found))}
    return found


async def test_par_8_created_at_never_decreases(alone: tuple[Parakey, str]) -> None:
    """Forty writers at once, single events and batches: in the order of the log, the times of receipt only grow."""
    client, site = alone

    async def write(writer: int) -> None:
        for number in range(8):
            size = 1 if writer % 2 else 20
            events = [unlock(f"par-8-{writer}-{number}-{each}", occurred=NOW - writer * DAY) for each in range(size)]
            await client.put(*events, site=site)

    begun = datetime.now(UTC) - timedelta(milliseconds=1)
    await asyncio.gather(*map(write, range(40)))
    ended = datetime.now(UTC)
    expected = 20 * 8 + 20 * 8 * 20
    stored = await in_log_order(client, site)
    assert len(stored) == expected
    found = {log["id"]: created(log) for log in (await client.logs("startDate=2020-01-01")).logs}
    times = [found[event["id"]] for event in stored]
    assert times == sorted(times)
    assert begun <= times[0] <= times[-1] <= ended
    assert [round(time.timestamp() * 1000) for time in times] == [event["recorded"] for event in stored]


async def in_log_order(client: Parakey, site: str) -> list[Any]:
    """The events of a site as our own API has them, oldest first."""
    answer = await client.demo.api.call("GET", f"/api/sites/{site}/events?limit=10000")
    return list(reversed(answer["events"]))


async def test_par_9_schema(client: Parakey) -> None:
    """Who, which door, which domain; what is not known is null."""
    demo = client.demo
    [device] = json.loads((await client.get("/devices?limit=1")).body)
    [person] = json.loads((await client.get("/users?limit=1")).body)
    await client.put(
        {
            "id": "par-9",
            "topic": ALLOWED,
            "occurred": "2026-01-31T11:00:00.250+01:00",
            "body": {"deviceId": device["id"], "holderId": person["id"]},
        }
    )
    [log] = (await client.logs("limit=1")).logs
    assert log == {
        "id": "par-9",
        "domain": {"id": demo.credentials["parakey"]["domain_id"]},
        "user": {"id": person["id"], "email": person["email"], "name": person["name"]},
        "device": {"id": device["id"], "name": device["name"]},
        "access": None,
        "accessKey": None,
        "type": "unlock",
        "timestamp": "2026-01-31T10:00:00.250Z",
        "createdAt": log["createdAt"],
    }
    assert log["createdAt"].endswith("Z")
    assert len(log["createdAt"]) == len("2026-01-31T10:00:00.250Z")
    one = await client.get("/eventLogs/par-9")
    assert json.loads(one.body) == log
    await client.put(unlock("par-9-remote", topic=RELAY, metadata={"cause": "command"}, body={}))
    [remote] = (await client.logs("limit=1")).logs
    assert (remote["user"], remote["device"]) == (None, {"id": None, "name": None})


async def test_par_14_both_spellings(client: Parakey) -> None:
    await client.put(unlock("par-14/with a?slash".replace(" ", "_")))
    name = quote("par-14/with_a?slash")
    for path, other in (
        ("/eventLogs?limit=1", "/event-logs?limit=1"),
        (f"/eventLogs/{name}", f"/event-logs/{name}"),
        ("/access-keys", "/accessKeys"),
    ):
        one, two = await client.get(path), await client.get(other)
        assert (one.status, one.body, one.etag) == (two.status, two.body, two.etag) == (200, one.body, one.etag)
    for path in ("/access-keys", "/accessKeys"):
        assert (await client.get(path, method="POST")).error == "forbidden"


async def test_what_does_not_exist(client: Parakey) -> None:
    for path in ("/eventLogs/x", "/devices/x", "/users/x", "/accesses/x", "/access-keys/x", "/domains/x", "/batches/x"):
        answer = await client.get(path)
        assert (answer.status, answer.error) == (404, "not-found"), path
    await client.put(unlock("no-log", topic="device.input.dps.opened"))
    assert (await client.get("/eventLogs/no-log")).status == 404


async def test_an_event_log_by_id_has_its_own_etag(client: Parakey) -> None:
    await client.put(unlock("a"), unlock("b"))
    a, b = await client.get("/eventLogs/a"), await client.get("/eventLogs/b")
    assert a.etag != b.etag
    await client.put(unlock())
    assert (await client.get("/eventLogs/a", If_None_Match=a.etag)).status == 304


class TestDomains:
    """A token of a Manual integration covers one domain, that of a Partner several."""

    async def test_scope(self, client: Parakey) -> None:
        one, two, three = [await a_site(client.demo) for _ in range(3)]
        for site in (one, two, three):
            await client.put(unlock(f"of-{site}"), site=site)
        manual, partner = await a_client(client, one), await a_client(client, one, two)
        assert (await manual.logs()).ids == [f"of-{one}"]
        assert set((await partner.logs()).ids) == {f"of-{one}", f"of-{two}"}
        assert (await partner.logs(f"domainId={two}")).ids == [f"of-{two}"]
        assert (await partner.logs(f"domainId={two.upper()}")).ids == [f"of-{two}"]
        assert {each["id"] for each in json.loads((await partner.get("/domains")).body)} == {one, two}
        admin = client.other(client.demo.credentials["admin"]["api_key"])
        assert {f"of-{site}" for site in (one, two, three)} <= set((await admin.logs("limit=10000")).ids)

    async def test_a_foreign_domain_is_as_none_at_all(self, client: Parakey) -> None:
        """Nothing tells a domain of others from one that does not exist."""
        mine, theirs = await a_site(client.demo), await a_site(client.demo)
        await client.put(unlock("theirs"), site=theirs)
        manual = await a_client(client, mine)
        nowhere = "0738b8df-329a-4d50-88e7-7a48928c4dff"
        for path in ("/eventLogs", "/devices", "/users", "/access-keys", "/accesses", "/domains"):
            foreign, none = [await manual.get(f"{path}?domainId={site}") for site in (theirs, nowhere)]
            assert (foreign.status, foreign.body) == (none.status, none.body) == (200, b"[]")
        for path in ("/eventLogs/theirs", f"/domains/{theirs}", "/eventLogs?after=theirs"):
            none = await manual.get(path.replace("theirs", "nobodys").replace(theirs, nowhere))
            assert (await manual.get(path)).body == none.body

    async def test_each_domain_of_a_partner_changes_the_etag(self, client: Parakey) -> None:
        one, two = await a_site(client.demo), await a_site(client.demo)
        partner = await a_client(client, one, two)
        tag = (await partner.logs("limit=1")).etag
        for site in (two, one, two):
            await client.put(unlock(), site=site)
            answer = await partner.logs("limit=1", If_None_Match=tag)
            assert answer.status == 200
            tag = answer.etag
        assert (await partner.logs("limit=1", If_None_Match=tag)).status == 304

    async def test_several_domains_in_one_order(self, client: Parakey) -> None:
        sites = [await a_site(client.demo) for _ in range(4)]
        partner = await a_client(client, *sites)
        for number in range(30):
            await client.put(unlock(f"n{number:02}"), site=sites[number % 4])
        newest_first = [f"n{number:02}" for number in reversed(range(30))]
        assert (await partner.logs()).ids == newest_first
        assert await paged(partner, "limit=4") == newest_first
        assert await paged(partner, "limit=4&after=n09&orderBy=createdAt:ASC") == newest_first[19::-1]

    async def test_who_loses_a_domain_loses_its_logs(self, client: Parakey) -> None:
        one, two = await a_site(client.demo), await a_site(client.demo)
        await client.put(unlock("first"), site=one)
        await client.put(unlock("second"), site=two)
        partner = await a_client(client, one, two)
        tag = (await partner.logs("limit=1")).etag
        await client.demo.api.call("DELETE", f"/api/sites/{two}")
        answer = await partner.logs("limit=1", If_None_Match=tag)
        assert answer.ids == ["first"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def many(demo: Demo) -> AsyncIterator[tuple[Parakey, list[str]]]:
    """3,500 event logs, and as many other events between them."""
    site = await a_site(demo)
    async with parakey(demo) as client:
        mine = await a_client(client, site)
        for start in range(0, 3500, 500):
            events = [unlock(f"m{number:04}") for number in range(start, start + 500)]
            others = [unlock(topic="device.input.dps.opened") for _ in range(500)]
            await client.put(*[each for pair in zip(events, others, strict=True) for each in pair], site=site)
        yield mine, [f"m{number:04}" for number in range(3500)]


class TestNothingIsCut:
    """D7: with ``startDate`` or ``after`` and no ``limit`` there is everything; else what is cut says so."""

    async def test_start_date(self, many: tuple[Parakey, list[str]]) -> None:
        client, ids = many
        for query in ("startDate=2020-01-01", "startDate=0&orderBy=timestamp:ASC"):
            answer = await client.logs(query)
            assert sorted(answer.ids) == ids
            assert "Link" not in answer.headers

    async def test_after(self, many: tuple[Parakey, list[str]]) -> None:
        client, ids = many
        assert (await client.logs("after=m0499&orderBy=createdAt:ASC")).ids == ids[500:]
        assert (await client.logs("after=m0499")).ids == ids[:499:-1]

    async def test_neither(self, many: tuple[Parakey, list[str]]) -> None:
        """A thousand, the number of all, and a link to the rest."""
        client, ids = many
        answer = await client.logs()
        assert len(answer.ids) == 1000
        assert answer.headers["X-Total-Count"] == "3500"
        assert sorted(await paged(client, "")) == ids

    async def test_limit(self, many: tuple[Parakey, list[str]]) -> None:
        client, ids = many
        everything = await client.logs("limit=10000")
        assert sorted(everything.ids) == ids
        assert everything.headers["X-Total-Count"] == "3500"
        assert "Link" not in everything.headers
        assert sorted(await paged(client, "limit=999&startDate=2020-01-01")) == ids
        assert await paged(client, "limit=800&after=m0010&orderBy=createdAt:ASC") == ids[11:]

    async def test_a_stream_is_of_one_moment(self, many: tuple[Parakey, list[str]]) -> None:
        """What is stored while an answer is under way is not in it, and the entity tag says so: the next has it."""
        client, ids = many
        site = json.loads((await client.get("/domains")).body)[0]["id"]
        writing = asyncio.create_task(client.put(unlock("meanwhile"), site=site))
        answer = await client.logs("startDate=2020-01-01&orderBy=createdAt:ASC")
        await writing
        assert answer.ids in (ids, [*ids, "meanwhile"])
        following = await client.logs("startDate=2020-01-01&orderBy=createdAt:ASC", If_None_Match=answer.etag)
        assert following.status == (200 if answer.ids == ids else 304)


class TestBadInput:
    """A bad parameter is a 400 that names it, at once."""

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("limit", ("0", "-1", "10001", "1.5", "x", "", "1e3", "²", "9" * 400, "1 ", "+1", "0x1", "null")),
            (
                "startDate",
                ("", "x", "undefined", "2026-13-01", "2026-01-", "2026-01-31T25:00:00Z", "1" * 16, "NaN", "2026-1-1"),
            ),
            ("endDate", ("", "x", "2026-02-30", "null", "9" * 5000)),
            (
                "orderBy",
                ("", "x", "createdAt:", "createdAt:UP", "id:ASC", "createdAt:DESC,id", "timestamp DESC", ":ASC"),
            ),
            ("cursor", ("", "x", "!!!", "W10", "bnVsbA", "WzEsMl0", "A" * 300)),
            ("after", ("", "a" * 257)),
            ("domainId", ("", "d" * 257)),
        ],
    )
    async def test_parameters(self, client: Parakey, name: str, values: tuple[str, ...]) -> None:
        for value in values:
            answer = await client.logs(f"{name}={quote(value)}")
            assert (answer.status, answer.error) == (400, "bad-parameter"), value
            assert name in json.loads(answer.body)["error"]["message"]

    async def test_repeated(self, client: Parakey) -> None:
        for query in ("limit=1&limit=1", "startDate=0&limit=1&startDate=0", "after=a&after=b", "domainId=a&domainId=b"):
            assert (await client.logs(query)).error == "bad-parameter", query
        assert (await client.logs("&".join(f"p{number}=x" for number in range(1000)))).error == "bad-parameter"

    async def test_unknown_parameters_are_ignored(self, client: Parakey) -> None:
        assert (await client.logs("limit=1&_=1780000000&foo&bar=%ff%00", api_version="1.2")).status == 200

    async def test_after_what_is_not_kept(self, client: Parakey) -> None:
        """The cursor says that it cannot go on, instead of leaving something out."""
        for value in ("nobody", "ä", "%00", "a b", "'; DROP TABLE events; --", "%"):
            answer = await client.logs(f"after={quote(value)}")
            assert (answer.status, answer.error) == (410, "position-gone"), value

    async def test_other_methods(self, client: Parakey) -> None:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert (await client.get("/eventLogs", method=method)).status == 405, method
        head = await client.get("/eventLogs?limit=1", method="HEAD")
        assert (head.status, head.body) == (200, b"")

    async def test_times_at_the_ends_of_the_calendar(self, client: Parakey) -> None:
        for value in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999-23:59", "-" + "9" * 15, "9" * 15):
            assert (await client.logs(f"startDate={quote(value)}&limit=1")).status == 200, value


async def test_pages_of_another_origin_may_read_all_of_it(client: Parakey) -> None:
    """D11: the origin is echoed, and what a poller needs is exposed, also with a 304."""
    first = await client.logs("limit=1", Origin="https://app.example")
    unchanged = await client.logs("limit=1", Origin="https://app.example", If_None_Match=first.etag)
    assert (first.status, unchanged.status) == (200, 304)
    for answer in (first, unchanged):
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"ETag", "Link", "X-Total-Count"} <= set(exposed)
    preflight = await client.other(None).get(
        "/eventLogs",
        method="OPTIONS",
        Origin="https://app.example",
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="access-token, if-none-match",
    )
    assert preflight.status == 204
    allowed = preflight.headers["Access-Control-Allow-Headers"].lower()
    assert "access-token" in allowed
    assert "if-none-match" in allowed


async def test_a_poll_sees_what_any_worker_acknowledged() -> None:
    """Each request on a connection of its own, which either of two workers takes; also right after a worker is new."""
    async with running_demo(workers=2) as demo, parakey(demo) as first:
        tag = (await first.logs("limit=1")).etag
        for number in range(60):
            if number == 30:
                demo.kill_worker()
            async with parakey(demo) as client:
                await put_at_last(demo, unlock(f"w{number}"))
                answer = await retried(client, "limit=1", tag)
                assert answer.status == 200, number
                assert answer.ids == [f"w{number}"]
                assert answer.etag != tag
                tag = answer.etag
            async with parakey(demo) as client:
                assert (await retried(client, "limit=1", tag)).status == 304  # from the other as well


async def retried(client: Parakey, query: str, tag: str) -> Answer:
    """Ask again while a worker starts."""
    while True:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            answer = await client.logs(query, If_None_Match=tag)
            if answer.status != 503:
                return answer
            assert answer.headers["Retry-After"]
        await asyncio.sleep(0.02)
