"""What the tests of webhooks share."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from webhooks_support import World, open_world

from doorstream.log import Connection


@pytest.fixture
async def world(connection: Connection, tmp_path: Path) -> AsyncIterator[World]:
    """A site without webhooks, and an engine at work."""
    async with open_world(connection, tmp_path, time.time()) as world, world.serving():
        yield world


@pytest.fixture
async def idle_world(connection: Connection, tmp_path: Path) -> AsyncIterator[World]:
    """The same, with nobody at work yet."""
    async with open_world(connection, tmp_path, time.time()) as world:
        yield world
