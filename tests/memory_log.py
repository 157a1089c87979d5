"""A log in memory whose clock is moved by hand, with the hub that follows it: enough for an index."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from doorstream.events import Event, Retention
from doorstream.events.event import encode_kept
from doorstream.live import Hub
from doorstream.live.ring import Ring
from doorstream.log.stream import Extent
from doorstream.testing import SITE

ALLOWED, RELAY, OPENED = "device.request.allowed", "device.input.relay.on", "device.input.dps.opened"
START = 1_780_000_000_000


class MemoryLog:
    """What ``Index`` asks of an ``EventLog``. ``at`` is what the clock of NATS says, in milliseconds since 1970."""

    epoch = "e"
    acknowledged = None
    retention = Retention(86_400)

    def __init__(self, *, ring: int = 10_000) -> None:
        """The hub keeps that many events."""
        self.hub = Hub(self.epoch, 0)
        self.hub.ring = Ring(0, max_events=ring)
        self.events: list[Event] = []
        self.at = START
        self.questions = 0
        self.gate: asyncio.Event | None = None
        """Answers of ``extent`` stay on their way until it is set."""

    async def extent(self) -> Extent:
        """What is stored when the question arrives."""
        self.questions += 1
        extent = Extent(1, len(self.events))
        if self.gate is not None:
            await self.gate.wait()
        return extent

    async def read(self, after: int, *, site_id: str | None, upto: int) -> AsyncIterator[list[Event]]:
        """Everything between two sequences, of all sites."""
        del site_id
        yield self.events[after:upto]

    def put(
        self,
        event_id: str | None = None,
        *,
        topic: str = ALLOWED,
        site_id: str = SITE,
        occurred: int = START,
        cause: str | None = None,
        publish: bool = True,
    ) -> str:
        """Store an event, and hand it to the hub unless told otherwise; returns its id.

        Ids that are not given sort otherwise than they come.
        """
        number = len(self.events) + 1
        event_id = event_id or f"{(number * 7919) % 100_000:05d}-{number}"
        metadata = {"cause": cause} if cause is not None else None
        json = encode_kept(
            id=event_id, topic=topic, site_id=site_id, occurred=occurred, body={}, cloud_node=None, metadata=metadata
        )
        self.events.append(Event(json, number, self.at))
        if publish:
            self.hub.publish(self.events[-1])
        return event_id

    @property
    def created(self) -> dict[int, int]:
        """When each event counts as created, by its sequence: the latest time so far."""
        latest, found = 0, {}
        for event in self.events:
            latest = found[event.sequence] = max(latest, event.recorded)
        return found
