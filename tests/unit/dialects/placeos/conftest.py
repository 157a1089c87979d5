"""A server with the dialect for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from placeos_support import Room, open_room

from doorstream.log import Connection


@pytest.fixture
async def room(connection: Connection) -> AsyncIterator[Room]:
    """Two sites, the first with a ``Bookings`` module."""
    async with open_room(connection) as room:
        yield room
