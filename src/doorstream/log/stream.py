"""One JetStream stream as this process uses it: one writer, one reader, tails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from doorstream.log.commit import GroupCommit
from doorstream.log.connection import Connection
from doorstream.log.errors import ApiError, StartError
from doorstream.log.reader import MAX_RANGE, Reader
from doorstream.log.tail import Record, Tail

_STREAM_NOT_FOUND = 10059
_NAME_IN_USE = 10058
_NOT_SO_MANY = {10005, 10023, 10074}
"""Not so many servers of the cluster can be used; 10074: there is no cluster at all."""


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
        self.replicas = 1
        """On how many servers of a cluster it is kept."""

    async def open(self, config: dict[str, Any], metadata: dict[str, str]) -> None:
        """Create the stream, or bring its settings up to date. ``metadata`` is set at the creation only.

        Raises StartError when the cluster cannot keep as many copies as are wanted, else ApiError or LogUnavailable.
        """
        try:
            answer = await self._ensure(config, metadata)
        except ApiError as error:
            if error.code not in _NOT_SO_MANY or self.connection.new_replicas == 1:
                raise
            raise StartError(
                f"NATS cannot keep {self.name} on {self.connection.new_replicas} servers: {error}; "
                "start all servers of the cluster, or give --nats-replicas"
            ) from None
        self.metadata = answer["config"].get("metadata", {})
        self.replicas = answer["config"].get("num_replicas", 1)
        await self.commit.start()

    async def _ensure(self, config: dict[str, Any], metadata: dict[str, str]) -> dict[str, Any]:
        """Have the stream exist like that, and give what the server says about it."""
        current = await self._current()
        if current is None:
            copies = {"num_replicas": self.connection.new_replicas}
            wanted = {"name": self.name, "metadata": metadata, **copies, **config}
            try:
                return await self.connection.api(f"STREAM.CREATE.{self.name}", wanted)
            except ApiError as error:  # another process was first
                if error.code != _NAME_IN_USE:
                    raise
                return await self.connection.api(f"STREAM.INFO.{self.name}")
        if self.connection.replicas is not None:
            config = {**config, "num_replicas": self.connection.replicas}
        if all(current["config"].get(key) == value for key, value in config.items()):
            return current
        return await self.connection.api(f"STREAM.UPDATE.{self.name}", {**current["config"], **config})

    async def close(self) -> None:
        """Stop writing; what still waits fails."""
        await self.commit.stop()

    async def extent(self) -> Extent:
        """What the stream holds at this moment; raises LogUnavailable."""
        return (await self.look())[1]

    async def look(self) -> tuple[dict[str, str], Extent]:
        """Its metadata and what it holds at this moment; raises LogUnavailable, or ApiError if it is not there."""
        answer = await self.connection.api(f"STREAM.INFO.{self.name}")
        state = answer["state"]
        extent = Extent(max(state["first_seq"], 1), state["last_seq"])  # a new stream says 0
        return answer["config"].get("metadata", {}), extent

    async def read(self, after: int, subject: str, limit: int = MAX_RANGE) -> list[Record]:
        """As ``reader.read``, but none means that the leader has no more either; raises LogUnavailable."""
        records = await self.reader.read(after, subject, limit)
        if not records and self.replicas > 1:
            records = await self.reader.read_next(after, subject)
        return records

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
