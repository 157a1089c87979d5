"""The levels of a module's log lines (vendor-apis.md 2.2, responses, ``level``), and who writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

LogLevel = Literal["trace", "debug", "info", "notice", "warn", "error", "fatal"]

LEVELS: Final[tuple[LogLevel, ...]] = ("trace", "debug", "info", "notice", "warn", "error", "fatal")
RANK: Final[dict[str, int]] = {level: rank for rank, level in enumerate(LEVELS)}

Sink = Callable[[str, str, str], None]
"""Takes a log line: level, message, and the class of the driver (``klass``)."""


class ModuleLogger:
    """``self.logger`` of a driver. A message may have ``%s`` places, which are filled in only if somebody reads it."""

    __slots__ = ("_write", "threshold")

    def __init__(self, write: Callable[[LogLevel, str], None], threshold: int = RANK["info"]) -> None:
        """``write`` is given what reaches the threshold, which is a rank in ``LEVELS``."""
        self._write = write
        self.threshold = threshold

    def log(self, level: LogLevel, message: str, *values: object) -> None:
        """Write a line of that level."""
        if RANK[level] >= self.threshold:
            self._write(level, message % values if values else message)

    def trace(self, message: str, *values: object) -> None:
        """Each step, for who writes the driver."""
        self.log("trace", message, *values)

    def debug(self, message: str, *values: object) -> None:
        """What helps to find a mistake. Seen by whoever follows the module with ``debug``."""
        self.log("debug", message, *values)

    def info(self, message: str, *values: object) -> None:
        """What happens normally."""
        self.log("info", message, *values)

    def notice(self, message: str, *values: object) -> None:
        """What is normal and worth a look."""
        self.log("notice", message, *values)

    def warn(self, message: str, *values: object) -> None:
        """What may become a problem."""
        self.log("warn", message, *values)

    warning = warn

    def error(self, message: str, *values: object) -> None:
        """What went wrong."""
        self.log("error", message, *values)

    def fatal(self, message: str, *values: object) -> None:
        """What the module cannot go on with."""
        self.log("fatal", message, *values)
