"""What a running module stands on: the runtime as it sees it, and what it may do before something is done about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from doorstream.drivers.callers import Caller
from doorstream.drivers.driver import Driver, Handle
from doorstream.drivers.follow import Place
from doorstream.drivers.instance import EXECUTE_LIMIT
from doorstream.drivers.loader import Catalogue
from doorstream.drivers.status import StatusStore
from doorstream.drivers.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What modules may do before something is done about them. Durations in seconds."""

    execute: float = EXECUTE_LIMIT
    """Within this time a function answers."""
    blocking: float = 1.0
    """So long one step of a module's code may keep the event loop."""
    most_blocked: int = 3
    """A module that blocks so often within ``blocked_window`` is given up."""
    blocked_window: float = 600.0
    stuck: float = 30.0
    """What has not given the event loop back by then never will: the process is ended."""
    process_blocking: float = 30.0
    """So long the code of a module in a process of its own may block."""
    first_pause: float = 1.0
    """Before a failed module is started again; doubled each time, up to ``longest_pause``."""
    longest_pause: float = 60.0
    most_failures: int = 5
    """After so many failures in a row a module is given up."""
    stable_after: float = 60.0
    """What ran for so long has not failed in a row with what comes then."""


class House(Protocol):
    """What a running module needs of the runtime."""

    catalogue: Catalogue
    status: StatusStore
    watch: Watch
    limits: Limits
    beginning: asyncio.Semaphore
    """So many modules begin at the same time: the others' time has not begun yet."""

    def now(self) -> float:
        """Seconds since 1970."""

    def furnish(self, driver: type[Driver]) -> type[Driver]:
        """The class to be used for a driver: built-in ones know more of the house than others."""

    def follow(self, place: Place, variable: str, receive: Callable[[bytes | None], object]) -> Handle:
        """Follow a variable of whichever module has that place."""

    async def call_at(self, place: Place, function: str, args: Any, caller: Caller) -> bytes:
        """Call the module that has that place; raises DriversError."""

    async def keep(self, site_id: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Append events to the log; raises InvalidEvent or LogError."""
