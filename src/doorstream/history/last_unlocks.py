"""Where the last unlock of each site stands, kept in memory: whether there is a newer one costs no query."""

from __future__ import annotations

from doorstream.events.unlocks import UNLOCK_TOPICS, is_unlock
from doorstream.history.index import Index


class LastUnlocks:
    """The sequence of the last unlock of each site, as of ``seen``.

    Taken from the hub's ring when somebody asks, and from the index at first and whenever the ring is too short.
    ``changes`` counts how often any of them changed.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._hub = index.hub
        self._last: dict[str, int] = {}
        self.seen = -1
        self.changes = 0

    def of(self, site_id: str) -> int:
        """The sequence of the site's last unlock; 0 where there was none."""
        return self._last.get(site_id, 0)

    async def refresh(self) -> None:
        """Take in everything that was acknowledged before this call, by whichever process; raises LogUnavailable."""
        sequence = await self._index.acknowledged()
        if self._hub.sequence < sequence:
            await self._index.patiently(self._hub.reached, sequence)
        while not self._catch_up():
            await self._start_over()

    def _catch_up(self) -> bool:
        """Go through what is new; False where the ring no longer has all of it."""
        hub = self._hub
        if self.seen == hub.sequence:
            return True
        if self.seen < hub.ring.base:
            return False
        for entry in hub.ring.after(self.seen, None):
            if entry.event.topic in UNLOCK_TOPICS and is_unlock(entry.event):
                self._last[entry.event.site_id] = entry.event.sequence
                self.changes += 1
        self.seen = hub.sequence
        return True

    async def _start_over(self) -> None:
        """Have the index say how it was a moment ago."""
        await self._index.patiently(self._index.reached, self._hub.sequence)
        applied = self._index.applied
        last = await self._index.last_unlocks(applied)
        if applied > self.seen:  # else another caller was faster
            self._last, self.seen = last, applied
            self.changes += 1
