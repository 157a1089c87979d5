"""The simulated building: `Building` (who and what exists), `Story` (what happens), `play` (in real time).

`door.Door` is one door's state machine, `scenes` are the little plays that people perform at doors, `rhythm` says
which of them at which hour, `story.Story` turns them into an endless, seeded sequence of events at a fixed rate, and
`player.play` puts those in as their time comes. All but the player is free of clocks, sockets and tasks.
"""

from doorstream.drivers.simulated.building import Building
from doorstream.drivers.simulated.door import Door, Presented, Signal
from doorstream.drivers.simulated.player import play
from doorstream.drivers.simulated.story import Step, Story, UnknownDoorError, UnreachableDoorError

__all__ = [
    "Building",
    "Door",
    "Presented",
    "Signal",
    "Step",
    "Story",
    "UnknownDoorError",
    "UnreachableDoorError",
    "play",
]
