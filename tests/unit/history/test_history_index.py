"""The index is what the log is, whatever happens to its file."""

import asyncio
import random
import sqlite3
import threading
import time
from operator import attrgetter

import pytest
from structlog.testing import capture_logs

from doorstream.events import Retention
from doorstream.history import Query
from doorstream.history import index as module
from doorstream.log import EventLog, LogUnavailable, Message
from doorstream.log.derived import DerivedFile
from doorstream.testing import OTHER_SITE, SITE, make_event, until
from doorstream.testing.live import Site
from doorstream.testing.nats import removed


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(module, "_RETRY", 0.02)
    monkeypatch.setattr(module, "_LINGER", 0.001)


async def in_log(site):
    """Everything that the log has, as the index should have it."""
    last = (await site.log.extent()).last
    return [
        (event.sequence, event.site_id, event.id, event.topic, event.occurred, event.recorded, event.json.decode())
        async for events in site.log.read(0, site_id=None, upto=last)
        for event in events
    ]


def in_file(path):
    """Everything that the file has."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(
            "SELECT sequence, site, id, topic, occurred, recorded, json FROM events ORDER BY sequence"
        ).fetchall()
    finally:
        connection.close()


async def check(index, site, path):
    """The index has what the log has, once it is current."""
    await index.current()
    assert index.applied == site.hub.sequence
    assert in_file(path) == await in_log(site)


async def happen(site, chance, rounds):
    """Something of everything."""
    for _ in range(rounds):
        await site.happen(
            chance.choice([1, 2, 30, 120]),
            topic=chance.choice(["x.a", "x.b", "device.alarm.forced"]),
            site_id=chance.choice([SITE, OTHER_SITE]),
        )
        await asyncio.sleep(chance.choice([0, 0, 0.002, 0.02]))


@pytest.mark.parametrize("seed", range(3))
async def test_the_index_equals_the_log(open_index, site, path, seed):
    """Also after restarts, during which events go on, more of them than the ring holds."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    for _ in range(3):
        index = await open_index()
        await happen(site, chance, 8)
        if chance.random() < 0.5:
            await check(index, site, path)
        await index.stop()
        await happen(site, chance, 3)
    await check(await open_index(), site, path)


async def test_a_restart_goes_on_where_it_was(open_index, site, path):
    index = await open_index()
    await site.happen(200)
    await index.current()
    await index.stop()
    again = await open_index()
    assert again.applied == 200
    await site.happen(1)
    await check(again, site, path)


async def test_a_log_that_was_there_before_the_index(log, open_index, path):
    site = await Site.open(log)
    await site.store(2500)
    later = await Site.open(log)
    index = await open_index(later)
    await index.reached(2500)
    assert in_file(path) == await in_log(later)


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000])
async def test_a_file_that_is_no_index_is_built_again(open_index, site, path, content):
    path.write_bytes(content)
    index = await open_index()
    await site.happen(100)
    await check(index, site, path)


async def test_an_index_with_other_tables_is_built_again(open_index, site, path):
    """Of another version of doorstream."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE events (sequence INTEGER PRIMARY KEY, what TEXT)")
        connection.execute("CREATE TABLE progress (only_row, epoch, applied)")
    connection.close()
    index = await open_index()
    await site.happen(100)
    await check(index, site, path)


async def test_an_index_of_another_log_is_built_again(open_index, site, path, connection, shared_server):
    index = await open_index()
    await site.happen(100)
    await index.current()
    await index.stop()
    await site.log.close()
    await connection.api("STREAM.DELETE.EVENTS")
    await removed(shared_server, "EVENTS")
    log = EventLog(connection, Retention(86_400))
    await log.open()
    anew = await Site.open(log)
    index = await open_index(anew)
    await anew.happen(30)
    await check(index, anew, path)
    await log.close()


async def test_an_index_that_is_ahead_of_its_log_is_built_again(open_index, site, path):
    """The log was put back from a backup; new events would get numbers that the index believes to have."""
    index = await open_index()
    await site.happen(20)
    await index.current()
    await index.stop()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE progress SET applied = 1000")
        connection.execute("DELETE FROM events WHERE sequence > 5")
    connection.close()
    index = await open_index()
    await until(lambda: index.applied == 20)
    await site.happen(5)
    await check(index, site, path)


async def test_a_file_that_is_deleted_while_it_is_used_is_built_again(open_index, site, path):
    index = await open_index()
    await site.happen(100)
    await index.current()
    assert await index.find(SITE, ["nobody"]) == {}
    path.unlink()
    await site.happen(10)
    await until(lambda: path.exists() and index.applied == 110)
    await check(index, site, path)
    assert len((await index.query(Query(site_id=SITE, limit=1000))).events) == 110


async def test_a_file_that_is_replaced_while_it_is_used_is_built_again(open_index, site, path, tmp_path):
    index = await open_index()
    await site.happen(100)
    await index.current()
    (tmp_path / "other").write_bytes(b"something else" * 1000)
    (tmp_path / "other").rename(path)
    await site.happen(10)
    await until(lambda: index.applied == 110)
    await check(index, site, path)


async def test_damage_that_a_reader_finds_is_mended(open_index, site, path):
    """Also when nothing happens: the next reader must find it mended."""
    index = await open_index()
    await site.happen(3000)
    await index.current()
    await index.stop()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (size - 8192))
    index = await open_index()
    with pytest.raises(LogUnavailable):
        await index.query(Query(site_id=SITE, limit=10_000))
    await until(lambda: not index._is_damaged)
    await check(index, site, path)
    assert len((await index.query(Query(site_id=SITE, limit=10_000))).events) == 3000


async def test_damage_that_the_writer_finds_is_mended(open_index, site, path):
    index = await open_index()
    await site.happen(3000)
    await index.current()
    await index.stop()
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    index = await open_index()
    await site.happen(100)
    await until(lambda: index.applied == 3100)
    await check(index, site, path)


async def test_workers_share_a_file(open_index, site, path):
    """Each follows the log and writes; when the file is gone, one begins another and the others take it."""
    indexes = [await open_index() for _ in range(3)]
    await site.happen(300)
    for index in indexes:
        await check(index, site, path)
    path.unlink()
    with capture_logs() as logs:
        await site.happen(60)
        await until(lambda: all(index.applied == 360 for index in indexes))
        for index in indexes:
            await check(index, site, path)
        await site.happen(60)
        for index in indexes:
            await check(index, site, path)
    # Once each; and again by whoever was refused the new file as locked, and by those from whom it then took that file.
    assert len([entry for entry in logs if "built again" in entry["event"]]) <= 12


async def test_a_full_disk_is_waited_for(open_index, site, path):
    """SQLite's own limit stands for the disk's."""
    index = await open_index()
    await site.happen(10)
    await index.current()
    loop = asyncio.get_running_loop()

    def limit(pages):
        index._file._connection().execute(f"PRAGMA max_page_count = {pages}")

    await loop.run_in_executor(index._file._writer, limit, 1)
    with capture_logs() as logs:
        await site.happen(2000)
        await until(lambda: any("cannot be written" in entry["event"] for entry in logs))
        assert index.applied < 2010
        assert index.lag() > 0
        assert len((await index.query(Query(site_id=SITE))).events) == 10, "it can be read meanwhile"
        await loop.run_in_executor(index._file._writer, limit, 1_000_000)
        await check(index, site, path)
    assert not any("built again" in entry["event"] for entry in logs), "a full disk is no damage"


async def test_a_full_disk_at_the_start_is_no_reason_to_delete_anything(open_index, site, path, monkeypatch):
    index = await open_index()
    await site.happen(10)
    await index.current()
    await index.stop()
    content = in_file(path)

    def full(_self):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(DerivedFile, "_prepare", full)
    with pytest.raises(sqlite3.OperationalError):
        await open_index()
    assert in_file(path) == content


async def test_nats_that_is_away_is_waited_for(open_index, site, path):
    read = site.log.read
    away = 3

    async def read_or_fail(*arguments, **named):
        nonlocal away
        away -= 1
        async for events in read(*arguments, **named):
            yield events[:40]
            if away >= 0:
                raise LogUnavailable("away")
            yield events[40:]

    await site.happen(500)
    site.log.read = read_or_fail
    index = await open_index()
    await check(index, site, path)


async def test_what_is_no_event_is_left_out(open_index, site, path, log):
    """Somebody else may write to the stream of an external NATS; the index must not stop there for ever."""
    commit = log._stream.commit
    await site.store(1)
    kept = b'{"id":"%b","topic":"x.a","siteId":"s","occurred":%b,"body":%b,"cloudNode":null,"metadata":null}'
    for body in (b"garbage", kept % (b"a", b"1", b"5"), kept % (b"b", b"1", b'"\xff"'), kept % (b"\xff", b"1", b"{}")):
        await commit.append(Message("events.s.x.a", body, {}))
    await commit.append(Message("events.s.x.a", kept % (b"far", b"9" * 18, b"{}"), {}))
    await site.store(1)
    later = await Site.open(log)
    with capture_logs() as logs:
        index = await open_index(later)
        await index.reached(7)

    assert [row[0] for row in in_file(path)] == [1, 6, 7]
    assert {entry["sequence"] for entry in logs if entry["log_level"] == "error"} == {2, 3, 4, 5}


async def test_being_current_waits_for_what_was_acknowledged(open_index, site):
    index = await open_index()
    await site.store(5)
    waiting = asyncio.create_task(index.current())
    await asyncio.sleep(0.05)
    assert not waiting.done(), "stored, and not here yet"
    site.publish(4)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    site.publish()
    await asyncio.wait_for(waiting, 5)
    assert index.applied == 5


async def test_being_current_is_given_up_in_time(open_index, site, monkeypatch):
    monkeypatch.setattr(module, "_READ_PATIENCE", 0.05)
    index = await open_index()
    await site.store(5)
    with pytest.raises(LogUnavailable):
        await index.current()
    assert not index._file._waiting, "who gives up is forgotten"


async def test_who_waits_is_not_kept_waiting_for_others(open_index, site, monkeypatch):
    """Small events are collected for a moment, but not while somebody waits for them."""
    monkeypatch.setattr(module, "_LINGER", 60.0)
    index = await open_index()
    for _ in range(3):
        await site.happen(1)
        await asyncio.wait_for(index.current(), 5)


async def test_ids_are_found_with_their_first_places(open_index, site):
    index = await open_index()
    ids = {}
    for number in range(1, 41):
        event = make_event(number, site_id=SITE if number % 2 else OTHER_SITE)
        stored = await site.log.append((event.site_id, event.topic, event.id, event.json))
        ids[event.id] = (event.site_id, stored.sequence)
        site.hub.publish(make_event(stored.sequence, site_id=event.site_id))
    await index.current()
    for wanted in (SITE, OTHER_SITE):
        expected = {one: sequence for one, (owner, sequence) in ids.items() if owner == wanted}
        assert await index.find(wanted, [*ids, "nobody", 'odd "one"', "a,b"]) == expected
        for one in ids:
            assert await index.find(wanted, [one]) == ({one: expected[one]} if one in expected else {})
    assert await index.find(SITE, []) == {}


async def test_ids_are_looked_up_and_not_searched_for(open_index):
    """SQLite used to read the whole site for 16 ids or more: 0.1 s for 300,000 events, on the event loop."""
    index = await open_index()
    for count in (1, 2, 16, 100, 1000):
        ids = [f"{n}" for n in range(count)]
        plan = index._file._connection().execute(f"EXPLAIN QUERY PLAN {module._FIND}", (str(ids), SITE)).fetchall()
        assert "SEARCH events USING INDEX events_by_id (id=?)" in [row[3] for row in plan]


async def test_long_work_is_not_done_on_the_event_loop(open_index, site, monkeypatch):
    threads = set()
    for name in ("_page", "_find", "insert", "Index._prune", "_statuses"):
        original = attrgetter(name)(module)

        def noted(*arguments, original=original):
            threads.add(threading.current_thread())
            return original(*arguments)

        monkeypatch.setattr(f"{module.__name__}.{name}", noted)
    monkeypatch.setattr(module, "_PRUNE_EVERY", 0.01)
    index = await open_index()
    await site.happen(200)
    await index.current()
    await index.query(Query(site_id=SITE, limit=10_000))
    await index.find(SITE, [f"{n}" for n in range(100)])
    await index.statuses()
    await asyncio.sleep(0.05)

    assert threads
    assert threading.main_thread() not in threads


async def test_what_the_log_no_longer_keeps_is_forgotten(open_index, site, path, connection, monkeypatch):
    monkeypatch.setattr(module, "_PRUNE_EVERY", 0.01)
    monkeypatch.setattr(module, "_PRUNED_AT_ONCE", 7)
    index = await open_index()
    await site.happen(100)
    await index.current()
    await connection.api("STREAM.PURGE.EVENTS", {"seq": 61})
    await until(lambda: len(in_file(path)) == 40)
    await check(index, site, path)
    await connection.api("STREAM.PURGE.EVENTS", {})
    await until(lambda: in_file(path) == [])
    await site.happen(1)
    await check(index, site, path)


async def test_what_is_kept_shorter_is_forgotten_earlier(open_index, site, path, monkeypatch):
    """A class at a time and a portion at a time, and nothing is looked through twice."""
    monkeypatch.setattr(module, "_PRUNED_AT_ONCE", 7)
    monkeypatch.setattr(module.Index, "_prune_regularly", asyncio.Event().wait)
    for topic in ("device.input.rex.on", "device.alarm.forced") * 10:
        await site.happen(1, topic=topic)
    index = await open_index()
    await index.current()
    rows = in_file(path)
    far = rows[-1][5] + 1

    def prune(before):
        portions = 0
        while index._prune_class(index._file._connection(), "door", before):
            portions += 1
        return portions

    assert prune(rows[0][5]) == 0, "all are younger"
    assert len(in_file(path)) == 20
    assert prune(far) == 3
    assert [row[3] for row in in_file(path)] == ["device.alarm.forced"] * 10
    await site.happen(1, topic="device.input.rex.on")
    await index.current()
    assert prune(far + 86_400_000) == 1
    assert len(in_file(path)) == 10


async def test_how_old_an_event_can_be_that_is_not_here_yet(open_index, site, monkeypatch):
    """Nothing while it keeps up; while it cannot write, as long as that lasts; before it is built, without an end."""
    await site.happen(100)
    index = await open_index()
    assert index.lag() > 1e9
    await index.current()
    await until(lambda: index.lag() == 0)
    await asyncio.sleep(0.2)
    before = asyncio.get_running_loop().time()
    await site.happen(1)
    assert asyncio.get_running_loop().time() - index.lag() >= before, "quiet before"
    await index.current()

    write = module.insert
    is_stuck = True

    def stuck(*arguments):
        if is_stuck:
            raise sqlite3.OperationalError("database or disk is full")
        write(*arguments)

    monkeypatch.setattr(module, "insert", stuck)
    await site.happen(5)
    await until(lambda: index.lag() > 0.3)
    is_stuck = False
    await index.current()
    await until(lambda: index.lag() == 0)


@pytest.mark.parametrize("turns", range(8))
async def test_stopping_in_the_middle_of_everything(open_index, site, path, turns):
    """Somebody who asks just then used to swallow the cancellation, and the server hung in its end."""
    index = await open_index()
    await site.happen(500)
    asking = [asyncio.create_task(index.query(Query(site_id=SITE, limit=500))) for _ in range(5)]
    waiting = asyncio.create_task(index.reached(10_000))
    for _ in range(turns):
        await asyncio.sleep(0)
    await index.stop()
    waiting.cancel()
    await asyncio.gather(*asking, waiting, return_exceptions=True)
    await check(await open_index(), site, path)


async def test_what_was_purged_before_it_was_indexed(log, open_index, path, connection):
    site = await Site.open(log)
    await site.store(100)
    await connection.api("STREAM.PURGE.EVENTS", {"seq": 101})
    later = await Site.open(log)
    index = await open_index(later)
    await index.reached(100)
    await later.happen(1)
    await check(index, later, path)


async def test_nobody_sees_an_index_that_is_half_built_again(open_index, site, path, monkeypatch):
    """Neither who asks whether it is current, nor who asked before and is answered from the new file."""
    index = await open_index()
    await site.happen(100)
    await index.current()
    build, has_begun, may_end = DerivedFile._begin_again, threading.Event(), threading.Event()

    def build_slowly(self):
        applied = build(self)
        has_begun.set()
        may_end.wait(10)
        return applied

    monkeypatch.setattr(DerivedFile, "_begin_again", build_slowly)
    busy = [asyncio.get_running_loop().run_in_executor(index._file._readers, may_end.wait) for _ in range(2)]
    early = asyncio.create_task(index.query(Query(site_id=SITE)))
    path.unlink()
    await site.happen(1)
    await until(has_begun.is_set)
    current = asyncio.create_task(index.current())
    await asyncio.sleep(0.05)
    assert not current.done()
    may_end.set()
    with pytest.raises(LogUnavailable):
        await early
    await asyncio.gather(current, *busy)
    await check(index, site, path)


async def test_how_old_it_can_be_while_it_never_rests(open_index, site, monkeypatch):
    """Under load there is always something that is not here yet; that it is not old must be noticed all the same."""
    index = await open_index()
    write = module.insert

    def slowly(*arguments):
        write(*arguments)
        time.sleep(0.01)

    monkeypatch.setattr(module, "insert", slowly)
    await site.store(1000)
    time_of, began = asyncio.get_running_loop().time, asyncio.get_running_loop().time()
    while time_of() - index.lag() < began + 0.5:
        assert site._stored, "for two seconds nothing was noticed"
        site.publish(2)
        assert index.applied < site.hub.sequence
        await asyncio.sleep(0.004)


async def test_half_a_write_is_taken_back(open_index, site, path, monkeypatch):
    insert, failures = module.insert, iter([True, True])

    def insert_and_fail(*arguments):
        insert(*arguments)
        if next(failures, False):
            raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(module, "insert", insert_and_fail)
    index = await open_index()
    await site.happen(10)
    await check(index, site, path)
