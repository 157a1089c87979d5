"""What the ledger remembers of a webhook when somebody begins to deliver to it, or goes on."""

from __future__ import annotations

from typing import NamedTuple

from doorstream.events import Position
from doorstream.events.entities import Webhook
from doorstream.log import EventLog
from doorstream.webhooks.breaker import Breaker
from doorstream.webhooks.ledger import Ledger
from doorstream.webhooks.records import Cursor


class Remembered(NamedTuple):
    """Where to begin, and what is finished after it; how the receiver did; and the lines that are held up.

    ``lines`` is true for those whose first event waits for its time.
    """

    begin: Position
    finished: set[int]
    breaker: Breaker
    lines: dict[str, bool]


async def remembered(ledger: Ledger, log: EventLog, webhook: Webhook) -> Remembered:
    """Ask the ledger, which must hold everything; raises LogUnavailable."""
    begin = await _begin(ledger, log, webhook)
    finished = await _finished_after(ledger, log, webhook, begin)
    return Remembered(begin, finished, await _breaker(ledger, webhook), await ledger.lines(webhook.id))


async def _begin(ledger: Ledger, log: EventLog, webhook: Webhook) -> Position:
    """The later of where the webhook is to start and where it had come."""
    start = Position.parse(webhook.start)
    cursor = await ledger.cursor(webhook.id)
    places = [log.own_place(start.epoch, start.sequence)]
    if cursor is not None:
        places.append(log.own_place(cursor.epoch, cursor.sequence))
    known = [place for place in places if place is not None]
    return Position(log.epoch, max(known, default=0))  # none: the log was made anew, and all of it is new


async def _finished_after(ledger: Ledger, log: EventLog, webhook: Webhook, begin: Position) -> set[int]:
    """What was finished beyond where it begins, also in the logs that this one is a copy of."""
    finished = await ledger.finished_after(webhook.id, Cursor(begin.epoch, begin.sequence))
    for epoch, upto in log.earlier.items():
        before = await ledger.finished_after(webhook.id, Cursor(epoch, begin.sequence))
        finished |= {place for place in before if place <= upto}
    return finished


async def _breaker(ledger: Ledger, webhook: Webhook) -> Breaker:
    """As the last attempts since it was enabled left it."""
    health = await ledger.health(webhook.id)
    enabled = webhook.enabled_at
    if health is None or health.since is None or health.last is None or health.last / 1000 <= enabled:
        return Breaker()
    return Breaker.resumed(health.failures, max(health.since / 1000, enabled), health.last / 1000)
