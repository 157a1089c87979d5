"""What can go wrong between us and the log.

::

    LogError
    ├── LogUnavailable    NATS is away, or did not answer in time: nothing is known of the outcome, try again
    ├── StorageFull       there is no room for more; nothing was stored
    ├── PositionGone      a position from another log, or of events that are no longer kept
    ├── DuplicateId       an atomic batch holds an id that the log already has; nothing was stored
    ├── ApiError          JetStream refused a request
    └── StartError        the embedded server cannot run here (the message is for the operator)
"""

from __future__ import annotations

from doorstream.events import Position


class LogError(Exception):
    """Something between us and the log failed."""


class LogUnavailable(LogError):
    """NATS is away, or did not answer in time.

    What was being appended may or may not be stored. Repeating it with the same ids is safe.
    """

    retry_after = 1
    """Seconds after which trying again makes sense."""


class StorageFull(LogError):
    """There is no room for more events; nothing was stored."""

    retry_after = 10
    """Seconds after which trying again makes sense."""


class PositionGone(LogError):
    """The position belongs to another log, or what followed it is no longer kept.

    ``first`` is the position to continue from: right before the oldest event that is kept.
    """

    def __init__(self, first: Position) -> None:
        super().__init__(f"events after the given position are no longer kept; the log continues after {first}")
        self.first = first


class DuplicateId(LogError):
    """An atomic batch holds a message id that the log already has; nothing of it was stored."""


class ApiError(LogError):
    """JetStream refused a request; ``code`` is its ``err_code``."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.code = code


class StartError(LogError):
    """The log cannot be served here; the message tells the operator why, in one line."""
