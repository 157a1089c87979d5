"""Both ends of the live path for tests: a hub that is fed by hand, and a connection whose packets can be read."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar

from doorstream.events import Event
from doorstream.live import Entry, Framing, Hub
from doorstream.live.ring import Ring
from doorstream.log import MAX_BATCH, EventLog, PositionGone
from doorstream.testing.events import SITE, make_event

_PACKET = re.compile(rb"([<\[])(\d+)\.(\d+)[^>\]]*[>\]]")


def angled(packet: bytes) -> bytes:
    """One framing."""
    return b"<%b>" % packet


def squared(packet: bytes) -> bytes:
    """Another one."""
    return b"[%b]" % packet


@dataclass(frozen=True, slots=True)
class PlainEncoder:
    """Writes an event as ``<sequence>.<number of the packet>``, ``packets`` times."""

    dialect: ClassVar[str] = "plain"

    topics: frozenset[str] | None = None
    packets: int = 1
    padding: bytes = b""
    encoded: list[int] = field(default_factory=list, compare=False)
    """The sequences of the events whose packets were made here."""

    def encode(self, entry: Entry) -> list[bytes]:
        """The packets, made once for all encoders that make the same."""
        key = ("plain", self.packets, self.padding)
        packets: list[bytes] | None = entry.memo.get(key)
        if packets is None:
            sequence = entry.event.sequence
            self.encoded.append(sequence)
            packets = [b"%d.%d" % (sequence, number) + self.padding for number in range(self.packets)]
            entry.memo[key] = packets
        return packets


class Recorder:
    """A connection: an outlet and a consumer. Whoever asks it is answered that it is drained while ``open_gate``."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.framing: Framing = angled
        self.replaying = False
        self.gone: list[PositionGone] = []
        self._gate = asyncio.Event()
        self._gate.set()

    def write(self, data: bytes) -> None:
        """Take what the hub writes."""
        self.writes.append(data)

    @property
    def is_drained(self) -> bool:
        """Whether the gate is open."""
        return self._gate.is_set()

    async def drained(self) -> None:
        """Wait at the gate."""
        await self._gate.wait()

    def position_gone(self, error: PositionGone) -> None:
        """Take note."""
        self.gone.append(error)

    def shut_gate(self) -> None:
        """From now on nothing is taken."""
        self._gate.clear()

    def open_gate(self) -> None:
        """Take everything again."""
        self._gate.set()

    @property
    def packets(self) -> list[tuple[int, int]]:
        """What was received: (sequence, number of the packet)."""
        return [(int(sequence), int(number)) for _, sequence, number in _PACKET.findall(b"".join(self.writes))]

    @property
    def sequences(self) -> list[int]:
        """The sequences of what was received."""
        return [sequence for sequence, _ in self.packets]

    @property
    def frames(self) -> str:
        """How the packets were framed, each as its first character."""
        return b"".join(bracket for bracket, _, _ in _PACKET.findall(b"".join(self.writes))).decode()


class Site:
    """A log and a hub that is fed by hand: what is stored is published when the test says so."""

    def __init__(self, log: EventLog, hub: Hub) -> None:
        self.log = log
        self.hub = hub
        self._stored: deque[Event] = deque()

    @classmethod
    async def open(cls, log: EventLog, *, ring: int = 10_000) -> Site:
        """Begin at the end of the log with a ring of that many events."""
        start = (await log.extent()).last
        hub = Hub(log.epoch, start)
        hub.ring = Ring(start, max_events=ring)
        return cls(log, hub)

    async def store(self, count: int = 1, *, topic: str = "x.test", site_id: str = SITE) -> None:
        """Store events; the hub does not know them yet."""
        prefix = secrets.token_hex(6)
        made = [make_event(n, topic=topic, site_id=site_id) for n in range(count)]
        batch = [(site_id, topic, f"{prefix}-{n}", event.json) for n, event in enumerate(made)]
        for start in range(0, count, MAX_BATCH):
            places = await self.log.append_batch(batch[start : start + MAX_BATCH])
            first, last = places[0].sequence, places[-1].sequence
            async for events in self.log.read(first - 1, site_id=None, upto=last):
                self._stored.extend(events)

    def publish(self, count: int | None = None) -> None:
        """Hand stored events to the hub, all of them or so many; they are written in the next turn of the loop."""
        for _ in range(len(self._stored) if count is None else min(count, len(self._stored))):
            self.hub.publish(self._stored.popleft())

    async def happen(self, count: int = 1, *, topic: str = "x.test", site_id: str = SITE) -> None:
        """Store and publish."""
        await self.store(count, topic=topic, site_id=site_id)
        self.publish()
        await asyncio.sleep(0)
