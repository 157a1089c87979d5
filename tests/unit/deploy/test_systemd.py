"""The systemd unit: what it promises, and what systemd itself says of it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from doorstream.cli.main import app

UNIT = Path(__file__).parents[3] / "deploy/systemd/doorstream.service"
EXPOSURE = "20"
"""Of 100, by systemd's own count; a unit without any of it has 96."""


def settings() -> dict[str, list[str]]:
    """What is set, whatever the section; a repeated one has several values."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^([A-Za-z]+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_what_it_promises() -> None:
    unit = settings()
    assert unit["Restart"] == ["on-failure"]
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["StateDirectory"] == ["doorstream"]
    assert unit["KillMode"] == ["mixed"]  # the parent ends its children in their order
    assert unit["NoNewPrivileges"] == ["yes"]
    assert int(unit["LimitNOFILE"][0]) >= 65_536
    assert unit["User"] == ["doorstream"]
    command = shlex.split(unit["ExecStart"][0])
    assert command[1] == "serve"
    assert command[command.index("--data-dir") + 1] == f"/var/lib/{unit['StateDirectory'][0]}"
    known = {name for each in app["serve"].assemble_argument_collection() for name in each.names} | {"--config"}
    assert {word for word in command if word.startswith("--")} <= known


needs_systemd = pytest.mark.program("systemd-analyze", "systemd")


@needs_systemd
def test_systemd_takes_it(tmp_path: Path) -> None:
    """Every setting is one that it knows; a warning is a failure."""
    copy = tmp_path / UNIT.name
    program = Path(sys.executable).with_name("doorstream")
    copy.write_text(UNIT.read_text().replace("/opt/doorstream/bin/doorstream", str(program)))
    ended = subprocess.run(["systemd-analyze", "verify", str(copy)], check=False, capture_output=True, text=True)
    ours = [line for line in (ended.stdout + ended.stderr).splitlines() if UNIT.name in line or str(copy) in line]
    assert (ended.returncode, ours) == (0, [])


@needs_systemd
def test_it_is_shut_in() -> None:
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", str(UNIT)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-300:]
