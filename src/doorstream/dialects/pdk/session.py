"""One PDK client's state machine. Pure: time, tokens and positions come in, commands go out.

A connection is accepted with a genuine token of whatever age (D2). While its token is valid it follows the site; when
the token expires it is held at its position and told so in place of the first withheld event; a valid renewal releases
everything withheld, in order (D1, seed 000 "Renewing the system token").
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from doorstream.auth import InvalidToken, SystemToken
from doorstream.dialects.pdk.recovery import KNOWN, Resume
from doorstream.events import Position

REMIND_EVERY = 30.0
"""Seconds between two ``invalidToken`` while events are withheld (D1)."""

SETTLE = 1.0
"""Seconds that a client that resumes has for repeating its subscription before events flow."""

QUIET = 0.1
"""Seconds after a subscription in which another may follow before events flow to a client that resumes."""

_MAX_TOPICS = 1000

INVALID_TOKEN = {"message": "The system token has expired: send renewedToken with a new one."}


class Phase(enum.Enum):
    """What a session does. It changes only in ``Session._enter``.

    SETTLING is for clients that resume. What they had subscribed is known as of the last event that they received;
    what they subscribed after it only they can say, and programs say it again in their ``connect`` handlers, often
    with several calls. Had the events of the gap gone out before that, those of the other topics would be missing.
    """

    NEW = "new"
    SETTLING = "settling"
    FOLLOWING = "following"
    WITHHOLDING = "withholding"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Seek:
    """Stand at that position; ``skip`` packets of the event that comes next are already there."""

    position: Position
    skip: int = 0


@dataclass(frozen=True, slots=True)
class Deliver:
    """Deliver these topics from where the subscription stands, which at first is now."""

    topics: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Withhold:
    """Stop delivering and stay where the subscription stands; report the next event of these topics."""

    topics: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Emit:
    """Send an event of ours to the client."""

    name: str
    argument: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wake:
    """Call ``wake`` at that time (seconds since 1970); replaces an earlier one."""

    at: float


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End the connection for good: its credentials are no longer valid."""


Command = Seek | Deliver | Withhold | Emit | Wake | Disconnect


class Refused(Exception):
    """The client may not connect; the message is for it."""


class Reply(NamedTuple):
    """The answer to one of the client's events, for those who ask for an acknowledgement."""

    commands: Sequence[Command]
    acknowledgement: Mapping[str, Any]


class Session:
    """The server's side of one client.

    ``check_token(text, now)`` tells what a token grants, expired or not, and raises InvalidToken for one that is not
    ours, not a system token, or of a revoked client.
    """

    __slots__ = ("_check_token", "_reminded", "phase", "token", "topics")

    def __init__(self, check_token: Callable[[str, float], SystemToken]) -> None:
        self._check_token = check_token
        self._reminded = False
        self.phase = Phase.NEW
        self.token: SystemToken | None = None
        self.topics: frozenset[str] | None = None

    def authenticate(self, token: str, system_id: str | None, now: float) -> SystemToken:
        """Judge the credentials of a client that wants to connect; raises Refused."""
        if not token:
            raise Refused("a system token is required")
        try:
            found = self._check_token(token, now)
        except InvalidToken:
            raise Refused("invalid token") from None
        if system_id is not None and system_id.lower() != found.site_id:
            raise Refused("the token belongs to another system")
        self.token = found
        return found

    def readmit(self, token: SystemToken, *, stands: bool) -> SystemToken:
        """Take a client that was connected with that token before, if it ``stands``; raises Refused."""
        if not stands:
            raise Refused("invalid token")
        self.token = token
        return token

    def connected(self, resume: Resume | None, *, behind: bool, now: float) -> list[Command]:
        """The client has its answer. ``behind``: there are events after the position that it resumes from."""
        assert self.token is not None, "authenticate() comes first"  # noqa: S101 - a contract
        commands: list[Command] = []
        if resume is not None:
            self.topics = resume.topics
            commands.append(Seek(resume.after, resume.skip))
        if self._is_expired(now):
            return [*commands, *self._withhold(behind=behind, now=now)]
        if resume is not None:
            self._enter(Phase.SETTLING)
            return [*commands, Wake(min(now + SETTLE, self.token.expires_at))]
        return self._follow()

    def subscribe(self, arguments: Sequence[Any], now: float) -> Reply:
        """``subscribeIsolated``: the topics add up; there is no way to give one back (D3)."""
        wish = _topics(arguments)
        if wish is None:
            return Reply([], {"ok": False, "message": 'subscribeIsolated takes {"topics": ["…"]}'})
        if not wish:
            return Reply([], {"ok": True})
        topics = (self.topics or frozenset()) | (wish & KNOWN)
        is_new, self.topics = topics != self.topics, topics
        ignored = sorted(wish - KNOWN)
        return Reply(
            self._subscribed(now, is_new=is_new), {"ok": True, "ignored": ignored} if ignored else {"ok": True}
        )

    def renew(self, arguments: Sequence[Any], now: float) -> Reply:
        """``renewedToken``: a valid one releases what was withheld; any other changes nothing (PDK-12)."""
        text = arguments[0].get("token") if arguments and isinstance(arguments[0], dict) else None
        try:
            token = self._check_token(text, now) if isinstance(text, str) else None
        except InvalidToken:
            token = None
        if token is None or self.token is None or token.site_id != self.token.site_id or token.expires_at <= now:
            return Reply(self._not_renewed(), {"ok": False, "message": "the token is not valid for this connection"})
        self.token = token
        return Reply(self._released(), {"ok": True})

    def wake(self, now: float, *, behind: bool) -> list[Command]:
        """The time that was asked for has come: the token expires, or it is time to remind or to go on.

        ``behind``: there are events that were not delivered yet.
        """
        if self.phase is Phase.WITHHOLDING:
            return self._remind(now) if self._reminded else []
        if self.phase in (Phase.NEW, Phase.CLOSED) or self.token is None:
            return []
        if self._is_expired(now):
            return self._withhold(behind=behind, now=now)
        return self._follow() if self.phase is Phase.SETTLING else [Wake(self.token.expires_at)]

    def withheld(self, now: float) -> list[Command]:
        """An event of the subscribed topics was withheld."""
        if self.phase is not Phase.WITHHOLDING:
            return []
        self._reminded = True
        return self._remind(now)

    def revoke(self) -> list[Command]:
        """The client was revoked or its system deleted."""
        self._enter(Phase.CLOSED)
        return [Disconnect()]

    def _is_expired(self, now: float) -> bool:
        return self.token is None or self.token.expires_at <= now

    def _enter(self, phase: Phase) -> None:
        self.phase = phase

    def _follow(self) -> list[Command]:
        assert self.token is not None  # noqa: S101 - connected
        self._enter(Phase.FOLLOWING)
        return [Deliver(self.topics), Wake(self.token.expires_at)]

    def _withhold(self, *, behind: bool, now: float) -> list[Command]:
        """``behind``: events are withheld already, so that the client is told at once (D1)."""
        self._enter(Phase.WITHHOLDING)
        self._reminded = behind
        return [Withhold(self.topics), *(self._remind(now) if behind else [])]

    def _remind(self, now: float) -> list[Command]:
        return [Emit("invalidToken", INVALID_TOKEN), Wake(now + REMIND_EVERY)]

    def _subscribed(self, now: float, *, is_new: bool) -> list[Command]:
        if self.phase is Phase.SETTLING:
            return [Wake(now + QUIET)]
        if not is_new:
            return []
        if self.phase is Phase.WITHHOLDING:  # who was told already is reminded in time, whatever it adds
            return [] if self._reminded else [Withhold(self.topics)]
        return [Deliver(self.topics)]

    def _not_renewed(self) -> list[Command]:
        """The client tried: it is told again when the next event is withheld."""
        return [Withhold(self.topics)] if self.phase is Phase.WITHHOLDING else []

    def _released(self) -> list[Command]:
        assert self.token is not None  # noqa: S101 - just set
        if self.phase is Phase.WITHHOLDING:
            return self._follow()
        return [Wake(self.token.expires_at)] if self.phase is Phase.FOLLOWING else []


def _topics(arguments: Sequence[Any]) -> frozenset[str] | None:
    wish = arguments[0].get("topics") if arguments and isinstance(arguments[0], dict) else None
    if not isinstance(wish, list) or len(wish) > _MAX_TOPICS or not all(isinstance(topic, str) for topic in wish):
        return None
    return frozenset(wish)
