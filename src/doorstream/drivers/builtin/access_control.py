"""All doors of a site under one address."""

from __future__ import annotations

from typing import Any

from doorstream.drivers.builtin.door import BuiltInDriver
from doorstream.drivers.errors import ModuleNotFound, UnknownFunction
from doorstream.drivers.functions import audited

_DOOR = "Door"


class AccessControl(BuiltInDriver):
    """All doors of a site: the standard interface DoorSecurity (vendor-apis.md 2.5, fact 3)."""

    name = "access_control"
    module_name = "AccessControl"
    implements = ("DoorSecurity",)

    async def door_list(self) -> list[dict[str, Any]]:
        """The doors of the site, in the order of their modules."""
        doors: list[dict[str, Any]] = []
        while True:
            try:
                doors += await self.call(_DOOR, len(doors) + 1, "door_list")
            except (ModuleNotFound, UnknownFunction):
                return doors

    @audited
    async def unlock(self, door_id: str) -> bool | None:
        """Open one door: true, null where its driver cannot, false where there is no such door."""
        for index, door in enumerate(await self.door_list(), 1):
            if door["door_id"] == door_id:
                answer: bool | None = await self.call(_DOOR, index, "unlock", door_id)
                return answer
        return False
