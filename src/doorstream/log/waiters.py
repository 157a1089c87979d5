"""Who waits until something has come as far as a sequence of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Waiters:
    """They are true while anybody waits. All calls are made from one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[int, set[asyncio.Future[None]]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def wait(self, sequence: int) -> None:
        """Wait until ``release`` is called with that sequence or a later one; raises what ``fail`` makes."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(sequence, set()).add(waiting)
        try:
            await waiting
        finally:
            self._forget(sequence, waiting)

    def release(self, sequence: int) -> None:
        """Let go on who waits for that sequence or for one before it."""
        for reached in [each for each in self._waiting if each <= sequence]:
            for waiting in self._waiting.pop(reached):
                if not waiting.done():
                    waiting.set_result(None)

    def fail(self, error: Callable[[], Exception]) -> None:
        """Have everybody who waits get such an error, each one of its own."""
        for together in self._waiting.values():
            for waiting in together:
                if not waiting.done():
                    waiting.set_exception(error())
        self._waiting.clear()

    def _forget(self, sequence: int, waiting: asyncio.Future[None]) -> None:
        """Keep nothing of who gave up."""
        together = self._waiting.get(sequence)
        if together is not None:
            together.discard(waiting)
            if not together:
                del self._waiting[sequence]
