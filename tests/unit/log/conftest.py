"""What tests of the log share."""

from collections.abc import AsyncIterator

import pytest

from doorstream.log import Connection, EventLog


@pytest.fixture
async def log(connection: Connection) -> AsyncIterator[EventLog]:
    """An empty log."""
    log = EventLog(connection, retention=86_400)
    await log.open()
    yield log
    await log.close()
