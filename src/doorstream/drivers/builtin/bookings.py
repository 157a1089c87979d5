"""A little module to try the control socket with: what the examples of seed 001 bind and call."""

from __future__ import annotations

from typing import Any

import msgspec

from doorstream.drivers.driver import Driver
from doorstream.drivers.errors import Refused
from doorstream.drivers.functions import security

_MOST = 100


class Bookings(Driver):
    """Bookings of a room: one list, kept over restarts."""

    name = "bookings"
    module_name = "Bookings"

    class Settings(msgspec.Struct):
        """``duration`` is in seconds, for bookings that say none."""

        duration: int = 3600

    async def on_load(self) -> None:
        """Begin with the bookings of the last run."""
        self.status.setdefault("bookings", [])

    async def make_booking(self, start: int, duration: int | None = None, title: str = "") -> dict[str, Any]:
        """Book from ``start`` (unix seconds) for so many seconds. Answers an empty object, as seed 001 prints it."""
        seconds = self.settings.duration if duration is None else duration
        if seconds <= 0:
            raise Refused("duration: more than 0 seconds", 400)
        bookings = self.status["bookings"]
        if any(start < each["end"] and each["start"] < start + seconds for each in bookings):
            raise Refused("there is a booking at that time")
        if len(bookings) >= _MOST:
            raise Refused(f"there are {_MOST} bookings already")
        by = self.caller.name if self.caller is not None else None
        made = {"start": start, "end": start + seconds, "title": title, "by": by}
        self.status["bookings"] = sorted([*bookings, made], key=_start)
        return {}

    async def cancel_booking(self, start: int) -> bool:
        """Remove the booking that begins then; tells whether there was one."""
        bookings = self.status["bookings"]
        self.status["bookings"] = left = [each for each in bookings if each["start"] != start]
        return len(left) < len(bookings)

    @security("support")
    async def clear(self) -> None:
        """Remove all bookings."""
        self.status["bookings"] = []


def _start(booking: dict[str, Any]) -> int:
    start: int = booking["start"]
    return start
