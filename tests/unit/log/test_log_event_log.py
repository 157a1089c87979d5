"""The log of events: what it holds, reading ranges, and positions."""

import asyncio
import time

import pytest

from doorstream.events import Position, Retention
from doorstream.log import ApiError, Connection, EventLog, Extent, LogUnavailable, PositionGone
from doorstream.log import reader as reader_module
from doorstream.testing import OTHER_SITE, SITE
from doorstream.testing.nats import removed

BODY = b'{"id":"%b","topic":"x.a","siteId":"%b","occurred":1,"body":{%b},"cloudNode":null,"metadata":null}'


async def fill(log, count, *, site=SITE, first=1, padding=b""):
    """Some events with their numbers as ids."""
    numbers = [f"{n}" for n in range(first, first + count)]
    for start in range(0, count, 1000):
        part = numbers[start : start + 1000]
        await log.append_batch([(site, "x.a", n, BODY % (n.encode(), site.encode(), padding)) for n in part])


async def read(log, after=0, *, site_id=None, upto=None):
    """The sequences of a range."""
    upto = (await log.extent()).last if upto is None else upto
    return [event.sequence async for events in log.read(after, site_id=site_id, upto=upto) for event in events]


async def purge_before(connection, sequence):
    """Have the log forget its oldest events, as retention does."""
    await connection.api("STREAM.PURGE.EVENTS", {"seq": sequence})


async def test_an_empty_log_holds_nothing(log):
    assert await log.extent() == Extent(1, 0)
    assert await read(log) == []


async def test_the_extent_is_the_first_and_the_last(log, connection):
    await fill(log, 5)
    assert await log.extent() == Extent(1, 5)
    await purge_before(connection, 3)
    assert await log.extent() == Extent(3, 5)
    await purge_before(connection, 6)
    assert await log.extent() == Extent(6, 5)


async def test_an_event_comes_back_as_it_was_put_in(log):
    stored = await log.append((SITE, "x.a", "e", BODY % (b"e", SITE.encode(), b'"k":"\xc3\xa4"')))
    [[event]] = [events async for events in log.read(0, site_id=None, upto=1)]

    assert (event.id, event.topic, event.site_id, event.sequence) == ("e", "x.a", SITE, stored.sequence)
    assert event.body == b'{"k":"\xc3\xa4"}'
    assert abs(event.recorded - time.time() * 1000) < 60_000


@pytest.mark.parametrize(
    ("after", "upto", "expected"),
    [(0, 10, range(1, 11)), (3, 7, range(4, 8)), (9, 10, [10]), (10, 10, []), (10, 50, []), (7, 3, []), (0, 0, [])],
)
async def test_ranges(log, after, upto, expected):
    await fill(log, 10)
    assert await read(log, after, upto=upto) == list(expected)


async def test_a_long_range_comes_in_portions(log):
    await fill(log, 2500)
    portions = [len(events) async for events in log.read(0, site_id=None, upto=2400)]

    assert sum(portions) == 2400
    assert max(portions) <= reader_module.MAX_RANGE
    assert await read(log, 100, upto=2400) == list(range(101, 2401))


async def test_large_events_come_in_smaller_portions(log):
    padding = b'"p":"%b"' % (b"x" * 90_000)
    await fill(log, 60, padding=padding)
    portions = [len(events) async for events in log.read(0, site_id=None, upto=60)]

    assert sum(portions) == 60
    assert len(portions) > 1


async def test_one_site_among_others(log):
    for start in range(1, 40, 4):
        await fill(log, 3, site=OTHER_SITE, first=start)
        await fill(log, 1, first=start)
    assert await read(log, site_id=SITE) == list(range(4, 41, 4))
    assert await read(log, 4, site_id=SITE, upto=20) == [8, 12, 16, 20]
    assert await read(log, 4, site_id=SITE, upto=19) == [8, 12, 16]
    assert await read(log, site_id="nobody") == []


async def test_reading_goes_on_behind_what_is_no_longer_kept(log, connection):
    await fill(log, 10)
    await purge_before(connection, 5)
    assert await read(log) == list(range(5, 11))


async def test_many_readers_at_once(log, monkeypatch):
    monkeypatch.setattr(reader_module, "REQUEST_TIMEOUT", 60.0)  # 25,000 messages, and the last reader waits for all
    await fill(log, 300)
    results = await asyncio.gather(*(read(log, after, upto=300) for after in range(100)))

    assert results == [list(range(after + 1, 301)) for after in range(100)]


async def test_a_reader_leaves_nothing_behind(log, connection):
    await fill(log, 10)
    before = len(connection.client._subs), len(connection.client._receivers)
    await read(log)
    task = asyncio.create_task(read(log, upto=10))
    await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert (len(connection.client._subs), len(connection.client._receivers)) == before
    assert not connection._expected


async def test_a_log_that_does_not_answer_is_unavailable(log, connection, monkeypatch):
    monkeypatch.setattr(reader_module, "REQUEST_TIMEOUT", 0.05)
    await connection.client.listen("silence", lambda *_: None)
    log._stream.reader._subject = "silence"
    with pytest.raises(LogUnavailable):
        await log._stream.reader.read(0, "events.>")


async def test_a_log_that_cannot_be_read_is_unavailable(log):
    log._stream.reader._subject = "$JS.API.DIRECT.GET.NOPE"
    with pytest.raises(LogUnavailable, match="503"):
        await log._stream.reader.read(0, "events.>")


async def test_every_position_from_the_first_kept_to_the_last_can_be_resumed(log, connection):
    await fill(log, 10)
    await purge_before(connection, 4)
    for sequence in range(3, 11):
        await log.check(Position(log.epoch, sequence))


@pytest.mark.parametrize("sequence", [0, 2, 11, 2**63 - 1])
async def test_what_is_purged_or_in_the_future_is_gone(log, connection, sequence):
    await fill(log, 10)
    await purge_before(connection, 4)
    with pytest.raises(PositionGone) as raised:
        await log.check(Position(log.epoch, sequence))
    assert raised.value.first == Position(log.epoch, 3)


async def test_a_position_of_another_log_is_gone(log):
    await fill(log, 10)
    with pytest.raises(PositionGone) as raised:
        await log.check(Position("00000000", 5))
    assert raised.value.first == Position(log.epoch, 0)


async def test_where_to_go_on_in_an_empty_log_is_a_position(log):
    """It used to be ``….-1``, which nobody can read."""
    with pytest.raises(PositionGone) as raised:
        await log.check(Position("00000000", 5))
    assert Position.parse(str(raised.value.first)) == Position(log.epoch, 0)


async def test_an_empty_log_can_be_resumed_from_its_start(log, connection):
    await log.check(Position(log.epoch, 0))
    await fill(log, 3)
    await purge_before(connection, 4)
    await log.check(Position(log.epoch, 3))


async def test_the_epoch_stays_and_a_new_log_has_another(log, connection, shared_server):
    again = EventLog(connection, Retention(3600), max_bytes=10_000_000)
    await again.open()
    await again.close()
    assert again.epoch == log.epoch

    config = (await connection.api("STREAM.INFO.EVENTS"))["config"]
    assert config["max_age"] == 3600 * 1_000_000_000
    assert config["max_bytes"] == 10_000_000

    await connection.api("STREAM.DELETE.EVENTS")
    await removed(shared_server, "EVENTS")
    anew = EventLog(connection, Retention(3600))
    await anew.open()
    await anew.close()
    assert anew.epoch not in ("", log.epoch)


async def test_processes_that_start_together_have_one_log(nats_url):
    """The stream is created once, whoever is first."""
    connections = [Connection() for _ in range(4)]
    for connection in connections:
        await connection.open(nats_url)
    logs = [EventLog(connection, Retention(86_400)) for connection in connections]
    await asyncio.gather(*(log.open() for log in logs))

    assert len({log.epoch for log in logs}) == 1
    for log, connection in zip(logs, connections, strict=True):
        await log.close()
        await connection.close()


@pytest.mark.parametrize("retention", [60, 86_400, 0])
async def test_retention_may_be_short_or_endless(connection, retention):
    """JetStream refuses a window for duplicates that is longer than what it keeps."""
    log = EventLog(connection, Retention(retention))
    await log.open()
    await fill(log, 1)
    await log.close()


async def test_a_log_that_jetstream_refuses_is_told(connection):
    with pytest.raises(ApiError):
        await EventLog(connection, Retention(0.01)).open()


async def test_a_class_of_topics_may_be_kept_shorter(connection):
    """NATS forgets them by itself; a reader finds a gap that retention explains."""
    log = EventLog(connection, Retention(86_400, {"door": 1}))
    await log.open()
    for topic in ("device.request.denied", "device.input.dps.opened", "device.alarm.forced"):
        await log.append((SITE, topic, topic, BODY % (topic.encode(), SITE.encode(), b"")))

    async def kept():
        return [event.sequence async for events in log.read(0, site_id=SITE, upto=3) for event in events]

    assert await kept() in ([1, 2, 3], [1, 3])
    async with asyncio.timeout(20):
        while await kept() != [1, 3]:  # noqa: ASYNC110 - nobody tells what is forgotten
            await asyncio.sleep(0.1)
    assert (await log.extent()) == (1, 3)
    await log.check(Position(log.epoch, 1))
    await log.close()


def test_classes_of_topics():
    retention = Retention(100, {"door": 10, "alarm": 0})
    assert retention.longest == 0
    assert retention.shorter == {"access": 100, "door": 10, "own": 100, "system": 100}
    assert retention.of("device.input.rex.on") == 10
    assert retention.of("cloudnode.connected") == 100
    with pytest.raises(ValueError, match="no class of topics: doors; there are access, alarm, door, own, system"):
        Retention(100, {"doors": 10})
    with pytest.raises(ValueError, match="a second at least"):
        Retention(100, {"door": 0.5})


async def test_who_is_the_only_writer_knows_what_was_acknowledged(log, connection):
    """It need not ask NATS; what was there before it began counts."""
    await fill(log, 3)
    assert log.acknowledged is None
    alone = EventLog(connection, Retention(86_400), is_sole_writer=True)
    await alone.open()
    assert alone.acknowledged == 3
    await fill(alone, 2, first=4)
    assert alone.acknowledged == 5
    await alone.close()
