"""The pages for people who have a program against a vendor: each dialect has one, and its commands do what it says."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from doorstream.testing.server import running_demo

TOP = Path(__file__).parents[3]
PAGES = TOP / "docs/dialects"
PACKAGES = sorted(path.parent for path in (TOP / "src/doorstream/dialects").glob("*/__init__.py"))
COMMAND = str(Path(sys.executable).with_name("doorstream"))
PASSWORD = "not easy to guess"
_RUN = re.compile(r"<!-- run: (.+?) -->\n *```sh\n(.*?)```", re.DOTALL)
_CREATED = re.compile(r"^(client id|client secret|API key) +(\S+)$", re.MULTILINE)
_SECTIONS = ("What is promised", "Where we differ", "How to move over")

UNLOCK = {"id": "an-unlock", "topic": "device.request.allowed", "occurred": 1_720_000_000_000, "body": {}}


def test_every_dialect_has_a_page_and_every_page_a_dialect() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == {package.name for package in PACKAGES}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_page_says_what_it_is_there_for(package: Path) -> None:
    text = (PAGES / f"{package.name}.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [heading for heading in headings if heading in _SECTIONS] == list(_SECTIONS)
    for index in ("README.md", "docs/README.md"):
        assert f"dialects/{package.name}.md)" in (TOP / index).read_text(), index


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_the_code_has_a_readme_that_names_every_file(package: Path) -> None:
    """And leads to the page, whose paragraphs it does not repeat."""
    text = (package / "README.md").read_text()
    assert f"docs/dialects/{package.name}.md" in text
    files = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"`(\w+\.py)`", text)) >= files
    page = " ".join((PAGES / f"{package.name}.md").read_text().split())
    repeated = [line for line in text.splitlines() if len(line) > 60 and line.strip("*| ") in page]
    assert repeated == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
async def test_what_a_page_says_to_type(package: Path, tmp_path: Path) -> None:
    """In a demo in which nothing happens by itself; each block says in its comment what it prints."""
    blocks = _RUN.findall((PAGES / f"{package.name}.md").read_text())
    assert blocks
    async with running_demo() as demo:
        await demo.api.ingest(demo.site_id, UNLOCK)
        told = {
            "DOORSTREAM_URL": demo.url,
            "DOORSTREAM_API_KEY": demo.credentials["admin"]["api_key"],
            "SERVER": demo.url,
            "SITE": demo.site_id,
            "PASSWORD": PASSWORD,
            "BASIC": base64.b64encode(b"user:password").decode(),
        }
        for expected, script in blocks:
            output = await _shell(textwrap.dedent(script), tmp_path, told)
            assert expected in output, script
            told |= {name.replace(" ", "_").upper(): value for name, value in _CREATED.findall(output)}


async def _shell(script: str, directory: Path, told: dict[str, str]) -> str:
    """What a block says when it is run with the doorstream of this environment."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-o", "pipefail", "-c", script.replace(".venv/bin/doorstream ", f"{shlex.quote(COMMAND)} ")),
        cwd=directory,
        env=os.environ | told,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, (script, output.decode())
    return output.decode()
