"""How many attempts run at one time, so that dead endpoints hold up nobody and descriptors stay bounded.

An attempt on a dead endpoint holds its socket until the time-out. With one limit for all, a few dead endpoints would
fill it and the living would wait; with no limit, descriptors would run out. So:

* every endpoint may always have **one** attempt: no other endpoint can take that away;
* an endpoint that answers may have more, doubling with each answer up to ``WIDEST``; one that does not answer is back
  at one. What goes beyond the first attempt of an endpoint is taken from ``SPARE``, which all share.

So at most (endpoints being tried + ``SPARE``) sockets are in use, and those that are dead for longer than one time-out
take nothing from the shared part.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

WIDEST = 64
"""Attempts on one endpoint at one time."""

SPARE = 256
"""Attempts beyond the first of each endpoint, all together."""

_REMEMBERED = 10_000


class Lane:
    """One endpoint: how many attempts run, how many may, and who waits in which order."""

    __slots__ = ("key", "running", "waiting", "width")

    def __init__(self, key: str) -> None:
        self.key = key
        self.running = 0
        self.width = 1
        self.waiting: deque[asyncio.Future[None]] = deque()


class Lanes:
    """The lanes of all endpoints. Belongs to one event loop."""

    def __init__(self, *, widest: int = WIDEST, spare: int = SPARE) -> None:
        self._widest = widest
        self._spare = spare
        self._lanes: OrderedDict[str, Lane] = OrderedDict()
        self._short: OrderedDict[Lane, None] = OrderedDict()  # would be let on if there were spare room

    async def enter(self, key: str) -> Lane:
        """Wait until one more attempt may run on this endpoint; ``leave`` must follow."""
        lane = self._lane(key)
        if not lane.waiting and self._admit(lane):
            return lane
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # let on and cancelled in the same turn of the loop
                self._release(lane)
            elif turn in lane.waiting:  # else ``_let_on`` came past meanwhile and took it out
                lane.waiting.remove(turn)
            raise
        return lane

    def leave(self, lane: Lane, *, answered: bool) -> None:
        """An attempt has ended; ``answered`` says whether the endpoint said anything in time."""
        lane.width = min(lane.width * 2, self._widest) if answered else 1
        self._release(lane)

    def _lane(self, key: str) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
            if len(self._lanes) > _REMEMBERED:
                self._forget()
        else:
            self._lanes.move_to_end(key)
        return lane

    def _forget(self) -> None:
        """Drop the endpoint that was not tried for longest: when it comes back, it begins with one attempt."""
        oldest = next(iter(self._lanes.values()))
        if not oldest.running and not oldest.waiting:
            del self._lanes[oldest.key]

    def _admit(self, lane: Lane) -> bool:
        if lane.running:
            if lane.running >= lane.width:
                return False
            if not self._spare:
                self._short[lane] = None
                return False
            self._spare -= 1
        lane.running += 1
        return True

    def _release(self, lane: Lane) -> None:
        lane.running -= 1
        if lane.running:
            self._spare += 1
        self._let_on(lane)
        while self._spare and self._short:
            other, _ = self._short.popitem(last=False)
            self._let_on(other)

    def _let_on(self, lane: Lane) -> None:
        while lane.waiting:
            if lane.waiting[0].done():  # cancelled
                lane.waiting.popleft()
            elif self._admit(lane):
                lane.waiting.popleft().set_result(None)
            else:
                return
