"""Where a webhook goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from doorstream.events.entities import Webhook
from doorstream.testing import SITE
from doorstream.webhooks.breaker import FAILURES, SPAN
from doorstream.webhooks.questions import Health
from doorstream.webhooks.records import Cursor
from doorstream.webhooks.remembered import Remembered, remembered

NOW = 1_780_000_000.0


@dataclass
class Log:
    """A log of epoch ``new``, the first events of which are those of ``earlier`` logs, up to a place."""

    epoch: str = "new"
    earlier: dict[str, int] = field(default_factory=dict)

    def own_place(self, epoch: str, sequence: int) -> int | None:
        """As the log's."""
        if epoch == self.epoch:
            return sequence
        return sequence if sequence <= self.earlier.get(epoch, 0) else None


@dataclass
class Ledger:
    """Answers with its fields; ``finished`` by epoch."""

    kept: Cursor | None = None
    finished: dict[str, set[int]] = field(default_factory=dict)
    known: Health | None = None

    async def cursor(self, _webhook: str) -> Cursor | None:
        return self.kept

    async def finished_after(self, _webhook: str, cursor: Cursor) -> set[int]:
        return {place for place in self.finished.get(cursor.epoch, ()) if place > cursor.sequence}

    async def health(self, _webhook: str) -> Health | None:
        return self.known

    async def lines(self, _webhook: str) -> dict[str, bool]:
        return {"door": True}


async def ask(ledger: Ledger, log: Log, start: str = "new.3", *, enabled_at: float = 0.0) -> Remembered:
    stand_ins: tuple[Any, Any] = ledger, log
    values: dict[str, Any] = {"id": "hook", "name": "hook", "site_id": SITE, "url": "https://example.com/"}
    webhook = Webhook(**values, form="native", topics=("*",), created="", start=start, enabled_at=enabled_at)
    return await remembered(*stand_ins, webhook)


@pytest.mark.parametrize(
    ("start", "cursor", "begin"),
    [
        ("new.3", None, 3),
        ("new.3", Cursor("new", 8), 8),
        ("new.9", Cursor("new", 8), 9),
        ("old.3", Cursor("new", 1), 3),
        ("old.3", Cursor("old", 5), 5),
        ("old.7", Cursor("old", 4), 4),
        ("lost.7", Cursor("lost", 9), 0),
    ],
)
async def test_the_later_of_its_start_and_its_cursor(start: str, cursor: Cursor | None, begin: int) -> None:
    """Places of a log of which this one is a copy hold up to where it was copied, those of any other not at all."""
    found = await ask(Ledger(cursor), Log(earlier={"old": 5}), start)
    assert (found.begin.epoch, found.begin.sequence) == ("new", begin)
    assert found.lines == {"door": True}


async def test_what_was_finished_in_a_log_that_was_copied_counts_as_far_as_it_was_copied() -> None:
    ledger = Ledger(Cursor("new", 3), {"new": {2, 7}, "old": {3, 4, 5, 6}})
    assert (await ask(ledger, Log(earlier={"old": 5}))).finished == {4, 5, 7}


@pytest.mark.parametrize(
    ("known", "enabled_at", "failures", "is_open"),
    [
        (None, 0.0, 0, False),
        (Health(0, None, None), 0.0, 0, False),
        (Health(FAILURES, int((NOW - SPAN) * 1000), int(NOW * 1000)), 0.0, FAILURES, True),
        (Health(FAILURES, int((NOW - SPAN) * 1000), int(NOW * 1000)), NOW, 0, False),
        (Health(FAILURES, int((NOW - SPAN) * 1000), int(NOW * 1000)), NOW - 1, FAILURES, False),
    ],
)
async def test_failures_before_it_was_enabled_are_forgiven(
    known: Health | None, enabled_at: float, failures: int, *, is_open: bool
) -> None:
    """Those after it count; but the time of the first of them is that since which it is enabled."""
    found = await ask(Ledger(known=known), Log(), enabled_at=enabled_at)
    assert (found.breaker.failures, found.breaker.open) == (failures, is_open)
