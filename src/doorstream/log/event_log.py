"""The log of events: the only truth. Everything else is derived from it."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
import structlog

from doorstream.events import Event, Position, Retention, topic_class
from doorstream.log.commit import Message, Stored
from doorstream.log.connection import Connection
from doorstream.log.errors import PositionGone
from doorstream.log.guard import ReplacementGuard
from doorstream.log.snapshot import EARLIER_KEY, EPOCH_KEY
from doorstream.log.stream import Extent, Stream
from doorstream.log.tail import Record, Tail
from doorstream.log.trace import HEADER, TRACEPARENT

_logger = structlog.get_logger(__name__)

_NANO = 1_000_000_000
DUPLICATE_WINDOW = 120.0
"""Seconds for which JetStream itself knows the ids of stored events."""


class EventLog:
    """Appends, follows and reads events. Subjects are ``events.<site>.<topic>``."""

    def __init__(
        self,
        connection: Connection,
        retention: Retention,
        *,
        max_bytes: int = -1,
        is_sole_writer: bool = False,
        is_traced: bool = False,
    ) -> None:
        """``max_bytes`` is for the whole log (-1: no limit of its own).

        ``is_sole_writer``: no other process appends while this one runs, so what it has seen is all there is.
        ``is_traced``: events are kept with the trace that they belong to.
        """
        self._is_traced = is_traced
        self._is_sole_writer = is_sole_writer
        self._stream = Stream(connection, "EVENTS")
        self._guard = ReplacementGuard(self._stream)
        self.retention = retention
        self._lives = {name: f"{math.ceil(seconds)}s" for name, seconds in retention.shorter.items()}
        self._max_bytes = max_bytes
        self.epoch = ""
        self.earlier: dict[str, int] = {}
        """The logs that this one is a copy of, and up to where."""

    async def open(self) -> None:
        """Make the log ready; raises ApiError or LogUnavailable."""
        longest = self.retention.longest
        config = {
            "subjects": ["events.>"],
            "storage": "file",
            "retention": "limits",
            "discard": "old",
            "max_age": int(longest * _NANO),
            "max_bytes": self._max_bytes,
            "duplicate_window": int(min(DUPLICATE_WINDOW, longest or DUPLICATE_WINDOW) * _NANO),
            "allow_direct": True,
            "allow_atomic": True,
            "allow_msg_ttl": True,
            "allow_msg_schedules": True,
        }
        await self._stream.open(config, {EPOCH_KEY: secrets.token_hex(4)})
        self.epoch = self._stream.metadata[EPOCH_KEY]
        earlier = map(Position.parse, self._stream.metadata.get(EARLIER_KEY, "").split())
        self.earlier = {position.epoch: position.sequence for position in earlier}
        self._guard.start(self.epoch)
        self._guard.saw((await self.extent()).last)

    def own_place(self, epoch: str, sequence: int) -> int | None:
        """Where in this log that place is, also if it was named in one that this is a copy of; None where it is not.

        For what was kept together with the log. A client may have seen, in the earlier log, what came after the copy.
        """
        if epoch == self.epoch:
            return sequence
        upto = self.earlier.get(epoch)
        return sequence if upto is not None and sequence <= upto else None

    async def close(self) -> None:
        """Stop; appends that still wait fail with LogUnavailable."""
        await self._guard.stop()
        await self._stream.close()

    @property
    def replicas(self) -> int:
        """On how many servers of a cluster each event is kept."""
        return self._stream.replicas

    def on_replaced(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when the log turns out to be another than the one that was opened, or gone.

        From then on nothing is written. Whoever uses it has to begin anew: no position of before means anything.
        """
        self._guard.on_replaced(callback)

    async def append(self, event: tuple[str, str, str, bytes]) -> Stored:
        """Keep one event ``(site id, topic, event id, json)``; answered when it is durable.

        Raises LogUnavailable (nothing is known, try again with the same id) or ApiError.
        """
        if not self._guard.is_checked:
            await self._guard.checked()
        stored = await self._stream.commit.append(self._message(*event))
        self._guard.saw(stored.sequence)
        return stored

    async def append_batch(self, events: Sequence[tuple[str, str, str, bytes]]) -> list[Stored]:
        """Keep up to 1,000 events, all or none; raises DuplicateId when one of the ids was kept recently."""
        if not self._guard.is_checked:
            await self._guard.checked()
        stored = await self._stream.commit.append_batch([self._message(*event) for event in events])
        for each in stored[-1:]:
            self._guard.saw(each.sequence)
        return stored

    async def extent(self) -> Extent:
        """The first and last sequence that are kept now; raises LogUnavailable."""
        return await self._guard.extent()

    @property
    def acknowledged(self) -> int | None:
        """The last sequence that anybody was told of; None where others write too, and only NATS knows it."""
        return self._guard.highest if self._is_sole_writer else None

    def tail(self, receive: Callable[[Event], None], trace: Callable[[int, str], None] | None = None) -> Tail:
        """Every event after a sequence, in order and once.

        ``trace``, if given, is called ahead of an event with its sequence and the trace that it belongs to.
        """

        def take(record: Record) -> None:
            self._guard.saw(record.sequence)
            if trace is not None and record.headers is not None and HEADER in record.headers:
                trace(record.sequence, record.headers[HEADER])
            receive(_event(record))

        return self._stream.tail(take, headers=trace is not None)

    async def check(self, position: Position) -> None:
        """Raise PositionGone unless everything after the position is still there."""
        extent = await self.extent()
        if position.epoch != self.epoch or not extent.first - 1 <= position.sequence <= extent.last:
            raise PositionGone(Position(self.epoch, extent.first - 1))

    async def read(self, after: int, *, site_id: str | None, upto: int) -> AsyncIterator[list[Event]]:
        """The events after one sequence and up to another, in order, some hundreds at a time.

        Raises LogUnavailable when NATS goes away in the middle: go on after the last event received.
        """
        subject = f"events.{site_id}.>" if site_id is not None else "events.>"
        while after < upto:
            records = await self._stream.read(after, subject)
            events = [event for record in records if record.sequence <= upto and (event := _readable(record))]
            if events:
                yield events
            if not records or records[-1].sequence > upto:
                return
            after = records[-1].sequence
            await asyncio.sleep(0)  # a long read must not keep the live path waiting

    async def at(self, sequence: int, site_id: str) -> Event | None:
        """The site's event at that sequence, if it is kept; raises LogUnavailable."""
        records = await self._stream.read(sequence - 1, f"events.{site_id}.>", 1)
        return _readable(records[0]) if records and records[0].sequence == sequence else None

    def _message(self, site_id: str, topic: str, event_id: str, json: bytes) -> Message:
        headers = {"Nats-Msg-Id": f"{site_id}/{event_id}"}
        if self._lives:
            life = self._lives.get(topic_class(topic))
            if life is not None:
                headers["Nats-TTL"] = life
        if self._is_traced and (trace := TRACEPARENT.get()) is not None:
            headers[HEADER] = trace
        return Message(f"events.{site_id}.{topic}", json, headers)


def _event(record: Record) -> Event:
    return Event(record.data, record.sequence, record.time)


def _readable(record: Record) -> Event | None:
    """The event, or None for a message that is none: somebody else wrote to the stream."""
    try:
        return _event(record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _logger.error("what is in the log is no event", sequence=record.sequence, reason=str(error))  # noqa: TRY400
        return None
