"""Who is connected, so that a right that is taken away ends what stands on it, and so that people can see who it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import structlog

from doorstream.events import Position

_logger = structlog.get_logger(__name__)


class Present(Protocol):
    """A connection that stands on somebody's rights."""

    def recheck(self) -> None:
        """Look whether the rights are still there, and disconnect if not."""

    def end(self) -> None:
        """Disconnect: the server is shutting down, and the client may come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What there is to say of a connection, put together when somebody asks. ``None`` means that it is not known.

    ``subscriptions`` None stands for everything. ``position``: everything up to there was written. ``unsent`` is in
    bytes. ``state`` is ``live``, ``replaying``, or ``held`` while events are withheld.
    """

    dialect: str
    transport: str
    client_id: str | None
    user_id: str | None = None
    site_id: str | None
    peer: str | None
    subscriptions: tuple[str, ...] | None
    state: str
    position: Position | None
    unsent: int
    token_expired: bool = False


@runtime_checkable
class Describable(Protocol):
    """A connection that people can be told of. Every dialect's is."""

    def describe(self) -> Description:
        """Tell what it is at this moment."""


class Seen(NamedTuple):
    """One connection, and when it entered: microseconds since 1970, different for each, so that it is an id too."""

    entered: int
    connection: Present


_SOON = 0.1
_MICROSECONDS = 1_000_000


class Presence:
    """All connections that stand on rights. ``clock`` gives unix seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._present: dict[Present, int] = {}
        self._newest = 0
        self._pending: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._present)

    def __iter__(self) -> Iterator[Seen]:
        """Those who are there now, the oldest first."""
        return iter([Seen(entered, connection) for connection, entered in self._present.items()])

    def enter(self, connection: Present) -> None:
        """A connection begins."""
        self._newest = max(self._newest + 1, int(self._clock() * _MICROSECONDS))
        self._present[connection] = self._newest

    def leave(self, connection: Present) -> None:
        """A connection ended; it need not have entered."""
        self._present.pop(connection, None)

    def recheck_soon(self) -> None:
        """Rights may have changed: every connection looks within a tenth of a second, once for many changes."""
        if self._pending is None:
            self._pending = asyncio.get_running_loop().call_later(_SOON, self._recheck)

    def end_all(self) -> None:
        """The server is shutting down."""
        for connection in tuple(self._present):
            _guarded(connection.end)

    def _recheck(self) -> None:
        self._pending = None
        for connection in tuple(self._present):
            _guarded(connection.recheck)


def _guarded(do: Callable[[], None]) -> None:
    try:
        do()
    except Exception:  # one connection's fault is not the others'
        _logger.exception("a connection failed")
