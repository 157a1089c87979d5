"""What couriers share: the desk from which they are sent out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from doorstream.events import Event
from doorstream.events.entities import Webhook
from doorstream.live import Alarms, Hub
from doorstream.log import EventLog
from doorstream.webhooks.counts import Counts
from doorstream.webhooks.ledger import Ledger
from doorstream.webhooks.post import Post
from doorstream.webhooks.records import Due
from doorstream.webhooks.sender import Outcome
from doorstream.webhooks.store import Store

Send = Callable[[Webhook, Event, Due], Awaitable[Outcome | None]]
"""Makes one attempt; None where the webhook's form has nothing to say of such an event. Raises Unwritable."""


class Desk(Protocol):
    """What couriers share. ``clock`` gives unix seconds, ``chance`` numbers from 0 to 1."""

    hub: Hub
    log: EventLog
    store: Store
    ledger: Ledger
    alarms: Alarms
    post: Post
    send: Send
    counts: Counts
    clock: Callable[[], float]
    chance: Callable[[], float]

    def latest(self, webhook: Webhook) -> Webhook:
        """The webhook as the directory has it now: its address, headers and secrets."""

    def unpacked(self, data: bytes) -> list[Event]:
        """The events of what the hub wrote, decoded once for all."""

    def tell(self, webhook: Webhook, what: str, reason: str, since: float) -> None:
        """Put in the event ``x.webhook.<what>``; ``since`` (unix seconds) tells one time from another."""

    def disable(self, webhook: Webhook, reason: str, since: float) -> None:
        """Disable a webhook, and tell it."""
