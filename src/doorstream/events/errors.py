"""What can be wrong with something that was put in.

::

    EventError
    ├── InvalidEvent       an event that cannot be kept: unknown topic, wrong shape
    └── InvalidPosition    a text that is no position
"""

from __future__ import annotations


class EventError(ValueError):
    """The caller's value does not belong to the vocabulary."""


class InvalidEvent(EventError):
    """An event that cannot be kept; the message says what is wrong and where."""


class InvalidPosition(EventError):
    """A text that is not of the form ``<epoch>.<sequence>``."""
