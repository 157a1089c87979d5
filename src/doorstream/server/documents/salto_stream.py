"""Salto KS's hubs of entries and incidents (seed 003, vendor-apis.md 4.7)."""

from __future__ import annotations

from typing import Final

from doorstream.dialects.salto.messages import KINDS, TARGET, EntryObject, Hub
from doorstream.dialects.salto.routes import PATHS
from doorstream.dialects.salto.session import NOT_PERMITTED, POSITION_GONE, TOKEN_EXPIRED
from doorstream.server.documents.channels import WEB_SOCKET, Channel, Flow, Message
from doorstream.server.documents.notation import JSON, TEXT, Parameter, Schema, one_of, record, structs

MESSAGE_SCHEMA: Final = "SaltoEntry"


def schemas() -> dict[str, Schema]:
    """The object that a message's argument holds as JSON."""
    return {MESSAGE_SCHEMA: structs(EntryObject)[EntryObject.__name__]}


def key_of(hub: Hub) -> str:
    """What the message of a hub is called in the document."""
    return f"salto_{hub}"


def _channel(hub: Hub) -> Channel:
    categories = sorted({kind.category for kind in KINDS.values() if kind.hub == hub})
    content = record({"event_category": one_of(categories)})
    message = Message(
        key=key_of(hub),
        name=TARGET,
        summary=f"One of the {hub}",
        payload=TEXT
        | {
            "description": "The only argument: the JSON of the object that REST shows",
            "contentMediaType": JSON,
            "x-content-schema": {"allOf": [{"$ref": f"#/components/schemas/{MESSAGE_SCHEMA}"}, content]},
        },
        extra={"x-signalr-target": TARGET},
    )
    closing = Message(
        key=f"salto_{hub}_close",
        name="Close",
        summary="SignalR's message of type 7, before the connection ends",
        payload=record(
            {
                "type": {"const": 7},
                "error": one_of((NOT_PERMITTED, POSITION_GONE, TOKEN_EXPIRED)),
                "allowReconnect": {"type": "boolean"},
            },
            optional=("error", "allowReconnect"),
        ),
    )
    return Channel(
        key=f"salto{hub.capitalize()}",
        title=f"Salto KS: {hub}",
        description="A SignalR hub over WebSockets, with or without negotiation, as JSON or MessagePack. The server "
        f"calls `{TARGET}`; clients have nothing to call.",
        address=PATHS[hub],
        server=WEB_SOCKET,
        messages=(message, closing),
        flows=(
            Flow(
                key=f"saltoSend{hub.capitalize()}",
                action="send",
                summary=f"The {hub} of the site, or of one user, in the order of the log",
                messages=(message.key,),
            ),
            Flow(
                key=f"saltoClose{hub.capitalize()}",
                action="send",
                summary="Why the connection ends",
                messages=(closing.key,),
            ),
        ),
        query={
            "site_id": Parameter("The site", required=True),
            "user_id": Parameter("Only what is this user's; who is a site user has to name itself"),
            "since": Parameter("Go on after the entry with this id"),
            "id": Parameter("The connection token of a negotiation"),
            "access_token": Parameter("The token, where no header can be sent"),
        },
        security=("saltoToken",),
    )


SALTO_STREAMS: Final = tuple(_channel(hub) for hub in PATHS)
