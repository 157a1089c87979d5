"""The AsyncAPI 3.1.0 document: every stream of every dialect, our own, and the webhooks.

``send`` and ``receive`` are what doorstream does, as the specification wants it.
"""

from __future__ import annotations

from typing import Any, Final

from doorstream.server.documents import own_streams, placeos_stream, salto_stream
from doorstream.server.documents.channels import HTTP, WEB_SOCKET, Channel
from doorstream.server.documents.events import body_schemas, kept_event
from doorstream.server.documents.notation import Schema
from doorstream.server.documents.pdk_stream import PDK_STREAM

VERSION: Final = "3.1.0"

CHANNELS: Final[tuple[Channel, ...]] = (
    own_streams.SITE_STREAM,
    PDK_STREAM,
    *salto_stream.SALTO_STREAMS,
    placeos_stream.PLACEOS_STREAM,
    own_streams.WEBHOOKS,
)

_HOST: Final = {"host": {"default": "127.0.0.1:8080", "description": "Where this server is reached"}}
_SERVERS: Final = {
    WEB_SOCKET: {
        "host": "{host}",
        "protocol": "ws",
        "description": "WebSockets; with TLS the protocol is wss",
        "variables": _HOST,
    },
    HTTP: {
        "host": "{host}",
        "protocol": "http",
        "description": "HTTP; with TLS the protocol is https",
        "variables": _HOST,
    },
}
_SECURITY: Final = {
    "key": {"type": "httpApiKey", "in": "header", "name": "X-API-Key", "description": "An API key of ours"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of ours, or a token of the dialect"},
    "saltoToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Salto KS's access token with the scope `user_api.full_access`",
    },
}
_TEXT: Final = """\
What doorstream streams, and what clients say on the streams. The frames around the payloads are those of the protocols
that each channel names (Socket.IO, SignalR, server-sent events), and any client of them will do. What is asked over
HTTP is in the OpenAPI document."""


def asyncapi_document(version: str) -> dict[str, Any]:
    """The document of this version of doorstream."""
    messages = {message.key: message.described() for channel in CHANNELS for message in channel.messages}
    operations = {key: operation for channel in CHANNELS for key, operation in channel.operations().items()}
    return {
        "asyncapi": VERSION,
        "info": {"title": "doorstream", "version": version, "description": _TEXT},
        "defaultContentType": "application/json",
        "servers": _SERVERS,
        "channels": {channel.key: channel.described() for channel in CHANNELS},
        "operations": operations,
        "components": {
            "schemas": dict(sorted(_schemas().items())),
            "messages": messages,
            "securitySchemes": _SECURITY,
        },
    }


def _schemas() -> dict[str, Schema]:
    return (
        {"Event": kept_event()}
        | body_schemas()
        | salto_stream.schemas()
        | placeos_stream.SCHEMAS
        | own_streams.schemas()
    )
