"""What is committed is what the code makes: a change of an interface is seen in a diff, and no table is forgotten."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import pytest
from contract_support import DOCS, Made, generate

MOST = 200
NAMES = sorted({"api/openapi.json", "api/asyncapi.json", *generate.reference()})


@pytest.mark.parametrize("name", NAMES)
def test_what_is_committed_is_what_the_code_makes(made: Made, name: str) -> None:
    """If this is what you meant, run `make api` and commit what it writes; of an interface say it in CHANGELOG.md."""
    path = DOCS / name
    committed = path.read_text() if path.exists() else ""
    if committed == made.files[name]:
        return
    lines = difflib.unified_diff(
        committed.splitlines(), made.files[name].splitlines(), f"docs/{name}", "the code", lineterm="", n=3
    )
    shown = list(lines)
    more = [f"… and {len(shown) - MOST} lines more"] if len(shown) > MOST else []
    diff = "\n".join([*shown[:MOST], *more])
    pytest.fail(f"docs/{name} differs; `make api` writes it anew:\n{diff}", pytrace=False)


def test_everything_generated_is_compared(made: Made) -> None:
    assert sorted(made.files) == NAMES


def test_nothing_of_this_machine_is_in_them(made: Made) -> None:
    """Neither where it was made, nor when, nor by which version."""
    home, here = str(Path.home()), str(DOCS.parent)
    for name, text in made.files.items():
        assert here not in text, name
        assert home == "/" or f"{home}/" not in text, name
    for name in ("api/openapi.json", "api/asyncapi.json"):
        assert json.loads(made.files[name])["info"]["version"] == "snapshot"
