"""A stream with the form of a NATS key-value bucket (NATS ADR-8), so that ``nats kv`` can read it.

It is written through the stream's group commit, and followed by its tail, as every other stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from doorstream.log.commit import Message
from doorstream.log.connection import Connection
from doorstream.log.stream import Stream
from doorstream.log.tail import Record, Tail

_OPERATION = "KV-Operation"
_CONFIG = {
    "storage": "file",
    "max_msgs_per_subject": 1,
    "discard": "new",
    "allow_rollup_hdrs": True,
    "deny_delete": True,
    "allow_direct": True,
    "allow_atomic": True,
}
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

OnValue = Callable[[str, "bytes | None", int], None]
"""Takes a key, its new value (None: it was deleted), and the sequence of that change, which is its revision."""


class Bucket:
    """The last value of each key. A key is one or more tokens of a subject: what is put into it is escaped before."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.stream = Stream(connection, f"KV_{name}")
        self._prefix = f"$KV.{name}."

    async def open(self) -> None:
        """Create it if need be; raises ApiError or LogUnavailable."""
        await self.stream.open({"subjects": [f"{self._prefix}>"], **_CONFIG}, {})

    def tail(self, receive: OnValue) -> Tail:
        """Hands the last value of each key to ``receive``, and every change after that; ``start`` it with 0."""

        def unwrap(record: Record) -> None:
            deleted = record.headers is not None and _OPERATION in record.headers
            receive(record.subject.removeprefix(self._prefix), None if deleted else record.data, record.sequence)

        return self.stream.tail(unwrap, latest_only=True)

    def message(self, key: str, value: bytes | None, headers: Mapping[str, str] = _NO_HEADERS) -> Message:
        """What sets a key, or deletes it."""
        if value is None:
            return Message(self._prefix + key, b"", {**headers, _OPERATION: "DEL"})
        return Message(self._prefix + key, value, {**headers})
