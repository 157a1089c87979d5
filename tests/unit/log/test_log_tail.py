"""Following a stream."""

import asyncio

import pytest
from structlog.testing import capture_logs

from doorstream.log import ApiError, Message, Stream
from doorstream.log import tail as module
from doorstream.testing import SITE, until

BODY = b'{"id":"%d","topic":"x.a","siteId":"s","occurred":1,"body":{%b},"cloudNode":null,"metadata":null}'


async def append(log, first, last, padding=b""):
    """Events with their sequences as ids."""
    for start in range(first, last + 1, 1000):
        numbers = range(start, min(start + 1000, last + 1))
        await log.append_batch([(SITE, "x.a", f"{n}", BODY % (n, padding)) for n in numbers])


@pytest.fixture
async def follow(log):
    """Start tails of the log; they collect sequences."""
    tails = []

    async def start(after=0, receive=None):
        got = []
        tail = log.tail(receive or (lambda event: got.append(event.sequence)))
        await tail.start(after)
        tails.append(tail)
        return tail, got

    yield start
    for tail in tails:
        await tail.stop()


async def test_everything_stored_and_then_everything_new(log, follow):
    await append(log, 1, 3000)
    tail, got = await follow()
    await tail.caught_up()
    assert got == list(range(1, 3001))
    await append(log, 3001, 3100)
    await until(lambda: tail.last == 3100)
    assert got == list(range(1, 3101))


@pytest.mark.parametrize("after", [0, 5, 9, 10])
async def test_after_a_sequence(log, follow, after):
    await append(log, 1, 10)
    tail, got = await follow(after)
    await tail.caught_up()
    assert got == list(range(after + 1, 11))
    assert tail.last == 10 if got else after


async def test_an_empty_log_is_caught_up_with_at_once(follow):
    tail, got = await follow()
    async with asyncio.timeout(1):
        await tail.caught_up()
    assert got == []


async def test_more_than_fits_in_any_buffer(log, follow):
    """Flow control: the server waits for us again and again."""
    for first in range(1, 401, 50):
        await append(log, first, first + 49, b'"p":"%b"' % (b"x" * 90_000))
    tail, got = await follow()
    async with asyncio.timeout(60):
        await tail.caught_up()
    assert got == list(range(1, 401))


async def test_events_that_arrive_together_come_within_one_turn_of_the_loop(log, connection, follow, monkeypatch):
    """Those of one read; into how many reads the server and the network cut them is their affair."""
    turns = []
    turn = [0]
    reads = []
    parse = connection.client._ps.parse

    async def counted(data):
        reads.append(data)
        await parse(data)

    monkeypatch.setattr(connection.client._ps, "parse", counted)

    def receive(_event):
        turns.append(turn[0])

    await follow(0, receive)
    ticking = True

    def tick():
        turn[0] += 1
        if ticking:
            asyncio.get_running_loop().call_soon(tick)

    tick()
    await append(log, 1, 100)
    await until(lambda: len(turns) == 100)
    ticking = False
    assert len(set(turns)) <= len(reads)


async def test_the_latest_of_each_subject(connection):
    """As the directory reads its bucket: headers tell what was deleted."""
    stream = Stream(connection, "KV_test")
    await stream.open({"subjects": ["$KV.test.>"], "storage": "memory", "max_msgs_per_subject": 5}, {})
    for key, value in ("a", b"1"), ("b", b"1"), ("a", b"2"):
        await stream.commit.append(Message(f"$KV.test.{key}", value, {}))
    await stream.commit.append(Message("$KV.test.b", b"", {"KV-Operation": "DEL"}))
    got = []
    tail = stream.tail(got.append, latest_only=True)
    await tail.start(0)
    await tail.caught_up()
    await stream.commit.append(Message("$KV.test.c", b"1", {}))
    await until(lambda: len(got) == 3)

    assert [(record.subject[-1], record.data, record.sequence) for record in got] == [
        ("a", b"2", 3),
        ("b", b"", 4),
        ("c", b"1", 5),
    ]
    assert got[1].headers == {"KV-Operation": "DEL"}
    assert got[2].headers is None
    await tail.stop()
    await stream.close()


async def test_a_receiver_that_fails_is_reported_and_the_tail_goes_on(log, follow):
    got = []

    def receive(event):
        if event.sequence == 2:
            raise RuntimeError("broken")
        got.append(event.sequence)

    await append(log, 1, 2)
    with capture_logs() as logs:
        tail, _ = await follow(0, receive)
        await tail.caught_up()
        await append(log, 3, 4)
        await until(lambda: tail.last == 4)

    assert got == [1, 3, 4]
    assert [entry["log_level"] for entry in logs if "handled" in entry["event"]] == ["error"]


async def test_what_is_no_event_is_reported_and_the_tail_goes_on(log, follow):
    """Somebody else may write to the stream of an external NATS."""
    await append(log, 1, 1)
    await log._stream.commit.append(Message("events.s.x.a", b"garbage", {}))
    await append(log, 3, 3)
    with capture_logs() as logs:
        tail, got = await follow()
        await tail.caught_up()

    assert got == [1, 3]
    assert any(entry["log_level"] == "error" for entry in logs)


async def test_a_message_that_is_lost_is_asked_for_again(log, connection, follow, monkeypatch):
    """Nothing behind a hole is handed over before what is missing in it. No heartbeat is needed to notice the hole."""
    monkeypatch.setattr(module, "_PATIENCE", 60.0)
    tail, got = await follow()
    sid = tail._subscription._id
    receive = connection.client._receivers[sid]
    seen = []

    def lose_the_fifth(subject, reply, data, headers):
        if data:
            seen.append(data)
        if data and len(seen) != 5:
            receive(subject, reply, data, headers)

    connection.client._receivers[sid] = lose_the_fifth
    await append(log, 1, 50)
    await until(lambda: tail.last == 50)

    assert got == list(range(1, 51))


async def test_the_last_message_that_is_lost_is_noticed_by_the_heartbeat(log, connection, follow):
    tail, got = await follow()
    sid = tail._subscription._id
    receive = connection.client._receivers[sid]

    def lose_data(subject, reply, data, headers):
        if not data:
            receive(subject, reply, data, headers)

    connection.client._receivers[sid] = lose_data
    await append(log, 1, 3)
    await until(lambda: tail.last == 3)

    assert got == [1, 2, 3]


async def test_a_consumer_that_the_server_lost_is_made_again(log, connection, follow):
    tail, got = await follow()
    await append(log, 1, 3)
    await until(lambda: tail.last == 3)
    for name in (await connection.api("CONSUMER.NAMES.EVENTS"))["consumers"]:
        await connection.api(f"CONSUMER.DELETE.EVENTS.{name}")
    await append(log, 4, 6)
    await until(lambda: tail.last == 6)

    assert got == [1, 2, 3, 4, 5, 6]


async def test_a_quiet_tail_keeps_its_consumer(log, connection, follow, monkeypatch):
    """Heartbeats are noticed; otherwise it would be made anew all the time."""
    monkeypatch.setattr(module, "_PATIENCE", 60.0)  # a machine that stands still for a moment has no heartbeat either
    tail, _ = await follow()
    inbox = tail._subscription.subject
    for _ in range(3):
        await until(lambda seen=tail._seen: tail._seen > seen)
    assert tail._subscription.subject == inbox
    assert len((await connection.api("CONSUMER.NAMES.EVENTS"))["consumers"]) == 1
    assert (await log.extent()).last == 0


async def test_a_stopped_tail_is_silent_and_stays_so(log, connection, follow):
    """It used to begin again when the connection was lost and came back."""
    tail, got = await follow()
    await append(log, 1, 1)
    await until(lambda: tail.last == 1)
    await tail.stop()
    await append(log, 2, 2)
    await connection.client.force_reconnect()
    await until(lambda: connection.client.stats["reconnects"] == 1 and connection.client.is_connected)
    await append(log, 3, 3)
    await asyncio.sleep(0.2)

    assert got == [1]
    assert tail._subscription is None
    assert tail._reconnected not in connection._on_reconnect


async def test_a_tail_goes_on_after_a_reconnect(log, connection, follow):
    tail, got = await follow()
    await append(log, 1, 10)
    for round_ in range(1, 4):
        await connection.client.force_reconnect()
        await until(lambda: connection.client.stats["reconnects"] == round_ and connection.client.is_connected)  # noqa: B023 - awaited here
        await append(log, round_ * 10 + 1, round_ * 10 + 10)
    await until(lambda: tail.last == 40)
    assert got == list(range(1, 41))


async def test_a_stream_that_does_not_exist_cannot_be_followed(connection):
    subscriptions = len(connection.client._subs)
    with pytest.raises(ApiError):
        await Stream(connection, "NOPE").tail(lambda _: None).start(0)
    assert len(connection.client._subs) == subscriptions


async def test_an_error_of_the_server_does_not_close_the_connection_for_good(log, connection, follow):
    """nats-py closes for ever when the server reports an error; a worker would go on without hearing anything."""
    tail, got = await follow()
    await append(log, 1, 1)
    connection.client.send(b"NONSENSE\r\n")
    await until(lambda: connection.client.stats["reconnects"] == 1 and connection.client.is_connected)
    await append(log, 2, 2)
    await until(lambda: tail.last == 2)
    assert got == [1, 2]
