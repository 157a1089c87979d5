"""Our own streams: server-sent events, and webhooks in the forms that receivers may choose."""

from __future__ import annotations

from typing import Final

from doorstream.dialects.pdk.webhooks import HIDES_CREDENTIALS, HIDES_NAMES
from doorstream.dialects.pdk.webhooks import TOPICS as PDK_TOPICS
from doorstream.directory.webhook_rules import FORMS
from doorstream.server.documents.channels import HTTP, Channel, Flow, Message
from doorstream.server.documents.notation import (
    ANY,
    INTEGER,
    MILLISECONDS,
    TEXT,
    TIME,
    Parameter,
    Schema,
    just,
    listed,
    maybe,
    one_of,
    record,
    ref,
)
from doorstream.server.documents.parakey import SCHEMAS as PARAKEY_SCHEMAS
from doorstream.webhooks.forms import CLOUDEVENTS_JSON
from doorstream.webhooks.post import PDK_SIGNATURE, REPLAY_HEADER
from doorstream.webhooks.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER

_GAP: Final = record({"first": TEXT | {"description": "The first position that is kept: the stream goes on after it"}})

SITE_STREAM: Final = Channel(
    key="siteStream",
    title="Server-sent events",
    description="The events of a site. `id` of each is its position; `Last-Event-ID` or `after` goes on after one.",
    address="/api/sites/{site_id}/stream",
    server=HTTP,
    messages=(
        Message(
            key="stream_event",
            name="event",
            summary="An event; `event` is its topic, `data` the payload",
            payload=ref("Event"),
        ),
        Message(
            key="stream_gap",
            name="gap",
            summary="Some events are no longer kept; `event` is `gap`, `data` the payload",
            payload=_GAP,
        ),
    ),
    flows=(
        Flow(
            key="streamSendEvents",
            action="send",
            summary="Events of the site in the order of the log",
            messages=("stream_event", "stream_gap"),
        ),
    ),
    path={"site_id": "The site's id, a UUID"},
    query={
        "topic": Parameter("Only these topics; may be repeated, and end in `.*`"),
        "after": Parameter("A position: what came after it"),
        "ticket": Parameter("A one-time ticket in place of a header"),
    },
    security=("key", "bearer"),
)

_DATA: Final = record(
    {
        "body": {"type": "object"},
        "cloudNode": maybe(ref("CloudNodeRef")),
        "metadata": {"type": ["object", "null"]},
    }
)
_ATTRIBUTES: Final[dict[str, Schema]] = {
    "specversion": just("1.0"),
    "id": TEXT,
    "source": TEXT | {"description": "The site's address"},
    "type": TEXT | {"description": "The topic"},
    "time": TIME | {"description": "When it occurred"},
    "datacontenttype": TEXT,
    "recorded": TIME,
    "position": TEXT,
    "subject": TEXT | {"description": "The device"},
}
_PDK: Final = record(
    {
        "id": TEXT,
        "topic": one_of(sorted(PDK_TOPICS)),
        "cloudNodeId": maybe(TEXT),
        "cloudNodeSN": maybe(TEXT),
        "body": {
            "type": "object",
            "description": f"Without names; a secrecy level of {HIDES_CREDENTIALS} hides credentials, "
            f"{HIDES_NAMES} people too",
        },
        "metadata": record(
            {
                "deviceName": maybe(TEXT),
                "holderName": maybe(TEXT),
                "occurred": MILLISECONDS,
                "offset": INTEGER | {"description": "Milliseconds by which local time is ahead of UTC"},
                "rules": listed(ANY),
                "source": TEXT,
                "systemId": TEXT,
            }
        ),
    }
)


def _headers(more: dict[str, Schema] | None = None) -> Schema:
    """The headers of a delivery: the Standard Webhooks' own, and those of the form."""
    signed: dict[str, Schema] = {
        ID_HEADER: TEXT | {"description": "The message's id: of all attempts and replays of a delivery the same"},
        TIMESTAMP_HEADER: TEXT | {"description": "When it was sent, in unix seconds"},
        SIGNATURE_HEADER: TEXT | {"description": "Signatures `v1,…` and `v1a,…` over id, timestamp and body"},
        REPLAY_HEADER: TEXT | {"description": "Only of a replay: which"},
    }
    return record(signed, more or {}, optional=(SIGNATURE_HEADER, REPLAY_HEADER, *(more or {})))


def key_of(form: str) -> str:
    """What the message of a form is called in the document."""
    return "webhook_" + form.replace("-", "_")


def _delivery(form: str, summary: str, payload: Schema, more: dict[str, Schema] | None = None) -> Message:
    media = CLOUDEVENTS_JSON if form == "cloudevents" else "application/json"
    return Message(key=key_of(form), name=form, summary=summary, payload=payload, headers=_headers(more), media=media)


_BINARY: Final = {f"ce-{name}": schema for name, schema in _ATTRIBUTES.items() if name != "datacontenttype"}

WEBHOOKS: Final = Channel(
    key="webhooks",
    title="Webhooks",
    description="A POST for each event to the address that the webhook names, in the form that it chose. Any answer "
    "of 2xx takes it; all others are tried again, 410 ends the webhook.",
    address=None,
    server=None,
    messages=(
        _delivery("native", "The event as our own interfaces show it", ref("Event")),
        _delivery(
            "cloudevents",
            "A CloudEvent 1.0.2 as one object",
            record(_ATTRIBUTES, {"data": _DATA}, optional=("subject",)),
        ),
        _delivery("cloudevents-binary", "A CloudEvent 1.0.2 with its attributes in headers", _DATA, _BINARY),
        _delivery(
            "parakey",
            "Parakey's: an unlock as an event log",
            ref("ParakeyEventLog"),
            {"User-Agent": TEXT | {"description": "As the vendor's is"}},
        ),
        _delivery(
            "pdk",
            "PDK's, signed in its way",
            _PDK,
            {PDK_SIGNATURE: TEXT | {"description": "Hex HMAC-SHA1 of the body"}},
        ),
    ),
    flows=(
        Flow(
            key="webhookDeliver",
            action="send",
            summary="Deliver an event",
            messages=tuple(key_of(form) for form in FORMS),
        ),
    ),
)


def schemas() -> dict[str, Schema]:
    """What webhooks share with REST."""
    return {"ParakeyEventLog": PARAKEY_SCHEMAS["ParakeyEventLog"]}
