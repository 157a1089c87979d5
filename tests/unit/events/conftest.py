"""What tests of the vocabulary share."""

import json
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="session")
def pdk_samples() -> list[dict[str, Any]]:
    """The vendor's samples: ``event`` and ``sample`` of each of its 31 streamed events (seed 000)."""
    samples: list[dict[str, Any]] = json.loads((DATA / "pdk-stream-events.json").read_text())
    return samples
