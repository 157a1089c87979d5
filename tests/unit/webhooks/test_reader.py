"""What the reader takes from the hub, and when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from doorstream.events import Event, Position
from doorstream.events.draft import Draft, accept
from doorstream.events.entities import Webhook
from doorstream.live import Hub
from doorstream.log import PositionGone
from doorstream.testing import SITE, KnownNames, until
from doorstream.webhooks.matching import unpack
from doorstream.webhooks.progress import Progress
from doorstream.webhooks.reader import ROOM, Reader

NOW = 1_780_000_000.0


class Courier:
    """A reader of a hub that has everything in its ring, and the one for whom it reads."""

    def __init__(self, **fields: Any) -> None:
        self.hub = Hub("e", 0)
        self.clock: Callable[[], float] = lambda: NOW
        self.told: list[tuple[str, str]] = []
        self.got: list[int] = []
        self.is_wanting = True
        self.deaf_after: int | None = None
        self.progress = Progress()
        desk: Any = SimpleNamespace(
            hub=self.hub,
            log=None,
            clock=self.clock,
            unpacked=lambda data: list(unpack(data)),
            tell=lambda _hook, what, reason, _since: self.told.append((what, reason)),
        )
        self.reader = Reader(desk, webhook(**fields), self.progress, self)
        self.reader.start()

    def take(self, event: Event) -> None:
        self.got.append(event.sequence)
        if event.sequence == self.deaf_after:
            self.reader.deafen()

    def taken(self) -> None:
        """Nothing is begun."""

    def may_read(self) -> bool:
        return self.is_wanting

    def happen(self, count: int, topic: str = "x.test") -> None:
        for _ in range(count):
            sequence = self.hub.sequence + 1
            draft = Draft(id=f"event-{sequence}", topic=topic, occurred=int(NOW * 1000), body={})
            event = accept(draft, site_id=SITE, names=KnownNames(), new_id=f"event-{sequence}")
            self.hub.publish(Event(event.json, sequence, int(NOW * 1000)))

    def finish(self, *places: int) -> None:
        for place in places:
            self.progress.finish(place)
        self.reader.made_room()


def webhook(**fields: Any) -> Webhook:
    values = {"id": "hook", "site_id": SITE, "url": "https://example.com/", "name": "hook", "created": "", "start": ""}
    return Webhook(**values | {"form": "native", "topics": ("x.*",)} | fields)


async def turns(count: int = 5) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_is_wanted_is_taken_and_open() -> None:
    made = Courier(topics=("x.test",))
    made.reader.go_on()
    made.happen(2)
    made.happen(1, "x.other")
    await until(lambda: made.got == [1, 2])
    assert len(made.progress) == 2
    assert made.reader.place == Position("e", 3)


async def test_it_stops_where_there_is_no_room_and_goes_on_when_there_is() -> None:
    made = Courier()
    made.reader.go_on()
    made.happen(ROOM)
    await until(lambda: len(made.got) == ROOM)
    await turns()
    made.happen(10)
    await turns()
    assert len(made.got) == ROOM
    assert made.reader.place == Position("e", ROOM)
    made.finish(*range(1, ROOM // 2 + 1))
    assert len(made.got) == ROOM, "it waits until there is room for some"
    made.finish(ROOM // 2 + 1)
    await until(lambda: len(made.got) == ROOM + 10)


async def test_it_does_not_read_what_is_not_wanted() -> None:
    made = Courier()
    made.is_wanting = False
    made.reader.go_on()
    made.happen(3)
    await turns()
    assert made.got == []
    made.is_wanting = True
    made.reader.go_on()
    assert made.got == [1, 2, 3]


async def test_what_came_while_it_was_deaf_is_read_later() -> None:
    """Also what came in the same turn."""
    made = Courier()
    made.deaf_after = 2
    made.reader.go_on()
    made.is_wanting = False
    made.happen(4)
    await turns()
    assert made.got == [1, 2]
    assert made.reader.place == Position("e", 2)
    made.is_wanting = True
    made.reader.go_on()
    assert made.got == [1, 2, 3, 4]


async def test_what_was_put_back_is_read_again_and_nothing_else() -> None:
    made = Courier()
    made.reader.go_on()
    made.happen(4)
    await turns()
    made.is_wanting = False
    made.reader.put_back([2, 4])
    await turns()
    made.happen(1)
    await turns()
    assert made.progress.finished_upto(made.reader.place.sequence) == 0
    made.finish(1, 3)
    assert made.progress.finished_upto(made.reader.place.sequence) == 1
    made.is_wanting = True
    made.reader.go_on()
    assert made.got == [1, 2, 3, 4, 2, 4, 5]


async def test_put_back_while_it_does_not_follow() -> None:
    made = Courier()
    made.reader.go_on()
    made.happen(ROOM)
    await turns()
    made.is_wanting = False
    made.reader.put_back(range(2, ROOM + 1))
    made.is_wanting = True
    made.reader.go_on()
    assert made.got == [*range(1, ROOM + 1), *range(2, ROOM + 1)]


async def test_other_topics_hold_from_now_on() -> None:
    made = Courier(topics=("x.test",))
    made.reader.go_on()
    made.happen(1)
    made.happen(1, "x.other")
    await turns()
    made.reader.change(webhook(topics=("x.other",)))
    made.happen(1)
    made.happen(1, "x.other")
    await turns()
    assert made.got == [1, 4]


async def test_after_the_end_its_place_says_what_was_taken() -> None:
    """What the hub still had for it was taken, and what follows that was not wanted."""
    made = Courier(topics=("x.test",))
    made.reader.go_on()
    made.happen(3)
    made.happen(1, "x.other")
    made.reader.close()
    assert made.got == [1, 2, 3]
    assert made.reader.place == Position("e", 4)
    made.happen(2)
    await turns()
    assert made.got == [1, 2, 3]
    assert made.reader.place == Position("e", 4)


@pytest.mark.parametrize("is_written", [True, False])
async def test_at_its_end_a_deaf_one_stands_where_it_stopped_to_listen(*, is_written: bool) -> None:
    """Also if it is the end that has it take what makes it deaf: the place then stood behind what was left out."""
    made = Courier()
    made.deaf_after = 1
    made.reader.go_on()
    made.is_wanting = False
    made.happen(3)
    if is_written:
        await turns()
    made.reader.close()
    assert made.got == [1]
    assert made.reader.place == Position("e", 1)


async def test_a_gap_is_told_and_it_goes_on_behind_it() -> None:
    made = Courier()
    made.happen(6)
    made.reader.position_gone(PositionGone(Position("e", 4)))
    assert made.told == [("gap", "events before e.4 are no longer kept")]
    assert made.got == [5, 6]
    assert made.reader.place == Position("e", 6)
