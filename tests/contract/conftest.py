"""What tests of the documents share: the documents as the code makes them now, and a running demo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from contract_support import Made, make

from doorstream.testing.server import Demo, running_demo


@pytest.fixture(scope="session")
def made() -> Made:
    """Made once: everything in it is only read."""
    with asyncio.Runner() as runner:
        return runner.run(make())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def demo() -> AsyncIterator[Demo]:
    """A demo in which things happen, for all tests of this folder."""
    async with running_demo(rate=50) as demo:
        yield demo
        assert "Traceback" not in demo.errors, demo.errors
