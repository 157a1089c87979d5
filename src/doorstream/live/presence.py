"""Who is connected, so that a right that is taken away ends what stands on it."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Present(Protocol):
    """A connection that stands on somebody's rights."""

    def recheck(self) -> None:
        """Look whether the rights are still there, and disconnect if not."""

    def end(self) -> None:
        """Disconnect: the server is shutting down, and the client may come back."""


_SOON = 0.1


class Presence:
    """All connections that stand on rights."""

    def __init__(self) -> None:
        self._present: set[Present] = set()
        self._pending: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._present)

    def enter(self, connection: Present) -> None:
        """A connection begins."""
        self._present.add(connection)

    def leave(self, connection: Present) -> None:
        """A connection ended; it need not have entered."""
        self._present.discard(connection)

    def recheck_soon(self) -> None:
        """Rights may have changed: every connection looks within a tenth of a second, once for many changes."""
        if self._pending is None:
            self._pending = asyncio.get_running_loop().call_later(_SOON, self._recheck)

    def end_all(self) -> None:
        """The server is shutting down."""
        for connection in tuple(self._present):
            connection.end()

    def _recheck(self) -> None:
        self._pending = None
        for connection in tuple(self._present):
            connection.recheck()
