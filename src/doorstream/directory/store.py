"""The directory's bucket: compare-and-set writes, and a tail that feeds the mirror."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from doorstream.directory.errors import Conflict
from doorstream.directory.mirror import Mirror
from doorstream.directory.records import Value, encode
from doorstream.log import ApiError, Bucket, Connection, LogUnavailable, Message, Waiters

_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_WRONG_LAST_SEQUENCE = (10071, 10164)
_PATIENCE = 10.0


class Change(NamedTuple):
    """One write: the key, its new value, and the revision that it replaces (0: the key is new)."""

    key: str
    value: Value
    revision: int


class Store:
    """Writes to the bucket and mirrors it; a write returns when the mirror has it."""

    def __init__(self, connection: Connection, mirror: Mirror) -> None:
        self._bucket = Bucket(connection, "doorstream")
        self._mirror = mirror
        self._tail = self._bucket.tail(self._receive)
        self._applied = 0
        self._waiting = Waiters()

    async def open(self) -> None:
        """Create the bucket if need be and read it; raises ApiError or LogUnavailable."""
        await self._bucket.open()
        await self._tail.start(0)
        await self._tail.caught_up()

    async def close(self) -> None:
        """Stop; writes that wait fail with LogUnavailable."""
        await self._tail.stop()
        await self._bucket.stream.close()
        self._waiting.fail(lambda: LogUnavailable("shutting down"))

    async def write(self, changes: Sequence[Change]) -> None:
        """Store up to 1,000 changes, all or none, and wait until the mirror has them.

        Raises Conflict when a key has another revision than expected, LogUnavailable when nothing is known, and
        StorageFull.
        """
        try:
            stored = await self._bucket.stream.commit.append_batch([self._message(change) for change in changes])
        except ApiError as error:
            if error.code in _WRONG_LAST_SEQUENCE:
                raise Conflict from None
            raise
        if stored:
            await self._wait_for(stored[-1].sequence)

    async def catch_up(self) -> None:
        """Wait until the mirror has everything that is stored now; raises LogUnavailable."""
        await self._wait_for((await self._bucket.stream.extent()).last)

    async def _wait_for(self, sequence: int) -> None:
        if self._applied >= sequence:
            return
        try:
            async with asyncio.timeout(_PATIENCE):  # (wait_for can swallow the cancellation that stops us)
                await self._waiting.wait(sequence)
        except TimeoutError:
            raise LogUnavailable("NATS did not send back what was stored") from None

    def _receive(self, key: str, data: bytes | None, revision: int) -> None:
        self._mirror.apply(key, data, revision)
        self._applied = revision
        self._waiting.release(revision)

    def _message(self, change: Change) -> Message:
        return self._bucket.message(change.key, encode(change.value), {_EXPECTED: str(change.revision)})
