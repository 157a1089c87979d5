"""Tests with real clients: those that need Node are skipped without it, but in CI they fail."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

_INSTALLED = Path(__file__).parent / "node/node_modules"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked ``node`` where Node or the clients are missing."""
    if item.get_closest_marker("node") is None or (shutil.which("node") and _INSTALLED.is_dir()):
        return
    if os.environ.get("CI"):
        pytest.fail("Node.js and the JavaScript clients are missing: make test installs the clients")
    pytest.skip("Node.js or the JavaScript clients are missing")
