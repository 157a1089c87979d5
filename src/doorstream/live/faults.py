"""Faults on purpose, for people who test their own programs against the demo."""

from __future__ import annotations

import asyncio
import random
from collections import deque

from doorstream.events import Event
from doorstream.live.hub import Hub


class DeliveryFaults:
    """Stands before a hub: from ``begin`` on it delivers late, and some events twice. The order stays."""

    def __init__(self, hub: Hub, *, delay: float, duplicate_rate: float, seed: str) -> None:
        """``delay`` in seconds, ``duplicate_rate`` from 0 to 1."""
        self.hub = hub
        self._delay = delay
        self._duplicate_rate = duplicate_rate
        self._has_begun = False
        self._waiting: deque[Event] = deque()
        self._random = random.Random(f"faults {seed}")  # noqa: S311 - repeatable on purpose

    def begin(self) -> None:
        """What came until now is the past; the faults are for what comes."""
        self._has_begun = True

    def __call__(self, event: Event) -> None:
        """Take the next event."""
        if not self._has_begun:
            self.hub.publish(event)
        elif self._delay:
            self._waiting.append(event)
            asyncio.get_running_loop().call_later(self._delay, self._deliver_oldest)
        else:
            self._deliver(event)

    def _deliver_oldest(self) -> None:
        self._deliver(self._waiting.popleft())

    def _deliver(self, event: Event) -> None:
        self.hub.publish(event)
        if self._random.random() < self._duplicate_rate:
            self.hub.publish(event)
