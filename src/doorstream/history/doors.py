"""What a door is now, asked of its past."""

from __future__ import annotations

import sqlite3
from importlib.resources import files
from typing import Final

from doorstream.events import Event

_DOOR = files(__package__).joinpath("doors.sql").read_text()
MOST_EVENTS: Final = 20
"""How many of a door's last events are read, whatever they are."""


def read_door(connection: sqlite3.Connection, site_id: str, device_id: str) -> list[Event]:
    """The last events of a door, and the last of each kind that says what it is now, in order."""
    rows = connection.execute(_DOOR, {"device": device_id, "site": site_id, "limit": MOST_EVENTS}).fetchall()
    return [Event(json.encode(), sequence, recorded) for sequence, recorded, json in rows]
