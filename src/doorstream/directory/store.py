"""The bucket: compare-and-set writes, and a tail that feeds the mirror.

The stream has the form of a NATS KV bucket, so that ``nats kv`` can read it.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence
from typing import NamedTuple

from doorstream.directory.errors import Conflict
from doorstream.directory.mirror import Mirror
from doorstream.directory.records import Value, encode
from doorstream.log import ApiError, Connection, LogUnavailable, Message, Record, Stream

BUCKET = "doorstream"
_PREFIX = f"$KV.{BUCKET}."
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_OPERATION = "KV-Operation"
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
        self._stream = Stream(connection, f"KV_{BUCKET}")
        self._mirror = mirror
        self._tail = self._stream.tail(self._receive, latest_only=True)
        self._applied = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tickets = 0

    async def open(self) -> None:
        """Create the bucket if need be and read it; raises ApiError or LogUnavailable."""
        config = {
            "subjects": [f"{_PREFIX}>"],
            "storage": "file",
            "max_msgs_per_subject": 1,
            "discard": "new",
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_direct": True,
            "allow_atomic": True,
        }
        await self._stream.open(config, {})
        await self._tail.start(0)
        await self._tail.caught_up()

    async def close(self) -> None:
        """Stop; writes that wait fail with LogUnavailable."""
        await self._tail.stop()
        await self._stream.close()
        for _, _, done in self._waiting:
            if not done.done():
                done.set_exception(LogUnavailable("shutting down"))
        self._waiting.clear()

    async def write(self, changes: Sequence[Change]) -> None:
        """Store up to 1,000 changes, all or none, and wait until the mirror has them.

        Raises Conflict when a key has another revision than expected, LogUnavailable when nothing is known, and
        StorageFull.
        """
        try:
            stored = await self._stream.commit.append_batch([_message(change) for change in changes])
        except ApiError as error:
            if error.code in _WRONG_LAST_SEQUENCE:
                raise Conflict from None
            raise
        if stored:
            await self._wait_for(stored[-1].sequence)

    async def catch_up(self) -> None:
        """Wait until the mirror has everything that is stored now; raises LogUnavailable."""
        await self._wait_for((await self._stream.extent()).last)

    async def _wait_for(self, sequence: int) -> None:
        if self._applied >= sequence:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tickets += 1  # futures have no order of their own
        heapq.heappush(self._waiting, (sequence, self._tickets, done))
        try:
            async with asyncio.timeout(_PATIENCE):  # (wait_for can swallow the cancellation that stops us)
                await done
        except TimeoutError:
            raise LogUnavailable("NATS did not send back what was stored") from None

    def _receive(self, record: Record) -> None:
        key = record.subject.removeprefix(_PREFIX)
        deleted = record.headers is not None and _OPERATION in record.headers
        self._mirror.apply(key, b"" if deleted else record.data, record.sequence)
        self._applied = record.sequence
        while self._waiting and self._waiting[0][0] <= self._applied:
            done = heapq.heappop(self._waiting)[2]
            if not done.done():
                done.set_result(None)


def _message(change: Change) -> Message:
    headers = {_EXPECTED: str(change.revision)}
    data = encode(change.value)
    if data is None:
        headers[_OPERATION] = "DEL"
    return Message(_PREFIX + change.key, data or b"", headers)
