"""Putting events in: once each, whatever is repeated, on a real log."""

import asyncio
import json
import random
import sqlite3
import tracemalloc

import pytest

from doorstream.events import InvalidEvent
from doorstream.history import index as index_module
from doorstream.ingest import Ingest, Invalid, Receipt, SpaceGuard, TooMany
from doorstream.ingest import ingest as module
from doorstream.log import DuplicateId, LogUnavailable, StorageFull
from doorstream.testing import OTHER_SITE, SITE, KnownNames, until

NAMES = KnownNames()


def event(event_id=None, topic="x.a", **body):
    """One event as put in."""
    return {"topic": topic, "occurred": 1, "body": body} | ({"id": event_id} if event_id is not None else {})


def encoded(*events):
    """Their JSON: one by itself, several as an array."""
    return json.dumps(events[0] if len(events) == 1 else events).encode()


def lines(*members, end=b"\n"):
    """NDJSON; texts as they are."""
    return b"".join((m if isinstance(m, bytes) else json.dumps(m).encode()) + end for m in members)


async def in_chunks(data, size=65_536):
    """A body as it comes."""
    for start in range(0, len(data), size):
        yield data[start : start + size]
        await asyncio.sleep(0)


def full_disk(tmp_path):
    """A guard that refuses everything."""
    return SpaceGuard(tmp_path, 2**62, lambda: 0.0)


async def test_one_event(intake):
    assert await intake.ingest.put(SITE, NAMES, encoded(event(n=1))) == Receipt(1, duplicate=False)
    [[kept]] = [events async for events in intake.log.read(0, site_id=SITE, upto=1)]

    assert (kept.id, kept.topic, kept.site_id, kept.body) == ("new-1", "x.a", SITE, b'{"n":1}')


async def test_an_array(intake):
    answer = await intake.ingest.put_array(SITE, NAMES, encoded(event("a"), event(), event("b")))

    assert answer.receipts == [Receipt(n, duplicate=False) for n in (1, 2, 3)]
    assert answer.duplicates == 0
    assert await intake.stored() == ["a", "new-2", "b"]


@pytest.mark.parametrize("count", [0, 1, 2, 999, 1000])
async def test_arrays_of_any_size(intake, count):
    answer = await intake.ingest.put_array(SITE, NAMES, json.dumps([event(f"{n}") for n in range(count)]).encode())

    assert [receipt.sequence for receipt in answer.receipts] == list(range(1, count + 1))
    assert await intake.stored() == [f"{n}" for n in range(count)]


@pytest.mark.parametrize("members", [[event()] * 1001, [event()] * 1001 + [7], [7] * 1001])
async def test_an_array_that_is_too_long_is_refused_whole(intake, members):
    with pytest.raises(TooMany, match="at most 1000"):
        await intake.ingest.put_array(SITE, NAMES, json.dumps(members).encode())
    assert await intake.stored() == []


async def test_every_invalid_member_of_an_array_is_named_and_nothing_is_kept(intake):
    members = [event("a"), 7, event("b"), event("c", topic="nope"), event("d d"), [], event("e")]
    with pytest.raises(Invalid) as raised:
        await intake.ingest.put_array(SITE, NAMES, json.dumps(members).encode())

    assert [(fault.where, fault.reason.split(":")[0].split(",")[0]) for fault in raised.value.faults] == [
        (1, "Expected `object`"),
        (3, "topic"),
        (4, "id"),
        (5, "Expected `object`"),
    ]
    assert await intake.stored() == []


@pytest.mark.parametrize("data", [b"", b"[", b"{}", b'[{"topic":"x.a","occurred":1,"body":{}}', b"[]]", b"\xff"])
async def test_what_is_no_array(intake, data):
    with pytest.raises(InvalidEvent):
        await intake.ingest.put_array(SITE, NAMES, data)


async def test_a_repeated_event_has_its_first_place_and_content(intake):
    await intake.ingest.put(SITE, NAMES, encoded(event("a", n=1)))
    await intake.ingest.put(SITE, NAMES, encoded(event("b")))

    assert await intake.ingest.put(SITE, NAMES, encoded(event("a", n=2))) == Receipt(1, duplicate=True)
    [[kept, _]] = [events async for events in intake.log.read(0, site_id=SITE, upto=2)]
    assert kept.body == b'{"n":1}'


async def test_the_same_id_in_another_site_is_another_event(intake):
    await intake.ingest.put(SITE, NAMES, encoded(event("a")))
    assert await intake.ingest.put(OTHER_SITE, NAMES, encoded(event("a"))) == Receipt(2, duplicate=False)
    assert await intake.another().put(OTHER_SITE, NAMES, encoded(event("a"))) == Receipt(2, duplicate=True)


class Without:
    """An intake that knows less, so that another of the three places has to know an id."""

    def __init__(self, monkeypatch, intake):
        self._monkeypatch = monkeypatch
        self._intake = intake

    async def recent(self):
        """Only the map of recent ids knows."""

        async def nothing(_site_id, _ids):
            return {}

        self._monkeypatch.setattr(self._intake.index, "find", nothing)
        await self._new_window()
        return self._intake.ingest

    async def window(self):
        """Only JetStream knows: the index is behind."""
        find = self._intake.index.find
        known_to = 0

        async def nothing_new(site_id, ids):
            return {one: at for one, at in (await find(site_id, ids)).items() if at <= known_to}

        async def current():
            nonlocal known_to
            known_to = 10**9

        self._monkeypatch.setattr(self._intake.index, "find", nothing_new)
        self._monkeypatch.setattr(self._intake.index, "current", current)
        return self._intake.another()

    async def index(self):
        """Only the index knows: it was days ago."""
        await self._intake.index.current()
        await self._new_window()
        return self._intake.another()

    async def _new_window(self):
        """Have JetStream forget the ids."""
        config = (await self._intake.log._stream.connection.api("STREAM.INFO.EVENTS"))["config"]
        await self._intake.log._stream.connection.api(
            "STREAM.UPDATE.EVENTS", {**config, "duplicate_window": 100_000_000}
        )
        await asyncio.sleep(0.3)


@pytest.mark.parametrize("who", ["recent", "window", "index"])
async def test_an_id_is_known_by_any_of_three(intake, monkeypatch, who):
    await intake.ingest.put(SITE, NAMES, encoded(event("a")))
    await intake.ingest.put_array(SITE, NAMES, encoded(event("b"), event("c")))
    await intake.index.current()
    ingest = await getattr(Without(monkeypatch, intake), who)()

    assert await ingest.put(SITE, NAMES, encoded(event("b"))) == Receipt(2, duplicate=True)
    answer = await ingest.put_array(SITE, NAMES, encoded(event("c"), event("d"), event("a"), event("d"), event("c")))
    assert answer.receipts == [
        Receipt(3, duplicate=True),
        Receipt(4, duplicate=False),
        Receipt(1, duplicate=True),
        Receipt(4, duplicate=True),
        Receipt(3, duplicate=True),
    ]
    assert answer.duplicates == 4
    report = await ingest.put_lines(SITE, NAMES, in_chunks(lines(event("b"), event("e"), event("a"))))
    assert (report.accepted, report.duplicates, report.first, report.last) == (3, 2, 1, 5)
    assert await intake.stored() == ["a", "b", "c", "d", "e"]


async def test_an_array_with_repeats_keeps_its_order_and_the_first_content(intake):
    """It used to be ordered by the last of the repeats."""
    body = encoded(event("a", n=1), event("b"), event("a", n=2), event("c"), event("b", n=3))
    answer = await intake.ingest.put_array(SITE, NAMES, body)

    assert answer.receipts == [
        Receipt(1, duplicate=False),
        Receipt(2, duplicate=False),
        Receipt(1, duplicate=True),
        Receipt(3, duplicate=False),
        Receipt(2, duplicate=True),
    ]
    [kept] = [events async for events in intake.log.read(0, site_id=SITE, upto=3)]
    assert [(found.id, found.body) for found in kept] == [("a", b'{"n":1}'), ("b", b"{}"), ("c", b"{}")]


async def test_an_array_of_one_that_is_known(intake, monkeypatch):
    await intake.ingest.put(SITE, NAMES, encoded(event("a")))
    ingest = await Without(monkeypatch, intake).window()
    answer = await ingest.put_array(SITE, NAMES, json.dumps([event("a")]).encode())
    assert answer.receipts == [Receipt(1, duplicate=True)]


@pytest.mark.parametrize("seed", range(3))
async def test_many_put_in_the_same_at_the_same_time(intake, seed):
    """Singles, arrays and lines of several workers: each id is stored once, and everybody is told the same place."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    workers = [intake.another() for _ in range(3)]
    told = {}

    def note(ids, receipts):
        for one, receipt in zip(ids, receipts, strict=True):
            told.setdefault(one, set()).add(receipt.sequence)

    async def put(worker):
        ids = [f"{chance.randrange(120)}" for _ in range(chance.choice([1, 1, 3, 30]))]
        events = [event(one) for one in ids]
        while True:
            try:
                if len(ids) == 1:
                    note(ids, [await worker.put(SITE, NAMES, encoded(*events))])
                elif chance.random() < 0.5:
                    note(ids, (await worker.put_array(SITE, NAMES, json.dumps(events).encode())).receipts)
                else:
                    report = await worker.put_lines(SITE, NAMES, in_chunks(lines(*events)))
                    assert report.accepted == len(ids)
            except LogUnavailable:
                await asyncio.sleep(0.01)
            else:
                return

    await asyncio.gather(*(put(chance.choice(workers)) for _ in range(60)))
    stored = await intake.stored()
    place = {one: at for at, one in enumerate(stored, 1)}

    assert len(stored) == len(set(stored))
    assert told == {one: {place[one]} for one in told}


async def test_new_events_in_one_request_count_as_new_once(intake):
    """Of concurrent puts of one id exactly one is told that it is new."""
    receipts = await asyncio.gather(*(intake.ingest.put(SITE, NAMES, encoded(event("a"))) for _ in range(40)))
    assert sorted(receipts) == [Receipt(1, duplicate=False)] + [Receipt(1, duplicate=True)] * 39


async def test_who_hangs_up_may_put_it_in_again(intake):
    puts = [asyncio.create_task(intake.ingest.put(SITE, NAMES, encoded(event(f"{n}")))) for n in range(40)]
    await asyncio.sleep(0.001)
    for task in puts[::2]:
        task.cancel()
    await asyncio.gather(*puts, return_exceptions=True)
    for n in range(40):
        await intake.ingest.put(SITE, NAMES, encoded(event(f"{n}")))
    assert sorted(await intake.stored(), key=int) == [f"{n}" for n in range(40)]


async def test_lines(intake):
    body = lines(
        event("a"),
        b"",
        event("b"),
        b"garbage",
        b"   ",
        event("c", topic="nope"),
        b"[]",
        b"x" * 200_000,
        event("a"),
        b'{"cut": ',
        event("d"),
    )
    report = await intake.ingest.put_lines(SITE, NAMES, in_chunks(body))

    assert (report.accepted, report.duplicates, report.first, report.last) == (4, 1, 1, 3)
    assert report.rejected_count == 5
    assert [fault.where for fault in report.rejected] == [4, 6, 7, 8, 10]
    assert "longer than 100000" in report.rejected[3].reason
    assert await intake.stored() == ["a", "b", "d"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1, 3, 50, 10**6])
async def test_lines_with_any_ends_in_any_chunks(intake, end, size):
    body = lines(*(event(f"{n}", text="ä\u2028🚪") for n in range(20)), end=end)
    report = await intake.ingest.put_lines(SITE, NAMES, in_chunks(body.removesuffix(end), size))

    assert (report.accepted, report.rejected_count) == (20, 0)
    assert await intake.stored() == [f"{n}" for n in range(20)]


async def test_no_lines(intake):
    for body in (b"", b"\n", b"\r\n \n\n"):
        report = await intake.ingest.put_lines(SITE, NAMES, in_chunks(body))
        assert (report.accepted, report.rejected_count, report.first, report.last) == (0, 0, None, None)


async def test_only_the_first_thousand_rejected_lines_are_named(intake):
    report = await intake.ingest.put_lines(SITE, NAMES, in_chunks(b"x\n" * 5000))

    assert report.rejected_count == 5000
    assert [fault.where for fault in report.rejected] == list(range(1, 1001))


async def test_a_hundred_thousand_lines_are_not_in_memory(intake):
    """Ten thousand of them events; what is retained does not grow with what has come in."""

    async def body():
        for start in range(0, 100_000, 500):
            if start == 50_000:
                tracemalloc.start()
            yield b"".join(
                lines(event(f"{number}", text="x" * 60)) if number % 10 == 0 else b"x" * 100 + b"\n"
                for number in range(start, start + 500)
            )

    try:
        report = await intake.ingest.put_lines(SITE, NAMES, body())
        retained, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (report.accepted, report.rejected_count) == (10_000, 90_000)
    assert peak < 30_000_000, "the ring and the map of recent ids, which are bounded, and one portion"
    assert retained < 30_000_000


async def test_large_lines_are_kept_in_small_portions(intake, monkeypatch):
    """A portion of five hundred lines of 100 kB would be 50 MB in memory, and in one batch."""
    sizes = []
    append = intake.log.append_batch

    async def noted(events):
        sizes.append(sum(len(json) for *_, json in events))
        return await append(events)

    monkeypatch.setattr(intake.log, "append_batch", noted)
    body = lines(*(event(f"{n}", text="x" * 90_000) for n in range(60)))
    report = await intake.ingest.put_lines(SITE, NAMES, in_chunks(body, 10**9))

    assert report.accepted == 60
    assert max(sizes) < module._PORTION_BYTES + 100_000


async def test_lines_that_others_put_in_at_the_same_time_are_put_in_one_by_one(intake, monkeypatch):
    """An array may give up; lines need not be all or none."""
    attempts = []

    async def always_contended(_events):
        attempts.append(1)
        raise DuplicateId("again and again")

    await intake.ingest.put(SITE, NAMES, encoded(event("old")))
    monkeypatch.setattr(intake.log, "append_batch", always_contended)
    with pytest.raises(LogUnavailable):
        await intake.another().put_array(SITE, NAMES, encoded(event("a"), event("b")))
    assert len(attempts) == module._ATTEMPTS
    report = await intake.another().put_lines(SITE, NAMES, in_chunks(lines(event("a"), event("old"), event("b"))))

    assert (report.accepted, report.duplicates) == (3, 1)
    assert await intake.stored() == ["old", "a", "b"]


async def test_a_full_disk_refuses_everything_before_it_is_full(intake, tmp_path):
    refusing = Ingest(intake.log, intake.index, lambda: "new", full_disk(tmp_path))
    with pytest.raises(StorageFull):
        await refusing.put(SITE, NAMES, encoded(event()))
    with pytest.raises(StorageFull):
        await refusing.put_array(SITE, NAMES, b"[]")
    with pytest.raises(StorageFull):
        await refusing.put_lines(SITE, NAMES, in_chunks(lines(event())))
    assert await intake.stored() == []


async def test_a_disk_that_fills_up_in_the_middle_keeps_what_was_kept(intake, monkeypatch):
    room = 2

    def check(_size=0):
        nonlocal room
        room -= 1
        if room < 0:
            raise StorageFull("full")

    monkeypatch.setattr(intake.ingest, "check_space", check)
    body = lines(*(event(f"{n}") for n in range(2000)))
    with pytest.raises(StorageFull):
        await intake.ingest.put_lines(SITE, NAMES, in_chunks(body, 10**6))
    kept = await intake.stored()
    assert kept == [f"{n}" for n in range(len(kept))]
    assert 0 < len(kept) < 2000

    room = 10**9
    report = await intake.ingest.put_lines(SITE, NAMES, in_chunks(body, 10**6))
    assert (report.accepted, report.duplicates) == (2000, len(kept))
    assert await intake.stored() == [f"{n}" for n in range(2000)]


async def test_nats_that_goes_away_in_the_middle_keeps_what_was_kept(intake, monkeypatch):
    append = intake.log.append_batch
    calls = 0

    async def fail_third(events):
        nonlocal calls
        calls += 1
        if calls == 3:
            await append(events)  # stored, and the answer is lost
            raise LogUnavailable("away")
        return await append(events)

    monkeypatch.setattr(intake.log, "append_batch", fail_third)
    body = lines(*(event(f"{n}") for n in range(2000)))
    with pytest.raises(LogUnavailable):
        await intake.ingest.put_lines(SITE, NAMES, in_chunks(body, 10**6))
    assert len(await intake.stored()) == 1500
    report = await intake.ingest.put_lines(SITE, NAMES, in_chunks(body, 10**6))

    assert (report.accepted, report.duplicates) == (2000, 1500)
    assert await intake.stored() == [f"{n}" for n in range(2000)]


async def test_an_index_that_is_far_behind_refuses_what_it_might_know(intake, monkeypatch):
    """JetStream knows ids for two minutes; an older repeat would be stored again. Events without an id are taken."""
    monkeypatch.setattr(intake.index, "lag", lambda: module._MAX_LAG + 1)
    with pytest.raises(LogUnavailable, match="index"):
        await intake.ingest.put(SITE, NAMES, encoded(event("a")))
    with pytest.raises(LogUnavailable, match="index"):
        await intake.ingest.put_array(SITE, NAMES, encoded(event("a"), event("b")))
    assert (await intake.ingest.put(SITE, NAMES, encoded(event()))).sequence == 1
    monkeypatch.undo()
    assert not (await intake.ingest.put(SITE, NAMES, encoded(event("a")))).duplicate
    monkeypatch.setattr(intake.index, "lag", lambda: module._MAX_LAG + 1)
    assert (await intake.ingest.put(SITE, NAMES, encoded(event("a")))).duplicate, "what is recent is known"


async def test_an_index_that_cannot_be_read_is_an_unknown_outcome(intake, monkeypatch):
    def fail(*_):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(index_module, "_find", fail)
    with pytest.raises(LogUnavailable):
        await intake.ingest.put(SITE, NAMES, encoded(event("a")))
    with pytest.raises(LogUnavailable):
        await intake.ingest.put_array(SITE, NAMES, json.dumps([event(f"{n}") for n in range(100)]).encode())
    assert await intake.stored() == []


async def test_the_map_of_recent_ids_is_bounded(intake, monkeypatch):
    monkeypatch.setattr(module, "_RECENT", 50)
    for start in range(0, 500, 100):
        body = json.dumps([event(f"{n}") for n in range(start, start + 100)]).encode()
        await intake.ingest.put_array(SITE, NAMES, body)
        await intake.ingest.put_array(SITE, NAMES, json.dumps([event()] * 100).encode())
    assert len(intake.ingest._recent) == 50
    assert (SITE, "499") in intake.ingest._recent
    await until(lambda: intake.index.applied == 1000)
    assert (await intake.ingest.put(SITE, NAMES, encoded(event("0")))).duplicate


async def test_events_of_our_own(intake):
    receipts = await intake.ingest.put_values(SITE, NAMES, [event("a"), event()])
    assert receipts == [Receipt(1, duplicate=False), Receipt(2, duplicate=False)]
    assert await intake.ingest.put_values(SITE, NAMES, [event("a")]) == [Receipt(1, duplicate=True)]
    with pytest.raises(InvalidEvent):
        await intake.ingest.put_values(SITE, NAMES, [event(topic="nope")])
