"""Stateful reconnect without stored messages: which of the client's numbered messages stands where in the log.

The client counts what it gets, from 1, and tells now and then how far it is. Its connection token says where the count
began, and events are numbered by the log's order alone, so any process can number them again. What this process keeps
beside the token is a checkpoint, so that it need not begin at the start.
"""

from __future__ import annotations

import msgspec

from doorstream.dialects.salto.messages import TABLE_VERSION, Hub
from doorstream.events import InvalidPosition, Position
from doorstream.live import Entry, Interest
from doorstream.live import Hub as LiveHub

CHECKPOINT_EVERY = 256
"""Acknowledged messages after which it is worth looking for their place."""

FARTHEST = 100_000
"""Events between the start (or checkpoint) and now; beyond it a client had better begin anew."""


class Begin(msgspec.Struct, array_like=True, frozen=True):
    """What a connection token says of a client with stateful reconnect.

    ``user_id`` is whose events it gets (empty: everybody's); ``start`` the position before its first message (empty: it
    asked for one that is gone); ``ends`` when the connection must be over (0: never).
    """

    table: int
    subject: str
    hub: str
    site_id: str
    user_id: str
    start: str
    ends: float

    def encode(self) -> str:
        """As text."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> Begin | None:
        """Read it; None if it is not of this version."""
        try:
            found = msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError:
            return None
        return found if found.table == TABLE_VERSION else None

    def matches(self, subject: str, hub: Hub, site_id: str, user_id: str | None) -> bool:
        """Whether the caller is the one to whom the token was given, and asks for the same."""
        return (self.subject, self.hub, self.site_id, self.user_id) == (subject, hub, site_id, user_id or "")

    @property
    def position(self) -> Position | None:
        """The position before the first message."""
        try:
            return Position.parse(self.start)
        except InvalidPosition:
            return None


class Numbering:
    """One client's checkpoint: its ``count``-th message was the last at or before ``position``."""

    __slots__ = ("_acknowledged", "count", "position")

    def __init__(self, position: Position) -> None:
        self.count = 0
        self.position = position
        self._acknowledged = 0

    def acknowledge(self, count: int, hub: LiveHub, interest: Interest) -> None:
        """The client has that many messages."""
        self._acknowledged = max(self._acknowledged, count)
        if self._acknowledged - self.count >= CHECKPOINT_EVERY:
            self.advance(hub, interest)

    def advance(self, hub: LiveHub, interest: Interest) -> None:
        """Move the checkpoint to the last acknowledged message, as far as the ring still knows the way."""
        if self.position.epoch != hub.epoch or self.position.sequence < hub.ring.base:
            return
        topics = interest.encoder.topics
        passed: list[Entry] = []
        for entry in hub.ring.after(self.position.sequence, interest.site_id):
            if self.count == self._acknowledged:
                break
            if topics is None or entry.event.topic in topics:
                self.count += len(interest.encoder.encode(entry))
                self.position = Position(hub.epoch, entry.event.sequence)
                passed.append(entry)
        hub.forget_soon(passed)
