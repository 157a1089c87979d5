"""The one primitive for every kind of resume: read on from a position, then join the live group without gap or repeat.

A subscription that is held or still replaying costs a position, never a buffer: nothing is kept for it in memory but
what the ring keeps for everybody.
"""

from __future__ import annotations

import asyncio
import enum
from typing import Protocol

import structlog

from doorstream.events import Position
from doorstream.live.entry import Entry, Interest, Outlet
from doorstream.live.hub import MAX_JOINED, Group, Hub, framed, packets_of
from doorstream.log import ApiError, EventLog, LogUnavailable, PositionGone

_logger = structlog.get_logger(__name__)

_RETRY = 0.25


class State(enum.Enum):
    """Where a subscription is. It changes only in ``Subscription._enter``."""

    IDLE = "idle"
    REPLAYING = "replaying"
    LIVE = "live"
    HELD = "held"
    CLOSED = "closed"


class Consumer(Protocol):
    """Whoever owns a subscription."""

    def position_gone(self, error: PositionGone) -> None:
        """What followed the position is not kept any more. Called once; the subscription is closed."""


class Subscription:
    """One consumer's place in a site's events.

    Bytes go to ``outlet``. After ``follow`` everything of interest after the position arrives exactly once and in
    order, until ``hold`` or ``close``; a held subscription can follow again, with the same interest or another.
    """

    __slots__ = (
        "_consumer",
        "_cursor",
        "_epoch",
        "_group",
        "_hub",
        "_interest",
        "_log",
        "_outlet",
        "_partial",
        "_task",
        "state",
    )

    def __init__(self, hub: Hub, log: EventLog, outlet: Outlet, consumer: Consumer) -> None:
        self._hub = hub
        self._log = log
        self._outlet = outlet
        self._consumer = consumer
        self._interest: Interest | None = None
        self._group: Group | None = None
        self._task: asyncio.Task[None] | None = None
        self._epoch = hub.epoch
        self._cursor = 0
        self._partial = (0, 0)
        self.state = State.IDLE

    @property
    def position(self) -> Position:
        """Everything up to here was written."""
        return self._hub.position if self.state is State.LIVE else Position(self._epoch, self._cursor)

    def seek(self, position: Position, *, skip: int = 0) -> None:
        """Stand right after a position, without delivering.

        ``skip`` leaves out that many packets of the event that comes next: a consumer that was cut off between two
        packets of one event names the position before it.
        """
        if self._is_closed():
            return
        self._leave()
        self._epoch = position.epoch
        self._cursor = position.sequence
        self._partial = (position.sequence + 1, skip)
        self._enter(State.HELD)

    def follow(self, interest: Interest) -> None:
        """Deliver everything of interest from where the subscription stands, which at first is now.

        Does nothing once the subscription is closed, as ``seek`` and ``hold``.
        """
        self.hold()
        if self._is_closed():  # perhaps by what ``hold`` still wrote
            return
        self._interest = interest
        if self._cursor != self._hub.sequence:
            self._hub.counts.resumed += 1
        self._enter(State.REPLAYING)
        if not (self._outlet.is_drained and self._within_ring() and self._write_ring_portion()):
            self._task = asyncio.create_task(self._replay(), name="replay")

    def hold(self) -> None:
        """Stop delivering and stay at the position; what was published before is still written."""
        if self.state in (State.IDLE, State.LIVE):
            self._cursor = self._hub.sequence
        self._leave()
        if not self._is_closed():
            self._enter(State.HELD)

    def reframe(self) -> None:
        """Go on with the outlet's present framing and ``write`` (a poll became a WebSocket); the old ones are gone."""
        if self._interest is None or self.state not in (State.LIVE, State.REPLAYING):
            return
        if self._group is not None:
            pending = self._group.pending
            self._cursor = pending[0].event.sequence - 1 if pending else self._hub.sequence
        self._leave(flush=False)
        self._enter(State.HELD)
        self.follow(self._interest._replace(framing=self._outlet.framing))

    def close(self) -> None:
        """End for good: from here on nothing is written."""
        self._leave(flush=False)
        self._enter(State.CLOSED)

    def _is_closed(self) -> bool:
        return self.state is State.CLOSED

    def _enter(self, state: State) -> None:
        self.state = state
        self._outlet.replaying = state is State.REPLAYING

    def _leave(self, *, flush: bool = True) -> None:
        if self._group is not None:
            self._hub.leave(self._group, self, flush=flush)
            self._group = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _within_ring(self) -> bool:
        hub = self._hub
        return self._epoch == hub.epoch and hub.ring.base <= self._cursor and self._claimed() <= hub.sequence

    def _claimed(self) -> int:
        """The last event that the consumer knows of. Another worker, which was ahead, may have sent a part of it."""
        sequence, skip = self._partial
        return sequence if skip and sequence == self._cursor + 1 else self._cursor

    def _write_ring_portion(self) -> bool:
        """Write the next events from the ring, and go live if that was all. True when nothing is left to replay."""
        assert self._interest is not None  # noqa: S101 - set by follow()
        entries: list[Entry] = []
        size = 0
        for entry in self._hub.ring.after(self._cursor, self._interest.site_id):
            if size >= MAX_JOINED:
                break
            entries.append(entry)
            size += len(entry.event.json)
        else:
            self._write(entries)
            if self.state is State.REPLAYING:  # the write may have closed the connection
                self._cursor = self._hub.sequence
                self._group = self._hub.join(self._interest, self, self._outlet.write)
                self._task = None
                self._enter(State.LIVE)
            return True
        self._write(entries)
        return self.state is not State.REPLAYING

    def _write(self, entries: list[Entry]) -> None:
        assert self._interest is not None  # noqa: S101 - set by follow()
        interest = self._interest
        topics = interest.encoder.topics
        wanted = [entry for entry in entries if topics is None or entry.event.topic in topics]
        sequence, skip = self._partial
        if skip and wanted and wanted[0].event.sequence == sequence:
            for packet in packets_of(wanted.pop(0), interest)[skip:]:
                self._outlet.write(interest.framing(packet))
        joined = framed(wanted, interest)
        self._hub.counts.delivered[interest.encoder.dialect] += joined.packets
        for data in joined.pieces:
            self._outlet.write(data)
        self._hub.forget_soon(entries)
        if entries:
            self._cursor = entries[-1].event.sequence

    async def _replay(self) -> None:
        try:
            while not await self._read_on():  # noqa: ASYNC110 - there is no event for "NATS may be back"
                await asyncio.sleep(_RETRY)
        except PositionGone as error:
            self._task = None
            self._hub.counts.gone += 1
            self.close()
            self._consumer.position_gone(error)
        except Exception:
            _logger.exception("a replay failed")
            self._task = None
            self.close()
            self._consumer.position_gone(PositionGone(self._hub.position))  # better told than silently stuck

    async def _read_on(self) -> bool:
        """Replay until live; False when the log went away in the middle and it should be tried again."""
        try:
            if not self._within_ring():
                await self._log.check(Position(self._epoch, self._cursor))
                if self._claimed() > self._hub.sequence:
                    await self._log.check(Position(self._epoch, self._claimed()))
                    await self._hub.reached(self._claimed())
            while True:
                while self._cursor < self._hub.ring.base:
                    await self._read_log(upto=self._hub.sequence)
                await self._outlet.drained()
                if self._cursor >= self._hub.ring.base and self._write_ring_portion():
                    return True
        except (ApiError, LogUnavailable):
            return False

    async def _read_log(self, upto: int) -> None:
        assert self._interest is not None  # noqa: S101 - set by follow()
        async for events in self._log.read(self._cursor, site_id=self._interest.site_id, upto=upto):
            await self._log.check(self.position)  # retention may have overtaken a slow reader
            self._write([Entry(event) for event in events])
            await self._outlet.drained()
        await self._log.check(self.position)
        self._cursor = upto
