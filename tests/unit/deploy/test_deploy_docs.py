"""The documents: links lead somewhere, commands and options exist, and the quick start is run."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from doorstream.cli.main import app

TOP = Path(__file__).parents[3]
DOCS = TOP / "docs"
COMMAND = str(Path(sys.executable).with_name("doorstream"))
PAGES = sorted(
    {TOP / "README.md", *DOCS.rglob("*.md"), *(TOP / "src").rglob("README.md")}
    | {TOP / name / "README.md" for name in ("bench", "ui", "tests/contract")}
)
"""What people read."""

_LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]*)(?:#([^)]*))?\)")
_RUN = re.compile(r"<!-- run -->\n```sh\n(.*?)```", re.DOTALL)
_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
_INLINE = re.compile(r"`doorstream ([a-z][^`]*)`")


def anchors(page: Path) -> set[str]:
    """What can be linked to within a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def name_of(page: Path) -> str:
    """Where it is."""
    return str(page.relative_to(TOP))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text()):
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(path), f"{page.name}: {target}#{anchor}"


def commands() -> list[tuple[str, list[str]]]:
    """Every ``doorstream …`` in a block of shell or in a sentence, as its words."""
    found = []
    for page in PAGES:
        found += [(name_of(page), shlex.split(words)) for words in _INLINE.findall(page.read_text())]
        for block in _BLOCK.findall(page.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                match = re.search(r"(?:^|\| |bin/)doorstream (?=[a-z])(.*)$", line)
                if match and "docker run" not in line:
                    found.append((name_of(page), shlex.split(match[1], comments=True)))
    return found


@pytest.mark.parametrize(("page", "words"), commands(), ids=lambda value: value if isinstance(value, str) else None)
def test_commands_exist_and_have_the_options(page: str, words: list[str]) -> None:
    command = app[words[0]]
    rest = words[1:]
    while rest and not command.default_command:
        command, rest = command[rest[0]], rest[1:]
    if not command.default_command:
        return  # a group of commands, in a sentence
    known = {name for each in command.assemble_argument_collection() for name in each.names}
    assert {word for word in rest if word.startswith("--")} <= known | {"--config"}, page


def test_the_documents_have_commands() -> None:
    assert len(commands()) >= 10


def test_every_package_is_in_the_tour() -> None:
    text = (DOCS / "how-it-works.md").read_text()
    named = {name.removesuffix("/*") for name in re.findall(r"^\| `([a-z_/*]+)` \|", text, re.MULTILINE)}
    assert {path.parent.name for path in (TOP / "src/doorstream").glob("*/__init__.py")} <= named


def test_paths_in_the_tour_exist() -> None:
    text = (DOCS / "how-it-works.md").read_text()
    for path in set(re.findall(r"`((?:[a-z_]+/)+(?:[a-z_]+\.py)?)`", text)):
        assert (TOP / "src/doorstream" / path).exists() or (TOP / path).exists(), path


def test_metrics_that_are_named_exist() -> None:
    source = (TOP / "src/doorstream/server/metrics.py").read_text()
    for name in set(re.findall(r"`(doorstream_[a-z_]+)`", (DOCS / "operating.md").read_text())):
        assert f'"{name}"' in source, name


async def test_the_quick_start(tmp_path: Path) -> None:
    """Its commands, as they stand, against a server that was started as it says."""
    serve = (COMMAND, "serve", "--port", "0", "--data-dir", str(tmp_path / "data"))
    process = await asyncio.create_subprocess_exec(
        *serve, "--import", str(TOP / "examples/building.toml"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(40):
            said = [(await process.stdout.readline()).decode().split()[-1] for _ in range(2)]
        url, key = said
        told = {"DOORSTREAM_URL": url, "DOORSTREAM_API_KEY": key, "PASSWORD": "not easy to guess"}
        answers = [await _shell(block, tmp_path, told) for block in _RUN.findall((DOCS / "quick-start.md").read_text())]
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 20)
    assert "1 accepted" in answers[0]
    assert "API key" in answers[1]
    assert "ada@example.org" in answers[2]
    assert answers[3].startswith("eyJ")
    assert (tmp_path / "building.backup").stat().st_size > 0


async def _shell(script: str, directory: Path, told: dict[str, str]) -> str:
    """What a block says when it is run with the doorstream of this environment."""
    assert ".venv/bin/doorstream " in script
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euc", script.replace(".venv/bin/doorstream ", f"{shlex.quote(COMMAND)} ")),
        cwd=directory,
        env=os.environ | told,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, output.decode()
    return output.decode()
