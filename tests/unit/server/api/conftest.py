"""What the tests of the routes of webhooks share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from webhooks_api_support import Worker, open_worker


@pytest.fixture
async def worker(nats_url: str, tmp_path: Path) -> AsyncIterator[Worker]:
    """A worker with two sites and some clients; its webhooks may go to loopback."""
    async with open_worker(nats_url, tmp_path) as worker:
        yield worker
