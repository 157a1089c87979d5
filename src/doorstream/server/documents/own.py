"""What the document says of our own routes, beside what their forms and views say themselves."""

from __future__ import annotations

from typing import Final

from doorstream.drivers import DriverView, ModuleView
from doorstream.server.documents.notation import (
    COUNT,
    FLAG,
    INTEGER,
    NUMBER,
    OBJECT,
    TEXT,
    TEXT_PLAIN,
    TIME,
    Operation,
    Operations,
    Parameter,
    Schema,
    just,
    listed,
    maybe,
    one_of,
    record,
    ref,
    structs,
)
from doorstream.webhooks.records import State

_SITE: Final = "/api/sites/{site_id}"
_EVENTS: Final = f"{_SITE}/events"
_MODULES: Final = f"{_SITE}/modules"
_WEBHOOK: Final = f"{_SITE}/webhooks/{{webhook_id}}"
_POSITION: Final = TEXT | {"examples": ["b1946ac9.1024"], "description": "A place in the log"}
_STATE: Final = one_of(state.value for state in State)


def _page(item: Schema) -> Schema:
    """One page of a list."""
    return record(
        {
            "items": listed(item),
            "next": maybe(TEXT | {"description": "The `cursor` of the next page; null on the last"}),
        }
    )


def _modules() -> dict[str, Schema]:
    """Modules and drivers, as their own views are; what settings hold only those see who may change them."""
    found = structs(ModuleView, DriverView)
    found["ModuleView"]["properties"] |= {"settings": maybe(OBJECT)}
    return found


SCHEMAS: Final[dict[str, Schema]] = {
    **_modules(),
    "Receipt": record(
        {"accepted": COUNT, "duplicates": COUNT, "positions": listed(_POSITION)},
        description="What became of one event or of an array.",
    ),
    "LineReport": record(
        {
            "accepted": COUNT,
            "duplicates": COUNT,
            "first": maybe(_POSITION),
            "last": maybe(_POSITION),
            "rejected_count": COUNT,
            "rejected": listed(record({"line": COUNT, "reason": TEXT})),
        },
        description="What became of lines; of those that were rejected the first thousand.",
    ),
    "Delivery": record(
        {
            "id": TEXT,
            "event": TEXT,
            "site_id": TEXT,
            "topic": TEXT,
            "device_id": maybe(TEXT),
            "position": maybe(_POSITION),
            "message_id": TEXT,
            "state": _STATE,
            "attempts": COUNT,
            "created": TIME,
            "last_attempt": maybe(TIME),
            "next_attempt": maybe(TIME),
            "status": maybe(INTEGER),
            "error": maybe(TEXT),
            "replay": maybe(TEXT),
            "test": FLAG,
        },
        description="A delivery as it stands.",
    ),
    "Attempt": record(
        {
            "number": COUNT,
            "at": TIME,
            "state": _STATE,
            "status": maybe(INTEGER),
            "error": maybe(TEXT),
            "duration": NUMBER | {"description": "Seconds"},
            "answer": maybe(TEXT),
            "next_attempt": maybe(TIME),
        },
        description="One attempt of a delivery.",
    ),
}

_READY: Final = record(
    {
        "status": just("ready"),
        "durability": TEXT,
        "epoch": TEXT | {"description": "Names the log: positions of another one mean nothing here"},
        "log": record({"first": COUNT, "last": COUNT}),
        "index": record({"applied": COUNT}),
    }
)
_TESTED: Final = record(
    {
        "delivered": FLAG,
        "status": maybe(INTEGER),
        "error": maybe(TEXT),
        "detail": maybe(TEXT),
        "duration": NUMBER | {"description": "Seconds"},
        "answer": TEXT,
        "topic": TEXT,
        "delivery": maybe(TEXT),
    }
)
_REPLAYED: Final = record({"replay": TEXT, "deliveries": COUNT, "next": maybe(TEXT)})

OPERATIONS: Final[Operations] = {
    ("POST", _EVENTS): Operation(
        answer={"anyOf": [ref("Receipt"), ref("LineReport")]},
        what="All of it is durable; an array is answered with a receipt, lines with a report",
        problems=("not-found", "invalid-event", "invalid-events", "too-large", "log-unavailable", "storage-full"),
        errors={415: "A Content-Encoding"},
    ),
    ("GET", _EVENTS): Operation(
        answer=record({"events": listed(ref("Event")), "next": maybe(_POSITION)}),
        problems=("not-found", "invalid-parameter", "position-gone", "log-unavailable"),
    ),
    ("GET", f"{_SITE}/stream"): Operation(
        answer=TEXT,
        media="text/event-stream",
        what="Server-sent events without end; the AsyncAPI document has their contents",
        request_headers={"Last-Event-ID": Parameter("Go on after this position")},
        problems=("not-found", "invalid-parameter", "log-unavailable"),
    ),
    ("GET", "/api/sites"): Operation(answer=_page(ref("Site"))),
    ("GET", f"{_SITE}/cloud-nodes"): Operation(answer=_page(ref("CloudNodeView"))),
    ("GET", f"{_SITE}/connections"): Operation(answer=_page(ref("Connection"))),
    ("GET", f"{_SITE}/devices"): Operation(answer=_page(ref("Device"))),
    ("GET", f"{_SITE}/holders"): Operation(answer=_page(ref("HolderView"))),
    ("GET", f"{_SITE}/users"): Operation(answer=_page(ref("MemberView"))),
    ("GET", "/api/users"): Operation(answer=_page(ref("UserView"))),
    ("GET", "/api/clients"): Operation(answer=_page(ref("ClientView"))),
    ("GET", "/api/drivers"): Operation(answer=record({"items": listed(ref("DriverView"))})),
    ("GET", _MODULES): Operation(answer=record({"items": listed(ref("ModuleView"))})),
    ("POST", _MODULES): Operation(answer=ref("ModuleView"), status=201),
    ("GET", f"{_MODULES}/{{module_id}}"): Operation(answer=ref("ModuleView")),
    ("PATCH", f"{_MODULES}/{{module_id}}"): Operation(answer=ref("ModuleView")),
    ("GET", f"{_SITE}/webhooks"): Operation(answer=_page(ref("WebhookView"))),
    ("GET", _WEBHOOK): Operation(
        answer={"allOf": [ref("WebhookView"), record({"failures": COUNT, "failing_since": maybe(TIME)})]}
    ),
    ("POST", f"{_SITE}/webhooks"): Operation(
        request_headers={"Idempotency-Key": Parameter("Makes repeating safe")}, status=201
    ),
    ("POST", f"{_WEBHOOK}/test"): Operation(answer=_TESTED),
    ("POST", f"{_WEBHOOK}/enable"): Operation(
        body=record({"start": one_of(("position", "now"))}, optional=("start",)), body_required=False
    ),
    ("POST", f"{_WEBHOOK}/secrets"): Operation(
        body=record(
            {
                "version": {"enum": ["v1", "v1a", "pdk", None]},
                "secret": maybe(TEXT),
                "overlap": NUMBER | {"description": "Seconds"},
            },
            optional=("version", "secret", "overlap"),
        ),
        body_required=False,
        status=201,
    ),
    ("POST", f"{_WEBHOOK}/replay"): Operation(answer=_REPLAYED, status=202),
    ("GET", f"{_WEBHOOK}/deliveries"): Operation(answer=_page(ref("Delivery"))),
    ("GET", f"{_WEBHOOK}/deliveries/{{delivery_id}}"): Operation(
        answer=record({"delivery": ref("Delivery"), "attempts": listed(ref("Attempt"))})
    ),
    ("POST", "/api/session"): Operation(security=()),
    ("DELETE", "/api/session"): Operation(security=(), status=204, problems=()),
    ("GET", "/healthz"): Operation(answer=record({"status": one_of(("ok", "recovering"))}), security=()),
    ("GET", "/readyz"): Operation(answer=_READY, security=(), problems=("log-unavailable", "storage-full"), errors={}),
    ("GET", "/metrics"): Operation(answer=TEXT, media=TEXT_PLAIN, security=()),
}
"""Own routes whose code does not say everything."""

PATH_PARAMETERS: Final[dict[str, str]] = {
    "site_id": "The site's id, a UUID",
    "system_id": "The system's id",
    "entity_id": "The id of what is meant",
    "user_id": "The user's id",
    "client_id": "The client's id",
    "webhook_id": "The webhook's id",
    "delivery_id": "The delivery's id",
    "connection_id": "The connection's id, as the list has it",
    "module_id": "The module's id",
    "driver_id": "The driver's id",
    "zone_id": "The zone's id",
    "cloud_node_id": "The cloud node's id",
    "device_id": "The device's id",
    "holder_id": "The holder's id",
    "organization_id": "The organisation's id, which is the site's",
    "subscription_id": "The subscription's id",
    "slug": "A module by name and number in its system, such as `Door_1`; `Door` is the first",
    "key": "The name of a status variable",
    "method": "The name of a function",
    "id": "The id of what is meant",
}
"""What the names in paths stand for."""

OTHER_PARAMETERS: Final[dict[str, str]] = {
    "limit": "How many to show",
    "cursor": "`next` of the page before",
    "after": "A position: what came after it",
    "topic": "Only these topics; may be repeated, and end in `.*`",
    "device": "Only events of the device with this id",
    "holder": "Only events of the holder with this id",
    "from": "Only what occurred then or later: milliseconds since 1970, or RFC 3339",
    "to": "Only what occurred then or before",
    "recorded_from": "Only what was recorded then or later",
    "recorded_to": "Only what was recorded then or before",
    "ticket": "A one-time ticket in place of a header",
    "state": "Only those in this state",
    "If-None-Match": "The `ETag` of the answer before: 304 says that nothing has changed",
}
"""What parameters of queries and headers mean where their routes do not say it."""
