"""Asking a server that has just lost a part of itself: it answers 503 until it is whole again."""

from __future__ import annotations

import asyncio
from typing import Any

from doorstream.testing.server import ApiRefused, Demo

_PATIENCE = 60.0
_UNAVAILABLE = 503


async def put_at_last(demo: Demo, *events: dict[str, Any]) -> list[str]:
    """Put events in, all or none, as soon as the server takes them; they need ids. Returns their positions.

    A new worker keeps its callers waiting for some seconds only, then it refuses them until it has read its log: on a
    slow machine that is seen.
    """
    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                return await demo.api.ingest(demo.site_id, *events)
            except ApiRefused as refused:
                if refused.status != _UNAVAILABLE:
                    raise
            await asyncio.sleep(0.05)


async def ready(demo: Demo) -> None:
    """Wait until the server takes connections of every kind."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                await demo.api.call("GET", "/readyz")
            except ApiRefused as refused:
                if refused.status != _UNAVAILABLE:
                    raise
            else:
                return
            await asyncio.sleep(0.05)
