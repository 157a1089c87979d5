"""The rhythm of the day: which scenes are played at which hour, where, and by whom. Never how many: that is the rate.

The numbers are weights, compared only with the others of their table. A zone or group that a table does not name does
not take part. Every phase names the entrances, as every wing has one: so there is always a door for the next event.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from doorstream.drivers.simulated.blueprint import MINUTES_A_DAY, WORKDAYS


class Kind(Enum):
    """What the person at the door does, or what comes of it."""

    ENTER = "enter"
    LEAVE = "leave"
    NO_RIGHT = "no right"
    WRONG_PIN = "wrong PIN"
    UNKNOWN = "unknown card"
    PROP = "prop"
    BREAK_IN = "break in"


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the day with a mix of its own."""

    name: str
    scenes: Mapping[Kind, int]
    zones: Mapping[str, int]
    groups: Mapping[str, int]


def _scenes(enter: int, leave: int, *, trouble: int = 1) -> Mapping[Kind, int]:
    """Weights in thousandths; `trouble` multiplies what goes wrong on an ordinary day."""
    return {
        Kind.ENTER: enter,
        Kind.LEAVE: leave,
        Kind.NO_RIGHT: 40 * trouble,
        Kind.WRONG_PIN: 8 * trouble,
        Kind.UNKNOWN: 25 * trouble,
        Kind.PROP: 3 * trouble,
        Kind.BREAK_IN: 2 * trouble,
    }


_NIGHT: Final = Phase(
    "night",
    _scenes(800, 100),
    {"entrance": 2, "office": 2, "canteen": 1, "meeting": 1, "service": 3, "secure": 3},
    {"Security": 1},
)
_EARLY: Final = Phase(
    "early",
    _scenes(700, 200),
    {"entrance": 4, "service": 5, "secure": 1},
    {"Logistics": 6, "Security": 2, "IT": 1},
)
_ARRIVAL: Final = Phase(
    "arrival",
    _scenes(800, 80),
    {"entrance": 10, "office": 4, "canteen": 1, "meeting": 1, "service": 2, "secure": 1},
    {"Staff": 20, "Management": 4, "Logistics": 4, "IT": 4, "Security": 1},
)
_OFFICE: Final = Phase(
    "office hours",
    _scenes(550, 350, trouble=2),
    {"entrance": 3, "office": 6, "canteen": 1, "meeting": 3, "service": 3, "secure": 1},
    {"Staff": 20, "Management": 6, "Logistics": 6, "IT": 6, "Security": 2},
)
_LUNCH: Final = Phase(
    "lunch",
    _scenes(500, 430),
    {"entrance": 4, "office": 3, "canteen": 10, "service": 1},
    {"Staff": 20, "Management": 3, "Logistics": 4, "IT": 4, "Security": 1},
)
_LEAVING: Final = Phase(
    "leaving",
    _scenes(150, 780),
    {"entrance": 10, "office": 5, "meeting": 1, "service": 2, "secure": 1},
    {"Staff": 20, "Management": 3, "Logistics": 5, "IT": 4, "Security": 1},
)
_CLEANING: Final = Phase(
    "cleaning",
    _scenes(650, 280),
    {"entrance": 2, "office": 6, "canteen": 3, "meeting": 3, "service": 1},
    {"Cleaning": 10, "Security": 2, "Management": 1, "IT": 1},
)
_WEEKEND: Final = Phase(
    "weekend",
    _scenes(550, 350, trouble=3),
    {"entrance": 5, "office": 2, "secure": 2, "service": 1},
    {"Security": 4, "IT": 2, "Management": 1, "Staff": 1},
)

# From which minute of the day on which phase rules; each list begins at midnight.
_WORKDAY: Final = (
    (0, _NIGHT),
    (5 * 60 + 30, _EARLY),
    (7 * 60 + 15, _ARRIVAL),
    (9 * 60 + 30, _OFFICE),
    (11 * 60 + 30, _LUNCH),
    (13 * 60 + 30, _OFFICE),
    (16 * 60 + 15, _LEAVING),
    (18 * 60 + 30, _CLEANING),
    (21 * 60 + 30, _NIGHT),
)
_FREE_DAY: Final = ((0, _NIGHT), (8 * 60, _WEEKEND), (18 * 60, _NIGHT))


def phase_at(minute: float) -> tuple[Phase, float]:
    """Return the phase of `minute` of the week, counted from Monday 00:00, and the minute in which it ends."""
    day, of_day = divmod(minute, MINUTES_A_DAY)
    midnight = day * MINUTES_A_DAY
    phases = _FREE_DAY if day % 7 >= WORKDAYS else _WORKDAY
    begun = max(index for index, (since, _) in enumerate(phases) if since <= of_day)
    ends = phases[begun + 1][0] if begun + 1 < len(phases) else MINUTES_A_DAY
    return phases[begun][1], midnight + ends
