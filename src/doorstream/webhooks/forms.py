"""What the body of a delivery looks like: the forms that belong to no vendor.

``native`` is the event as our own API shows it. CloudEvents 1.0.2 in both modes of its HTTP binding: ``id``, ``type``
(the topic), ``source`` (the site's address), ``time`` (when it occurred), ``subject`` (the device, where there is one),
and the extension attributes ``recorded`` (when it was put into the log) and ``position``. ``data`` is what the
attributes do not say: ``body``, ``cloudNode`` and ``metadata`` as kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from doorstream.directory import SiteView
from doorstream.events import Event, Position
from doorstream.events.event import iso_utc

JSON = "application/json"
CLOUDEVENTS_JSON = "application/cloudevents+json"

_encode = msgspec.json.Encoder().encode
# All printable ASCII but space, double quote and percent: HTTP binding 3.1.3.2. Letters and digits are always safe.
_PLAIN_IN_HEADERS = "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


@dataclass(frozen=True, slots=True)
class Payload:
    """One delivery's body, its media type, and headers that belong to the form."""

    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


Form = Callable[[Event, SiteView | None], Payload | None]
"""From an event, and its site as the directory knows it, to a payload; None where the form has nothing to say of it."""


class _Device(msgspec.Struct):
    deviceId: Any = None  # noqa: N815 - the wire's name


_decode_device = msgspec.json.Decoder(_Device).decode


def native(epoch: str) -> Form:
    """The event as our own API shows it, with ``recorded`` and ``position``; ``epoch`` names the log."""

    def form(event: Event, _: SiteView | None) -> Payload:
        return Payload(JSON, event.public_json(epoch))

    return form


def cloudevents_structured(public_url: str, epoch: str) -> Form:
    """A CloudEvent as one JSON object; ``public_url`` is where this server's API is reached."""

    def form(event: Event, _: SiteView | None) -> Payload:
        envelope = {**_attributes(event, public_url, epoch), "data": msgspec.Raw(_data(event))}
        return Payload(CLOUDEVENTS_JSON, _encode(envelope))

    return form


def cloudevents_binary(public_url: str, epoch: str) -> Form:
    """A CloudEvent with its attributes in ``ce-…`` headers and its data as the body."""

    def form(event: Event, _: SiteView | None) -> Payload:
        attributes = _attributes(event, public_url, epoch)
        content_type = attributes.pop("datacontenttype")
        headers = {f"ce-{name}": quote(value, safe=_PLAIN_IN_HEADERS) for name, value in attributes.items()}
        return Payload(content_type, _data(event), headers)

    return form


def _attributes(event: Event, public_url: str, epoch: str) -> dict[str, str]:
    attributes = {
        "specversion": "1.0",
        "id": event.id,
        "source": f"{public_url.rstrip('/')}/api/sites/{event.site_id}",
        "type": event.topic,
        "time": iso_utc(event.occurred),
        "datacontenttype": JSON,
        "recorded": iso_utc(event.recorded),
        "position": str(Position(epoch, event.sequence)),
    }
    device_id = _device_id(event.body)
    if device_id is not None:
        attributes["subject"] = device_id
    return attributes


def _device_id(body: bytes) -> str | None:
    """The device in a body: a topic of a driver's own may have anything there, or no object at all."""
    try:
        device_id = _decode_device(body).deviceId
    except msgspec.ValidationError:
        return None
    return device_id if isinstance(device_id, str) and device_id.isprintable() and device_id else None


def _data(event: Event) -> bytes:
    return b'{"body":%b,"cloudNode":%b,"metadata":%b}' % (event.body, event.cloud_node, event.metadata)
