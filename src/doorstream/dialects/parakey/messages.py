"""From events to event logs, the same object in lists, by id and in webhooks (vendor-apis.md 3.5, PAR-9, PAR-10)."""

from __future__ import annotations

from typing import Any

import msgspec

from doorstream.directory import SiteView
from doorstream.events import Event
from doorstream.events.event import iso_utc
from doorstream.events.unlocks import is_unlock


class _Body(msgspec.Struct):
    """What an event log wants to know of a body. Of any kind: whoever puts an event in may add keys of his own."""

    deviceId: Any = None  # noqa: N815 - the wire's name
    device: Any = None
    holderId: Any = None  # noqa: N815 - the wire's name
    holder: Any = None


_decode_body = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder().encode


def event_log_json(event: Event, site: SiteView | None) -> bytes | None:
    """The event log that an event is; None if it is none (D17).

    Names are those that the event was kept with; the directory (``site``) adds the address of the person. ``createdAt``
    is the event's ``recorded``: events that were read with an ``UnlockQuery`` have one that never decreases (PAR-8).
    """
    if not is_unlock(event):
        return None
    body = _decode_body(event.body)
    return _encode(
        {
            "id": event.id,
            "domain": {"id": event.site_id},
            "user": _user(body, site),
            "device": _device(body, site),
            "access": None,
            "accessKey": None,
            "type": "unlock",
            "timestamp": iso_utc(event.occurred),
            "createdAt": iso_utc(event.recorded),
        }
    )


def _user(body: _Body, site: SiteView | None) -> dict[str, Any] | None:
    """Who passed; nobody where a command opened the door."""
    user_id = _text(body.holderId) or _text(_member(body.holder, "id"))
    if user_id is None:
        return None
    holder = site.holders.get(user_id) if site is not None else None
    name = _text(_member(body.holder, "name"))
    if name is None and holder is not None:
        name = holder.name
    return {"id": user_id, "email": holder.email if holder is not None else None, "name": name}


def _device(body: _Body, site: SiteView | None) -> dict[str, Any]:
    """The lock; its keys are there also where an event names none."""
    device_id = _text(body.deviceId) or _text(_member(body.device, "id"))
    name = _text(_member(body.device, "name"))
    if name is None and device_id is not None and site is not None:
        device = site.devices.get(device_id)
        name = device.name if device is not None else None
    return {"id": device_id, "name": name}


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
