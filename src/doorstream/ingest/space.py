"""Refusing ingest while there is still room for what was already taken.

A JetStream stream that meets a full disk freezes until nats-server is restarted, and can keep half a batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from doorstream.log import StorageFull

_MEGABYTE = 1_000_000
_CHECK_EVERY = 0.2
_CHECK_AFTER = _MEGABYTE


def default_reserve(path: Path) -> int:
    """Bytes that stay free: 5 % of the file system, at least 16 MB and at most 256 MB."""
    status = os.statvfs(path)
    return min(max(status.f_frsize * status.f_blocks // 20, 16 * _MEGABYTE), 256 * _MEGABYTE)


class SpaceGuard:
    """Knows whether the file system of ``path`` has more than ``reserve`` bytes free."""

    def __init__(self, path: Path, reserve: int, monotonic: Callable[[], float]) -> None:
        self._path = path
        self._reserve = reserve
        self._monotonic = monotonic
        self._checked = float("-inf")
        self._taken = 0
        self._enough = True

    def check(self, size: int = 0) -> None:
        """Raise StorageFull when too little is free to take that many bytes. Cheap enough for every request."""
        now = self._monotonic()
        self._taken += size
        if now - self._checked >= _CHECK_EVERY or self._taken >= _CHECK_AFTER:
            status = os.statvfs(self._path)
            self._enough = status.f_frsize * status.f_bavail > self._reserve
            self._checked, self._taken = now, 0
        if not self._enough:
            raise StorageFull("the disk is nearly full: events are refused until there is room again")
