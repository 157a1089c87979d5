"""How far a webhook is in the log, and what of it is not finished. Pure bookkeeping; places are sequences of the log.

The log is read in its order, deliveries end in any. The cursor stays before the first that is open, so that a crash
loses none; what was finished beyond it is known from the ledger, so that none is delivered again. When the webhook is
slowed down, some that were read are *put back*: they alone are taken when the log is read again.
"""

from __future__ import annotations

from collections.abc import Iterable


class Progress:
    """The places of one webhook. Everything up to ``read`` was looked at, except what was put back."""

    __slots__ = ("_again", "_again_upto", "_finished", "_open", "read")

    def __init__(self) -> None:
        self.read = 0
        self._finished: set[int] = set()
        self._again: set[int] = set()
        self._again_upto = 0
        self._open: dict[int, None] = {}

    def begin(self, after: int, finished: set[int]) -> None:
        """Begin after a place; of what follows, these are ``finished`` already."""
        self.read = after
        self._finished = finished

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def come_to(self, place: int) -> bool:
        """Read an event; whether it is to be taken: it is new or was put back, and nobody finished it before."""
        if place <= self.read:
            return False
        self.read = place
        if place <= self._again_upto and place not in self._again:
            return False
        self._again.discard(place)
        if place in self._finished:
            self._finished.discard(place)
            return False
        return True

    def pass_to(self, place: int) -> None:
        """Nothing else is to be taken up to here."""
        self.read = max(self.read, place)

    def open(self, place: int) -> None:
        """A delivery begins."""
        self._open[place] = None

    def finish(self, place: int) -> None:
        """It is delivered, given up, or kept in the ledger, which brings it again."""
        self._open.pop(place, None)

    def put_back(self, places: Iterable[int]) -> None:
        """These are not delivered now, and are taken when the log is read again: from ``read`` on, which goes back."""
        self._again_upto = max(self._again_upto, self.read)
        for place in places:
            self._open.pop(place, None)
            self._again.add(place)
        if self._again:
            self.read = min(self.read, min(self._again) - 1)

    def lose(self, upto: int) -> None:
        """The log no longer has what is up to here; what was put back and is still there is read again."""
        self._again = {place for place in self._again if place > upto}
        self.read = upto

    def finished_upto(self, reached: int) -> int:
        """The last place up to which all is finished, where everything up to ``reached`` was read."""
        return min([reached, *(min(places) - 1 for places in (self._open, self._again) if places)])
