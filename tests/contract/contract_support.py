"""The documents as the code makes them now, and what is served."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.routing import iter_route_contexts

from doorstream.server.app import compose

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))

import generate  # noqa: E402 - the script beside the texts that it writes

__all__ = ["DOCS", "Made", "generate", "make"]

_ANY_METHOD = ("GET", "POST")


@dataclass(frozen=True)
class Made:
    """What the code makes now: files by their paths below ``docs``, and what is served at which address."""

    files: dict[str, str]
    openapi: dict[str, Any]
    asyncapi: dict[str, Any]
    routes: list[tuple[str, str]]
    sockets: set[str]


async def make() -> Made:
    """Look at a server of our own."""
    async with generate.services() as services:
        app = compose(services)
        files = generate.generate(app.openapi())
        routes = [
            (method, context.path)
            for context in iter_route_contexts(app.routes)
            if context.path and getattr(context, "include_in_schema", False)
            for method in sorted(set(context.methods or _ANY_METHOD) - {"HEAD"})
        ]
        return Made(
            files=files,
            openapi=json.loads(files["api/openapi.json"]),
            asyncapi=json.loads(files["api/asyncapi.json"]),
            routes=routes,
            sockets=set(services.gateway.endpoints),
        )
