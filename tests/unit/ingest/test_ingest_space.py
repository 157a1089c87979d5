"""Refusing before the disk is full."""

import os

import pytest

from doorstream.ingest import SpaceGuard
from doorstream.ingest import space as module
from doorstream.log import StorageFull


class Disk:
    """A file system of a thousand blocks."""

    def __init__(self, free):
        self.free = free
        self.asked = 0

    def __call__(self, _path):
        self.asked += 1
        return os.statvfs_result((4096, 1000, 10**6, self.free, self.free, 0, 0, 0, 0, 255))


@pytest.fixture
def disk(monkeypatch):
    """What ``statvfs`` says."""
    disk = Disk(500)
    monkeypatch.setattr(module.os, "statvfs", disk)
    return disk


@pytest.fixture
def clock():
    """Seconds, moved by hand."""
    return [0.0]


@pytest.fixture
def guard(tmp_path, disk, clock):
    """Keeps a hundred blocks."""
    del disk
    return SpaceGuard(tmp_path, 100_000, lambda: clock[0])


def test_events_are_refused_before_the_disk_is_full_and_taken_again(guard, disk, clock):
    guard.check()
    disk.free = 100
    clock[0] += 1
    with pytest.raises(StorageFull, match="nearly full"):
        guard.check()
    with pytest.raises(StorageFull):
        guard.check()
    disk.free = 101
    clock[0] += 1
    guard.check()


def test_it_is_asked_seldom(guard, disk, clock):
    for _ in range(1000):
        guard.check(100)
    assert disk.asked == 1
    clock[0] += 0.2
    guard.check()
    assert disk.asked == 2


def test_it_is_asked_again_after_much_was_taken(guard, disk):
    """A fast writer fills much of a disk in a fifth of a second."""
    guard.check(10)
    disk.free = 0
    for _ in range(9):
        guard.check(100_000)
    with pytest.raises(StorageFull):
        guard.check(100_000)
    assert disk.asked == 2


@pytest.mark.parametrize(("blocks", "reserve"), [(1000, 16_000_000), (1_000_000, 51_200_000), (10**9, 256_000_000)])
def test_the_reserve_follows_the_size_of_the_disk(monkeypatch, tmp_path, blocks, reserve):
    result = os.statvfs_result((4096, 1024, blocks, 0, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr(module.os, "statvfs", lambda _: result)
    assert module.default_reserve(tmp_path) == reserve
