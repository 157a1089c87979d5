"""The composition: one table of routes for all dialects and our own."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

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
    assert set(gateway.endpoints) == {"/socket.io"} | hubs
