"""The last resort against a module that never lets go of the event loop: end the process, and remember why.

Nothing else can take the loop back from code that does not return. The worker is replaced by its parent, and finds in a
file which module not to start again.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec
import structlog

_logger = structlog.get_logger(__name__)

EXIT_STATUS: Final = 70
"""As sysexits.h names an internal error of software."""


class Stuck(msgspec.Struct, frozen=True):
    """Which module did not come back, and what it was doing."""

    module: str
    doing: str

    @property
    def reason(self) -> str:
        """For who looks at the module."""
        return (
            f"{self.doing} never gave the event loop back and the server had to be ended: it needs a process of its own"
        )


def end_because_of(file: Path, module: str, doing: str) -> None:
    """Leave a note and end the process at once."""
    _logger.critical("a module never gives the event loop back: this worker ends", module=module, doing=doing)
    with contextlib.suppress(OSError):
        file.write_bytes(msgspec.json.encode(Stuck(module, doing)))
    os._exit(EXIT_STATUS)


def take_note(file: Path | None) -> Stuck | None:
    """What the note says that the process before this one left, if it did; the note is gone then."""
    if file is None:
        return None
    try:
        content = file.read_bytes()
        file.unlink()
        return msgspec.json.decode(content, type=Stuck)
    except (OSError, msgspec.DecodeError):
        return None
