"""``X-Total-Count``: how often everything is counted, and what is told meanwhile."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from doorstream.dialects.parakey.totals import RECOUNT_EVERY, Totals
from doorstream.history import Index, UnlockQuery
from doorstream.log import LogUnavailable


class Counter:
    """An index with one unlock at each sequence; what was forgotten is gone. Counts wait while the gate is shut."""

    def __init__(self) -> None:
        self.forgotten = 0
        self.now = 0.0
        self.full = 0
        """How often everything was counted."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.gate_of_additions = asyncio.Event()
        self.gate_of_additions.set()
        self.is_away = False

    async def count_unlocks(self, query: UnlockQuery) -> int:
        self.full += query.after is None
        await self.gate.wait()
        if query.after is not None:
            await self.gate_of_additions.wait()
        if self.is_away:
            raise LogUnavailable("away")
        return query.upto - (query.after if query.after is not None else self.forgotten)


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def totals(counter: Counter) -> Totals:
    return Totals(cast("Index", counter), lambda: counter.now)


def query(upto: int) -> UnlockQuery:
    return UnlockQuery(sites=("site",), upto=upto, limit=5)


async def settled(totals: Totals) -> None:
    """What is counted in the background has come to its end."""
    await asyncio.gather(*totals._counting.values(), return_exceptions=True)
    await asyncio.sleep(0)


async def test_only_what_came_since_is_counted(counter: Counter, totals: Totals) -> None:
    assert [await totals.of(query(upto)) for upto in (10, 10, 25, 25, 30)] == [10, 10, 25, 25, 30]
    assert counter.full == 1


async def test_those_who_ask_at_once_share_one_count(counter: Counter, totals: Totals) -> None:
    """Each of them once counted everything by itself, on the two threads that read for everybody."""
    counter.gate.clear()
    asking = [asyncio.create_task(totals.of(query(10))) for _ in range(20)]
    await asyncio.sleep(0)
    asking[0].cancel()
    counter.gate.set()
    assert await asyncio.gather(*asking[1:]) == [10] * 19
    assert counter.full == 1


async def test_after_each_pruning_it_is_counted_anew_in_the_background(counter: Counter, totals: Totals) -> None:
    """Pruning comes in portions: each of them once made every client's next request count everything."""
    assert await totals.of(query(100)) == 100
    for forgotten in (10, 20, 30):
        counter.forgotten = forgotten
        assert await totals.of(query(100)) == 100
    assert counter.full == 1, "not within a minute"
    counter.now = RECOUNT_EVERY
    counter.gate.clear()
    assert [await totals.of(query(100)) for _ in range(5)] == [100] * 5, "nobody waits for it"
    counter.gate.set()
    await settled(totals)
    assert await totals.of(query(110)) == 80
    assert counter.full == 2


async def test_a_new_count_is_not_lost_to_somebody_who_began_before(counter: Counter, totals: Totals) -> None:
    """Who adds to the old number while everything is counted anew tells it, but does not keep it."""
    assert await totals.of(query(100)) == 100
    counter.forgotten, counter.now = 10, RECOUNT_EVERY
    counter.gate_of_additions.clear()
    adding = asyncio.create_task(totals.of(query(105)))
    await asyncio.sleep(0)
    await settled(totals)
    counter.gate_of_additions.set()
    assert await adding == 105
    assert await totals.of(query(105)) == 95


async def test_what_cannot_be_counted(counter: Counter, totals: Totals) -> None:
    """Who waits is told; in the background it is tried again."""
    counter.is_away = True
    with pytest.raises(LogUnavailable):
        await totals.of(query(10))
    counter.is_away = False
    assert await totals.of(query(10)) == 10
    counter.forgotten, counter.now, counter.is_away = 4, RECOUNT_EVERY, True
    assert await totals.of(query(10)) == 10
    await settled(totals)
    counter.is_away = False
    assert await totals.of(query(10)) == 10
    await settled(totals)
    assert await totals.of(query(10)) == 6
