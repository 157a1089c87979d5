"""What the tests of webhooks share."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from webhooks_support import World, open_world

from doorstream.log import Connection
from doorstream.webhooks import courier


@pytest.fixture
async def world(connection: Connection, tmp_path: Path) -> AsyncIterator[World]:
    """A site without webhooks, and an engine at work."""
    async with open_world(connection, tmp_path, time.time()) as world, world.serving():
        yield world


@pytest.fixture
async def idle_world(connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """The same, with nobody at work yet. Who stops waits until everything is recorded, however slow the machine is."""
    monkeypatch.setattr(courier, "GRACE", 60.0)
    async with open_world(connection, tmp_path, time.time()) as world:
        yield world
