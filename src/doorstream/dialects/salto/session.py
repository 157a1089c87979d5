"""One Salto KS client's state machine. Pure: rights, time and positions come in, commands go out.

A hub stays open when its token expires, unless the server is set to close it then (D8); a role that was taken away, a
disabled user and a revoked client end it at once.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from doorstream.dialects.salto.rights import Refused
from doorstream.events import Position

TOKEN_EXPIRED = "token expired"  # noqa: S105 - a message
NOT_PERMITTED = "no longer permitted"
POSITION_GONE = "position gone: the entry given as since is unknown, or what followed it is no longer kept"


class Phase(enum.Enum):
    """What a session does. It changes only in ``Session._enter``."""

    NEW = "new"
    FOLLOWING = "following"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Start:
    """Where a client begins: after a position, now (None), or nowhere because its position ``is_gone``."""

    after: Position | None = None
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class Follow:
    """Deliver what comes after that position (None: from now on)."""

    after: Position | None


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection with that message."""

    error: str
    allow_reconnect: bool = False


@dataclass(frozen=True, slots=True)
class Wake:
    """Call ``wake`` at that time (seconds since 1970)."""

    at: float


Command = Follow | Close | Wake


class Session:
    """The server's side of one client.

    ``rights`` tells whose events the client may have now (None: everybody's), or raises Refused. ``expires_at`` is when
    the connection must end, None for never.
    """

    __slots__ = ("_expires_at", "_rights", "phase", "user_id")

    def __init__(self, rights: Callable[[], str | None], expires_at: float | None) -> None:
        """Raises Refused for a client that may have nothing."""
        self._rights = rights
        self._expires_at = expires_at
        self.phase = Phase.NEW
        self.user_id = rights()

    def connected(self, start: Start) -> Sequence[Command]:
        """The handshake is done."""
        if start.is_gone:
            return self._end(Close(POSITION_GONE))
        lost = self.recheck()
        if lost:
            return lost
        self._enter(Phase.FOLLOWING)
        wake = [Wake(self._expires_at)] if self._expires_at is not None else []
        return [Follow(start.after), *wake]

    def recheck(self) -> Sequence[Command]:
        """Rights may have changed."""
        try:
            keeps = self._rights() == self.user_id
        except Refused:
            keeps = False
        return () if keeps else self._end(Close(NOT_PERMITTED))

    def wake(self, now: float) -> Sequence[Command]:
        """The time asked for with ``Wake`` has come."""
        if self._expires_at is None or now < self._expires_at:
            return ()
        return self._end(Close(TOKEN_EXPIRED, allow_reconnect=True))

    def position_gone(self) -> Sequence[Command]:
        """What was to be delivered next is not kept any more."""
        return self._end(Close(POSITION_GONE))

    def ended(self) -> None:
        """The connection is gone."""
        self._enter(Phase.CLOSED)

    def _end(self, close: Close) -> Sequence[Command]:
        if self.phase is Phase.CLOSED:
            return ()
        self._enter(Phase.CLOSED)
        return [close]

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
