"""What the built-in drivers share: the directory, the events of doors, and the stories that are played."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import structlog

from doorstream.directory import Directory, SiteView
from doorstream.drivers.simulated import Story
from doorstream.events import Event
from doorstream.events.bodies import ConnectionBody
from doorstream.events.entities import Device
from doorstream.history import Index

_logger = structlog.get_logger(__name__)

_CONNECTED = "cloudnode.connected"
_CONNECTION = frozenset({_CONNECTED, "cloudnode.disconnected"})


class _Concerned(msgspec.Struct):
    deviceId: str | None = None  # noqa: N815 - the wire's name


_decode_concerned = msgspec.json.Decoder(_Concerned).decode
_decode_serial = msgspec.json.Decoder(ConnectionBody).decode

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
        self._watches: dict[tuple[str, str], list[DoorWatch]] = {}
        self._sites: dict[str, int] = {}
        self._dirty: list[DoorWatch] = []
        self._offline: dict[tuple[str, str], bool] = {}
        """By site and serial number: whether the cloud node's last word was that it is away."""

    async def open(self) -> None:
        """Learn which cloud nodes are away; raises LogUnavailable."""
        for event in await self._index.statuses():
            self._note_connection(event)

    def watch(self, site_id: str, device_id: str, on_events: OnEvents, on_connection: Callable[[], None]) -> DoorWatch:
        """Have the callbacks called with the door's events from now on, and when its cloud node comes or goes."""
        watch = DoorWatch(site_id, device_id, on_events, on_connection, self._leave)
        self._watches.setdefault((site_id, device_id), []).append(watch)
        self._sites[site_id] = self._sites.get(site_id, 0) + 1
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
        found = self.device(site_id, device_id)
        if found is None or found[1].cloud_node_id is None:
            return None
        node = found[0].cloud_nodes.get(found[1].cloud_node_id)
        return node.serial_number if node is not None else None

    def is_offline(self, site_id: str, device_id: str) -> bool | None:
        """Whether the door's cloud node is away; None if it never said anything."""
        serial = self.serial_number(site_id, device_id)
        return None if serial is None else self._offline.get((site_id, serial))

    def plan(self, site_id: str, _view: SiteView | None) -> None:
        """The site has other doors or cloud nodes."""
        for (site, _), watches in self._watches.items():
            if site == site_id:
                for watch in watches:
                    watch.on_connection()

    def receive(self, event: Event) -> None:
        """The next event of the log."""
        if event.topic in _CONNECTION:
            self._note_connection(event)
            self.plan(event.site_id, None)
            return
        if event.site_id not in self._sites or not event.topic.startswith("device."):
            return
        try:
            device_id = _decode_concerned(event.body).deviceId
        except msgspec.DecodeError:
            return
        for watch in self._watches.get((event.site_id, device_id or ""), ()):
            if not watch.pending:
                if not self._dirty:
                    asyncio.get_running_loop().call_soon(self._hand_out)
                self._dirty.append(watch)
            watch.pending.append(event)

    def _note_connection(self, event: Event) -> None:
        serial = _decode_serial(event.body).serialNumber
        if serial is not None:
            self._offline[event.site_id, serial] = event.topic != _CONNECTED

    def _hand_out(self) -> None:
        dirty, self._dirty = self._dirty, []
        for watch in dirty:
            events, watch.pending = watch.pending, []
            try:
                watch.on_events(events)
            except Exception:  # one module's mistake must not keep the others from their events
                _logger.exception("a door's events could not be dealt with", device=watch.device_id)

    def _leave(self, watch: DoorWatch) -> None:
        key = (watch.site_id, watch.device_id)
        watches = self._watches.get(key, [])
        if watch in watches:
            watches.remove(watch)
            if not watches:
                del self._watches[key]
            self._sites[watch.site_id] -= 1
            if not self._sites[watch.site_id]:
                del self._sites[watch.site_id]


@dataclass(frozen=True, slots=True)
class Premises:
    """What a built-in driver has beside what every driver has. ``stories`` are those played in this process."""

    doors: Doors
    stories: Mapping[str, Story]
