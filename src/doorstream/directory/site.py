"""One site in memory: what belongs to it, and the names that its events may leave out."""

from __future__ import annotations

from typing import NamedTuple

from doorstream.directory.table import Table
from doorstream.events.bodies import CloudNodeRef, DeviceRef, HolderRef
from doorstream.events.entities import (
    CloudNode,
    Connection,
    Device,
    Holder,
    Module,
    Owned,
    Site,
    System,
    Webhook,
    Zone,
)


class CloudNodeStatus(NamedTuple):
    """Whether a cloud node is online, and since when (milliseconds since 1970; None: never heard of)."""

    connected: bool
    since: int | None


class SiteView:
    """A site's mirror. ``device_ref``, ``holder_ref`` and ``cloud_node_ref`` are ``events.draft.Names``.

    The references that it returns are shared: read them, never change them.
    """

    __slots__ = (
        "_cloud_node_refs",
        "_device_refs",
        "_holder_refs",
        "_statuses",
        "cloud_nodes",
        "connections",
        "devices",
        "holders",
        "modules",
        "site",
        "systems",
        "webhooks",
        "zones",
    )

    def __init__(self) -> None:
        self.site: Site | None = None
        self.cloud_nodes: Table[CloudNode] = Table()
        self.connections: Table[Connection] = Table()
        self.devices: Table[Device] = Table()
        self.holders: Table[Holder] = Table()
        self.modules: Table[Module] = Table()
        self.zones: Table[Zone] = Table()
        self.systems: Table[System] = Table()
        self.webhooks: Table[Webhook] = Table()
        self._device_refs: dict[str, DeviceRef] = {}
        self._holder_refs: dict[str, HolderRef] = {}
        self._cloud_node_refs: dict[str, CloudNodeRef] = {}
        self._statuses: dict[str, CloudNodeStatus] = {}

    def device_ref(self, device_id: str) -> DeviceRef | None:
        """The device as events name it, or None where it is unknown."""
        known = self._device_refs.get(device_id)
        if known is None:
            device = self.devices.get(device_id)
            if device is None:
                return None
            known = DeviceRef(device.id, device.name, device.connection_id, device.port)
            self._device_refs[device_id] = known
        return known

    def holder_ref(self, holder_id: str) -> HolderRef | None:
        """The holder as events name them, or None."""
        known = self._holder_refs.get(holder_id)
        if known is None:
            holder = self.holders.get(holder_id)
            if holder is None:
                return None
            known = HolderRef(holder.id, holder.name, holder.enabled, holder.active_date, holder.expire_date)
            self._holder_refs[holder_id] = known
        return known

    def cloud_node_ref(self, *, cloud_node_id: str | None, device_id: str | None) -> CloudNodeRef | None:
        """The cloud node of that id, else the one that the device belongs to, or None."""
        if cloud_node_id is None and device_id is not None:
            device = self.devices.get(device_id)
            cloud_node_id = device.cloud_node_id if device is not None else None
        if cloud_node_id is None:
            return None
        known = self._cloud_node_refs.get(cloud_node_id)
        if known is None:
            node = self.cloud_nodes.get(cloud_node_id)
            if node is None:
                return None
            known = CloudNodeRef(node.id, node.serial_number, node.name)
            self._cloud_node_refs[cloud_node_id] = known
        return known

    def status_of(self, node: CloudNode) -> CloudNodeStatus:
        """Whether the cloud node is online, as far as its events told."""
        return self._statuses.get(node.serial_number or node.id, CloudNodeStatus(connected=False, since=None))

    def note_status(self, serial_number: str, *, connected: bool, occurred: int) -> None:
        """Take over a ``cloudnode.connected`` or ``.disconnected``; one older than what is known changes nothing."""
        known = self._statuses.get(serial_number)
        if known is None or known.since is None or known.since <= occurred:
            self._statuses[serial_number] = CloudNodeStatus(connected, occurred)

    def is_empty(self) -> bool:
        """Tell whether nothing is left: neither the site nor anything that belongs to it."""
        tables = (self.cloud_nodes, self.connections, self.devices, self.holders)
        others = (self.modules, self.zones, self.systems, self.webhooks)
        return self.site is None and not any(len(table) for table in (*tables, *others))

    def owned(self) -> list[Owned]:
        """Everything that belongs to the site."""
        others = (*self.webhooks, *self.systems, *self.zones, *self.modules)
        return [*others, *self.devices, *self.connections, *self.cloud_nodes, *self.holders]

    def put(self, entity: Owned) -> None:
        """Take over a new or changed entity."""
        match entity:
            case CloudNode():
                self.cloud_nodes.put(entity)
                self._cloud_node_refs.pop(entity.id, None)
            case Connection():
                self.connections.put(entity)
            case Device():
                self.devices.put(entity)
                self._device_refs.pop(entity.id, None)
            case Holder():
                self.holders.put(entity)
                self._holder_refs.pop(entity.id, None)
            case Module():
                self.modules.put(entity)
            case Zone():
                self.zones.put(entity)
            case System():
                self.systems.put(entity)
            case Webhook():
                self.webhooks.put(entity)

    def remove(self, entity: Owned) -> None:
        """Forget an entity."""
        match entity:
            case CloudNode():
                self.cloud_nodes.remove(entity.id)
                self._cloud_node_refs.pop(entity.id, None)
            case Connection():
                self.connections.remove(entity.id)
            case Device():
                self.devices.remove(entity.id)
                self._device_refs.pop(entity.id, None)
            case Holder():
                self.holders.remove(entity.id)
                self._holder_refs.pop(entity.id, None)
            case Module():
                self.modules.remove(entity.id)
            case Zone():
                self.zones.remove(entity.id)
            case System():
                self.systems.remove(entity.id)
            case Webhook():
                self.webhooks.remove(entity.id)
