"""What is counted of webhooks, and how they are seen from outside."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from webhooks_support import FAILED, OK, URL, World

from doorstream.directory import SYSTEM
from doorstream.events import Event
from doorstream.testing import until
from doorstream.webhooks import counts
from doorstream.webhooks.counts import OUTCOMES, Counts, Unfinished
from doorstream.webhooks.engine import STATES, Engine
from doorstream.webhooks.records import State
from doorstream.webhooks.schedule import Verdict
from doorstream.webhooks.sender import Outcome, Request

FOREVER = (86_400.0,) * 9
DAY = 86_400


def engine_of(world: World) -> Engine:
    """The engine at work."""
    engine = world.service.engine
    assert engine is not None
    return engine


def made(world: World) -> dict[str, int]:
    """The attempts that were counted, without what there are none of."""
    return {outcome: count for outcome, count in engine_of(world).counts.attempts.items() if count}


async def until_unfinished(world: World, wanted: Unfinished) -> None:
    """Wait until the ledger says so."""
    async with asyncio.timeout(10):
        while (found := await engine_of(world).unfinished()) != wanted:
            await asyncio.sleep(0.01)
            last = found
            assert last is not None


@pytest.mark.parametrize(
    ("verdict", "name"),
    [
        (Verdict(State.DELIVERED), "delivered"),
        (Verdict(State.WAITING, 1.0), "failed"),
        (Verdict(State.DEAD, gone=True), "dead"),
        (Verdict(State.WAITING, 1.0, spared=True), "own_fault"),
        (Verdict(State.DEAD, spared=True), "unsent"),
    ],
)
def test_each_verdict_is_one_outcome(verdict: Verdict, name: str) -> None:
    counted = Counts()
    counted.note(Outcome(None, None, 0.5), verdict)
    counted.note(Outcome(None, None, 1.5), verdict)
    assert counted.attempts == dict.fromkeys(OUTCOMES, 0) | {name: 2}
    assert counted.seconds == dict.fromkeys(OUTCOMES, 0.0) | {name: 2.0}


async def test_every_attempt_is_counted_by_what_became_of_it(world: World) -> None:
    """Once each, also those of a delivery that is tried again; what the form knows nothing of is no attempt."""

    def form(event: Event, _: object) -> Any:
        if event.id == "odd":
            raise ValueError("no such shape")
        return None if event.id == "unknown" else world.native(event, None)

    says = {"twice": iter([FAILED, OK]), "dead": iter([FAILED, FAILED]), "local": iter([Outcome(None, "local", 0.25)])}

    def answer(request: Request) -> Outcome:
        return next(says.get(request.headers["webhook-id"], iter([OK])))

    world.forms["native"] = form
    await world.webhook(retry=(0.2,))
    world.receivers.says[URL] = answer
    await world.happen("fine", "unknown", "odd", "twice", "dead", "local")
    await until(lambda: sum(made(world).values()) >= 7)
    await until_unfinished(world, Unfinished(waiting=1, dead=2))
    assert made(world) == {"delivered": 2, "failed": 2, "dead": 1, "own_fault": 1, "unsent": 1}
    assert engine_of(world).counts.seconds == {
        "delivered": pytest.approx(0.02),
        "failed": pytest.approx(0.02),
        "dead": pytest.approx(0.01),
        "own_fault": 0.25,
        "unsent": 0.0,
    }


async def test_tests_are_not_counted(world: World) -> None:
    """Neither as attempts, nor as given up when they fail."""
    world.receivers.says[URL] = lambda _: FAILED
    await world.service.test(await world.webhook())
    await world.service.ledger.current()
    assert made(world) == {}
    assert await engine_of(world).unfinished() == Unfinished(waiting=0, dead=0)


async def test_what_is_held_back_waits_too_and_there_is_a_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.webhook(ordered=True, retry=FOREVER)
    world.receivers.says[URL] = lambda _: FAILED
    await world.happen("a1", "a2", "a3", device="a")
    await until_unfinished(world, Unfinished(waiting=3, dead=0))
    monkeypatch.setattr(counts, "_COUNT", counts._COUNT.replace(str(counts.MOST), "2"))
    assert await engine_of(world).unfinished() == Unfinished(waiting=2, dead=0)


async def test_a_webhook_is_seen_as_it_is_doing(world: World) -> None:
    """Enabled; paused for as long as the receiver asked for; slowed by failures; expired; disabled."""
    engine = engine_of(world)
    expires = datetime.fromtimestamp(world.clock() + DAY, UTC).isoformat()
    webhook = await world.webhook(retry=FOREVER, concurrency=1, expires=expires)
    seen = [engine.state(webhook)]
    world.receivers.says[URL] = lambda _: Outcome(429, None, 0.01, retry_after=30.0)
    await world.happen("one")
    await until(lambda: engine.state(webhook) != seen[-1])
    seen.append(engine.state(webhook))
    await world.pass_time(34.0)
    assert engine.state(webhook) == "enabled"
    world.receivers.says[URL] = lambda _: FAILED
    await world.happen(*(f"more-{n}" for n in range(20)))
    breaker = engine.couriers["hook"]._pace.breaker
    while engine.state(webhook) == "enabled":
        failures = breaker.failures
        await world.pass_time(7.0)
        await until(lambda failures=failures: breaker.failures > failures)  # events may take a while to come
    seen.append(engine.state(webhook))
    assert engine.state(replace(webhook, enabled=False)) == "disabled"
    await world.pass_time(DAY)
    seen.append(engine.state(webhook))
    seen.append(engine.state(await world.directory.change(webhook, lambda old: replace(old, enabled=False), SYSTEM)))
    assert seen == ["enabled", "paused", "slowed", "expired", "disabled"]
    assert set(seen) == set(STATES)


async def test_how_far_the_slowest_is_behind(world: World) -> None:
    """The one whose receiver does not answer counts, however far the others are."""
    await world.webhook()
    await world.webhook("quick", url="http://127.0.0.1:9/quick")
    gate = world.receivers.gates[URL] = asyncio.Event()
    engine = engine_of(world)
    assert engine.behind() == 0
    await world.happen(*(f"event-{n}" for n in range(1500)))
    await until(lambda: len(world.receivers.ids("http://127.0.0.1:9/quick")) == 1500)
    assert engine.couriers["quick"].behind == 0
    assert engine.behind() == engine.couriers["hook"].behind > 0
    gate.set()
    await until(lambda: engine.behind() == 0)
