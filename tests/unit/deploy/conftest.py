"""Tests of what is deployed: those that need a program of Debian's are skipped without it, but in CI they fail."""

from __future__ import annotations

import os
import shutil

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known that only tests of this folder have."""
    config.addinivalue_line("markers", "program(name, package): needs a program, which is in that package of Debian's")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose marker names what is missing."""
    for marker in item.iter_markers("program"):
        name, package = marker.args
        if shutil.which(name) is None:
            end = pytest.fail if os.environ.get("CI") else pytest.skip
            end(f"missing: {name} (Debian's package {package})")
