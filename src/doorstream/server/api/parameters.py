"""Parameters of a query that more than one route has."""

from __future__ import annotations

import re

from doorstream.events import InvalidEvent
from doorstream.events.draft import parse_time
from doorstream.server.api.problems import Problem

_INTEGER = re.compile(r"-?[0-9]{1,18}")


def query_time(name: str, text: str | None) -> int | None:
    """A time as milliseconds since 1970 or RFC 3339; raises Problem."""
    if text is None:
        return None
    try:
        return parse_time(int(text) if _INTEGER.fullmatch(text) else text.replace(" ", "+"))  # a + that was not escaped
    except InvalidEvent:
        raise Problem("invalid-parameter", f"{name}: milliseconds since 1970, or an RFC 3339 time") from None
