"""How the streams are written down: channels, what is said on them, and by whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from doorstream.server.documents.notation import JSON, Parameter, Schema

WEB_SOCKET: Final = "websocket"
HTTP: Final = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One kind of message. ``key`` names it in the document, ``name`` is what it is called on the wire.

    ``extra`` are members beginning with ``x-``: how the protocol around it carries the payload.
    """

    key: str
    name: str
    summary: str
    payload: Schema
    headers: Schema | None = None
    media: str = JSON
    extra: Mapping[str, Any] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """As the document has it."""
        found: dict[str, Any] = {
            "name": self.name,
            "title": self.name,
            "summary": self.summary,
            "contentType": self.media,
            "payload": self.payload,
        }
        return found | ({"headers": self.headers} if self.headers is not None else {}) | dict(self.extra)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What one end says: ``send`` is what doorstream says, ``receive`` what it takes; ``replies`` are keys too."""

    key: str
    action: Literal["send", "receive"]
    summary: str
    messages: tuple[str, ...]
    replies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One place where messages flow. Without an address it is whatever the other end named (webhooks)."""

    key: str
    title: str
    description: str
    address: str | None
    server: str | None
    messages: tuple[Message, ...]
    flows: tuple[Flow, ...]
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Parameter] = field(default_factory=dict)
    security: tuple[str, ...] = ()

    def described(self) -> dict[str, Any]:
        """As the document has it."""
        found: dict[str, Any] = {
            "address": self.address,
            "title": self.title,
            "description": self.description,
            "messages": {each.key: {"$ref": f"#/components/messages/{each.key}"} for each in self.messages},
        }
        if self.server is not None:
            found["servers"] = [{"$ref": f"#/servers/{self.server}"}]
        if self.path:
            found["parameters"] = {name: {"description": text} for name, text in self.path.items()}
        if self.query and self.server == WEB_SOCKET:
            found["bindings"] = {"ws": {"method": "GET", "query": self._query(), "bindingVersion": "0.1.0"}}
        return found

    def operations(self) -> dict[str, dict[str, Any]]:
        """Its operations by their keys."""
        return {flow.key: self._operation(flow) for flow in self.flows}

    def _operation(self, flow: Flow) -> dict[str, Any]:
        found: dict[str, Any] = {
            "action": flow.action,
            "channel": {"$ref": f"#/channels/{self.key}"},
            "summary": flow.summary,
            "messages": [self._message(key) for key in flow.messages],
        }
        if flow.replies:
            found["reply"] = {
                "channel": {"$ref": f"#/channels/{self.key}"},
                "messages": [self._message(key) for key in flow.replies],
            }
        if self.security:
            found["security"] = [{"$ref": f"#/components/securitySchemes/{name}"} for name in self.security]
        if self.server == HTTP:
            query = {"query": self._query()} if self.query else {}
            found["bindings"] = {"http": {"method": "GET", **query, "bindingVersion": "0.3.0"}}
        if self.server is None:
            found["bindings"] = {"http": {"method": "POST", "bindingVersion": "0.3.0"}}
        return found

    def _message(self, key: str) -> dict[str, str]:
        return {"$ref": f"#/channels/{self.key}/messages/{key}"}

    def _query(self) -> Schema:
        required = [name for name, parameter in self.query.items() if parameter.required]
        members = {
            name: parameter.schema | {"description": parameter.description} for name, parameter in self.query.items()
        }
        return {"type": "object", "properties": members} | ({"required": required} if required else {})
