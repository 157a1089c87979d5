"""From events to the body of PDK's webhooks (PDK-15), which is not what its stream says (vendor-apis.md 1.3, row 7).

Names stand in ``metadata``, not in ``body``; ``offset`` is the time zone's at that moment. What a secrecy level hides
is null (row 4).
"""

from __future__ import annotations

import zoneinfo
from datetime import datetime
from typing import Any

import msgspec

from doorstream.directory import SiteView
from doorstream.events import CATALOGUE, Event
from doorstream.webhooks.forms import JSON, Form, Payload

_NOT_OF_PDK = ("endpoint.sync.", "sync.", "device.alarm.tamper.", "device.battery.")
_STREAM_ONLY = {"cloudnode.registered", "cloudnode.unregistered"}

TOPICS = frozenset(topic for topic in CATALOGUE if not topic.startswith(_NOT_OF_PDK) and topic not in _STREAM_ONLY)
"""The topics of which PDK's webhooks tell."""

_CREDENTIALS = frozenset({"pin", "duresspin", "cardnumber", "facilitycode", "credentialid", "credentialnumber"})
_NAMES = frozenset({"name", "firstname", "lastname", "holdername", "devicename", "email"})
HIDES_CREDENTIALS, HIDES_NAMES = 1, 2
"""The secrecy levels: from 1 on PINs and credentials are hidden, from 2 on names too."""


class _Source(msgspec.Struct):
    id: Any = None
    serialNumber: Any = None  # noqa: N815 - the wire's name


_decode_source = msgspec.json.Decoder(_Source | None).decode
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def webhook_form(secrecy_level: int) -> Form:
    """The payload form of a secrecy level."""

    def form(event: Event, site: SiteView | None) -> Payload | None:
        if event.topic not in TOPICS:
            return None
        return Payload(JSON, _encode(_payload(event, site, secrecy_level)))

    return form


def _payload(event: Event, site: SiteView | None, secrecy_level: int) -> dict[str, Any]:
    source = _decode_source(event.cloud_node) or _Source()
    body: dict[str, Any] = _decode(event.body)
    device, holder = body.pop("device", None), body.pop("holder", None)
    metadata: dict[str, Any] = {
        "deviceName": _name_of(device),
        "holderName": _name_of(holder),
        "occurred": event.occurred,
        "offset": _offset(event, site, source.id),
        "rules": [],
        "source": "board",
        "systemId": event.site_id,
    }
    if secrecy_level >= HIDES_CREDENTIALS:
        _hide(body, _CREDENTIALS)
    if secrecy_level >= HIDES_NAMES:
        _hide(body, _NAMES)
        metadata |= {"deviceName": None, "holderName": None}
    return {
        "id": event.id,
        "topic": event.topic,
        "cloudNodeId": source.id,
        "cloudNodeSN": source.serialNumber,
        "body": body,
        "metadata": metadata,
    }


def _name_of(reference: Any) -> Any:
    return reference.get("name") if isinstance(reference, dict) else None


def _hide(value: Any, keys: frozenset[str]) -> None:
    """Hide keys wherever they stand and however they are written: a body may have free parts."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key.lower() in keys:
                value[key] = None
            else:
                _hide(each, keys)
    elif isinstance(value, list):
        for each in value:
            _hide(each, keys)


def _offset(event: Event, site: SiteView | None, cloud_node_id: Any) -> int:
    """Milliseconds by which the local time of the cloud node was ahead of UTC."""
    if site is None or site.site is None:
        return 0
    node = site.cloud_nodes.get(cloud_node_id) if isinstance(cloud_node_id, str) else None
    name = (node.timezone if node is not None else None) or site.site.timezone
    try:
        moment = datetime.fromtimestamp(event.occurred / 1000, zoneinfo.ZoneInfo(name))
        offset = moment.utcoffset()
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OverflowError, OSError):
        return 0
    return round(offset.total_seconds() * 1000) if offset is not None else 0
