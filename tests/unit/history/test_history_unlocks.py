"""Unlocks against a list, their order when the clock of NATS was set back, and what is kept in memory of them."""

import asyncio
import random
from dataclasses import replace

import pytest

from doorstream.events.unlocks import is_unlock
from doorstream.history import Index, LastUnlocks, UnlockQuery
from doorstream.history import index as module
from doorstream.history.acknowledged import Acknowledged
from doorstream.live.ring import Ring
from doorstream.log import LogUnavailable
from doorstream.testing import OTHER_SITE, SITE
from memory_log import ALLOWED, RELAY, START, MemoryLog


@pytest.fixture
def memory():
    return MemoryLog()


@pytest.fixture
async def index(memory, tmp_path):
    index = Index(tmp_path / "index.sqlite", memory.hub, memory)
    await index.start()
    yield index
    await index.stop()


@pytest.mark.parametrize(
    ("topic", "cause", "expected"),
    [
        (ALLOWED, None, True),
        (ALLOWED, "request", True),
        (RELAY, "command", True),
        (RELAY, None, False),
        (RELAY, "request", False),
        ("device.request.denied", "command", False),
        ("device.request.ecard.allowed", None, False),
    ],
)
def test_what_is_an_unlock(memory, topic, cause, expected):
    """D17."""
    memory.put(topic=topic, cause=cause)
    assert is_unlock(memory.events[0]) is expected


async def test_created_never_decreases(memory, index, tmp_path):
    """The clock of NATS is set back by an hour in the middle; every reader of the log computes the same."""
    for step in (0, 5, -3_600_000, 1, 1, 3_599_000, 5000, -1, 0, 1):
        memory.at += step
        memory.put()
    await index.current()
    query = UnlockQuery(sites=(SITE,), upto=100, limit=100, order="sequence", is_descending=False)
    first = (await index.unlocks(query)).events
    assert [event.recorded for event in first] == list(memory.created.values())
    late_comer = Index(tmp_path / "other.sqlite", memory.hub, memory)
    await late_comer.start()
    await late_comer.current()
    assert [event.recorded for event in (await late_comer.unlocks(query)).events] == list(memory.created.values())
    await late_comer.stop()


async def test_a_restart_remembers_the_latest_time(memory, tmp_path):
    """Of an index that went on with what it had: the time is not forgotten with the process."""
    path = tmp_path / "index.sqlite"
    for _ in range(2):
        index = Index(path, memory.hub, memory)
        await index.start()
        memory.put()
        await index.current()
        memory.at -= 60_000
        await index.stop()
    index = Index(path, memory.hub, memory)
    await index.start()
    query = UnlockQuery(sites=(SITE,), upto=100, limit=100)
    assert {event.recorded for event in (await index.unlocks(query)).events} == {START}
    await index.stop()


@pytest.mark.parametrize("seed", range(4))
async def test_queries_against_a_list(memory, index, seed, monkeypatch):
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    monkeypatch.setattr("doorstream.history.unlocks._FEW", chance.choice([5, 1000]))
    for number in range(200):
        memory.at += chance.choice([0, 0, 1, 7, -5])
        memory.put(
            f"{(number * 77) % 200:03}",
            topic=chance.choice([ALLOWED, ALLOWED, RELAY, "x.a"]),
            site_id=chance.choice([SITE, OTHER_SITE]),
            occurred=START + chance.randrange(20),
            cause=chance.choice([None, "command"]),
        )
    await index.current()
    created = memory.created
    for _ in range(300):
        query = UnlockQuery(
            sites=chance.choice([(SITE,), (SITE, OTHER_SITE), (OTHER_SITE, "none")]),
            upto=chance.choice([200, 200, 120]),
            limit=chance.choice([1, 3, 50, 500]),
            order=chance.choice(["created", "occurred", "sequence"]),
            is_descending=chance.choice([True, False]),
            after=chance.choice([None, None, 60]),
            created_from=chance.choice([None, START + 40, START + 300, 2**70]),
            created_to=chance.choice([None, None, START + 250, -(2**70)]),
        )
        expected = [
            event
            for event in memory.events
            if is_unlock(event)
            and event.site_id in query.sites
            and event.sequence <= query.upto
            and event.sequence > (query.after or 0)
            and (query.created_from is None or created[event.sequence] >= query.created_from)
            and (query.created_to is None or created[event.sequence] <= query.created_to)
        ]

        def key(event, order=query.order):
            first = {"created": created[event.sequence], "occurred": event.occurred, "sequence": event.sequence}
            return first[order], event.id

        expected.sort(key=key, reverse=query.is_descending)
        assert await index.count_unlocks(query) == len(expected)
        found = []
        page = await index.unlocks(query)
        found += page.events
        while page.more:
            assert len(page.events) == query.limit
            page = await index.unlocks(replace(query, behind=query.key_of(page.events[-1])))
            found += page.events
        assert [event.id for event in found] == [event.id for event in expected]


async def test_by_id(memory, index):
    memory.put("a")
    memory.put("a", site_id=OTHER_SITE)
    memory.put("b", topic="x.a")
    await index.current()
    assert (await index.unlock({OTHER_SITE}, "a")).sequence == 2
    assert (await index.unlock({SITE, OTHER_SITE}, "a")).sequence == 1
    assert await index.unlock({SITE}, "b") is None
    assert await index.place_of({SITE}, "b") == 3
    assert await index.place_of({OTHER_SITE}, "b") is None
    assert await index.place_of({SITE}, "c") is None


async def test_the_last_unlocks_follow_the_log(memory, index):
    """Also when nobody asked for longer than the ring reaches back."""
    memory.hub.ring = Ring(0, max_events=5)
    last = LastUnlocks(index)
    await last.refresh()
    assert (last.of(SITE), last.seen) == (0, 0)
    for burst in (1, 3, 20, 0, 6, 5):
        for number in range(burst):
            memory.put(site_id=SITE if number % 3 else OTHER_SITE)
            memory.put(topic="x.a")
        before = last.changes
        await last.refresh()
        assert last.seen == len(memory.events)
        for site in (SITE, OTHER_SITE):
            places = [event.sequence for event in memory.events if event.site_id == site and is_unlock(event)]
            assert last.of(site) == max(places, default=0)
        assert (last.changes != before) is (burst > 0)


async def test_the_last_unlocks_are_of_the_moment_that_they_claim(memory, index, monkeypatch):
    """An unlock that the index took in while it was asked counts for the next question, not for this one."""
    memory.put()
    read = index.last_unlocks

    async def meanwhile(upto):
        memory.put()
        await index.reached(len(memory.events))
        return await read(upto)

    monkeypatch.setattr(index, "last_unlocks", meanwhile)
    memory.hub.ring = Ring(memory.hub.sequence)
    last = LastUnlocks(index)
    await index.reached(1)
    await last._start_over()
    assert (last.seen, last.of(SITE)) == (1, 1)
    monkeypatch.undo()
    await last.refresh()
    assert (last.seen, last.of(SITE)) == (2, 2)


async def test_it_waits_for_what_another_process_acknowledged(memory, index):
    """It is stored, and has not come here yet."""
    last = LastUnlocks(index)
    memory.put(publish=False)
    asking = asyncio.create_task(last.refresh())
    await asyncio.sleep(0.02)
    assert not asking.done()
    memory.hub.publish(memory.events[-1])
    await asking
    assert last.of(SITE) == 1


async def test_it_does_not_wait_for_ever(memory, index, monkeypatch):
    monkeypatch.setattr(module, "_READ_PATIENCE", 0.02)
    memory.put(publish=False)
    with pytest.raises(LogUnavailable):
        await LastUnlocks(index).refresh()


class TestAcknowledged:
    """One question to NATS for all who ask at the same time, and never an answer that is older than the question."""

    async def test_those_of_one_turn_share(self, memory):
        asked = Acknowledged(memory)
        assert await asyncio.gather(*(asked.ask() for _ in range(50))) == [0] * 50
        assert memory.questions == 1

    async def test_who_comes_later_waits_for_the_next_answer(self, memory):
        asked = Acknowledged(memory)
        memory.gate = asyncio.Event()
        first = asked.ask()
        await asyncio.sleep(0)
        assert memory.questions == 1
        memory.put()
        later = [asked.ask() for _ in range(10)]
        await asyncio.sleep(0)
        assert memory.questions == 1
        memory.gate.set()
        assert await first == 0
        assert await asyncio.gather(*later) == [1] * 10
        assert memory.questions == 2

    async def test_who_gives_up_harms_nobody(self, memory):
        asked = Acknowledged(memory)
        memory.gate = asyncio.Event()

        async def ask():
            return await asked.ask()

        impatient, patient = asyncio.create_task(ask()), asyncio.create_task(ask())
        await asyncio.sleep(0)
        impatient.cancel()
        memory.gate.set()
        assert await patient == 0
        assert await asked.ask() == 0

    async def test_a_failure_is_told_to_all_and_forgotten(self, memory, monkeypatch):
        asked = Acknowledged(memory)

        async def fail():
            raise LogUnavailable("away")

        monkeypatch.setattr(memory, "extent", fail)
        outcomes = await asyncio.gather(asked.ask(), asked.ask(), return_exceptions=True)
        assert [type(each) for each in outcomes] == [LogUnavailable] * 2
        monkeypatch.undo()
        assert await asked.ask() == 0

    async def test_the_end_is_told(self, memory):
        asked = Acknowledged(memory)
        memory.gate = asyncio.Event()
        waiting = asked.ask()
        await asyncio.sleep(0)
        asked.stop()
        with pytest.raises(LogUnavailable):
            await waiting

    async def test_whoever_asks_in_the_moment_in_which_it_stops_is_told(self, memory):
        """They waited for ever: the question was called off before it had begun."""
        memory.acknowledged = None
        asked = Acknowledged(memory)
        waiting = asked.ask()
        asked.stop()
        for each in (waiting, asked.ask()):  # and who asks afterwards
            with pytest.raises(LogUnavailable):
                async with asyncio.timeout(2):
                    await each
