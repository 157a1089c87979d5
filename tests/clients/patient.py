"""Asking a server that has just lost a part of itself: it answers 503 until it is whole again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from doorstream.testing.server import ApiRefused, Demo

_PATIENCE = 60.0
_UNAVAILABLE = 503

_T = TypeVar("_T")


async def put_at_last(demo: Demo, *events: dict[str, Any]) -> list[str]:
    """Put events in, all or none, as soon as the server takes them; they need ids. Returns their positions.

    A new worker keeps its callers waiting for some seconds only, then it refuses them until it has read its log: on a
    slow machine that is seen.
    """
    return await at_last(lambda: demo.api.ingest(demo.site_id, *events))


async def ready(demo: Demo) -> None:
    """Wait until the server takes connections of every kind."""
    await at_last(lambda: demo.api.call("GET", "/readyz"))


async def modules_run(demo: Demo) -> None:
    """Wait until all modules of a new demo run: the server answers before they do."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            items = (await demo.api.call("GET", f"/api/sites/{demo.site_id}/modules"))["items"]
            if items and all(each["running"] for each in items):
                return
            await asyncio.sleep(0.05)


async def at_last(
    ask: Callable[[], Awaitable[_T]], patience: float = _PATIENCE, *, away: tuple[type[Exception], ...] = ()
) -> _T:
    """What is asked for, as soon as it is answered with anything but 503, or does not fail with one of ``away``."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return await ask()
        except (ApiRefused, *away) as error:
            if time.monotonic() > deadline or (isinstance(error, ApiRefused) and error.status != _UNAVAILABLE):
                raise
        await asyncio.sleep(0.05)
