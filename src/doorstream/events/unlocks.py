"""Which events say that a door was unlocked for somebody (design D17)."""

from __future__ import annotations

from doorstream.events.event import Event

_BY_COMMAND = "device.input.relay.on"  # any other cause is told by an event of its own

UNLOCK_TOPICS = frozenset({"device.request.allowed", _BY_COMMAND})
"""The topics of unlocks; not every event of them is one."""


def is_unlock(event: Event) -> bool:
    """Tell whether somebody was let in, or a command opened the door."""
    return event.topic in UNLOCK_TOPICS and (event.topic != _BY_COMMAND or event.cause == "command")
