"""Whole courses of webhooks on a real worker's services: a schedule to its end, several sites, ranges of time."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from webhooks_api_support import HOOKS, Worker

from doorstream.events.event import iso_utc
from doorstream.log import Message
from doorstream.testing import until
from doorstream.testing.receiver import Answer as Says
from doorstream.webhooks import courier
from doorstream.webhooks.records import Due, later_message
from world import OTHER, SITE

D6 = (15, 60, 180, 480, 1200)
"""Seconds after the first failure (design D6), each ±10 %."""

WAITS = tuple(after - before for before, after in itertools.pairwise((0, *D6)))

PATIENCE = 60.0
BUSY = 30.0
"""Seconds that a busy machine may be late with an attempt."""


class Skipping:
    """A clock on which the waits between two attempts are skipped: they are kept as they are, but take a moment."""

    def __init__(self, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.skipped = 0.0
        engine = worker.services.webhooks.engine
        assert engine is not None
        monkeypatch.setattr(engine, "clock", self)

        def soon(webhook_id: str, due: Due, when: int) -> Message:
            self.skipped += max(when / 1000 - self(), 0.0)
            return later_message(webhook_id, due, round(time.time() * 1000) + 1)

        monkeypatch.setattr(courier, "later_message", soon)

    def __call__(self) -> float:
        return time.time() + self.skipped


async def test_par_11_the_whole_schedule_of_the_parakey_form(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six attempts at the times of D6, each said beforehand; the last one's failure is the dead letter, and the end."""
    Skipping(worker, monkeypatch)
    worker.receiver.plan(Says(500))
    created = await worker.create(form="parakey")
    await worker.happen("unlock", "device.request.allowed")
    (dead,) = await worker.deliveries(created, "dead", 1)
    one = f"{HOOKS}/{created['id']}/deliveries/{dead['id']}"
    attempts = (await worker.client().get(one)).json()["attempts"]
    assert [each["number"] for each in attempts] == [1, 2, 3, 4, 5, 6]
    assert [each["state"] for each in attempts] == ["waiting"] * 5 + ["dead"]
    at = [datetime.fromisoformat(each["at"]) for each in attempts]
    said = [datetime.fromisoformat(each["next_attempt"]) for each in attempts[:-1]]
    for wait, began, promised, following in zip(WAITS, at, said, at[1:], strict=False):
        assert abs((promised - began).total_seconds() - wait) <= 0.1 * wait + 1
        assert -0.01 <= (following - promised).total_seconds() < BUSY
    for nominal, began in zip(D6, at[1:], strict=True):
        assert (began - at[0]).total_seconds() >= 0.9 * nominal - 1
    assert attempts[-1]["next_attempt"] is None
    assert (dead["attempts"], dead["status"], dead["next_attempt"]) == (6, 500, None)
    bodies = {request.body for request in worker.receiver.requests}
    assert (len(worker.receiver.requests), len(bodies)) == (6, 1)
    worker.receiver.plan(Says(200))
    await worker.happen("next", "device.request.allowed")
    await worker.deliveries(created, "delivered", 1)
    assert len(worker.receiver.requests) == 7, "nothing follows a dead letter"


async def test_a_webhook_of_several_sites(worker: Worker) -> None:
    """Each site's events arrive, are listed and can be replayed, also where two sites have one id for two events."""
    ops = worker.client("ops")
    body = {"url": worker.receiver.url, "sites": [OTHER], "topics": ["x.test"]}
    created = (await ops.post(HOOKS, body)).json()
    one = f"{HOOKS}/{created['id']}"
    for site_id, event_id in ((SITE, "same"), (OTHER, "same"), (OTHER, "a.b")):
        await worker.happen(event_id, site_id=site_id)
    names = {f"{SITE}/same": (SITE, "same"), f"{OTHER}/same": (OTHER, "same"), f"{OTHER}/a%2Eb": (OTHER, "a.b")}

    async def got(number: int) -> list[tuple[str, str, str]]:
        await until(lambda: len(worker.receiver.requests) >= number, PATIENCE)
        found = []
        for request in worker.receiver.requests:
            Verifier(created["secret"]).verify(request.body, dict(request.headers))
            event = json.loads(request.body)
            found.append((request.headers["webhook-id"], event["siteId"], event["id"]))
        return found

    assert sorted(await got(3)) == sorted((name, *event) for name, event in names.items())
    listed = await ops_deliveries(worker, one, 3)
    shown = {each["message_id"]: (each["site_id"], each["event"]) for each in listed}
    assert (shown, len({each["id"] for each in listed})) == (names, 3)
    both = (await ops.get(f"{one}/deliveries?event=same")).json()["items"]
    assert {each["site_id"] for each in both} == {SITE, OTHER}
    for delivery in listed:
        said = await ops.post(f"{one}/replay", {"delivery": delivery["id"]})
        assert (said.status, said.json()["deliveries"]) == (202, 1)
    assert Counter(await got(6)) == Counter({(name, *event): 2 for name, event in names.items()})
    said = await ops.post(f"{one}/replay", {"from": 0, "state": "all"})
    assert (said.status, said.json()["deliveries"]) == (202, 3)
    assert Counter(await got(9)) == Counter({(name, *event): 3 for name, event in names.items()})
    assert len(worker.receiver.requests) == 9


async def ops_deliveries(worker: Worker, one: str, number: int) -> list[Any]:
    """The deliveries of a webhook, as soon as there are so many."""
    found: list[Any]
    async with asyncio.timeout(PATIENCE):
        while len(found := (await worker.client("ops").get(f"{one}/deliveries")).json()["items"]) < number:  # noqa: ASYNC110 - the ledger tells nobody
            await asyncio.sleep(0.01)
    return found


async def test_both_ends_of_a_range_are_included_everywhere(worker: Worker) -> None:
    """One rule for events, deliveries and replays: ``from`` and ``to`` are the first and the last moment that count."""
    created = await worker.create(topics=["x.test"])
    client, one = worker.client("ops"), f"{HOOKS}/{created['id']}"
    begun: list[datetime] = []
    for number, name in enumerate(("one", "two", "three")):
        await worker.happen(name)
        newest = (await worker.deliveries(created, "delivered", number + 1))[0]
        begun.append(datetime.fromisoformat(newest["created"]))
        await until(lambda: datetime.now(UTC) > begun[-1] + timedelta(milliseconds=10))
    recorded = {
        each["id"]: each["recorded"] for each in (await events(worker)) if each["id"] in ("one", "two", "three")
    }
    moment = timedelta(milliseconds=1)
    for begins, ends, expected in (
        (timedelta(), timedelta(), ["two"]),
        (moment, timedelta(), []),
        (timedelta(), -moment, []),
        (-moment, moment, ["two"]),
    ):
        first, last = begun[1] + begins, begun[1] + ends
        query = f"from={quote(first.isoformat())}&to={quote(last.isoformat())}"
        found = (await client.get(f"{one}/deliveries?{query}")).json()["items"]
        assert [each["event"] for each in found] == expected
        said = await client.post(f"{one}/replay", {"state": "all", "from": first.isoformat(), "to": last.isoformat()})
        assert said.json()["deliveries"] == len(expected)
        milliseconds = [recorded["two"] + round(each / moment) for each in (begins, ends)]
        for bounds in (milliseconds, [quote(iso_utc(each)) for each in milliseconds]):
            found = await events(worker, f"?topic=x.test&recorded_from={bounds[0]}&recorded_to={bounds[1]}")
            assert [each["id"] for each in found] == expected


async def events(worker: Worker, query: str = "") -> list[Any]:
    """The site's events, newest first."""
    answer = await worker.client("ops").get(f"/api/sites/{SITE}/events{query}")
    assert answer.status == 200, answer.body
    return list(answer.json()["events"])


async def test_both_ends_of_what_happened_are_included(worker: Worker) -> None:
    """The same of ``occurred``: three events a millisecond apart."""
    view = worker.services.directory.site(SITE)
    assert view is not None
    start = 1_780_000_000_000
    happened = [{"id": f"{n}", "topic": "x.test", "occurred": start + n, "body": {}} for n in range(3)]
    await worker.services.ingest.put_values(SITE, view, happened)
    for bounds, expected in (
        ("from={1}&to={1}", ["1"]),
        ("from={1}", ["2", "1"]),
        ("to={1}", ["1", "0"]),
        ("from={1}&to={0}", []),
    ):
        for form in (str, lambda each: quote(iso_utc(each))):
            times = [form(start + n) for n in range(3)]
            found = await events(worker, "?topic=x.test&" + bounds.format(*times))
            assert [each["id"] for each in found] == expected
