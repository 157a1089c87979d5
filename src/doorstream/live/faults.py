"""Faults on purpose, for people who test their own programs against the demo."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

from doorstream.events import Event


class DeliveryFaults:
    """Stands between the log and the hub: delivers late, and some events twice. The order stays."""

    def __init__(self, publish: Callable[[Event], None], *, delay: float, duplicate_rate: float, seed: str) -> None:
        """``delay`` in seconds, ``duplicate_rate`` from 0 to 1."""
        self._publish = publish
        self._delay = delay
        self._duplicate_rate = duplicate_rate
        self._waiting: deque[Event] = deque()
        self._random = random.Random(f"faults {seed}")  # noqa: S311 - repeatable on purpose

    def __call__(self, event: Event) -> None:
        """Take the next event."""
        if self._delay:
            self._waiting.append(event)
            asyncio.get_running_loop().call_later(self._delay, self._deliver_oldest)
        else:
            self._deliver(event)

    def _deliver_oldest(self) -> None:
        self._deliver(self._waiting.popleft())

    def _deliver(self, event: Event) -> None:
        self._publish(event)
        if self._random.random() < self._duplicate_rate:
            self._publish(event)
