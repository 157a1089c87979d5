"""Counts the people in a house by its door, and closes the door to visitors when the house is full."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from doorstream.drivers import Driver, Handle, Refused, security


class Occupancy(Driver):
    """Counts who came in, and keeps the door shut while the house is full."""

    class Settings(msgspec.Struct):
        """``door`` is the index of the door's module, ``most`` the number of people who make the house full."""

        door: int = 1
        most: Annotated[int, msgspec.Meta(ge=1)] = 100

    _following: Handle

    async def on_load(self) -> None:
        """Go on with the count of the last run."""
        self.status.setdefault("count", 0)
        self.status.setdefault("seen", None)
        self._follow()

    async def on_update(self) -> None:
        """Follow the door that the settings now name."""
        self._following.cancel()
        self._follow()
        await self._judge()

    @security("support")
    async def left(self, people: Annotated[int, msgspec.Meta(ge=1)] = 1) -> int:
        """Take note that people have left; returns how many are inside."""
        inside: int = self.status["count"] - people
        if inside < 0:
            raise Refused(f"only {self.status['count']} are inside")
        self.status["count"] = inside
        await self._judge()
        return inside

    @security("support")
    async def reset(self) -> None:
        """Begin to count anew."""
        self.status["count"] = 0
        await self._judge()

    def _follow(self) -> None:
        self._following = self.subscribe("Door", self.settings.door, "recent_events", self._happened)

    async def _happened(self, events: list[dict[str, Any]] | None) -> None:
        """Count the entries among the door's events, the newest of which is first."""
        if not events:
            return
        seen, self.status["seen"] = self.status["seen"], events[0]["id"]
        if seen is None:
            return  # the first look: what happened before is not ours
        for event in events:
            if event["id"] == seen:
                break
            if event["action"] == "granted":
                self.status["count"] += 1
                self.logger.info("%s came in", (event["holder"] or {}).get("name"))
        await self._judge()

    async def _judge(self) -> None:
        """Open or close the door when that has changed."""
        is_full = self.status["count"] >= self.settings.most
        if is_full == self.status.get("full", False):
            return
        self.status["full"] = is_full
        await self.call("Door", self.settings.door, "do_not_disturb", is_full)
        await self.emit("x.occupancy.full" if is_full else "x.occupancy.free", {"count": self.status["count"]})
