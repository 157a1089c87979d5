"""What the built-in drivers share: the directory, the events of doors, and the stories that are played."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import structlog

from doorstream.directory import Directory, SiteView
from doorstream.drivers.simulated import Story
from doorstream.events import Event
from doorstream.events.entities import CloudNode, Device
from doorstream.history import Index

_logger = structlog.get_logger(__name__)

_CONNECTION = frozenset({"cloudnode.connected", "cloudnode.disconnected"})


class _Concerned(msgspec.Struct):
    deviceId: str | None = None  # noqa: N815 - the wire's name


_decode_concerned = msgspec.json.Decoder(_Concerned).decode

OnEvents = Callable[["list[Event]"], None]


class DoorWatch:
    """One module's interest in one door."""

    __slots__ = ("_leave", "device_id", "on_connection", "on_events", "pending", "site_id")

    def __init__(
        self,
        site_id: str,
        device_id: str,
        on_events: OnEvents,
        on_connection: Callable[[], None],
        leave: Callable[[DoorWatch], None],
    ) -> None:
        self.site_id = site_id
        self.device_id = device_id
        self.on_events = on_events
        self.on_connection = on_connection
        self.pending: list[Event] = []
        self._leave = leave

    def cancel(self) -> None:
        """No longer."""
        self._leave(self)


class Doors:
    """Hands each door's events to the modules that stand for it, those of one turn of the event loop together."""

    def __init__(self, directory: Directory, index: Index, clock: Callable[[], float]) -> None:
        self.directory = directory
        self.clock = clock
        self._index = index
        self._watches: dict[str, dict[str, list[DoorWatch]]] = {}
        """By site and door."""
        self._dirty: list[DoorWatch] = []

    def watch(self, site_id: str, device_id: str, on_events: OnEvents, on_connection: Callable[[], None]) -> DoorWatch:
        """Have the callbacks called with the door's events from now on, and when its cloud node comes or goes."""
        watch = DoorWatch(site_id, device_id, on_events, on_connection, self._leave)
        self._watches.setdefault(site_id, {}).setdefault(device_id, []).append(watch)
        return watch

    async def history(self, site_id: str, device_id: str) -> list[Event]:
        """The events of the past that say what the door is now, in order; raises LogUnavailable."""
        await self._index.current()
        return await self._index.door_events(site_id, device_id)

    def device(self, site_id: str, device_id: str) -> tuple[SiteView, Device] | None:
        """The door in the directory."""
        view = self.directory.site(site_id)
        device = view.devices.get(device_id) if view is not None else None
        return None if view is None or device is None else (view, device)

    def serial_number(self, site_id: str, device_id: str) -> str | None:
        """The serial number of the cloud node that speaks for the door."""
        found = self._cloud_node(site_id, device_id)
        return None if found is None else found[1].serial_number

    def _cloud_node(self, site_id: str, device_id: str) -> tuple[SiteView, CloudNode] | None:
        found = self.device(site_id, device_id)
        if found is None or found[1].cloud_node_id is None:
            return None
        node = found[0].cloud_nodes.get(found[1].cloud_node_id)
        return None if node is None else (found[0], node)

    def is_offline(self, site_id: str, device_id: str) -> bool | None:
        """Whether the door's cloud node is away; None if it never said anything."""
        found = self._cloud_node(site_id, device_id)
        if found is None:
            return None
        status = found[0].status_of(found[1])
        return None if status.since is None else not status.connected

    def look_again(self, site_id: str) -> None:
        """The site has other doors or cloud nodes, or one of these came or went."""
        for watch in [watch for watches in self._watches.get(site_id, {}).values() for watch in watches]:
            try:
                watch.on_connection()
            except Exception:  # one module's mistake must not keep the others from it
                _logger.exception("a door's connection could not be dealt with", device=watch.device_id)

    def receive(self, event: Event) -> None:
        """The next event of the log; what it says of a cloud node is in the site's mirror already."""
        doors = self._watches.get(event.site_id)
        if doors is None:
            return
        if event.topic in _CONNECTION:
            self.look_again(event.site_id)
            return
        if not event.topic.startswith("device."):
            return
        try:
            device_id = _decode_concerned(event.body).deviceId
        except msgspec.DecodeError:
            return
        for watch in doors.get(device_id or "", ()):
            if not watch.pending:
                if not self._dirty:
                    asyncio.get_running_loop().call_soon(self._hand_out)
                self._dirty.append(watch)
            watch.pending.append(event)

    def _hand_out(self) -> None:
        dirty, self._dirty = self._dirty, []
        for watch in dirty:
            events, watch.pending = watch.pending, []
            try:
                watch.on_events(events)
            except Exception:  # one module's mistake must not keep the others from their events
                _logger.exception("a door's events could not be dealt with", device=watch.device_id)

    def _leave(self, watch: DoorWatch) -> None:
        doors = self._watches.get(watch.site_id, {})
        watches = doors.get(watch.device_id, [])
        if watch in watches:
            watches.remove(watch)
            if not watches:
                del doors[watch.device_id]
            if not doors:
                del self._watches[watch.site_id]


class DoorModule(NamedTuple):
    """A module that stands for a door: its name and ``place`` (index) among those, the door's id and name."""

    name: str
    place: int
    device_id: str
    title: str


@dataclass(frozen=True, slots=True)
class Premises:
    """What a built-in driver has beside what every driver has.

    ``stories`` are those played in this process; ``door_modules`` gives a site's modules that stand for doors, in their
    order.
    """

    doors: Doors
    stories: Mapping[str, Story]
    door_modules: Callable[[str], Sequence[DoorModule]]
