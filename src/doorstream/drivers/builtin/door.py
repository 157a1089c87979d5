"""A door as its events show it, for sites whose doors are real: everything can be seen, and nothing can be moved.

doorstream has no way to move such a door. ``unlock`` and the like answer null, "not supported" in the standard
interface (vendor-apis.md 2.5, fact 3). A module with a driver of its own for the device takes this one's place.
"""

from __future__ import annotations

from typing import Any, ClassVar

from doorstream.drivers.builtin.doors import DoorWatch, Premises
from doorstream.drivers.builtin.state import DoorState
from doorstream.drivers.driver import Driver
from doorstream.drivers.errors import Refused
from doorstream.drivers.functions import security
from doorstream.events import Event


class BuiltInDriver(Driver):
    """A driver that knows the premises."""

    premises: ClassVar[Premises]


class Door(BuiltInDriver):
    """A door as its events show it; it cannot be moved from here."""

    name = "door"
    module_name = "Door"
    implements = ("DoorSecurity",)

    _watch: DoorWatch | None = None
    _loading: list[Event] | None = None
    _state: DoorState

    async def on_load(self) -> None:
        """Learn what the door is, and follow its events."""
        if self.module.device_id is None:
            raise Refused("a door's module has a device_id")
        self._state = DoorState()
        self._loading = []
        self._watch = self._doors.watch(self.module.site_id, self._device_id, self._happened, self._see_connection)
        try:
            past = await self._doors.history(self.module.site_id, self._device_id)
        except BaseException:
            self._watch.cancel()
            raise
        for event in (*past, *self._loading):
            self._state.apply(event)
        self._loading = None
        self._show()
        self._see_connection()

    async def on_unload(self) -> None:
        """Follow no longer."""
        if self._watch is not None:
            self._watch.cancel()

    async def door_list(self) -> list[dict[str, str]]:
        """This door."""
        return [{"door_id": self._device_id, "description": self._title}]

    async def unlock(self, door_id: str | None = None) -> bool | None:
        """Not supported: null. With another door's id: false."""
        return None if self._is_own(door_id) else False

    async def lock(self) -> None:
        """Not supported: null."""

    @security("support")
    async def hold_open(self, on: bool = True) -> None:  # noqa: FBT001, FBT002 - as clients call it
        """Not supported: null."""

    @security("support")
    async def do_not_disturb(self, on: bool = True) -> None:  # noqa: FBT001, FBT002 - as clients call it
        """Not supported: null."""

    @property
    def _doors(self) -> Any:
        return self.premises.doors

    @property
    def _device_id(self) -> str:
        return self.module.device_id or ""

    @property
    def _title(self) -> str:
        found = self._doors.device(self.module.site_id, self._device_id)
        return found[1].name if found is not None else ""

    def _is_own(self, door_id: str | None) -> bool:
        return door_id is None or door_id == self._device_id

    def _happened(self, events: list[Event]) -> None:
        if self._loading is not None:
            self._loading.extend(events)
            return
        news = [self._state.apply(event) for event in events]
        if any(news):
            self._show()
            self._see_connection()

    def _show(self) -> None:
        for variable, value in self._state.variables():
            self.status[variable] = value

    def _see_connection(self) -> None:
        if self._loading is None:
            self.status["connected"] = self._is_connected()

    def _is_connected(self) -> bool:
        """What its cloud node said last; one that never said anything counts as there once its door did."""
        offline = self._doors.is_offline(self.module.site_id, self._device_id)
        return self._state.sequence > 0 if offline is None else not offline
