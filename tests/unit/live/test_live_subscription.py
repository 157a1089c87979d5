"""The resume primitive on a real log."""

import asyncio
import itertools

import pytest
from structlog.testing import capture_logs

from doorstream.events import Event, Position
from doorstream.live import Interest, State, Subscription
from doorstream.live import subscription as module
from doorstream.live.hub import MAX_JOINED
from doorstream.log import LogUnavailable, Message
from doorstream.testing import OTHER_SITE, SITE, until
from doorstream.testing.live import PlainEncoder, Recorder, Site, angled, squared

ALL = Interest(SITE, PlainEncoder(), angled)
PAIRS = Interest(SITE, PlainEncoder(packets=2), angled)


@pytest.fixture
async def site(log):
    """A site whose ring holds ten events."""
    return await Site.open(log, ring=10)


@pytest.fixture
async def subscribe(site):
    """Make subscriptions; they are closed in the end."""
    made = []

    def make(recorder=None):
        recorder = recorder if recorder is not None else Recorder()
        subscription = Subscription(site.hub, site.log, recorder, recorder)
        made.append(subscription)
        return subscription, recorder

    yield make
    for subscription in made:
        subscription.close()
    await asyncio.sleep(0)


def at(site, sequence):
    """A position of the site's log."""
    return Position(site.log.epoch, sequence)


async def live(subscription):
    """Wait until it is live."""
    await until(lambda: subscription.state is State.LIVE)


async def test_once_closed_it_writes_nothing_more(site, subscribe):
    """What was published in the turn of the loop in which a connection closed was written behind its close frame.

    RFC 6455 (5.5.1) forbids that, and a PDK client that had left, or was revoked, got events behind its DISCONNECT.
    """
    subscription, recorder = subscribe()
    other, others = subscribe()
    for each in (subscription, other):
        each.follow(ALL)
    await site.store()
    site.publish()
    subscription.close()
    await asyncio.sleep(0)
    assert recorder.packets == []
    assert others.sequences == [site.hub.sequence]


async def test_at_first_it_follows_from_now_on(site, subscribe):
    await site.happen(3)
    subscription, recorder = subscribe()
    subscription.follow(ALL)
    assert subscription.state is State.LIVE
    assert not recorder.replaying
    await site.happen(2)

    assert recorder.sequences == [4, 5]
    assert subscription.position == at(site, 5)


@pytest.mark.parametrize("after", [10, 15, 19, 20])
async def test_a_short_gap_is_filled_from_the_ring_at_once(site, subscribe, after):
    """Without a turn of the loop, and without a question to NATS."""
    await site.happen(20)
    subscription, recorder = subscribe()
    subscription.seek(at(site, after))
    subscription.follow(ALL)

    assert subscription.state is State.LIVE
    assert recorder.sequences == list(range(after + 1, 21))
    assert len(recorder.writes) <= 1, "joined into one write"


@pytest.mark.parametrize("after", [0, 5, 9])
async def test_a_longer_gap_is_filled_from_the_log(site, subscribe, after):
    await site.happen(20)
    subscription, recorder = subscribe()
    subscription.seek(at(site, after))
    subscription.follow(ALL)
    assert subscription.state is State.REPLAYING
    assert recorder.replaying
    await live(subscription)
    assert not recorder.replaying
    await site.happen(5)

    assert recorder.sequences == list(range(after + 1, 26))


async def test_what_happens_during_a_replay_comes_after_it(site, subscribe):
    await site.happen(2500)
    subscription, recorder = subscribe()
    subscription.seek(at(site, 0))
    recorder.shut_gate()
    subscription.follow(ALL)
    await until(lambda: recorder.writes)
    await site.happen(100)
    assert recorder.sequences[-1] < 2000, "it waits for its connection"
    recorder.open_gate()
    await live(subscription)
    await site.happen(1)

    assert recorder.sequences == list(range(1, 2602))


async def test_a_slow_connection_holds_up_nobody_and_costs_no_memory(site, subscribe):
    await site.happen(2500)
    slow, waiting = subscribe()
    waiting.shut_gate()
    slow.seek(at(site, 0))
    slow.follow(ALL)
    fast, recorder = subscribe()
    fast.seek(at(site, 0))
    fast.follow(ALL)
    await live(fast)
    assert recorder.sequences == list(range(1, 2501))
    assert slow.state is State.REPLAYING
    assert len(waiting.sequences) <= 1000, "one portion"


async def test_only_what_is_of_interest(site, subscribe):
    for _ in range(4):
        await site.happen(3, topic="x.a")
        await site.happen(1, topic="x.b")
        await site.happen(1, topic="x.b", site_id=OTHER_SITE)
    for after, interest, expected in (
        (0, Interest(SITE, PlainEncoder(frozenset({"x.b"})), angled), [4, 9, 14, 19]),
        (0, Interest(OTHER_SITE, PlainEncoder(), angled), [5, 10, 15, 20]),
        (12, Interest(OTHER_SITE, PlainEncoder(), angled), [15, 20]),
        (0, Interest(None, PlainEncoder(frozenset({"x.b"})), angled), [4, 5, 9, 10, 14, 15, 19, 20]),
        (0, Interest(SITE, PlainEncoder(frozenset({"x.none"})), angled), []),
    ):
        subscription, recorder = subscribe()
        subscription.seek(at(site, after))
        subscription.follow(interest)
        await live(subscription)
        assert recorder.sequences == expected
        assert subscription.position == at(site, 20)


@pytest.mark.parametrize("after", [3, 15])
@pytest.mark.parametrize("skip", [0, 1, 2, 5])
async def test_packets_that_are_there_already_are_left_out(site, subscribe, after, skip):
    """Only those of the event that comes next, wherever it is read from."""
    await site.happen(20)
    subscription, recorder = subscribe()
    subscription.seek(at(site, after), skip=skip)
    subscription.follow(PAIRS)
    await live(subscription)

    assert recorder.packets == [
        (sequence, number)
        for sequence in range(after + 1, 21)
        for number in range(2)
        if sequence > after + 1 or number >= skip
    ]


async def test_packets_of_an_event_that_is_not_of_interest_are_not_left_out_elsewhere(site, subscribe):
    await site.happen(1, topic="x.other")
    await site.happen(2)
    subscription, recorder = subscribe()
    subscription.seek(at(site, 0), skip=1)
    subscription.follow(Interest(SITE, PlainEncoder(frozenset({"x.test"}), packets=2), angled))

    assert recorder.packets == [(2, 0), (2, 1), (3, 0), (3, 1)]


async def test_packets_of_an_event_that_this_hub_does_not_have_yet_are_left_out_too(site, subscribe):
    """The client got a part of it from another worker, which was ahead of this one."""
    await site.happen(3)
    await site.store(2)
    subscription, recorder = subscribe()
    subscription.seek(at(site, 3), skip=1)
    subscription.follow(PAIRS)
    await asyncio.sleep(0.05)
    assert subscription.state is State.REPLAYING
    site.publish()
    await live(subscription)

    assert recorder.packets == [(4, 1), (5, 0), (5, 1)]


async def test_packets_of_an_event_that_nobody_has_are_a_position_in_the_future(site, subscribe):
    await site.happen(3)
    subscription, recorder = subscribe()
    subscription.seek(at(site, 3), skip=1)
    subscription.follow(PAIRS)
    await until(lambda: recorder.gone)
    assert subscription.state is State.CLOSED


async def test_a_held_subscription_gets_nothing_and_goes_on_where_it_was(site, subscribe):
    subscription, recorder = subscribe()
    subscription.follow(ALL)
    await site.happen(2)
    subscription.hold()
    assert subscription.position == at(site, 2)
    await site.happen(30)
    assert recorder.sequences == [1, 2]
    assert subscription.position == at(site, 2)
    subscription.follow(ALL)
    await live(subscription)

    assert recorder.sequences == list(range(1, 33))


async def test_what_was_published_before_a_hold_is_still_written(site, subscribe):
    subscription, recorder = subscribe()
    subscription.follow(ALL)
    await site.store(3)
    site.publish(2)
    subscription.hold()
    site.publish()
    await asyncio.sleep(0)

    assert recorder.sequences == [1, 2]
    assert subscription.position == at(site, 2)


async def test_a_replay_can_be_held_in_the_middle(site, subscribe):
    await site.happen(2500)
    subscription, recorder = subscribe()
    subscription.seek(at(site, 0))
    recorder.shut_gate()
    subscription.follow(ALL)
    await until(lambda: recorder.writes)
    subscription.hold()
    recorder.open_gate()
    await asyncio.sleep(0.05)
    reached = len(recorder.sequences)
    assert reached < 2500
    assert subscription.position == at(site, reached)
    subscription.follow(ALL)
    await live(subscription)

    assert recorder.sequences == list(range(1, 2501))


async def test_another_interest_applies_from_where_it_stands(site, subscribe):
    subscription, recorder = subscribe()
    subscription.follow(Interest(SITE, PlainEncoder(frozenset({"x.a"})), angled))
    for topic in ("x.a", "x.b", "x.a", "x.b"):
        await site.happen(1, topic=topic)
    subscription.follow(Interest(SITE, PlainEncoder(frozenset({"x.b"})), angled))
    for topic in ("x.a", "x.b"):
        await site.happen(1, topic=topic)

    assert recorder.sequences == [1, 3, 6]


async def test_another_framing_loses_and_repeats_nothing(site, subscribe):
    """What waits for the end of the turn is written in the new framing."""
    subscription, recorder = subscribe()
    subscription.follow(ALL)
    await site.happen(2)
    await site.store(3)
    site.publish()
    recorder.framing = squared
    subscription.reframe()
    await site.happen(1)

    assert recorder.sequences == [1, 2, 3, 4, 5, 6]
    assert recorder.frames == "<<[[[["


async def test_another_framing_in_the_middle_of_a_replay(site, subscribe):
    await site.happen(2500)
    subscription, recorder = subscribe()
    subscription.seek(at(site, 0))
    recorder.shut_gate()
    subscription.follow(ALL)
    await until(lambda: recorder.writes)
    written = len(recorder.sequences)
    recorder.framing = squared
    subscription.reframe()
    recorder.open_gate()
    await live(subscription)

    assert recorder.sequences == list(range(1, 2501))
    assert recorder.frames == "<" * written + "[" * (2500 - written)


async def test_a_position_that_was_purged_is_gone(site, subscribe, connection):
    await site.happen(20)
    await connection.api("STREAM.PURGE.EVENTS", {"seq": 8})
    subscription, recorder = subscribe()
    subscription.seek(at(site, 3))
    subscription.follow(ALL)
    await until(lambda: recorder.gone)

    assert recorder.gone[0].first == at(site, 7)
    assert subscription.state is State.CLOSED
    assert recorder.sequences == []
    again, recorder = subscribe()
    again.seek(at(site, 7))
    again.follow(ALL)
    await live(again)
    assert recorder.sequences == list(range(8, 21))


async def test_a_position_of_another_log_is_gone(site, subscribe):
    """Also one whose number would be in the ring."""
    await site.happen(20)
    subscription, recorder = subscribe()
    subscription.seek(Position("0badc0de", 15))
    subscription.follow(ALL)
    await until(lambda: recorder.gone)

    assert recorder.gone[0].first == at(site, 0)
    assert recorder.sequences == []


async def test_a_position_in_the_future_is_gone(site, subscribe):
    await site.happen(3)
    subscription, recorder = subscribe()
    subscription.seek(at(site, 4))
    subscription.follow(ALL)
    await until(lambda: recorder.gone)
    assert subscription.state is State.CLOSED


async def test_a_position_ahead_of_this_hub_waits_for_it(site, subscribe):
    """Another worker was faster: the event is stored, and this hub gets it in a moment."""
    await site.happen(3)
    await site.store(4)
    subscription, recorder = subscribe()
    subscription.seek(at(site, 5))
    subscription.follow(ALL)
    await asyncio.sleep(0.05)
    assert subscription.state is State.REPLAYING
    assert recorder.sequences == []
    site.publish(1)
    await asyncio.sleep(0.05)
    assert recorder.sequences == []
    site.publish()
    await live(subscription)
    await site.happen(1)

    assert recorder.sequences == [6, 7, 8]


async def test_retention_that_overtakes_a_slow_reader_is_told(site, subscribe, connection):
    """It would otherwise go on behind the hole, as if nothing had been there."""
    await site.happen(2500)
    subscription, recorder = subscribe()
    subscription.seek(at(site, 0))
    recorder.shut_gate()
    subscription.follow(ALL)
    await until(lambda: recorder.writes)
    reached = len(recorder.sequences)
    await connection.api("STREAM.PURGE.EVENTS", {"seq": 2000})
    recorder.open_gate()
    await until(lambda: recorder.gone)

    assert recorder.sequences == list(range(1, reached + 1))
    assert recorder.gone[0].first == at(site, 1999)


async def test_retention_that_takes_everything_is_told(site, subscribe, connection):
    await site.happen(30)
    recorder = Recorder()
    subscription, _ = subscribe(recorder)
    subscription.seek(at(site, 0))
    check = site.log.check
    checked = []

    async def purge_after_the_first_check(position):
        await check(position)
        if not checked:
            checked.append(position)
            await connection.api("STREAM.PURGE.EVENTS", {})

    site.log.check = purge_after_the_first_check
    subscription.follow(ALL)
    await until(lambda: recorder.gone)
    assert recorder.sequences == []


@pytest.mark.parametrize("failing", ["check", "read"])
async def test_a_log_that_is_away_is_tried_again(site, subscribe, monkeypatch, failing):
    monkeypatch.setattr(module, "_RETRY", 0.01)
    await site.happen(30)
    away = 3
    original = getattr(site.log, failing)

    async def check(position):
        nonlocal away
        away -= 1
        if away >= 0:
            raise LogUnavailable("away")
        await original(position)

    async def read(*arguments, **named):
        nonlocal away
        away -= 1
        async for events in original(*arguments, **named):
            if away >= 0:
                yield events[: len(events) // 2]
                raise LogUnavailable("away")
            yield events

    setattr(site.log, failing, check if failing == "check" else read)
    subscription, recorder = subscribe()
    subscription.seek(at(site, 0))
    subscription.follow(ALL)
    await live(subscription)

    assert recorder.sequences == list(range(1, 31))
    assert away < 2


async def test_a_replay_that_fails_is_reported(site, subscribe):
    """To the log, and to its consumer, who would otherwise wait for ever."""

    async def fail(_position):
        raise RuntimeError("a mistake of ours")

    site.log.check = fail
    await site.happen(30)
    subscription, recorder = subscribe()
    subscription.seek(at(site, 0))
    with capture_logs() as logs:
        subscription.follow(ALL)
        await until(lambda: recorder.gone)
    assert subscription.state is State.CLOSED
    assert any(entry["log_level"] == "error" for entry in logs)


@pytest.mark.parametrize("state", ["idle", "live", "held", "replaying"])
async def test_a_closed_subscription_stays_closed(site, subscribe, state):
    """A renewal that arrives while the connection closes must not bring it back."""
    await site.happen(30)
    subscription, recorder = subscribe()
    if state == "live":
        subscription.follow(ALL)
    elif state != "idle":
        subscription.seek(at(site, 0))
        if state == "replaying":
            subscription.follow(ALL)
    subscription.close()
    subscription.hold()
    subscription.seek(at(site, 5))
    subscription.follow(ALL)
    subscription.reframe()
    await site.happen(1)
    await asyncio.sleep(0.05)

    assert subscription.state is State.CLOSED
    assert recorder.sequences == []
    assert site.hub._sites == {}


async def test_a_connection_that_closes_while_it_is_written_to(site, subscribe):
    """By the last write of a hold, by the ring, and in the middle of a replay."""

    class Closing(Recorder):
        subscription = None

        def write(self, data):
            super().write(data)
            self.subscription.close()

    for start in ("live", "ring", "log"):
        await site.happen(30)
        recorder = Closing()
        subscription, _ = subscribe(recorder)
        recorder.subscription = subscription
        if start != "live":
            subscription.seek(at(site, site.hub.sequence - (5 if start == "ring" else 25)))
        subscription.follow(ALL)
        if start == "live":
            await site.store(2)
            site.publish()
            subscription.follow(PAIRS)
        await until(lambda: recorder.writes)  # noqa: B023 - awaited here
        await site.happen(2)

        assert subscription.state is State.CLOSED
        assert len(recorder.writes) == 1
        assert site.hub._sites == {}


class Counting(Recorder):
    """Notes how much it had when it was asked whether it may be written to again."""

    def __init__(self):
        super().__init__()
        self.asked_at = []

    async def drained(self):
        self.asked_at.append(len(self.sequences))
        await super().drained()


async def test_large_events_come_from_the_ring_in_portions(log, subscribe, site):
    """A write of everything at once could be 32 MB for each of a thousand clients that come back together."""
    site.hub.ring._max_events = 1000
    body = b'{"id":"%d","topic":"x.test","siteId":"%b","occurred":1,"body":{"p":"%b"},"cloudNode":null,"metadata":null}'

    for number in range(1, 21):
        json = body % (number, SITE.encode(), b"x" * 90_000)
        stored = await log._stream.commit.append(Message(f"events.{SITE}.x.test", json, {}))
        site.hub.publish(Event(json, stored.sequence, 1))
    recorder = Counting()
    subscription, _ = subscribe(recorder)
    subscription.seek(at(site, 0))
    subscription.follow(ALL)
    await live(subscription)

    assert recorder.sequences == list(range(1, 21))
    portions = [after - before for before, after in itertools.pairwise([0, *recorder.asked_at, 20])]
    assert max(portions) == MAX_JOINED // 90_000 + 1


async def test_a_ring_that_moved_on_while_the_connection_was_slow(site, subscribe):
    """The last bytes of a replay took so long that the ring no longer holds what comes next."""

    class Slow(Recorder):
        calls = 0

        async def drained(self):
            self.calls += 1
            if self.calls == 2:
                await site.happen(30)

    await site.happen(20)
    subscription, recorder = subscribe(Slow())
    subscription.seek(at(site, 0))
    subscription.follow(ALL)
    await live(subscription)

    assert recorder.sequences == list(range(1, 51))


async def test_two_hundred_come_back_at_once(site, subscribe):
    """From before the ring: each reads the log, and each gets everything once."""
    await site.happen(60)
    made = [subscribe() for _ in range(200)]
    for number, (subscription, _) in enumerate(made):
        subscription.seek(at(site, number % 50))
        subscription.follow(ALL)
    await site.happen(5)
    for subscription, _ in made:
        await live(subscription)
    await site.happen(5)

    for number, (_, recorder) in enumerate(made):
        assert recorder.sequences == list(range(number % 50 + 1, 71))


async def test_who_does_not_read_is_not_written_to_at_once(site):
    """A client that never reads once had 256 kB more written to it with every change of its subscription."""
    await site.happen(5)
    recorder = Recorder()
    subscription = Subscription(site.hub, site.log, recorder, recorder)
    subscription.seek(Position(site.hub.epoch, 0))
    recorder.shut_gate()
    for padding in (b"a", b"b", b"c"):
        subscription.follow(Interest(SITE, PlainEncoder(padding=padding), angled))
        await asyncio.sleep(0)
    assert recorder.writes == []
    recorder.open_gate()
    await site.happen(1)
    await until(lambda: subscription.state is State.LIVE)
    assert recorder.sequences == [1, 2, 3, 4, 5, 6]
