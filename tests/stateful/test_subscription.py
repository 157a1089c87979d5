"""A subscription against a model, on a real log: everything after the position, exactly once and in order.

Events are stored and handed to the hub in separate steps, so that positions can be ahead of the hub; the ring and the
portions of a read are tiny; the connection stops taking bytes and takes them again; NATS goes away and comes back in
the middle of reads; retention removes the beginning of the log; interests and framings change in between, also within
the turn of the loop in which events were published.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from doorstream.events import Event, Position, Retention
from doorstream.live import Interest, State, Subscription
from doorstream.live import subscription as subscription_module
from doorstream.log import Connection, EventLog, LogUnavailable
from doorstream.testing import OTHER_SITE, SITE, until
from doorstream.testing.live import PlainEncoder, Recorder, Site, angled, squared

TOPICS = ("x.one", "x.two")
TURN = st.sampled_from([0, 0, 1, 3])
"""How many events are published in the same turn of the loop."""
INTERESTS = (
    Interest(SITE, PlainEncoder(packets=2), angled),
    Interest(SITE, PlainEncoder(frozenset({"x.one"}), packets=3), angled),
    Interest(None, PlainEncoder(frozenset({"x.two"})), angled),
    Interest(OTHER_SITE, PlainEncoder(packets=2), angled),
)


class Weather:
    """The log, read in portions of three; while NATS is away every question fails, also in the middle of a read."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.epoch = log.epoch
        self.away = False

    async def check(self, position: Position) -> None:
        """As the log's."""
        self._complain()
        await self._log.check(position)
        self._complain()

    async def read(self, after: int, *, site_id: str | None, upto: int) -> AsyncIterator[list[Event]]:
        """As the log's."""
        self._complain()
        async for events in self._log.read(after, site_id=site_id, upto=upto):
            yield events
            self._complain()

    def _complain(self) -> None:
        if self.away:
            raise LogUnavailable("NATS is away")


class SubscriptionMachine(RuleBasedStateMachine):
    """See the module's text."""

    url: str

    @initialize(ring=st.integers(1, 12))
    def open(self, ring: int) -> None:
        self.runner = asyncio.Runner()
        self.runner.run(self._open(ring))

    async def _open(self, ring: int) -> None:
        self.connection = Connection()
        await self.connection.open(self.url)
        self.log = EventLog(self.connection, Retention(86_400))
        await self.log.open()
        reader = self.log._stream.reader
        read = reader.read
        reader.read = lambda after, subject, _limit: read(after, subject, 3)
        self.site = await Site.open(self.log, ring=ring)
        self.weather = Weather(self.log)
        self.base = self.site.hub.sequence
        self.first_kept = (await self.log.extent()).first
        self.firsts = {self.first_kept}
        self.events: dict[int, tuple[str, str]] = {}
        self.recorder = Recorder()
        self.subscription: Any = None
        self._subscribe()

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            try:
                self.runner.run(self._finish())
            finally:
                self.runner.run(self._close())
                self.runner.close()

    # What happens

    @rule(count=st.integers(1, 6), topic=st.sampled_from(TOPICS), site_id=st.sampled_from([SITE, SITE, OTHER_SITE]))
    def store(self, count: int, topic: str, site_id: str) -> None:
        last = self._last()
        self.runner.run(self.site.store(count, topic=topic, site_id=site_id))
        self.events |= dict.fromkeys(range(last + 1, last + count + 1), (site_id, topic))

    @rule(count=st.integers(1, 8))
    def publish(self, count: int) -> None:
        self.act(lambda: self.site.publish(count))

    @rule()
    def publish_all(self) -> None:
        self.act(self.site.publish)

    @rule(seconds=st.sampled_from([0, 0, 0.001, 0.01]))
    def time_passes(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    @rule()
    def the_connection_stops_taking(self) -> None:
        self.recorder.shut_gate()

    @rule()
    def the_connection_takes_again(self) -> None:
        self.recorder.open_gate()

    @rule(away=st.booleans())
    def nats_goes_or_comes(self, away: bool) -> None:
        self.weather.away = away

    @rule(share=st.floats(0, 1))
    def retention(self, share: float) -> None:
        """Forgets some of what the hub has published."""
        upto = self.base + int((self.site.hub.sequence - self.base) * share)
        if upto + 1 > self.first_kept:
            self.first_kept = upto + 1
            self.firsts.add(self.first_kept)
            self.runner.run(self.connection.api("STREAM.PURGE.EVENTS", {"seq": upto + 1}))

    # What the consumer does

    @rule(interest=st.sampled_from(INTERESTS), publish=TURN)
    def follow(self, interest: Interest, publish: int) -> None:
        def act() -> None:
            self.site.publish(publish)
            self._hold()
            self.wanted = interest
            self.last_at_follow = self._last()
            self.subscription.follow(interest._replace(framing=self.recorder.framing))

        self.act(act)

    @rule(publish=TURN)
    def hold(self, publish: int) -> None:
        def act() -> None:
            self.site.publish(publish)
            self._hold()

        self.act(act)

    @rule(distance=st.integers(-25, 4), skip=st.integers(0, 3), interest=st.sampled_from(INTERESTS), publish=TURN)
    def resume(self, distance: int, skip: int, interest: Interest, publish: int) -> None:
        """From a position before or, when other workers are faster, after where this hub stands."""

        def act() -> None:
            self._hold()
            sequence = min(max(self.site.hub.sequence + distance, self.base), self._last())
            self.subscription.seek(Position(self.log.epoch, sequence), skip=skip)
            self._begin_segment(sequence, (sequence + 1, skip))
            self.wanted = interest
            self.last_at_follow = self._last()
            self.subscription.follow(interest._replace(framing=self.recorder.framing))
            self.site.publish(publish)

        self.act(act)

    @rule(epoch=st.sampled_from(["", "00000000"]))
    def seek_what_cannot_be(self, epoch: str) -> None:
        """Another log's position, or one in the future: following it must end in ``position_gone``."""

        async def act() -> None:
            self._hold()
            sequence = self._last() + 1 if not epoch else self._last()
            self.subscription.seek(Position(epoch or self.log.epoch, sequence))
            self.subscription.follow(INTERESTS[0]._replace(framing=self.recorder.framing))
            self.recorder.open_gate()
            self.weather.away = False
            await until(lambda: self.recorder.gone, 30)
            assert self.subscription.state is State.CLOSED
            self._subscribe()

        self.runner.run(act())

    @rule(publish=TURN)
    def reframe(self, publish: int) -> None:
        if self.wanted is None:  # no precondition: what it depends on is not the same in every run
            return

        def act() -> None:
            self.site.publish(publish)
            self.recorder.framing = squared if self.recorder.framing is angled else angled
            self.last_at_follow = self._last()
            self.reframed_at = len(self.recorder.packets)
            self.subscription.reframe()

        self.act(act)

    def act(self, do: Callable[[], None]) -> None:
        """Do something within one turn of the loop."""

        async def act() -> None:
            do()

        self.runner.run(act())

    # What must be so

    @invariant()
    def nothing_is_wrong_so_far(self) -> None:
        if not hasattr(self, "runner"):
            return
        received = self._received()
        upto = self.subscription.position.sequence if self.subscription.position.epoch == self.log.epoch else 0
        expected = self._expected(upto)
        assert received == expected[: len(received)], "out of order, twice, or not wanted"
        if self.recorder.gone:
            self._start_over()
        frame = "<" if self.recorder.framing is angled else "["
        assert set(self.recorder.frames[self.reframed_at :]) <= {frame}, "written in the old framing"

    def _subscribe(self) -> None:
        if self.subscription is not None:
            self.subscription.close()
        self.recorder = Recorder()
        self.subscription = Subscription(self.site.hub, self.weather, self.recorder, self.recorder)
        self.subscription.seek(self.site.hub.position)
        self.wanted: Interest | None = None
        self.reframed_at = self.last_at_follow = 0
        self._begin_segment(self.site.hub.sequence, (0, 0))

    def _start_over(self) -> None:
        """What followed the position is gone: that must be so, and it is told once."""
        [gone] = self.recorder.gone
        assert gone.first.sequence + 1 in self.firsts  # as it was when it was told: retention may have gone on since
        position = self.subscription.position.sequence
        was_partly_in_the_future = self.partial[1] and self.partial[0] == position + 1 > self.last_at_follow
        assert gone.first.sequence > position or was_partly_in_the_future, "gone, though it was kept"
        assert self.subscription.state is State.CLOSED
        self._subscribe()

    def _begin_segment(self, sequence: int, partial: tuple[int, int]) -> None:
        """From here on one interest applies."""
        self.begin = (sequence, len(self.recorder.packets))
        self.partial = partial

    def _hold(self) -> None:
        """Once it is held, everything up to its position was written, and nothing else."""
        self.subscription.hold()
        if self.subscription.state is not State.CLOSED:
            upto = self.subscription.position.sequence
            assert self._received() == self._expected(upto), "incomplete"
            self._begin_segment(upto, self.partial)
        else:
            self._start_over()
        self.wanted = None

    def _received(self) -> list[tuple[int, int]]:
        return self.recorder.packets[self.begin[1] :]

    def _expected(self, upto: int) -> list[tuple[int, int]]:
        if self.wanted is None:
            return []
        site_id, encoder, _ = self.wanted
        return [
            (sequence, number)
            for sequence in range(self.begin[0] + 1, upto + 1)
            if site_id in (None, self.events[sequence][0])
            if encoder.topics is None or self.events[sequence][1] in encoder.topics
            for number in range(self.partial[1] if sequence == self.partial[0] else 0, encoder.packets)
        ]

    def _last(self) -> int:
        return self.base + len(self.events)

    async def _finish(self) -> None:
        """When all is well again, the subscription becomes live and has everything."""
        self.weather.away = False
        self.recorder.open_gate()
        self.site.publish()
        if self.wanted is not None:
            await until(lambda: self.subscription.state in (State.LIVE, State.CLOSED), 30)
            await asyncio.sleep(0)
        self.nothing_is_wrong_so_far()
        if self.wanted is not None and self.subscription.state is State.LIVE:
            assert self._received() == self._expected(self._last()), "incomplete"

    async def _close(self) -> None:
        self.subscription.close()
        await asyncio.sleep(0)
        assert self.site.hub._sites == {}
        await self.log.close()
        await self.connection.close()


@pytest.mark.usefixtures("nats_url")
def test_a_subscription_delivers_everything_after_its_position_once_and_in_order(shared_server, monkeypatch):
    monkeypatch.setattr(subscription_module, "_RETRY", 0.002)
    monkeypatch.setattr(SubscriptionMachine, "url", shared_server.url, raising=False)
    run_state_machine_as_test(
        SubscriptionMachine,
        settings=settings(max_examples=150, stateful_step_count=40, suppress_health_check=list(HealthCheck)),
    )
