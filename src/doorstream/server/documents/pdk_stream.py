"""PDK's stream: thirty-one events, a subscription, and the renewal of tokens (seed 000)."""

from __future__ import annotations

from typing import Final

from doorstream.dialects.pdk.messages import AUDITABLE, LIVE_EVENT
from doorstream.dialects.pdk.session import REMIND_EVERY
from doorstream.events import CATALOGUE, STREAMED
from doorstream.server.documents.channels import WEB_SOCKET, Channel, Flow, Message
from doorstream.server.documents.notation import (
    ANY,
    FLAG,
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

RENEWED, INVALID, SUBSCRIBE = "renewedToken", "invalidToken", "subscribeIsolated"


def _payload(topic: str) -> Schema:
    """The argument of an event: the vendor's samples are not uniform."""
    if topic == "cloudnode.connected":
        return record({"serialNumber": maybe(TEXT), "timestamp": TIME})
    if topic == "cloudnode.disconnected":
        return record({"serialNumber": maybe(TEXT), "timestamp": MILLISECONDS})
    if topic.startswith("sync."):
        status: dict[str, Schema] = {"dataFlowStatus": TEXT} if topic == "sync.not_synced" else {}
        details = record(status, {"timestamp": MILLISECONDS})
        return record({"systemId": TEXT, "panelSn": maybe(TEXT), "details": details})
    struct = CATALOGUE[topic].body
    body = ref(struct.__name__) if struct is not None else {"type": "object"}
    if topic.startswith("cloudnode."):
        actor = record({"userId": ANY, "userName": ANY, "occurred": MILLISECONDS})
        name = TEXT | {"pattern": rf"^system\.[0-9a-f-]{{36}}\.entity\.{topic.replace('.', '[.]')}$"}
        return record({"id": TEXT, "systemId": TEXT, "topic": name, "body": body, "metadata": actor})
    return record(
        {
            "id": TEXT,
            "topic": just(topic),
            "body": body,
            "cloudNode": maybe(ref("CloudNodeRef")),
            "occurred": MILLISECONDS,
        }
    )


_LIVE: Final = record(
    {
        "topic": one_of(sorted(AUDITABLE)),
        "info": TEXT | {"description": "A sentence with `%s` for each of the placeholders"},
        "placeholders": listed(record({"text": TEXT, "id": maybe(TEXT), "type": one_of(("holder", "device"))})),
        "cloudNode": maybe(ref("CloudNodeRef")),
        "occurred": MILLISECONDS,
    }
)
_OK: Final = record({"ok": just(value=True), "ignored": listed(TEXT)}, optional=("ignored",))
_NOT_OK: Final = record({"ok": just(value=False), "message": TEXT})


def key_of(event: str) -> str:
    """What an event's message is called in the document."""
    return "pdk_" + event.replace(".", "_")


def _event(name: str, payload: Schema, summary: str) -> Message:
    return Message(key=key_of(name), name=name, summary=summary, payload=payload, extra={"x-socketio-event": name})


def _acknowledgement(of: str, payload: Schema) -> Message:
    return Message(
        key=f"{key_of(of)}_ack",
        name=f"acknowledgement of {of}",
        summary="Only for who asked for one",
        payload=payload,
    )


_EVENTS: Final = (
    *(_event(topic, _payload(topic), f"The event {topic}") for topic in sorted(STREAMED)),
    _event(LIVE_EVENT, _LIVE, "What is worth auditing, as a sentence; also without any subscription"),
)
_TOKEN_MESSAGES: Final = (
    _event(
        INVALID,
        record({"message": TEXT}),
        f"In place of the first event that is withheld, and every {REMIND_EVERY:g} s while events are",
    ),
    _event(RENEWED, record({"token": TEXT}), "A new system token; everything withheld follows, in order"),
    _acknowledgement(RENEWED, {"anyOf": [record({"ok": FLAG}), _NOT_OK]}),
)
_SUBSCRIPTION: Final = (
    _event(
        SUBSCRIBE,
        record({"topics": listed(one_of((*sorted(STREAMED), LIVE_EVENT)))}),
        "Have these events too; there is no way to give one back",
    ),
    _acknowledgement(SUBSCRIBE, {"anyOf": [_OK, _NOT_OK]}),
)

PDK_STREAM: Final = Channel(
    key="pdkStream",
    title="PDK",
    description="Socket.IO on Engine.IO 3 and 4, over WebSocket or polling. A message is a Socket.IO event: its name "
    "is that of the message, its first argument the payload. Clients of the JavaScript family on Engine.IO 4 get a "
    "further argument, the offset from which they recover.",
    address="/socket.io/",
    server=WEB_SOCKET,
    messages=(*_EVENTS, *_TOKEN_MESSAGES, *_SUBSCRIPTION),
    flows=(
        Flow(
            key="pdkSendEvents",
            action="send",
            summary="Events of the system, each once and in the order of the log",
            messages=tuple(each.key for each in _EVENTS),
        ),
        Flow(
            key="pdkSubscribe",
            action="receive",
            summary="Subscribe to events",
            messages=(key_of(SUBSCRIBE),),
            replies=(f"{key_of(SUBSCRIBE)}_ack",),
        ),
        Flow(
            key="pdkTellExpiry",
            action="send",
            summary="The system token has expired and events are withheld",
            messages=(key_of(INVALID),),
        ),
        Flow(
            key="pdkRenewToken",
            action="receive",
            summary="Renew the token in place",
            messages=(key_of(RENEWED),),
            replies=(f"{key_of(RENEWED)}_ack",),
        ),
    ),
    query={
        "token": Parameter("A system token, of whatever age", required=True),
        "systemId": Parameter("The system; the token names it if this is missing"),
        "EIO": Parameter("The version of Engine.IO", one_of(("3", "4")), required=True),
        "transport": Parameter("How", one_of(("websocket", "polling")), required=True),
        "recovery": Parameter("Whether recovery is wanted, whatever the client looks like", one_of(("0", "1"))),
    },
)
