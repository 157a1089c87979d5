"""What tests of the history share."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from doorstream.history import Index
from doorstream.log import Connection, EventLog
from doorstream.testing import empty_log
from doorstream.testing.live import Site

OpenIndex = Callable[..., Awaitable[Index]]


@pytest.fixture
async def log(connection: Connection) -> AsyncIterator[EventLog]:
    """An empty log."""
    async with empty_log(connection) as log:
        yield log


@pytest.fixture
async def site(log: EventLog) -> Site:
    """A hub for the log, with a ring of fifty events."""
    return await Site.open(log, ring=50)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the index is kept."""
    return tmp_path / "index.sqlite"


@pytest.fixture
async def open_index(path: Path, site: Site) -> AsyncIterator[OpenIndex]:
    """Open the index; whatever was opened is stopped in the end."""
    opened: list[Index] = []

    async def open_it(of: Site = site) -> Index:
        index = Index(path, of.hub, of.log)
        opened.append(index)
        await index.start()
        return index

    yield open_it
    for index in opened:
        await index.stop()
