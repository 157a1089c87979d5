"""The most recent events in memory, so that short gaps cost no read of the log."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice

from doorstream.live.entry import Entry


class Ring:
    """Every event after ``base``, bounded in number and bytes. The oldest leave first."""

    def __init__(self, base: int, max_events: int = 10_000, max_bytes: int = 32_000_000) -> None:
        self.base = base
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._bytes = 0
        self._all: deque[Entry] = deque()
        self._by_site: dict[str, deque[Entry]] = {}

    def append(self, entry: Entry) -> None:
        """Add the newest event."""
        event = entry.event
        self._all.append(entry)
        self._bytes += len(event.json)
        site = self._by_site.get(event.site_id)
        if site is None:
            site = self._by_site[event.site_id] = deque()
        site.append(entry)
        while len(self._all) > self._max_events or self._bytes > self._max_bytes:
            self._evict()

    def after(self, sequence: int, site_id: str | None) -> Iterator[Entry]:
        """The events of a site (of all for None) after a sequence that is not before ``base``, oldest first.

        Valid until the next event is added.
        """
        entries = self._all if site_id is None else self._by_site.get(site_id, deque())
        return islice(entries, _first_after(entries, sequence), None)

    def _evict(self) -> None:
        entry = self._all.popleft()
        self._bytes -= len(entry.event.json)
        site = self._by_site[entry.event.site_id]
        site.popleft()
        if not site:
            del self._by_site[entry.event.site_id]
        self.base = entry.event.sequence


def _first_after(entries: deque[Entry], sequence: int) -> int:
    """How many entries stand at or before a sequence. Resumes are mostly near the end, so it is sought from there."""
    step, low, high = 1, 0, len(entries)
    while high - step >= 0 and entries[high - step].event.sequence > sequence:
        high -= step
        step *= 2
    low = max(0, high - step)
    while low < high:
        middle = (low + high) // 2
        if entries[middle].event.sequence > sequence:
            high = middle
        else:
            low = middle + 1
    return low
