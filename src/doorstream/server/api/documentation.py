"""What the OpenAPI document says beside what FastAPI knows: bodies that routes read themselves, events, keys."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from doorstream.server.api.bodies import schema_of
from doorstream.server.api.problems import CODES, MEDIA_TYPE

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "examples": ["urn:doorstream:problem:not-found"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
    "required": ["type", "title", "status"],
}


_NAMES = {"type": ["string", "null"]}
_EVENT_IN: dict[str, Any] = {
    "type": "object",
    "description": "An event as it is put in. Keys and body are as in PDK's samples; names may be left out: they are "
    "filled in from the directory.",
    "properties": {
        "topic": {"type": "string", "examples": ["device.request.allowed", "x.acme.lift.stuck"]},
        "occurred": {
            "oneOf": [{"type": "number"}, {"type": "string", "format": "date-time"}],
            "description": "Milliseconds since 1970, or RFC 3339 with a zone",
        },
        "body": {"type": "object", "examples": [{"deviceId": "1b99bf42-1f9c-4184-9b5a-f7be9b24f4be"}]},
        "cloudNode": {
            "type": ["object", "null"],
            "properties": {"id": _NAMES, "serialNumber": _NAMES, "name": _NAMES},
        },
        "metadata": {"type": ["object", "null"]},
        "id": {
            "type": "string",
            "pattern": "^[!-~]{1,128}$",
            "description": "Makes repeating safe; a UUIDv7 if absent",
        },
    },
    "required": ["topic", "occurred", "body"],
}
_SCHEMES: dict[str, Any] = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of ours, or a token of the dialect"},
}


def describe(app: FastAPI) -> None:
    """Add to the app's document what its routes refer to."""
    generate = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            components = generate().setdefault("components", {})
            components.setdefault("schemas", {})["EventIn"] = _EVENT_IN
            components["securitySchemes"] = _SCHEMES
            generate()["security"] = [{name: []} for name in _SCHEMES]
        return generate()

    app.openapi = document  # type: ignore[method-assign]


def body_of(form: type[Any]) -> dict[str, Any]:
    """A JSON body of that form."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema_of(form)}}}}


def patch_of(form: type[Any]) -> dict[str, Any]:
    """A merge patch of that form: each member may be left out."""
    schema = {key: value for key, value in schema_of(form).items() if key != "required"}
    return {"requestBody": {"required": True, "content": {"application/merge-patch+json": {"schema": schema}}}}


def problems(*slugs: str) -> dict[int | str, dict[str, Any]]:
    """The problems that a route of ours can answer with, beside those that every route can."""
    described: dict[int | str, dict[str, Any]] = {}
    for slug in ("unauthenticated", "forbidden", *slugs):
        code = CODES[slug]
        described[code.status] = {"description": code.title, "content": {MEDIA_TYPE: {"schema": _PROBLEM}}}
    return described
