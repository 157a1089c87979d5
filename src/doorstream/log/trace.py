"""Which trace an event belongs to: W3C trace context, kept beside the event as the header ``traceparent``."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

HEADER: Final = "traceparent"

TRACEPARENT: Final[ContextVar[str | None]] = ContextVar("traceparent", default=None)
"""The trace that what is appended now belongs to, if somebody traces."""
