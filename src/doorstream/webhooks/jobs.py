"""A delivery in the memory of a courier."""

from __future__ import annotations

from doorstream.events import Event
from doorstream.events.entities import Webhook
from doorstream.webhooks.matching import device_of, line_of
from doorstream.webhooks.records import Due, delivery_id, message_id


class Job:
    """A delivery in memory. ``stored`` is the place of its due in the stream, None for what the log brought.

    ``is_held`` for one that was held back: the log's part of it is finished. ``event`` is None where it is still to be
    read from the log.
    """

    __slots__ = ("due", "event", "is_held", "stored")

    def __init__(self, due: Due, event: Event | None, *, stored: int | None = None, is_held: bool = False) -> None:
        self.due = due
        self.event = event
        self.stored = stored
        self.is_held = is_held

    @classmethod
    def of_event(cls, event: Event, epoch: str, webhook: Webhook) -> Job:
        """The first delivery of what the log of that epoch brought."""
        due = Due(
            delivery_id(epoch, event.sequence),
            epoch,
            event.sequence,
            event.id,
            event.site_id,
            event.topic,
            message_id(event, webhook),
            device=device_of(event),
            line=line_of(event) if webhook.ordered else None,
        )
        return cls(due, event)

    @property
    def is_of_log(self) -> bool:
        """Whether reading the log again would bring it again."""
        return self.stored is None and not self.is_held
