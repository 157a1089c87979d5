"""``X-Request-ID``: echoed, or generated, on every answer (vendor-apis.md 2.1, fact 5)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping

HEADER = "X-Request-ID"

_SOUND = re.compile(r"[\x21-\x7e]{1,128}")


def request_id_of(headers: Mapping[str, str]) -> str:
    """The id that the request has, or a new one. ``headers`` finds lower-case names."""
    given = headers.get(HEADER.lower(), "")
    return given if _SOUND.fullmatch(given) else str(uuid.uuid4())
