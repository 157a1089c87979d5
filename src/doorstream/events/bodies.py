"""The typed bodies of events: which keys a topic's body has in the vendor's samples (seed 000).

A key that has no value is null, never absent, so a struct of this module always encodes with all its keys. Keys that a
struct does not know are kept beside the known ones (see ``doorstream.events.draft``). Field names are the wire's.
"""

from __future__ import annotations

from typing import Any

import msgspec

# ruff: noqa: N815 - the fields have the names of the wire


class DeviceRef(msgspec.Struct):
    """A device (door) as events name it; ``connection`` is the controller's id (a string here, an object in REST)."""

    id: str | None = None
    name: str | None = None
    connection: str | None = None
    port: int | None = None


class HolderRef(msgspec.Struct):
    """A person as events name them; dates are texts without zone, null for "always"."""

    id: str | None = None
    name: str | None = None
    enabled: bool | None = None
    activeDate: str | None = None
    expireDate: str | None = None


class CloudNodeRef(msgspec.Struct):
    """The cloud node that reported an event."""

    id: str | None = None
    serialNumber: str | None = None
    name: str | None = None


class DeviceBody(msgspec.Struct):
    """Alarms, inputs, modes: everything that happens at a device without a credential."""

    deviceId: str | None = None
    device: DeviceRef | None = None


class UnknownRequestBody(DeviceBody):
    """A credential that belongs to nobody; card numbers are texts here and integers in REST (vendor-apis.md 1.4)."""

    facilityCode: str | None = None
    cardNumber: str | None = None


class RequestBody(UnknownRequestBody):
    """A known holder asks to pass."""

    holderId: str | None = None
    credentialId: str | None = None
    requestFactor: str | None = None
    holder: HolderRef | None = None


class CloudNodeBody(msgspec.Struct):
    """A cloud node that was registered with, or unregistered from, its panel."""

    id: str | None = None
    name: str | None = None
    serialNumber: str | None = None


class CloudNodeCreatedBody(msgspec.Struct):
    """A cloud node as it was created; ``created`` is an ISO time."""

    id: str | None = None
    name: str | None = None
    description: str | None = None
    serialNumber: str | None = None
    timezone: str | None = None
    cardFormat: list[Any] = msgspec.field(default_factory=list)
    created: str | None = None


class CloudNodeDeletedBody(msgspec.Struct):
    """A cloud node as it was when it was deleted; ``killTimer`` in seconds."""

    id: str | None = None
    name: str | None = None
    serialNumber: str | None = None
    locale: str | None = None
    timezone: str | None = None
    killTimer: int | None = None
    offlinePolicy: int | None = None
    cardFormat: list[Any] = msgspec.field(default_factory=list)
    created: str | None = None


class ConnectionBody(msgspec.Struct):
    """A cloud node came online or went offline."""

    serialNumber: str | None = None


class EndpointSyncBody(msgspec.Struct):
    """A controller takes over changed settings; ``type`` is ``ao_rules`` in the samples."""

    connectionId: str | None = None
    address: str | None = None
    type: str | None = None


class SyncBody(msgspec.Struct):
    """A cloud node has (or has not yet) what was changed."""

    panelSn: str | None = None
    dataFlowStatus: str | None = None
