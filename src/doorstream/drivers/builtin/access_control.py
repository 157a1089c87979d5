"""All doors of a site under one address."""

from __future__ import annotations

from typing import Any

from doorstream.drivers.builtin.door import BuiltInDriver
from doorstream.drivers.builtin.doors import DoorModule
from doorstream.drivers.errors import UnknownFunction
from doorstream.drivers.functions import audited


class AccessControl(BuiltInDriver):
    """All doors of a site: the standard interface DoorSecurity (vendor-apis.md 2.5, fact 3)."""

    name = "access_control"
    module_name = "AccessControl"
    implements = ("DoorSecurity",)

    async def door_list(self) -> list[dict[str, Any]]:
        """The doors of the site, in the order of their modules, also of those that do not run."""
        return [{"door_id": door.device_id, "description": door.title} for door in self._doors.values()]

    @audited
    async def unlock(self, door_id: str) -> bool | None:
        """Open one door: true, null where its driver cannot, false where there is no such door."""
        door = self._doors.get(door_id)
        if door is None:
            return False
        try:
            answer: bool | None = await self.call(door.name, door.place, "unlock", door_id)
        except UnknownFunction:
            return None
        return answer

    @property
    def _doors(self) -> dict[str, DoorModule]:
        """Each door's first module."""
        found: dict[str, DoorModule] = {}
        for module in self.premises.door_modules(self.module.site_id):
            found.setdefault(module.device_id, module)
        return found
