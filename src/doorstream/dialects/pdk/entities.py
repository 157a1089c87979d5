"""Systems, cloud nodes, connections, devices and holders as PDK's REST shows them (vendor-apis.md 1.4).

All keys are always there; what doorstream does not keep is null or empty. PINs are never shown.
"""

from __future__ import annotations

from typing import Any

import msgspec

from doorstream.directory import SiteView
from doorstream.directory.cloud_node_events import locale_of, timezone_of
from doorstream.events.entities import CloudNode, Connection, Credential, Device, Holder, Site
from doorstream.events.event import iso_utc

_SYSTEM_OFFLINE_POLICY = 2
_SYSTEM_KILL_TIMER = 300


def account_system(site: Site, uri: str) -> dict[str, Any]:
    """A system as the accounts host lists it; ``uri`` is where its API lives."""
    return {"id": site.id, "name": site.name, "uri": uri, "description": site.description, "created": site.created}


def system(view: SiteView, site: Site, uri: str) -> dict[str, Any]:
    """A system as its own host shows it."""
    return account_system(site, uri) | {
        "ouId": None,
        "reportingPlan": "premium",
        "credentialSelfHelp": {"enabled": False, "monthlyLimit": 0},
        "cloudNodes": [
            {
                "id": node.id,
                "name": node.name,
                "description": node.description,
                "created": node.created,
                "serialNumber": node.serial_number,
            }
            for node in view.cloud_nodes
        ],
        "locale": site.locale,
        "timezone": site.timezone,
        "cardFormat": None,
        "offlinePolicy": _SYSTEM_OFFLINE_POLICY,
        "killTimer": _SYSTEM_KILL_TIMER,
        "syncStatus": {"synced": True, "details": {"timestamp": site.created}},
    }


def cloud_node(view: SiteView, node: CloudNode) -> dict[str, Any]:
    """A cloud node."""
    status = view.status_of(node)
    since = iso_utc(status.since) if status.since is not None else None
    return {
        "id": node.id,
        "name": node.name,
        "description": node.description,
        "created": node.created,
        "serialNumber": node.serial_number,
        "ecards": [],
        "offlinePolicy": node.offline_policy,
        "killTimer": node.kill_timer,
        "timezone": timezone_of(node, view.site),
        "locale": locale_of(node, view.site),
        "cardFormat": msgspec.to_builtins(node.card_format),
        "syncStatus": {"synced": True, "details": {"timestamp": node.created, "dataFlowStatus": None}},
        "connectionStatus": {"connected": status.connected, "details": {"timestamp": since}},
    }


def connection(view: SiteView, controller: Connection) -> dict[str, Any]:
    """A connection (controller); it is online when its cloud node is."""
    node = view.cloud_nodes.get(controller.cloud_node_id)
    return {
        "id": controller.id,
        "name": controller.name,
        "type": controller.type,
        "connected": node is not None and view.status_of(node).connected,
        "protocol": "IPv4",
        "ipaddress": None,
        "ipv6Address": None,
        "port": None,
        "dhcp": True,
        "netmask": None,
        "gateway": None,
        "dns": None,
        "macAddress": None,
        "manufacturer": "PDK",
    }


def device(view: SiteView, door: Device) -> dict[str, Any]:
    """A device; its connection is an object here and an id in events."""
    controller = view.connections.get(door.connection_id) if door.connection_id is not None else None
    return {
        "id": door.id,
        "name": door.name,
        "connection": {"id": controller.id, "name": controller.name, "type": controller.type} if controller else None,
        "port": door.port,
        "partition": [],
        "type": door.type,
        "publicIcon": None,
        "inputTypes": [],
        "osdpAddress": None,
        "readerType": door.reader_type,
        "readerSerialNumber": None,
        "supportBleCredentials": False,
        "securedReadsOnly": False,
        "delay": door.delay,
        "dwell": door.dwell,
        "dps": door.dps,
        "propAlarm": door.prop_alarm,
        "propDelay": door.prop_delay,
        "rex": door.rex,
        "forcedAlarm": door.forced_alarm,
        "autoOpenAfterFirstAllow": door.auto_open_after_first_allow,
        "hardwareVersion": door.hardware_version,
        "serialNumber": door.serial_number,
        "firmwareVersion": door.firmware_version,
        "created": door.created[:19].replace("T", " "),
    }


def holder(person: Holder) -> dict[str, Any]:
    """A holder; the name is in two parts here and in one in events."""
    return {
        "id": person.id,
        "firstName": person.first_name,
        "lastName": person.last_name,
        "email": person.email,
        "photoUrl": None,
        "partition": None,
        "enabled": person.enabled,
        "activeDate": person.active_date,
        "expireDate": person.expire_date,
        "pin": None,
        "duressPin": None,
        "customFields": [],
        "groups": [{"id": group.id, "name": group.name, "partition": None} for group in person.groups],
        "credentials": [credential(person, each) for each in person.credentials],
    }


def credential(person: Holder, card: Credential) -> dict[str, Any]:
    """A credential; its numbers are integers here and texts in events."""
    return {
        "id": card.id,
        "holderId": person.id,
        "credentialNumber": card.credential_number,
        "facilityCode": card.facility_code,
        "description": card.description,
        "types": card.types,
    }
