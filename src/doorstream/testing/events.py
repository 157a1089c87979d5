"""Events for tests, and a directory that knows nobody or whom it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from doorstream.events import Event
from doorstream.events.bodies import CloudNodeRef, DeviceRef, HolderRef
from doorstream.events.event import encode_kept

SITE = "0738b8df-329a-4d50-88e7-7a48928c4d6f"
OTHER_SITE = "0738b8df-329a-4d50-88e7-7a48928c4d70"


class KnownNames:
    """Names as the directory gives them; nothing is known unless it is given here."""

    def __init__(
        self,
        *,
        devices: Mapping[str, DeviceRef] | None = None,
        holders: Mapping[str, HolderRef] | None = None,
        cloud_nodes: Mapping[str, CloudNodeRef] | None = None,
        node_of: Mapping[str, str] | None = None,
    ) -> None:
        """``node_of`` names the cloud node that a device belongs to."""
        self._devices = devices or {}
        self._holders = holders or {}
        self._cloud_nodes = cloud_nodes or {}
        self._node_of = node_of or {}

    def device_ref(self, device_id: str) -> DeviceRef | None:
        """The device of that id."""
        return self._devices.get(device_id)

    def holder_ref(self, holder_id: str) -> HolderRef | None:
        """The holder of that id."""
        return self._holders.get(holder_id)

    def cloud_node_ref(self, *, cloud_node_id: str | None, device_id: str | None) -> CloudNodeRef | None:
        """The cloud node of that id, or that of the device."""
        if cloud_node_id is None:
            cloud_node_id = self._node_of.get(device_id or "")
        return self._cloud_nodes.get(cloud_node_id or "")


def make_event(
    sequence: int, *, site_id: str = SITE, topic: str = "x.test", body: Any = None, recorded: int = 1_769_853_600_000
) -> Event:
    """An event as it comes out of the log at that place; its id and time follow from the place."""
    json = encode_kept(
        id=f"event-{sequence}",
        topic=topic,
        site_id=site_id,
        occurred=recorded + sequence,
        body={} if body is None else body,
        cloud_node=None,
        metadata=None,
    )
    return Event(json, sequence, recorded + sequence)
