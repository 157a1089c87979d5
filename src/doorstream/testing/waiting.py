"""Waiting for what will be so, without knowing what makes it so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], patience: float = 60.0) -> None:
    """Return when the condition holds; raises TimeoutError after ``patience`` seconds."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - the condition is anybody's
            await asyncio.sleep(0.002)
