"""From encoded events to places in the log.

An event's id makes repeating safe: the first content that was kept under an id wins, and every repeat is answered with
its position, for as long as the event is kept. Three places know ids: a small map of recent ones, JetStream itself for
the last two minutes, and the index for all older ones.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from doorstream.events import InvalidEvent
from doorstream.events.draft import MAX_EVENT_BYTES, Accepted, Draft, Names, accept, decode_draft
from doorstream.history import Index
from doorstream.ingest.parts import lines_of, members_of
from doorstream.ingest.space import SpaceGuard
from doorstream.log import DUPLICATE_WINDOW, MAX_BATCH, DuplicateId, EventLog, LogUnavailable

_RECENT = 50_000
_PORTION = 500
_PORTION_BYTES = 2_000_000
_MAX_REPORTED = 1000
_ATTEMPTS = 3
_MAX_LAG = DUPLICATE_WINDOW / 2


class Receipt(NamedTuple):
    """Where an event stands. ``duplicate``: it had been put in before."""

    sequence: int
    duplicate: bool


class Receipts(NamedTuple):
    """The answer to an array."""

    receipts: list[Receipt]

    @property
    def duplicates(self) -> int:
        """How many had been put in before."""
        return sum(receipt.duplicate for receipt in self.receipts)


class Fault(NamedTuple):
    """What is wrong with one member of an array, or one line (both counted as the caller counts them)."""

    where: int
    reason: str


class Invalid(Exception):
    """An array with members that cannot be kept; nothing of it was."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(f"{len(faults)} of the events cannot be kept")
        self.faults = faults


class TooMany(InvalidEvent):
    """An array with more events than can be kept all or none."""


class LineReport:
    """The answer to a stream of lines, filled while it is read."""

    def __init__(self) -> None:
        self.accepted = 0
        self.duplicates = 0
        self.first: int | None = None
        self.last: int | None = None
        self.rejected_count = 0
        self.rejected: list[Fault] = []

    def reject(self, line: int, reason: str) -> None:
        """Note a line that cannot be kept; the first 1,000 are named."""
        self.rejected_count += 1
        if len(self.rejected) < _MAX_REPORTED:
            self.rejected.append(Fault(line, reason))

    def add(self, receipts: Sequence[Receipt]) -> None:
        """Note what was kept."""
        for sequence, duplicate in receipts:
            self.accepted += 1
            self.duplicates += duplicate
            self.first = sequence if self.first is None else min(self.first, sequence)
            self.last = sequence if self.last is None else max(self.last, sequence)


@dataclass(slots=True)
class Counts:
    """What was put in since the start; ``rejected`` are events that cannot be kept."""

    stored: int = 0
    duplicates: int = 0
    rejected: int = 0


class Ingest:
    """The one way in, for the API, drivers and the directory's own events."""

    def __init__(self, log: EventLog, index: Index, new_id: Callable[[], str], space: SpaceGuard | None) -> None:
        self._log = log
        self._index = index
        self._new_id = new_id
        self._space = space
        self.counts = Counts()
        self._recent: OrderedDict[tuple[str, str], int] = OrderedDict()

    async def put(self, site_id: str, names: Names, data: bytes) -> Receipt:
        """Keep one event; raises InvalidEvent, StorageFull or LogUnavailable."""
        self.check_space(len(data))
        try:
            event = accept(decode_draft(data), site_id=site_id, names=names, new_id=self._new_id())
        except InvalidEvent:
            self.counts.rejected += 1
            raise
        return self._counted([await self._append(site_id, event)])[0]

    async def put_values(self, site_id: str, names: Names, values: Sequence[Mapping[str, Any]]) -> list[Receipt]:
        """Keep events of our own making (up to 1,000, all or none), in the form put in; raises as ``put``."""
        self.check_space()
        drafts = [msgspec.convert(value, Draft) for value in values]
        events = [accept(draft, site_id=site_id, names=names, new_id=self._new_id()) for draft in drafts]
        return self._counted(await self._append_all(site_id, events))

    async def put_array(self, site_id: str, names: Names, data: bytes) -> Receipts:
        """Keep the events of a JSON array, all or none; raises Invalid, StorageFull or LogUnavailable.

        Raises InvalidEvent when the text is no array at all, and TooMany for more than 1,000 events.
        """
        self.check_space(len(data))
        events: list[Accepted] = []
        faults: list[Fault] = []
        for at, member in enumerate(members_of(data)):
            if at >= MAX_BATCH:
                raise TooMany(f"an array holds at most {MAX_BATCH} events")
            try:
                draft = decode_draft(member) if isinstance(member, bytes) else member
                events.append(accept(draft, site_id=site_id, names=names, new_id=self._new_id()))
            except InvalidEvent as error:
                faults.append(Fault(at, str(error)))
        if faults:
            self.counts.rejected += len(faults)
            raise Invalid(faults)
        return Receipts(self._counted(await self._append_all(site_id, events)))

    async def put_lines(self, site_id: str, names: Names, body: AsyncIterator[bytes]) -> LineReport:
        """Keep every valid line of an NDJSON stream; raises StorageFull or LogUnavailable in the middle.

        What was kept until then stays, and can be put in again with the same ids.
        """
        report = LineReport()
        portion = _Portion()

        async def flush() -> None:
            report.add(self._counted(await self._append_portion(site_id, portion.taken())))

        async for number, line in lines_of(_with_pauses(body, flush)):
            if line is None:
                report.reject(number, f"longer than {MAX_EVENT_BYTES} bytes")
            elif line.strip():
                try:
                    event = accept(decode_draft(line), site_id=site_id, names=names, new_id=self._new_id())
                except InvalidEvent as error:
                    report.reject(number, str(error))
                    continue
                if portion.add(event):
                    await flush()
        await flush()
        self.counts.rejected += report.rejected_count
        return report

    def _counted(self, receipts: list[Receipt]) -> list[Receipt]:
        duplicates = sum(receipt.duplicate for receipt in receipts)
        self.counts.duplicates += duplicates
        self.counts.stored += len(receipts) - duplicates
        return receipts

    def check_space(self, size: int = 0) -> None:
        """Raise StorageFull while events (of that many bytes) are refused because too little room is left."""
        if self._space is not None:
            self._space.check(size)

    async def _known(self, site_id: str, ids: Sequence[str]) -> dict[str, int]:
        """The places of those ids that are known to be kept; raises LogUnavailable while that cannot be known."""
        known: dict[str, int] = {}
        older: list[str] = []
        for event_id in ids:
            sequence = self._recent.get((site_id, event_id))
            if sequence is None:
                older.append(event_id)
            else:
                known[event_id] = sequence
        if older:
            if self._index.lag() > _MAX_LAG:  # JetStream would no longer know what the index does not know yet
                raise LogUnavailable("the index is still being built")
            known.update(await self._index.find(site_id, older))
        return known

    def _remember(self, site_id: str, event: Accepted, sequence: int) -> None:
        if event.has_own_id:
            self._recent[site_id, event.id] = sequence
            if len(self._recent) > _RECENT:
                self._recent.popitem(last=False)

    async def _append(self, site_id: str, event: Accepted) -> Receipt:
        if event.has_own_id:
            known = await self._known(site_id, [event.id])
            if known:
                return Receipt(known[event.id], duplicate=True)
        stored = await self._log.append((site_id, event.topic, event.id, event.json))
        self._remember(site_id, event, stored.sequence)
        return Receipt(stored.sequence, stored.duplicate)

    async def _append_all(self, site_id: str, events: list[Accepted]) -> list[Receipt]:
        """All or none: what is already kept is left out, and the rest is one atomic batch."""
        for _ in range(_ATTEMPTS):
            places = await self._known(site_id, [event.id for event in events if event.has_own_id])
            fresh: dict[str, Accepted] = {}
            for event in events:
                if event.id not in places:
                    fresh.setdefault(event.id, event)
            try:
                stored = await self._log.append_batch([(site_id, e.topic, e.id, e.json) for e in fresh.values()])
            except DuplicateId:
                await self._index.current()  # JetStream knows an id that the index has not yet
                continue
            new: set[str] = set()
            for event, place in zip(fresh.values(), stored, strict=True):
                self._remember(site_id, event, place.sequence)
                places[event.id] = place.sequence
                if not place.duplicate:
                    new.add(event.id)
            return [_receipt(event.id, places, new) for event in events]
        raise _Contended("the same events are being put in by somebody else")

    async def _append_portion(self, site_id: str, events: list[Accepted]) -> list[Receipt]:
        """Some lines of a stream: in one commit, but each for itself where that does not work."""
        if not events:
            return []
        self.check_space(sum(len(event.json) for event in events))
        try:
            return await self._append_all(site_id, events)
        except _Contended:
            return await asyncio.gather(*(self._append(site_id, event) for event in events))


def _receipt(event_id: str, places: dict[str, int], new: set[str]) -> Receipt:
    """Of several events with one id the first is new and the others are its duplicates."""
    is_new = event_id in new
    new.discard(event_id)
    return Receipt(places[event_id], duplicate=not is_new)


class _Contended(LogUnavailable):
    """Others put in the same events at the same time, again and again."""


assert _PORTION <= MAX_BATCH  # noqa: S101 - a portion is one atomic batch


class _Portion:
    """Lines that are kept together."""

    def __init__(self) -> None:
        self._events: list[Accepted] = []
        self._size = 0

    def add(self, event: Accepted) -> bool:
        """Add one; True when it is time to keep them."""
        self._events.append(event)
        self._size += len(event.json)
        return len(self._events) >= _PORTION or self._size >= _PORTION_BYTES

    def taken(self) -> list[Accepted]:
        """All of them; it is empty then."""
        events, self._events, self._size = self._events, [], 0
        return events


async def _with_pauses(body: AsyncIterator[bytes], flush: Callable[[], Awaitable[None]]) -> AsyncIterator[bytes]:
    """The body, with what it brought kept before more is waited for: a body that is never complete is live as well."""
    async for chunk in body:
        yield chunk
        await flush()
