"""Where the story plays: the doors, each at its place, in the wings that a cloud node serves each.

A wing has the scenes that are under way at its places, and two queues between them and the log: `waiting` (signals that
a stimulus caused and that no slot has taken yet) and `memory` (events that its cloud node keeps while it is away).
"""

import math
from collections import deque
from heapq import heappop, heappush
from itertools import count
from typing import Any, NamedTuple, TypeAlias

from doorstream.drivers.simulated.building import Building, CloudNode, Device
from doorstream.drivers.simulated.door import ORIGIN, Door, Signal
from doorstream.drivers.simulated.scenes import Scene

Event: TypeAlias = dict[str, Any]
"""An event in ingest form (design.md, "The event as put in"), without an id."""


class Place:
    """A door of the building and what is going on there."""

    __slots__ = ("_device_body", "device", "door", "index")

    def __init__(self, index: int, device: Device) -> None:
        self.index = index
        self.device = device
        self.door = Door()
        self._device_body = {
            "id": device.id,
            "name": device.name,
            "connection": device.connection_id,
            "port": device.port,
        }

    def body(self, signal: Signal) -> dict[str, Any]:
        """Return the body of an event of this door, all keys of the samples of seed 000 included."""
        return {"deviceId": self.device.id, "device": self._device_body, **_without_origin(signal)}


class _Performance(NamedTuple):
    """A scene under way: when its next beat is due, where, and whether it is the one that occupies the place."""

    due: float
    number: int
    place: Place | None
    scene: Scene
    occupies: bool


class Wing:
    """A cloud node and its doors.

    `pace` multiplies the pauses of scenes that occupy a place. Places are never removed, only `free` or not.
    """

    def __init__(self, node: CloudNode, places: list[Place], connection_ids: list[str], pace: float) -> None:
        self.node = node
        self.places = places
        self.connection_ids = connection_ids
        self.free = {place.index: place for place in places}
        self.waiting: deque[tuple[Place | None, Signal]] = deque()
        self.memory: deque[Event] = deque()
        self.is_away = False
        self._pace = pace
        self._performances: list[_Performance] = []
        self._numbers = count()
        self._node_body = {"id": node.id, "serialNumber": node.serial_number, "name": node.name}

    @property
    def is_live(self) -> bool:
        """Whether what happens here is put in at once: the node is there and has nothing older to deliver."""
        return not self.is_away and not self.memory

    @property
    def is_synchronising(self) -> bool:
        """Whether the cloud and the node are exchanging something that an outage would cut in two."""
        return any(performance.place is None for performance in self._performances)

    @property
    def next_due(self) -> float:
        """When the next beat of a scene is due, or infinity."""
        return self._performances[0].due if self._performances else math.inf

    def occupy(self, place: Place, scene: Scene) -> None:
        """Have a scene begin at once that keeps others like it from the place."""
        del self.free[place.index]
        heappush(self._performances, _Performance(-math.inf, next(self._numbers), place, scene, occupies=True))

    def play(self, place: Place | None, scene: Scene) -> None:
        """Have a scene begin at once, beside what else goes on at the place, or at none (the node's own signals)."""
        heappush(self._performances, _Performance(-math.inf, next(self._numbers), place, scene, occupies=False))

    def beat(self, at: float) -> None:
        """Play the next beat of the scene that is due soonest. There must be one."""
        _, number, place, scene, occupies = heappop(self._performances)
        beat = next(scene, None)
        if beat is None:
            if occupies and place is not None:
                self.free[place.index] = place
            return
        signals, pause = beat
        for signal in signals:
            self.waiting.append((place, signal))
        due = at + (pause * self._pace if occupies else pause)
        heappush(self._performances, _Performance(due, number, place, scene, occupies))

    def withdraw(self, place: Place) -> list[Signal]:
        """Take out, in order, the signals of this place that wait, so that something newer may follow them."""
        taken = [signal for origin, signal in self.waiting if origin is place]
        if taken:
            self.waiting = deque(entry for entry in self.waiting if entry[0] is not place)
        return taken

    def event(self, place: Place | None, signal: Signal, occurred: int) -> Event:
        """Return the event of a signal from one of this wing's places, or of the cloud node itself."""
        event = {
            "topic": signal.topic,
            "occurred": occurred,
            "body": dict(signal.body) if place is None else place.body(signal),
            "cloudNode": self._node_body,
        }
        origin = {key: signal.body[key] for key in ORIGIN if key in signal.body}
        if origin:
            event["metadata"] = origin
        return event


def _without_origin(signal: Signal) -> dict[str, Any]:
    return {key: value for key, value in signal.body.items() if key not in ORIGIN}


class Stage:
    """All wings of a building, at most one of which is not live, and what the cloud has to say of them."""

    def __init__(self, building: Building, pace: float) -> None:
        self.places = [Place(index, device) for index, device in enumerate(building.devices)]
        self.wings = [
            Wing(
                node,
                [place for place in self.places if place.device.cloud_node_id == node.id],
                [connection.id for connection in building.connections if connection.cloud_node_id == node.id],
                pace,
            )
            for node in building.cloud_nodes
        ]
        self.announcements: deque[tuple[Wing, Signal]] = deque()
        self._wing_of = {place.index: wing for wing in self.wings for place in wing.places}

    def wing_of(self, place: Place) -> Wing:
        """Return the wing to which a place belongs."""
        return self._wing_of[place.index]

    def disconnect(self, wing: Wing) -> None:
        """The cloud loses sight of a node. All wings must be live, and more than one."""
        wing.is_away = True
        self.announcements.append((wing, Signal("cloudnode.disconnected", {"serialNumber": wing.node.serial_number})))

    def reconnect(self, wing: Wing) -> None:
        """A node is back, and delivers what its memory holds."""
        wing.is_away = False
        self.announcements.append((wing, Signal("cloudnode.connected", {"serialNumber": wing.node.serial_number})))
