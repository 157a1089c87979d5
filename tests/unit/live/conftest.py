"""What tests of live share."""

from collections.abc import AsyncIterator

import pytest

from doorstream.log import Connection, EventLog
from doorstream.testing import empty_log


@pytest.fixture
async def log(connection: Connection) -> AsyncIterator[EventLog]:
    """An empty log."""
    async with empty_log(connection) as log:
        yield log
