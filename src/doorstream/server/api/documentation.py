"""What the OpenAPI document says of routes that read their bodies themselves."""

from __future__ import annotations

from typing import Any

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
