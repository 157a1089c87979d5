"""The hub: every event of the log to every connection that wants it, at one write for each.

Connections with the same wishes form an interest group. An event is encoded once for a group; events that arrive within
one turn of the event loop are joined and written together.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from doorstream.events import Event, Position
from doorstream.live.entry import Entry, Interest
from doorstream.live.ring import Ring
from doorstream.log import Waiters

_logger = structlog.get_logger(__name__)

MAX_JOINED = 256_000
"""Bytes that are joined into one write at most: larger writes no longer save anything."""

Write = Callable[[bytes], None]


@dataclass(slots=True)
class Counts:
    """What happened since the start.

    ``delivered`` counts packets by dialect, once for each connection; ``resumed`` subscriptions that went on from an
    older position, ``gone`` those among them whose position was not kept any more.
    """

    published: int = 0
    resumed: int = 0
    gone: int = 0
    delivered: Counter[str] = field(default_factory=Counter)


class Group:
    """The connections that share an interest, and what waits to be written to all of them."""

    __slots__ = ("_counts", "interest", "members", "pending")

    def __init__(self, interest: Interest, counts: Counts) -> None:
        self._counts = counts
        self.interest = interest
        self.members: dict[Hashable, Write] = {}
        self.pending: list[Entry] = []

    def flush(self) -> None:
        """Write what waits to every member."""
        entries, self.pending = self.pending, []
        members = tuple(self.members.values())  # who leaves during this gets all of it: it was published before
        joined = framed(entries, self.interest)
        self._counts.delivered[self.interest.encoder.dialect] += joined.packets * len(members)
        for data in joined.pieces:
            unwritten = iter(members)
            while True:
                try:
                    for write in unwritten:
                        write(data)
                    break
                except Exception:  # one connection's fault is not the others'
                    _logger.exception("a connection cannot be written to")


class _Site:
    """The groups that follow one site (or, for the hub's own use, all sites), by what they want."""

    __slots__ = ("by_topic", "every", "groups")

    def __init__(self) -> None:
        self.groups: dict[Interest, Group] = {}
        self.by_topic: dict[str, dict[Group, None]] = {}
        self.every: dict[Group, None] = {}

    def add(self, group: Group) -> None:
        self.groups[group.interest] = group
        topics = group.interest.encoder.topics
        if topics is None:
            self.every[group] = None
        for topic in topics or ():
            self.by_topic.setdefault(topic, {})[group] = None

    def remove(self, group: Group) -> None:
        if self.groups.get(group.interest) is not group:  # ended before, and perhaps another has begun
            return
        del self.groups[group.interest]
        self.every.pop(group, None)
        for topic in group.interest.encoder.topics or ():
            groups = self.by_topic[topic]
            del groups[group]
            if not groups:
                del self.by_topic[topic]


class Hub:
    """Hands the log's events out. All methods are called from one event loop.

    ``position`` is the last event that was handed to the groups: a connection that joins now gets what comes after.
    """

    def __init__(self, epoch: str, start: int, *, before_publish: Callable[[], None] = lambda: None) -> None:
        """``start`` is the sequence before the first event; ``before_publish`` is called ahead of each event."""
        self.epoch = epoch
        self.sequence = start
        self.ring = Ring(start)
        self.counts = Counts()
        self._before_publish = before_publish
        self._sites: dict[str, _Site] = {}
        self._everywhere = _Site()
        self._dirty: list[Group] = []
        self._encoded: list[Entry] = []
        self._is_scheduled = False
        self._waiting = Waiters()

    @property
    def position(self) -> Position:
        """Where the live groups stand."""
        return Position(self.epoch, self.sequence)

    def publish(self, event: Event) -> None:
        """Hand the next event to the groups. They write it at the end of this turn of the loop."""
        self._before_publish()
        entry = Entry(event)
        self.ring.append(entry)
        self.sequence = event.sequence
        self.counts.published += 1
        site = self._sites.get(event.site_id)
        if site is not None:
            self._pend(site, entry)
        if self._everywhere.groups:
            self._pend(self._everywhere, entry)
        if self._waiting:
            self._waiting.release(self.sequence)

    def join(self, interest: Interest, member: Hashable, write: Write) -> Group:
        """Have ``write`` called with everything of interest from now on."""
        known = self._site(interest.site_id).groups.get(interest)
        if known is not None and known.pending:
            known.flush()  # what was published before is not for the new member
        site = self._site(interest.site_id)  # asked again: who is written to may leave, and the group ends
        group = site.groups.get(interest)
        if group is None:
            group = Group(interest, self.counts)
            site.add(group)
        group.members[member] = write
        return group

    def leave(self, group: Group, member: Hashable, *, flush: bool = True) -> None:
        """End a membership; what was published before is still written, unless ``flush`` is false."""
        if flush and group.pending and member in group.members:
            group.flush()
        group.members.pop(member, None)
        if not group.members:
            site = self._site(group.interest.site_id)
            site.remove(group)
            if not site.groups and group.interest.site_id is not None:
                self._sites.pop(group.interest.site_id, None)

    async def reached(self, sequence: int) -> None:
        """Wait until the groups stand at that sequence or after it."""
        if self.sequence >= sequence:
            return
        await self._waiting.wait(sequence)

    def _site(self, site_id: str | None) -> _Site:
        if site_id is None:
            return self._everywhere
        site = self._sites.get(site_id)
        if site is None:
            site = self._sites[site_id] = _Site()
        return site

    def forget_soon(self, entries: Sequence[Entry]) -> None:
        """Let go, at the end of this turn of the loop, of what was encoded for entries of the ring.

        Within the turn everybody shares it; kept longer it would be one copy for each set of wishes there ever was.
        """
        self._schedule_flush()
        self._encoded.extend(entries)

    def _pend(self, site: _Site, entry: Entry) -> None:
        for groups in (site.by_topic.get(entry.event.topic), site.every):
            for group in groups or ():
                if not group.pending:
                    self._dirty.append(group)
                group.pending.append(entry)
        if self._dirty:
            self._schedule_flush()
            self._encoded.append(entry)

    def _schedule_flush(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        dirty, self._dirty = self._dirty, []
        for group in dirty:
            if group.pending:
                group.flush()
        encoded, self._encoded = self._encoded, []
        for entry in encoded:
            entry.memo.clear()


class Joined(NamedTuple):
    """The bytes of some events, in pieces of about ``MAX_JOINED`` at most, and how many packets are in them."""

    pieces: list[bytes]
    packets: int


def framed(entries: list[Entry], interest: Interest) -> Joined:
    """Encode and join some events for an interest."""
    framing = interest.framing
    pieces: list[bytes] = []
    frames: list[bytes] = []
    size = packets = 0
    for entry in entries:
        for packet in packets_of(entry, interest):
            frame = _framed_once(entry, packet, framing)
            frames.append(frame)
            size += len(frame)
        if size >= MAX_JOINED:
            pieces.append(b"".join(frames))
            packets += len(frames)
            frames, size = [], 0
    if frames:
        pieces.append(frames[0] if len(frames) == 1 else b"".join(frames))
    return Joined(pieces, packets + len(frames))


def packets_of(entry: Entry, interest: Interest) -> Sequence[bytes]:
    """The packets of one event; none where it cannot be encoded, which must not keep back the others."""
    try:
        return interest.encoder.encode(entry)
    except Exception:
        _logger.exception("an event cannot be encoded", sequence=entry.event.sequence, topic=entry.event.topic)
        return ()


def _framed_once(entry: Entry, packet: bytes, framing: Callable[[bytes], bytes]) -> bytes:
    """Groups that differ only in what else they want share the frame, not only the packet."""
    key = (id(packet), framing)
    known = entry.memo.get(key)
    if known is not None and known[0] is packet:
        frame: bytes = known[1]
        return frame
    frame = framing(packet)
    entry.memo[key] = (packet, frame)
    return frame
