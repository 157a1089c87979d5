"""The composition: one table of routes for all dialects and our own."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from fastapi import Request
from fastapi.routing import iter_route_contexts

from doorstream.gateway import Gateway
from doorstream.server.app import compose
from doorstream.server.services import Services
from doorstream.server.settings import Settings


async def test_no_route_is_there_twice(nats_url: str, tmp_path: Path) -> None:
    """The dialects share one address: a path of one must not shadow that of another."""
    gateway = Gateway()
    async with Services.open(Settings(data_dir=tmp_path), nats_url, gateway) as services:
        routes = [context for context in iter_route_contexts(compose(services).routes) if context.path]
    operations = Counter(
        (method, re.sub(r"{[^}]*}", "{}", route.path)) for route in routes for method in sorted(route.methods or {""})
    )
    assert ("POST", "/api/sites/{}/events") in operations
    assert ("POST", "/oauth2/token") in operations
    assert [operation for operation, count in operations.items() if count > 1] == []
    hubs = {f"/v1/hub/{name}{end}" for name in ("entries", "incidents") for end in ("", "/negotiate")}
    assert set(gateway.endpoints) == {"/socket.io", "/api/engine/v2/systems/control"} | hubs


async def test_the_api_description_is_whole(nats_url: str, tmp_path: Path) -> None:
    """Whatever it refers to is there, and people can authorise in it; its page needs nobody else's server."""
    async with Services.open(Settings(data_dir=tmp_path), nats_url, Gateway()) as services:
        app = compose(services)
        document = app.openapi()
        page = next(context for context in iter_route_contexts(app.routes) if context.path == "/docs")
        html = (await page.endpoint(Request({"type": "http"}))).body.decode()
    components = document["components"]
    references = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert "EventIn" in references
    assert references <= set(components["schemas"])
    assert {scheme["type"] for scheme in components["securitySchemes"].values()} == {"apiKey", "http"}
    assert "/docs/static/swagger-ui-bundle.js" in html
    assert "https://" not in html
