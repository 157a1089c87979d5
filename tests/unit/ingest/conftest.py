"""What tests of ingest share."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from doorstream.history import Index
from doorstream.ingest import Ingest
from doorstream.live import Hub
from doorstream.log import Connection, EventLog
from doorstream.testing import empty_log


class Intake:
    """An ingest with all that it stands on; new ids are counted."""

    def __init__(self, log: EventLog, hub: Hub, index: Index) -> None:
        self.log = log
        self.hub = hub
        self.index = index
        self._ids = itertools.count(1)
        self.ingest = self.another()

    def another(self) -> Ingest:
        """Another ingest, as of a worker that has just started: it remembers nothing."""
        return Ingest(self.log, self.index, lambda: f"new-{next(self._ids)}", None)

    async def stored(self) -> list[str]:
        """The ids in the log, in its order."""
        last = (await self.log.extent()).last
        return [event.id async for events in self.log.read(0, site_id=None, upto=last) for event in events]


@pytest.fixture
async def log(connection: Connection) -> AsyncIterator[EventLog]:
    """An empty log."""
    async with empty_log(connection) as log:
        yield log


@pytest.fixture
async def intake(log: EventLog, tmp_path: Path) -> AsyncIterator[Intake]:
    """Everything from ingest to index."""
    hub = Hub(log.epoch, 0)
    tail = log.tail(hub.publish)
    await tail.start(0)
    index = Index(tmp_path / "index.sqlite", hub, log)
    await index.start()
    yield Intake(log, hub, index)
    await index.stop()
    await tail.stop()
