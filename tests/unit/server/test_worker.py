"""A worker's beginning and end, as uvicorn goes through them."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from doorstream.server import worker as module
from doorstream.server.control import Control, Orders
from doorstream.server.settings import Settings
from doorstream.server.worker import Worker


async def test_a_worker_that_is_told_to_end_while_it_opens_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """It waited for its services first, for which the parent would have had to wait as well."""
    monkeypatch.setattr(module, "_PATIENCE", 3600.0)
    has_begun = asyncio.Event()

    async def open_for_ever(_worker: Worker) -> None:
        has_begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Worker, "_open", open_for_ever)
    orders = Orders(Settings(data_dir=tmp_path), number=0, server="s", nats_url="nats://127.0.0.1:1", listener=-1)
    worker = Worker(cast("Control", None), orders)
    asked: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    asked.put_nowait({"type": "lifespan.startup"})
    living = asyncio.create_task(worker._app({"type": "lifespan", "state": {}}, asked.get, said.put))
    await has_begun.wait()
    assert said.empty()
    worker._ending.set()
    assert await asyncio.wait_for(said.get(), 30) == {"type": "lifespan.startup.complete"}
    asked.put_nowait({"type": "lifespan.shutdown"})
    assert await asyncio.wait_for(said.get(), 30) == {"type": "lifespan.shutdown.complete"}
    await living
