"""Tests with real clients: those that need Node or a browser are skipped without it, but in CI they fail."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from browser_program import chromium

_INSTALLED = Path(__file__).parent / "node/node_modules"


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known that only tests of this folder have."""
    config.addinivalue_line("markers", "browser: needs Chromium, and what the marker node needs")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose markers name what is missing."""
    marked = {marker.name for marker in item.iter_markers()}
    missing = []
    if marked & {"node", "browser"} and not (shutil.which("node") and _INSTALLED.is_dir()):
        missing.append("Node.js or the JavaScript clients (make test installs the clients)")
    if "browser" in marked and chromium() is None:
        missing.append("Chromium (Debian's package chromium)")
    if missing:
        end = pytest.fail if os.environ.get("CI") else pytest.skip
        end(f"missing: {' and '.join(missing)}")
