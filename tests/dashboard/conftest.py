"""The dashboard in a real browser: skipped where Chromium or the JavaScript packages are missing, but not in CI."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from doorstream.testing.server import Demo, running_demo

_TESTS = Path(__file__).parents[1]
sys.path.append(str(_TESTS / "clients"))  # the browser that the tests of the clients drive

from browser_program import chromium  # noqa: E402 - found by the line above
from person import Person, person_at  # noqa: E402 - imports what is found there too

_PACKAGES = (_TESTS / "clients/node/node_modules/playwright-core", _TESTS.parent / "ui/node_modules/axe-core")


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    """One building, in which nothing happens by itself, for all tests that do not end it."""
    with asyncio.Runner() as runner:
        running = running_demo()
        demo = runner.run(running.__aenter__())
        yield demo
        runner.run(running.__aexit__(None, None, None))
        assert "Traceback" not in demo.errors, demo.errors


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def signed_in(demo: Demo) -> AsyncIterator[Person]:
    """An administrator. One browser for all tests of a file: starting another takes longer than most of them."""
    async with person_at(demo) as person:
        yield person


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose tools are missing."""
    if Path(item.path).parent != Path(__file__).parent:
        return
    missing = []
    if shutil.which("node") is None or not all(package.is_dir() for package in _PACKAGES):
        missing.append("Node.js, or the packages of tests/clients/node and ui (make test installs them)")
    if chromium() is None:
        missing.append("Chromium (Debian's package chromium)")
    if missing:
        end = pytest.fail if os.environ.get("CI") else pytest.skip
        end(f"missing: {' and '.join(missing)}")
