"""The player, on a clock of the test's own: in time, in order, nothing lost, and never a long burst."""

import asyncio

import pytest

from doorstream.drivers.simulated import Building, Story, play

BUILDING = Building.generate(1)


class TryLaterError(Exception):
    """What the sink of these tests raises when it cannot take events now."""


class Theatre:
    """A clock that only sleeping moves, and a sink that keeps what it was given, and when.

    `refuses` says when the sink refuses, `cost` how many seconds it takes for an event. Ends the player at `until`.
    """

    def __init__(self, until, *, refuses=lambda _: False, cost=0.0):
        self.time = 1000.0
        self.until = 1000.0 + until
        self.refuses = refuses
        self.cost = cost
        self.put_in = []
        self.batches = []
        self.refused = []

    def now(self):
        """Return the time."""
        return self.time

    async def sleep(self, seconds):
        """Let time pass."""
        self.time += seconds
        if self.time > self.until:
            raise asyncio.CancelledError

    async def sink(self, batch):
        """Take a batch, or not."""
        if self.refuses(self.time - 1000):
            self.refused.append(batch)
            raise TryLaterError
        await self.sleep(self.cost * len(batch))
        self.batches.append(batch)
        self.put_in += [(self.time - 1000, event) for event in batch]

    async def run(self, story, **more):
        """Play the story until the end."""
        with pytest.raises(asyncio.CancelledError):
            await play(story, self.sink, now=self.now, sleep=self.sleep, try_later=TryLaterError, **more)
        return self


def story(rate):
    """Return a story that starts when the clock of these tests does."""
    return Story(BUILDING, 1, rate, started_ms=0)


def all_events(rate, count):
    """Return the first events of the story."""
    steps = iter(story(rate))
    return [event for _ in range(count) for event in next(steps).events]


@pytest.mark.parametrize("rate", [0.2, 2, 300])
async def test_in_time_and_complete(rate):
    """Each event is put in within moments of its time."""
    theatre = await Theatre(20).run(story(rate))
    assert abs(len(theatre.put_in) - 20 * rate) <= 0.05 * rate + 1
    assert [event for _, event in theatre.put_in] == all_events(rate, len(theatre.put_in))
    for at, event in theatre.put_in:
        assert -0.001 <= at - event["occurred"] / 1000 <= 0.051


async def test_high_rates_are_batched():
    """At 2,000 events a second the sink is not called 2,000 times a second."""
    theatre = await Theatre(5).run(story(2000))
    assert len(theatre.batches) < 5 * 110
    assert len(theatre.put_in) == pytest.approx(10_000, abs=30)


async def test_batches_are_bounded():
    """Catching up is done in batches of at most the limit."""
    theatre = await Theatre(8, refuses=lambda at: 1 < at < 4).run(story(500), max_batch=64)
    assert max(len(batch) for batch in theatre.batches) == 64


async def test_a_refused_batch_is_offered_again_until_it_is_taken():
    """The very same list, at growing intervals; what follows stays in order and nothing is lost."""
    theatre = await Theatre(30, refuses=lambda at: 3 < at < 6).run(story(10))
    assert len(theatre.refused) > 3
    assert all(batch is theatre.refused[0] for batch in theatre.refused)
    assert any(batch is theatre.refused[0] for batch in theatre.batches)
    assert [event for _, event in theatre.put_in] == all_events(10, len(theatre.put_in))
    assert len(theatre.put_in) == pytest.approx(300, abs=2)


async def test_a_long_pause_ends_in_a_short_burst():
    """Two minutes without a log: 5 seconds' worth is made up for, the rest of the story is postponed."""
    theatre = await Theatre(200, refuses=lambda at: 20 < at < 140).run(story(10))
    topics = [(event["topic"], event["body"]) for _, event in theatre.put_in]
    expected = [(event["topic"], event["body"]) for event in all_events(10, len(topics))]
    assert topics == expected
    resumed = next(at for at, _ in theatre.put_in if at > 140)
    assert sum(resumed <= at < resumed + 5 for at, _ in theatre.put_in) <= 10 * (5 + 5) + 2
    assert sum(resumed + 5 <= at < resumed + 10 for at, _ in theatre.put_in) == pytest.approx(50, abs=2)
    ages = [(at, at - event["occurred"] / 1000) for at, event in theatre.put_in]
    assert max(age for at, age in ages if at > resumed) <= 5.1
    assert max(age for at, age in ages if at > resumed + 1) <= 0.06


async def test_a_slow_sink_slows_the_story_down():
    """A sink that takes half the rate gets half the rate, never more than a few seconds old."""
    theatre = await Theatre(60, cost=0.02).run(story(100))
    assert len(theatre.put_in) == pytest.approx(3000, rel=0.1)
    assert max(at - event["occurred"] / 1000 for at, event in theatre.put_in) < 5 + 256 * 0.02 + 0.1


async def test_a_command_is_put_in_within_moments():
    """Even where nothing else ever happens."""
    theatre, of = Theatre(10), story(0)
    sleep = theatre.sleep

    async def sleep_and_command(seconds):
        if theatre.time < 1003 <= theatre.time + seconds:
            of.command(BUILDING.devices[0].id, "unlock")
        await sleep(seconds)

    theatre.sleep = sleep_and_command
    await theatre.run(of)
    assert [event["topic"] for _, event in theatre.put_in] == [
        "device.input.relay.on",
        "device.input.dps.opened",
        "device.input.dps.closed",
        "device.input.relay.off",
    ]
    assert 3 <= theatre.put_in[0][0] <= 3.06


async def test_any_other_error_of_the_sink_ends_the_player():
    """A sink that is broken, not busy, must not be hammered in silence."""

    async def broken(batch):
        raise KeyError(len(batch))

    theatre = Theatre(10)
    with pytest.raises(KeyError):
        await play(story(2), broken, now=theatre.now, sleep=theatre.sleep, try_later=TryLaterError)


async def test_cancellation_stops_it_on_a_real_loop():
    """As a task, while it sleeps and while others run."""
    taken = asyncio.Event()

    async def sink(_):
        taken.set()

    loop = asyncio.get_running_loop()
    task = asyncio.create_task(play(story(2), sink, now=loop.time, sleep=asyncio.sleep, try_later=TryLaterError))
    await taken.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
