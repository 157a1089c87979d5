"""Where an event stands in the log."""

from __future__ import annotations

from typing import NamedTuple

from doorstream.events.errors import InvalidPosition

_MAX_SEQUENCE = 2**63 - 1  # what a database's integer holds
_MAX_DIGITS = 19


class Position(NamedTuple):
    """One place in one log: the same text in ``positions``, ``after``, SSE ids and Socket.IO offsets.

    ``epoch`` names the log's incarnation: a log that was created anew has another one, and a position of the old log
    cannot be resumed in it. ``sequence`` counts from 1; 0 stands before the first event.
    """

    epoch: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read ``<epoch>.<sequence>``; raises InvalidPosition."""
        epoch, dot, digits = text.partition(".")
        if dot and text.isascii() and epoch.isalnum() and digits.isdigit() and len(digits) <= _MAX_DIGITS:
            position = cls(epoch, int(digits))
            if position.sequence <= _MAX_SEQUENCE:
                return position
        raise InvalidPosition("a position looks like 3f9a1c07.1024")
