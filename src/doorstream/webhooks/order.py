"""The lines of an ordered webhook: the events of one door, of which one is delivered at a time. Pure bookkeeping.

Behind one that is under way, events wait in memory. Behind one that failed they are held back in the ledger (the line
is *blocked*), until all of them went out in their order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

J = TypeVar("J")


@dataclass(slots=True)
class _Blocked:
    """``noting`` events are on their way to the ledger, ``noted`` have arrived there; ``wanted``: somebody looked."""

    noting: int = 0
    noted: int = 0
    wanted: bool = False


class Lines(Generic[J]):
    """All lines of one webhook."""

    __slots__ = ("_blocked", "_open")

    def __init__(self) -> None:
        self._open: dict[str, deque[J]] = {}
        self._blocked: dict[str, _Blocked] = {}

    def enter(self, line: str, job: J) -> bool:
        """Whether the job may go now; else it waits in memory, unless the line is blocked."""
        if line in self._blocked:
            return False
        behind = self._open.get(line)
        if behind is None:
            self._open[line] = deque()
            return True
        behind.append(job)
        return False

    def leave(self, line: str) -> J | None:
        """The first of an open line is done: the next one."""
        behind = self._open.get(line)
        if behind:
            return behind.popleft()
        self._open.pop(line, None)
        return None

    def is_blocked(self, line: str) -> bool:
        """Whether events of the line are to be held back."""
        return line in self._blocked

    def block(self, line: str) -> list[J]:
        """The first of a line waits for its time; returns those behind it in memory."""
        self._blocked.setdefault(line, _Blocked())
        return list(self._open.pop(line, ()))

    def free(self, line: str) -> None:
        """Nothing is held back any more."""
        self._blocked.pop(line, None)

    def drop_behind(self) -> list[J]:
        """Take all out that wait in memory."""
        dropped: list[J] = []
        for behind in self._open.values():
            dropped += behind
            behind.clear()
        return dropped

    def noting(self, line: str) -> None:
        """Something is on its way to the ledger."""
        self._blocked.setdefault(line, _Blocked()).noting += 1

    def noted(self, line: str) -> bool:
        """It has arrived there; whether somebody waited for that to look for the first of the line."""
        blocked = self._blocked.setdefault(line, _Blocked())
        blocked.noting -= 1
        blocked.noted += 1
        is_wanted = blocked.wanted and not blocked.noting
        blocked.wanted = blocked.wanted and not is_wanted
        return is_wanted

    def may_look(self, line: str) -> bool:
        """Whether the ledger has everything of the line; if not, ``noted`` will say so."""
        blocked = self._blocked.setdefault(line, _Blocked())
        blocked.wanted = blocked.noting > 0
        return not blocked.noting

    def count(self, line: str) -> int:
        """How many have arrived in the ledger."""
        return self._blocked.setdefault(line, _Blocked()).noted
