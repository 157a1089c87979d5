"""The tutorial does what it says: its files are written and its commands run, in order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from doorstream.cli.driver import driver_check, driver_new
from doorstream.cli.errors import CommandError

ROOT = Path(__file__).parents[3]
_BLOCK = re.compile(r"<!-- (?:file: (\S+)|(run)) -->\n```\w+\n(.*?)```", re.DOTALL)
_BEGINNING = "from doorstream.drivers import Driver\nclass A(Driver):\n"
PROGRAMS = {
    "doorstream": [sys.executable, "-c", "from doorstream.cli import main; main()"],
    "pytest": [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "ignore"],
}


def test_the_tutorial(tmp_path):
    """Each line that it shows after a command is printed by that command, in that order."""
    ran = 0
    for name, run, content in _BLOCK.findall((ROOT / "docs" / "drivers.md").read_text()):
        if name:
            (tmp_path / name).write_text(content)
            continue
        assert run
        ran += 1
        command, *expected = content.rstrip().splitlines()
        program, *arguments = shlex.split(command.removeprefix("$ "))
        printed = _output([*PROGRAMS[program], *arguments], tmp_path)
        at = 0
        for line in expected:
            assert line in printed[at:], f"{command} does not print {line!r} (there) but:\n{printed}"
            at = printed.index(line, at) + len(line)
    assert ran == 6


def _output(command, directory):
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["occupancy.py", "test_occupancy.py"])
def test_the_example_is_the_tutorials(name):
    """The last version of each file that the tutorial shows."""
    shown = [content for file, _, content in _BLOCK.findall((ROOT / "docs" / "drivers.md").read_text()) if file == name]
    assert shown[-1] == (ROOT / "examples" / "drivers" / name).read_text()


async def test_the_scaffold_passes_its_own_test(tmp_path, capsys):
    """``driver new``, ``check``, ``pytest``; a second ``new`` overwrites nothing."""
    await driver_new("gate_lamp", directory=tmp_path)
    with pytest.raises(CommandError, match="is there already"):
        await driver_new("gate_lamp", directory=tmp_path)
    with pytest.raises(CommandError, match="is no name"):
        await driver_new("Gate-Lamp", directory=tmp_path)
    await driver_check(tmp_path / "gate_lamp.py")
    assert "reset() (level administrator): Begin to count anew." in capsys.readouterr().out
    assert "3 passed" in _output([*PROGRAMS["pytest"], "-q", "test_gate_lamp.py"], tmp_path)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import nonsense_that_is_not_there\n", r"No module named 'nonsense_that_is_not_there' \(line 1\)"),
        ("def f(:\n", "SyntaxError"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("x = 1\n", "has no class that derives from doorstream.drivers.Driver"),
        (f"{_BEGINNING}    async def go(self, *a): pass\n", r"A: A.go: \*a cannot be described"),
        (f"{_BEGINNING}    async def go(self, a): pass\n", "go: a has no annotation"),
        (f"{_BEGINNING}    def go(self, a): pass\n", "go is not async, so clients cannot call it"),
        (f"{_BEGINNING}    class Settings: pass\n", "A.Settings must be a msgspec.Struct or a dataclass"),
        (f"{_BEGINNING}    isolation = 'thread'\n", "A.isolation: 'none' or 'process', not 'thread'"),
    ],
)
async def test_check_says_what_is_wrong(tmp_path, capsys, source, words):
    """With the class, the method and the line."""
    (tmp_path / "wrong.py").write_text(source)
    error = ""
    try:
        await driver_check(tmp_path / "wrong.py")
    except CommandError as refused:
        error = str(refused)
    assert re.search(words, capsys.readouterr().out + error)
