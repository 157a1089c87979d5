"""What ``doorstream check`` says of a machine's clock and disk. The command as a whole is in test_operations.py."""

from __future__ import annotations

import os
import shutil
import time
import zoneinfo
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

from doorstream.cli import check
from doorstream.cli.serve import Listen
from doorstream.ingest.space import default_reserve


class Usage(NamedTuple):
    """What ``shutil.disk_usage`` says."""

    total: int
    used: int
    free: int


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Let so many bytes be free on every disk."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2 * size, size, size))


async def clock() -> list[tuple[str, str]]:
    """The levels and texts of what there is to say of the clock."""
    return [(each.level, each.text) for each in await check._clock(Listen())]


async def disk(path: Path, nats_url: str | None = None) -> list[tuple[str, str]]:
    """The same of the disk with a data directory."""
    return [(each.level, each.text) for each in await check._disk(Listen(data_dir=path, nats_url=nats_url))]


async def test_a_clock_that_shows_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a battery for it begins in 1970."""
    monkeypatch.setattr(time, "time", lambda: 60.0)
    text = "it shows 1970-01-01 00:01:00 UTC, which is long ago: tokens would not be valid"
    assert ("error", text) in await clock()


@pytest.mark.parametrize(("state", "level"), [(False, "warning"), (True, "ok"), (None, "ok")])
async def test_a_clock_that_nothing_keeps_right(
    monkeypatch: pytest.MonkeyPatch, state: bool | None, level: str
) -> None:
    """Nothing is said where the system does not tell."""
    monkeypatch.setattr(check, "_is_synchronised", lambda: state)
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    end = " and nothing keeps it right: use NTP" if level == "warning" else ""
    assert (level, f"it shows 2027-01-15 08:00:00 UTC{end}") in await clock()


async def test_no_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(key: str) -> NoReturn:
        raise zoneinfo.ZoneInfoNotFoundError(key)

    monkeypatch.setattr(zoneinfo, "ZoneInfo", unknown)
    assert ("warning", "no time zone data: install tzdata, or local times will be UTC") in await clock()


async def test_how_much_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Below the reserve a server takes no events; soon it will not when not much more is free."""
    reserve = default_reserve(tmp_path)
    for size, level in ((reserve - 1, "error"), (reserve, "warning"), (4 * reserve, "warning"), (5 * reserve, "ok")):
        free(monkeypatch, size)
        (found,) = await disk(tmp_path, "nats://elsewhere")
        assert found[0] == level
        assert found[1].startswith(f"{size // 1_000_000:,} MB are free, {reserve // 1_000_000:,} MB of which")


@pytest.mark.parametrize(("seconds", "level"), [(0.005, "ok"), (0.05, "warning")])
async def test_how_long_a_sync_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seconds: float, level: str
) -> None:
    """A slow disk makes every event wait."""
    monkeypatch.setattr(check, "_sync_time", lambda _: seconds)
    found = await disk(tmp_path)
    text = f"an fsync takes {seconds * 1000:.1f} ms" + (": every event waits for one" if level == "warning" else "")
    assert found[1:] == [(level, text)]


async def test_a_disk_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(_: int) -> NoReturn:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    found = await disk(tmp_path / "not" / "there")
    assert found[1:] == [("error", f"{tmp_path} cannot be written: {os.strerror(28)}")]
