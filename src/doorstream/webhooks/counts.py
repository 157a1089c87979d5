"""What is counted of webhooks, for whoever watches them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from doorstream.webhooks.records import State
from doorstream.webhooks.schedule import Verdict
from doorstream.webhooks.sender import Outcome

_OUTCOMES: Final = {
    (State.DELIVERED, False): "delivered",
    (State.WAITING, False): "failed",
    (State.DEAD, False): "dead",
    (State.WAITING, True): "own_fault",
    (State.DEAD, True): "unsent",
}

OUTCOMES: Final = tuple(_OUTCOMES.values())
"""How an attempt can end: taken by the receiver; failed and tried again; failed and given up; failed for reasons of our
own and tried again, which does not count against the receiver; given up because there is nothing that can be sent.
"""

MOST: Final = 10_000
"""Deliveries that are counted at most."""


@dataclass(slots=True)
class Counts:
    """The attempts of all webhooks since the start, and the seconds that they took, by OUTCOMES; without tests."""

    attempts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0.0))

    def note(self, outcome: Outcome, verdict: Verdict) -> None:
        """Count one attempt."""
        name = _OUTCOMES[verdict.state, verdict.spared]
        self.attempts[name] += 1
        self.seconds[name] += outcome.duration


class Unfinished(NamedTuple):
    """How many deliveries are to be tried again or held back behind such a one, and how many were given up.

    Neither is counted beyond MOST. One that was given up stays so when it is replayed: that is another delivery.
    """

    waiting: int
    dead: int


def unfinished(connection: sqlite3.Connection) -> Unfinished:
    """A question to the ledger."""
    (waiting,) = connection.execute(_COUNT.format("deliveries_open", "state IN ('waiting', 'held')")).fetchone()
    (dead,) = connection.execute(_COUNT.format("deliveries_dead", "state = 'dead' AND test = 0")).fetchone()
    return Unfinished(waiting, dead)


# The indexes hold nothing else, but SQLite looks at each row all the same: 10,000 take some 40 ms.
_COUNT = f"SELECT count(*) FROM (SELECT 1 FROM deliveries INDEXED BY {{}} WHERE {{}} LIMIT {MOST})"  # noqa: S608 - ours
