"""Who asks a module for something."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

Level = Literal["user", "support", "administrator"]
"""What a caller may do, as PlaceOS has it (vendor-apis.md 2.2, "exec rights"): each level includes the ones before."""

_RANKS: Final[dict[str | None, int]] = {None: 0, "user": 0, "support": 1, "administrator": 2}


class Caller(msgspec.Struct, frozen=True):
    """Who calls: the id and name of a user, a client or a module, and by which way (``via``: a dialect, ``driver``)."""

    id: str | None
    name: str
    level: Level = "user"
    via: str = "driver"

    def may(self, needed: str | None) -> bool:
        """Whether the caller has that level or a higher one."""
        return _RANKS[self.level] >= _RANKS[needed]

    def metadata(self) -> dict[str, Any]:
        """What an event's metadata says of who caused it."""
        return {"by": self.name, "caller": {"id": self.id, "level": self.level, "via": self.via}}
