"""The reader of one webhook: it follows the log through the hub for as long as there is room, and takes what is wanted.

Where there is no room, or while its webhook wants nothing, it keeps its position only and reads on from there later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from doorstream.events import Event, Position
from doorstream.events.entities import Webhook
from doorstream.live import Framing, Subscription, unframed
from doorstream.log import PositionGone
from doorstream.webhooks.desk import Desk
from doorstream.webhooks.matching import filter_of, interest_of
from doorstream.webhooks.progress import Progress

ROOM = 256
"""Deliveries of one webhook that are in memory before it stops reading; a portion that is being read comes on top."""

_LOW = ROOM // 2


class Taker(Protocol):
    """For whom it reads."""

    def take(self, event: Event) -> None:
        """Begin the delivery of an event that is wanted. It may call ``deafen``."""

    def taken(self) -> None:
        """All that came together is taken."""

    def may_read(self) -> bool:
        """Whether more events are wanted. ``Reader.go_on`` must be called when they are again."""


class Reader:
    """Reads from ``start`` until ``close``, and keeps ``progress``, of which others finish what was taken.

    It is the outlet and the consumer of a subscription.
    """

    framing: Framing = staticmethod(unframed)

    def __init__(self, desk: Desk, webhook: Webhook, progress: Progress, taker: Taker) -> None:
        self.replaying = False
        self._desk = desk
        self._webhook = webhook
        self._progress = progress
        self._taker = taker
        self._wants = filter_of(webhook)
        self._interest = interest_of(webhook)
        self._subscription = Subscription(desk.hub, desk.log, self, self)
        self._is_following = False
        self._is_deaf = False
        self._space = asyncio.Event()

    def start(self) -> None:
        """Stand where the progress is; ``go_on`` begins to read."""
        self._subscription.seek(self._stand)

    def close(self) -> None:
        """Stop reading, and stay at the place."""
        if self._is_following:
            self._leave()
        self._subscription.close()

    def change(self, webhook: Webhook) -> None:
        """Go on with other values."""
        self._webhook = webhook
        self._wants = filter_of(webhook)
        interest = interest_of(webhook)
        if interest != self._interest:
            self._interest = interest
            if self._is_following:
                self._subscription.follow(interest)

    @property
    def place(self) -> Position:
        """Everything up to here was judged, except what was put back."""
        return self._subscription.position if self._is_following and not self._is_deaf else self._stand

    def go_on(self) -> None:
        """Read on, if there is room and more is wanted."""
        if self._is_following or not self.is_drained or not self._taker.may_read():
            return
        self._is_deaf = False
        self._is_following = True
        self._subscription.follow(self._interest)
        self._hold_if_reason()

    def made_room(self) -> None:
        """Some of what was taken is finished."""
        if self.is_drained:
            self._space.set()
            self.go_on()

    def deafen(self) -> None:
        """Take nothing more for now; what comes is read again after ``go_on``."""
        self._is_deaf = True

    def put_back(self, places: Iterable[int]) -> None:
        """Take nothing more for now, and take these once more when it goes on."""
        self.deafen()
        self._progress.put_back(places)
        if self._is_following:
            asyncio.get_running_loop().call_soon(self._hold)
        else:
            self._subscription.seek(self._stand)

    # What the subscription asks of its outlet and consumer.

    def write(self, data: bytes) -> None:
        """Take what the hub hands over."""
        for event in self._desk.unpacked(data):
            self._take(event)
        if self._is_following:
            self._hold_if_reason()
        self._taker.taken()

    @property
    def is_drained(self) -> bool:
        """Whether there is room."""
        return len(self._progress) < _LOW

    async def drained(self) -> None:
        """Wait for room."""
        while self._is_deaf or not self.is_drained:
            if self._is_deaf:
                asyncio.get_running_loop().call_soon(self._hold)  # which ends the replay that waits here
            self._space.clear()
            await self._space.wait()

    def position_gone(self, error: PositionGone) -> None:
        """The log no longer has what comes next: go on with what it has, and say so."""
        reason = f"events before {error.first} are no longer kept"
        self._desk.tell(self._webhook, "gap", reason, self._desk.clock())
        self._is_following = False
        self._progress.lose(error.first.sequence)
        self._subscription = Subscription(self._desk.hub, self._desk.log, self, self)
        self._subscription.seek(error.first)
        self.go_on()

    @property
    def _stand(self) -> Position:
        """Where it stands while it does not follow."""
        return Position(self._desk.hub.epoch, self._progress.read)

    @property
    def _has_reason_to_hold(self) -> bool:
        return self._is_deaf or len(self._progress) >= ROOM

    def _take(self, event: Event) -> None:
        """Take an event that comes past, if it is wanted."""
        if not self._is_deaf and self._progress.come_to(event.sequence) and self._wants(event):
            self._progress.open(event.sequence)
            self._taker.take(event)

    def _hold_if_reason(self) -> None:
        """Soon, as a subscription must not be held by its own ``write``; a replay waits by itself, in ``drained``."""
        if not self.replaying and self._has_reason_to_hold:
            asyncio.get_running_loop().call_soon(self._hold)

    def _hold(self) -> None:
        """Stop reading, unless there is no longer a reason."""
        if self._is_following and self._has_reason_to_hold:
            self._leave()
            self.go_on()

    def _leave(self) -> None:
        """Stop reading. What came while nobody listened is read again."""
        self._subscription.hold()  # what was published before is still written, which may make it deaf
        self._is_following = False
        if self._is_deaf:
            self._subscription.seek(self._stand)
        else:
            self._progress.pass_to(self._subscription.position.sequence)
