"""One JetStream stream as this process uses it: one writer, one reader, tails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from doorstream.log.commit import GroupCommit
from doorstream.log.connection import Connection
from doorstream.log.errors import ApiError
from doorstream.log.reader import Reader
from doorstream.log.tail import Record, Tail

_STREAM_NOT_FOUND = 10059
_NAME_IN_USE = 10058


class Extent(NamedTuple):
    """What a stream holds: the sequences of its first and last message (``first`` > ``last`` when it is empty)."""

    first: int
    last: int


class Stream:
    """A stream that exists with at least the given configuration."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        self.connection = connection
        self.commit = GroupCommit(connection)
        self.reader = Reader(connection, name)
        self.metadata: dict[str, str] = {}

    async def open(self, config: dict[str, Any], metadata: dict[str, str]) -> None:
        """Create the stream, or bring its settings up to date. ``metadata`` is set at the creation only."""
        current = await self._current()
        if current is None:
            wanted = {"name": self.name, "metadata": metadata, **config}
            try:
                answer = await self.connection.api(f"STREAM.CREATE.{self.name}", wanted)
            except ApiError as error:  # another process was first
                if error.code != _NAME_IN_USE:
                    raise
                answer = await self.connection.api(f"STREAM.INFO.{self.name}")
        else:
            answer = current
            if any(current["config"].get(key) != value for key, value in config.items()):
                answer = await self.connection.api(f"STREAM.UPDATE.{self.name}", {**current["config"], **config})
        self.metadata = answer["config"].get("metadata", {})
        await self.commit.start()

    async def close(self) -> None:
        """Stop writing; what still waits fails."""
        await self.commit.stop()

    async def extent(self) -> Extent:
        """What the stream holds at this moment; raises LogUnavailable."""
        state = (await self.connection.api(f"STREAM.INFO.{self.name}"))["state"]
        return Extent(max(state["first_seq"], 1), state["last_seq"])  # a new stream says 0

    def tail(self, receive: Callable[[Record], None], *, latest_only: bool = False, headers: bool = True) -> Tail:
        """A tail of this stream; ``start`` it."""
        return Tail(self.connection, self.name, receive, latest_only=latest_only, headers=headers)

    async def _current(self) -> dict[str, Any] | None:
        try:
            return await self.connection.api(f"STREAM.INFO.{self.name}")
        except ApiError as error:
            if error.code == _STREAM_NOT_FOUND:
                return None
            raise
