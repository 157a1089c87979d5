"""A body that is never complete: a controller that keeps one request open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

from doorstream.directory import SYSTEM
from doorstream.events.entities import Site
from doorstream.gateway import Gateway
from doorstream.server.services import Services
from doorstream.server.settings import Settings

SITE = Site(id="0738b8df-329a-4d50-88e7-7a48928c4d6f", name="Harbour House", created="2026-01-31T10:00:00.000Z")


async def test_a_line_is_kept_before_the_next_one_comes(nats_url: str, tmp_path: Path) -> None:
    """Lines once waited until there were 500 of them, so that such a controller's events were never live."""
    async with Services.open(Settings(data_dir=tmp_path), nats_url, Gateway()) as services:
        await services.directory.create(SITE, SYSTEM)
        view = services.directory.site(SITE.id)
        assert view is not None

        async def body() -> AsyncIterator[bytes]:
            for number in range(1, 4):
                line = json.dumps({"topic": "x.test", "occurred": number, "body": {}})
                yield f"{line}\n{line[:10]}".encode()  # the next line has begun
                async with asyncio.timeout(10):
                    await services.hub.reached(number)
                yield f"{line[10:]}\n".encode() if number == 3 else b"\n"

        report = await services.ingest.put_lines(SITE.id, view, body())
    assert (report.accepted, report.rejected_count) == (4, 2)
