"""The event as it is put in and as it is kept, with the body of each topic, from the structs and the catalogue."""

from __future__ import annotations

from typing import Final

from doorstream.events import CATALOGUE, bodies
from doorstream.events.draft import Draft
from doorstream.server.documents.notation import (
    ANY,
    MILLISECONDS,
    TEXT,
    Schema,
    maybe,
    record,
    ref,
    structs,
)

BODIES: Final = tuple(dict.fromkeys(topic.body for topic in CATALOGUE.values() if topic.body is not None))
"""The structs of typed bodies, each once, in the order of the catalogue."""

_EXAMPLE_ID: Final = "1b99bf42-1f9c-4184-9b5a-f7be9b24f4be"


def body_schemas() -> dict[str, Schema]:
    """The typed bodies and what stands in them. Further keys of an event's source are kept beside the known ones."""
    return structs(*BODIES, bodies.CloudNodeRef)


def kept_event() -> Schema:
    """An event as our own interfaces show it."""
    event = record(
        {
            "id": TEXT | {"description": "Whoever put it in gave it, or it is a UUIDv7"},
            "topic": TEXT | {"examples": ["device.request.allowed"]},
            "siteId": TEXT,
            "occurred": MILLISECONDS | {"description": "When it happened, in milliseconds since 1970 UTC"},
            "body": {"type": "object", "description": "Its keys follow from the topic"},
            "cloudNode": maybe(ref("CloudNodeRef")),
            "metadata": {"type": ["object", "null"]},
            "recorded": MILLISECONDS | {"description": "When it was put into the log, in milliseconds since 1970 UTC"},
            "position": TEXT | {"description": "Its place in the log: where to go on after it"},
        },
        description="An event as it is kept.",
    )
    return event | {"allOf": [_body_of(struct) for struct in BODIES]}


def event_in() -> Schema:
    """An event as it is put in."""
    members: dict[str, Schema] = {
        "topic": TEXT | {"examples": ["device.request.allowed", "x.acme.lift.stuck"]},
        "occurred": {
            "oneOf": [{"type": "number"}, {"type": "string", "format": "date-time"}],
            "description": "Milliseconds since 1970, or RFC 3339 with a zone",
        },
        "body": {"type": "object", "examples": [{"deviceId": _EXAMPLE_ID}]},
        "cloudNode": {
            "type": ["object", "null"],
            "properties": {name: {"type": ["string", "null"]} for name in bodies.CloudNodeRef.__struct_fields__},
        },
        "metadata": {"type": ["object", "null"]},
        "id": {
            "type": ["string", "null"],
            "pattern": "^[!-~]{1,128}$",
            "description": "Makes repeating safe; a UUIDv7 if absent",
        },
    }
    wire = Draft.__struct_encode_fields__
    return record(
        {name: members.get(name, ANY) for name in wire},
        optional=("cloudNode", "metadata", "id"),
        description="An event as it is put in. Keys and body are as in PDK's samples; names may be left out: they are "
        "filled in from the directory.",
    )


def _body_of(struct: type) -> Schema:
    """Which topics have that body."""
    topics = [topic.name for topic in CATALOGUE.values() if topic.body is struct]
    return {
        "if": {"properties": {"topic": {"enum": topics}}},
        "then": {"properties": {"body": ref(struct.__name__)}},
    }
