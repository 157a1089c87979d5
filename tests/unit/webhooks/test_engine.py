"""Deliveries from end to end, with a real log and a receiver that is told what to say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from webhooks_support import FAILED, OK, URL, World

from doorstream.directory import SYSTEM
from doorstream.events import Event
from doorstream.events.entities import Site, Webhook
from doorstream.log import Message
from doorstream.testing import OTHER_SITE, SITE, until
from doorstream.webhooks.breaker import GIVE_UP
from doorstream.webhooks.questions import Delivery, Wanted
from doorstream.webhooks.reader import ROOM
from doorstream.webhooks.records import decode_due, due_message
from doorstream.webhooks.sender import Outcome, Request

OTHER_URL = "http://127.0.0.1:9/other"
FOREVER = (86_400.0,) * 9


async def ledger(world: World, webhook: str = "hook", **wanted: Any) -> list[Delivery]:
    """What became of a webhook's deliveries, the oldest first."""
    return (await world.service.deliveries(Wanted(webhook=webhook, **wanted), 1000))[::-1]


async def states(world: World, webhook: str = "hook") -> list[tuple[str, str, int]]:
    """The event, state and attempts of each delivery."""
    return [(each.event, each.state, each.number) for each in await ledger(world, webhook)]


async def until_states(world: World, wanted: list[tuple[str, str, int]], webhook: str = "hook") -> None:
    """Wait until the ledger says so."""
    async with asyncio.timeout(30):
        while (found := await states(world, webhook)) != wanted:
            await asyncio.sleep(0.01)
            last = found
            assert last is not None


async def have_all_fall_due(world: World) -> None:
    """Have the retries that wait for their time be due now, without nats-server's clock."""
    engine = world.service.engine
    assert engine is not None
    for record in await engine.store.stream.reader.read(0, "webhooks.later.hook.>"):
        await engine.store.put([due_message("hook", decode_due(record.data))])


async def subjects(world: World) -> dict[str, int]:
    """The subjects of which the stream has messages, and how many."""
    info = await world.connection.api("STREAM.INFO.WEBHOOKS", {"subjects_filter": ">"})
    found: dict[str, int] = info["state"]["subjects"]
    return found


def told(world: World) -> list[str]:
    """The events that webhooks put in."""
    return [str(event["topic"]).removeprefix("x.webhook.") for event in world.put_in.events]


# Delivering.


async def test_an_event_is_delivered_and_stands_in_the_ledger(world: World) -> None:
    await world.webhook()
    await world.happen("one")
    await until(lambda: world.receivers.ids() == ["one"])
    await until_states(world, [("one", "delivered", 1)])


async def test_a_webhook_gets_what_happens_after_it_was_made(world: World) -> None:
    await world.happen("before")
    await world.webhook()
    await world.happen("after")
    await until(lambda: world.receivers.ids() == ["after"])


async def test_a_failed_delivery_is_sent_again_with_the_same_id(world: World) -> None:
    webhook = await world.webhook(retry=(0.3,))
    answers = iter([FAILED, OK])
    world.receivers.says[URL] = lambda _: next(answers)
    await world.happen("one")
    await until(lambda: world.receivers.ids() == ["one", "one"])
    await until_states(world, [("one", "delivered", 2)])
    _, attempts = await world.service.delivery(webhook, f"{world.log.epoch}-1")
    assert [(each.number, each.status, each.answer) for each in attempts] == [(1, 500, "out of order"), (2, 200, "")]
    first, second = (request.body for request in world.receivers.got[URL])
    assert first == second


async def test_a_failing_delivery_keeps_nobody_up(world: World) -> None:
    await world.webhook(retry=FOREVER)
    world.receivers.says[URL] = lambda request: FAILED if request.headers["webhook-id"] == "bad" else OK
    await world.happen("bad", *(f"good-{n}" for n in range(50)))
    await until(lambda: len(world.receivers.ids()) == 51)
    await until_delivered(world, 50)
    assert [each.event for each in await ledger(world, state="waiting")] == ["bad"]


async def test_no_more_than_its_concurrency_is_under_way(world: World) -> None:
    await world.webhook(concurrency=3)
    gate = world.receivers.gates[URL] = asyncio.Event()
    await world.happen(*(f"event-{n}" for n in range(20)))
    await until(lambda: world.receivers.under_way.get(URL) == 3)
    gate.set()
    await until(lambda: len(world.receivers.ids()) == 20)
    assert world.receivers.most[URL] == 3


async def test_a_webhook_that_is_full_stops_reading_and_loses_nothing(world: World) -> None:
    """Neither its memory nor the log's other readers pay for a slow receiver."""
    await world.webhook()
    gate = world.receivers.gates[URL] = asyncio.Event()
    await world.webhook("other", url=OTHER_URL)
    engine = world.service.engine
    assert engine is not None
    names = [f"event-{n}" for n in range(5 * ROOM)]
    for start in range(0, len(names), 50):
        await world.happen(*names[start : start + 50])
        await world.hub.reached(min(start + 50, len(names)))
        await asyncio.sleep(0)
    await until(lambda: len(world.receivers.ids(OTHER_URL)) == len(names), 30)
    assert len(engine.couriers["hook"]._progress) <= ROOM + 50
    gate.set()
    await until(lambda: len(world.receivers.ids()) == len(names), 30)
    assert sorted(world.receivers.ids()) == sorted(names)


async def test_the_rate_is_kept(world: World) -> None:
    await world.webhook(rate=2.0)
    await world.happen(*"abcde")
    await until(lambda: world.receivers.ids() == ["a"])
    await world.hub.reached(5)
    await asyncio.sleep(0.05)
    for n in range(2, 6):
        assert len(world.receivers.ids()) == n - 1
        await world.pass_time(0.5)
        await until(lambda n=n: len(world.receivers.ids()) == n)


async def test_filters(world: World) -> None:
    await world.directory.create(Site(id=OTHER_SITE, name="Pier House", created=world.directory.now()), SYSTEM)
    await world.webhook(topics=("x.test",), devices=("door",), ignore_older_than=60.0)
    late = int((world.clock() - 3600) * 1000)
    await world.happen("other-topic", topic="x.other", device="door")
    await world.happen("other-device", device="gate")
    await world.happen("late", device="door", occurred=late)
    await world.happen("right", device="door")
    await until(lambda: world.receivers.ids() == ["right"])
    engine = world.service.engine
    assert engine is not None
    assert (await engine.couriers["hook"].cursor()).sequence >= 3


async def test_what_the_form_has_nothing_to_say_of_is_passed_over(world: World) -> None:
    """The position goes on, and the ledger has nothing of it."""
    world.forms["native"] = lambda event, _: None if event.id == "mute" else world.native(event, _)
    await world.webhook()
    await world.happen("mute", "loud")
    await until(lambda: world.receivers.ids() == ["loud"])
    await until_states(world, [("loud", "delivered", 1)])


async def test_an_event_that_cannot_be_written_keeps_nobody_up(world: World) -> None:
    def form(event: Event, _: object) -> Any:
        if event.id == "odd":
            raise ValueError("no such shape")
        return world.native(event, None)

    world.forms["native"] = form
    await world.webhook()
    await world.happen("odd", "fine")
    await until_states(world, [("odd", "dead", 1), ("fine", "delivered", 1)])


async def test_what_fails_on_our_side_is_no_fault_of_the_receiver(world: World) -> None:
    """S7: it does not count for the breaker, and uses up no retry."""
    await world.webhook(retry=())
    world.receivers.says[URL] = lambda _: Outcome(None, "local", 0.0)
    await world.happen("one")
    await until_states(world, [("one", "waiting", 1)])
    health = await world.service.ledger.health("hook")
    assert health is None or health.failures == 0


async def test_the_ledger_says_why_an_attempt_failed(world: World) -> None:
    webhook = await world.webhook(retry=())
    world.receivers.says[URL] = lambda _: Outcome(None, "blocked", 0.0, detail="10.0.0.1 is a private address")
    await world.happen("one")
    await until_states(world, [("one", "dead", 1)])
    delivery, attempts = await world.service.delivery(webhook, f"{world.log.epoch}-1")
    assert [each.error for each in attempts] == ["blocked: 10.0.0.1 is a private address"]
    assert delivery.error == attempts[0].error


async def test_what_ends_together_is_written_together(world: World) -> None:
    await world.webhook()
    names = [f"event-{n}" for n in range(300)]
    await world.happen(*names)
    await until_delivered(world, len(names))
    info = await world.connection.api("STREAM.INFO.WEBHOOKS", {"subjects_filter": "webhooks.attempt.>"})
    assert info["state"]["subjects"]["webhooks.attempt.hook"] <= len(names) / 10


async def test_an_attempt_that_waits_to_be_written_is_kept_when_the_webhook_stops(
    idle_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doorstream.webhooks.recorder.LINGER", 60.0)
    async with idle_world.serving():
        await idle_world.webhook(concurrency=2)
        gate = asyncio.Event()
        send = idle_world.receivers.send

        async def send_or_wait(request: Request) -> Outcome:
            outcome = await send(request)
            if request.headers["webhook-id"] == "slow":
                await gate.wait()
            return outcome

        monkeypatch.setattr(idle_world.receivers, "send", send_or_wait)
        await idle_world.happen("slow", "one")
        await until(lambda: idle_world.receivers.ids() == ["slow", "one"])
        await asyncio.sleep(0.05)
        assert await ledger(idle_world) == [], "it waits for the slow one"
        asyncio.get_running_loop().call_later(0.1, gate.set)
    async with idle_world.serving():
        await until_states(idle_world, [("one", "delivered", 1), ("slow", "delivered", 1)])
        await idle_world.happen("two")
        await until(lambda: idle_world.receivers.ids() == ["slow", "one", "two"])


# Restarts.


async def test_nothing_is_lost_or_repeated_over_a_restart(idle_world: World) -> None:
    async with idle_world.serving():
        await idle_world.webhook()
        await idle_world.happen("one", "two")
        await until(lambda: len(idle_world.receivers.ids()) == 2)
    await idle_world.happen("three")
    async with idle_world.serving():
        await until(lambda: len(idle_world.receivers.ids()) == 3)
        await idle_world.happen("four")
        await until(lambda: len(idle_world.receivers.ids()) == 4)
    assert idle_world.receivers.ids() == ["one", "two", "three", "four"]


async def test_what_is_behind_the_position_is_known_by_the_ledger(
    idle_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed has not kept its position since some seconds."""

    async def keep_nothing(*_: object, **__: object) -> None:
        pass

    async with idle_world.serving() as service:
        assert service.engine is not None
        monkeypatch.setattr(service.engine, "keep_cursors", keep_nothing)
        await idle_world.webhook(retry=FOREVER)
        answers = iter([OK, FAILED, OK])
        idle_world.receivers.says[URL] = lambda _: next(answers)
        await idle_world.happen("one", "two", "three")
        await until(lambda: len(idle_world.receivers.ids()) == 3)
    async with idle_world.serving():
        idle_world.receivers.says.clear()
        await idle_world.happen("four")
        await until(lambda: len(idle_world.receivers.ids()) == 4)
        await asyncio.sleep(0.05)
    assert idle_world.receivers.ids() == ["one", "two", "three", "four"]


async def test_the_position_is_kept_at_the_end_also_of_an_idle_webhook(idle_world: World) -> None:
    """One that followed the log for months without a match must not begin at its old position again."""
    async with idle_world.serving():
        await idle_world.webhook(topics=("x.test",))
        await idle_world.happen("one")
        await until(lambda: idle_world.receivers.ids() == ["one"])
        await idle_world.happen(*(f"unwanted-{n}" for n in range(20)), topic="x.other")
        await idle_world.hub.reached(21)
    async with idle_world.serving() as service:
        await service.ledger.current()
        cursor = await service.ledger.cursor("hook")
        assert cursor is not None
        assert cursor.sequence == 21


async def test_an_attempt_that_was_cut_off_is_made_again(idle_world: World) -> None:
    """At least once: whether the receiver had it is not known."""
    async with idle_world.serving() as service:
        await idle_world.webhook()
        idle_world.receivers.gates[URL] = asyncio.Event()
        await idle_world.happen("one")
        await until(lambda: len(idle_world.receivers.ids()) == 1)
        assert service.engine is not None
        for task in service.engine.couriers["hook"]._attempts:
            task.cancel()
    idle_world.receivers.gates.clear()
    async with idle_world.serving():
        await until(lambda: idle_world.receivers.ids() == ["one", "one"])
        await until_states(idle_world, [("one", "delivered", 1)])


async def test_an_attempt_that_fails_while_the_webhook_stops_is_kept_with_its_retry(
    idle_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When those under way had been waited for its record was only begun, and cut off: it was sent again at once."""
    async with idle_world.serving() as service:
        await idle_world.webhook(retry=FOREVER)
        idle_world.receivers.says[URL] = lambda _: FAILED
        idle_world.receivers.gates[URL] = asyncio.Event()
        await idle_world.happen("one")
        await until(lambda: bool(idle_world.receivers.got.get(URL)))
        engine = service.engine
        assert engine is not None
        put = engine.store.put

        async def put_after_others(messages: Sequence[Message]) -> int:
            """As on a busy server, where others are written before."""
            for _ in range(20):
                await asyncio.sleep(0)
            return await put(messages)

        monkeypatch.setattr(engine.store, "put", put_after_others)
        courier = engine.couriers["hook"]
        stopping = asyncio.create_task(engine.stop())
        await until(lambda: courier._is_stopped)
        await asyncio.sleep(0)
        idle_world.receivers.gates.pop(URL).set()
        await stopping
    async with idle_world.serving():
        await until_states(idle_world, [("one", "waiting", 1)])
    assert idle_world.receivers.ids() == ["one"]


async def test_retries_survive_a_restart_and_those_that_fell_due_meanwhile_too(idle_world: World) -> None:
    async with idle_world.serving():
        await idle_world.webhook(retry=(3.0,))
        idle_world.receivers.says[URL] = lambda _: FAILED
        idle_world.clock.now = time.time()  # from which the wait counts
        await idle_world.happen("one", "two")
        await until_states(idle_world, [("one", "waiting", 1), ("two", "waiting", 1)])
    idle_world.receivers.says.clear()
    async with asyncio.timeout(30):  # true time: it is nats-server that holds them
        while (await subjects(idle_world)).get("webhooks.due.hook") != 2:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)
    async with idle_world.serving():
        await until(lambda: sorted(idle_world.receivers.ids()) == ["one", "one", "two", "two"])
        await until_states(idle_world, [("one", "delivered", 2), ("two", "delivered", 2)])
        await asyncio.sleep(0.1)
    assert len(idle_world.receivers.ids()) == 4


async def test_a_ledger_that_was_deleted_is_built_again(idle_world: World) -> None:
    async with idle_world.serving():
        await idle_world.webhook(retry=(0.3,))
        answers = iter([FAILED, OK, OK])
        idle_world.receivers.says[URL] = lambda _: next(answers)
        await idle_world.happen("one", "two")
        await until_states(idle_world, [("one", "delivered", 2), ("two", "delivered", 1)])
        before = await ledger(idle_world)
    for file in idle_world.path.glob("webhooks.sqlite*"):
        file.unlink()
    async with idle_world.serving():
        assert await ledger(idle_world) == before
        idle_world.receivers.says.clear()
        await idle_world.happen("three")
        await until(lambda: len(idle_world.receivers.ids()) == 4)


async def test_a_damaged_ledger_is_built_again_while_it_is_in_use(world: World) -> None:
    await world.webhook()
    await world.happen("one")
    await until_states(world, [("one", "delivered", 1)])
    for file in world.path.glob("webhooks.sqlite*"):
        file.unlink()
    await world.happen("two")
    await until(lambda: world.receivers.ids() == ["one", "two"])
    async with asyncio.timeout(10):
        while True:
            try:
                if await states(world) == [("one", "delivered", 1), ("two", "delivered", 1)]:
                    break
            except Exception:  # noqa: BLE001, S110 - it says that it is being built
                pass
            await asyncio.sleep(0.05)


async def test_a_worker_that_does_not_deliver_answers(idle_world: World) -> None:
    async with idle_world.serving():
        await idle_world.webhook()
        await idle_world.happen("one")
        await until_states(idle_world, [("one", "delivered", 1)])
    idle_world.ledger_name = "webhooks-1.sqlite"
    async with idle_world.serving(delivers=False):
        assert await states(idle_world) == [("one", "delivered", 1)]
        await idle_world.happen("two")
        await idle_world.hub.reached(2)
    assert idle_world.receivers.ids() == ["one"]


# What receivers say.


async def test_410_disables_the_webhook_and_tells(world: World) -> None:
    await world.webhook(topics=("x.test",))
    world.receivers.says[URL] = lambda _: Outcome(410, None, 0.01)
    await world.happen("one")
    await until(lambda: told(world) == ["disabled"])
    site = world.directory.site(SITE)
    assert site is not None
    webhook = site.webhooks.get("hook")
    assert webhook is not None
    assert not webhook.enabled
    assert webhook.disabled_reason == "the receiver answered 410 Gone"
    assert world.put_in.events[0]["body"]["webhookId"] == "hook"
    world.receivers.says.clear()
    await world.happen("two")
    await world.hub.reached(3)
    await asyncio.sleep(0.02)
    assert world.receivers.ids() == ["one"]
    await world.directory.change(webhook, lambda old: replace(old, enabled=True, enabled_at=world.clock()), SYSTEM)
    await until(lambda: "two" in world.receivers.ids())
    assert world.receivers.ids().count("one") == 1
    await until_states(world, [("one", "dead", 1), ("two", "delivered", 1)])


async def test_410_of_an_address_that_was_left_meanwhile_disables_nobody(world: World) -> None:
    """Who moved a receiver while an attempt on its old address was under way found the webhook disabled."""
    webhook = await world.webhook()
    gate = world.receivers.gates[URL] = asyncio.Event()
    world.receivers.says[URL] = lambda _: Outcome(410, None, 0.01)
    await world.happen("one")
    await until(lambda: bool(world.receivers.got.get(URL)))
    await world.directory.change(webhook, lambda old: replace(old, url=OTHER_URL), SYSTEM)
    gate.set()
    await until_states(world, [("one", "waiting", 1)])
    await world.happen("two")
    await until(lambda: world.receivers.ids(OTHER_URL) == ["two"])
    assert told(world) == []


async def test_a_webhook_that_was_enabled_again_is_not_disabled_for_what_was_before(world: World) -> None:
    """The log was away when it was to be disabled, and its owner was faster."""
    before = await world.webhook(enabled_at=1.0)
    now = await world.directory.change(before, lambda old: replace(old, enabled_at=2.0), SYSTEM)
    engine = world.service.engine
    assert engine is not None
    engine.disable(before, "the receiver answered 410 Gone", 1.5)
    await asyncio.gather(*(task for task in engine._tasks if "_disable" in repr(task.get_coro())))
    site = world.directory.site(SITE)
    assert site is not None
    assert site.webhooks.get(now.id) == now
    assert told(world) == []


async def test_429_makes_the_whole_webhook_rest(world: World) -> None:
    await world.webhook(concurrency=1)
    answers = iter([Outcome(429, None, 0.01, b"", 60.0)])
    world.receivers.says[URL] = lambda _: next(answers, OK)
    await world.happen("one", "two")
    await until_states(world, [("one", "waiting", 1)])
    await world.pass_time(59.0)
    await asyncio.sleep(0.02)
    assert world.receivers.ids() == ["one"]
    await world.pass_time(1.5)
    await until(lambda: world.receivers.ids()[:2] == ["one", "two"])


# Giving up, and replays.


async def exhausted(world: World, *names: str) -> Webhook:
    """A webhook whose deliveries of these events were given up."""
    webhook = await world.webhook(retry=())
    world.receivers.says[URL] = lambda _: FAILED
    await world.happen(*names)
    await until_states(world, [(name, "dead", 1) for name in names])
    world.receivers.says.clear()
    return webhook


async def test_a_dead_delivery_can_be_replayed(world: World) -> None:
    webhook = await exhausted(world, "one", "two")
    dead = await ledger(world, state="dead")
    replayed = await world.service.replay_one(webhook, webhook, dead[0].delivery)
    await until(lambda: world.receivers.ids() == ["one", "two", "one"])
    request = world.receivers.got[URL][-1]
    assert request.headers["doorstream-replay"] == replayed.replay
    await until_states(world, [("one", "dead", 1), ("two", "dead", 1), ("one", "delivered", 1)])


async def test_a_range_of_dead_deliveries_can_be_replayed(world: World) -> None:
    webhook = await exhausted(world, "one", "two", "three")
    await world.service.replay_one(webhook, webhook, (await ledger(world))[1].delivery)
    await until_states(world, [("one", "dead", 1), ("two", "dead", 1), ("three", "dead", 1), ("two", "delivered", 1)])
    replayed = await world.service.replay(webhook, Wanted(webhook="hook", state="dead", since=0))
    assert replayed.deliveries == 2, "what was delivered meanwhile is not dead"
    await until(lambda: sorted(world.receivers.ids()[4:]) == ["one", "three"])
    everything = await world.service.replay(webhook, Wanted(webhook="hook", since=0))
    assert everything.deliveries == 3


async def test_a_range_can_be_replayed_to_another_webhook(world: World) -> None:
    await exhausted(world, "one", "two")
    other = await world.webhook("other", url=OTHER_URL)
    await world.service.replay(other, Wanted(webhook="hook", state="dead", since=0))
    await until(lambda: sorted(world.receivers.ids(OTHER_URL)) == ["one", "two"])
    await until_states(world, [("one", "delivered", 1), ("two", "delivered", 1)], "other")


async def test_a_replay_of_an_event_that_is_gone_ends_in_the_ledger(world: World) -> None:
    webhook = await exhausted(world, "one")
    await world.connection.api("STREAM.PURGE.EVENTS")
    await world.service.replay_one(webhook, webhook, (await ledger(world))[0].delivery)
    async with asyncio.timeout(10):
        while len(found := await ledger(world)) < 2:  # noqa: ASYNC110 - the ledger tells nobody
            await asyncio.sleep(0.01)
    assert (found[1].state, found[1].error) == ("dead", "event gone")


# Order.


def refuses(world: World, *names: str) -> None:
    """Have the receiver refuse these."""
    world.receivers.says[URL] = lambda request: FAILED if request.headers["webhook-id"] in names else OK


async def test_behind_a_failure_a_door_waits_and_others_do_not(world: World) -> None:
    await world.webhook(ordered=True, retry=FOREVER)
    refuses(world, "a1")
    await world.happen("a1", device="a")
    await until_states(world, [("a1", "waiting", 1)])
    await world.happen("a2", "a3", device="a")
    await world.happen("b1", "b2", device="b")
    await until(lambda: [each for each in world.receivers.ids() if each != "a1"] == ["b1", "b2"])
    async with asyncio.timeout(10):
        while [each.event for each in await ledger(world, state="held")] != ["a2", "a3"]:  # noqa: ASYNC110 - the ledger tells nobody
            await asyncio.sleep(0.01)
    refuses(world)
    await have_all_fall_due(world)
    await until(lambda: "a3" in world.receivers.ids())
    await world.happen("a4", device="a")
    await until(lambda: "a4" in world.receivers.ids())
    delivered = [each for each in world.receivers.ids() if each.startswith("a")]
    assert delivered[-4:] == ["a1", "a2", "a3", "a4"]
    assert set(delivered[:-4]) == {"a1"}


async def test_events_of_a_door_are_never_under_way_together(world: World) -> None:
    await world.webhook(ordered=True)
    gate = world.receivers.gates[URL] = asyncio.Event()
    names = [f"a{n}" for n in range(30)]
    await world.happen(*names, device="a")
    await world.hub.reached(30)
    await asyncio.sleep(0.02)
    assert world.receivers.ids() == ["a0"]
    gate.set()
    await until(lambda: len(world.receivers.ids()) == 30)
    assert world.receivers.ids() == names
    assert world.receivers.most[URL] == 1


async def test_the_order_survives_a_restart(idle_world: World) -> None:
    async with idle_world.serving():
        await idle_world.webhook(ordered=True, retry=FOREVER)
        refuses(idle_world, "a1")
        await idle_world.happen("a1", "a2", "a3", device="a")
        await until_states(idle_world, [("a1", "waiting", 1), ("a2", "held", 0), ("a3", "held", 0)])
    await idle_world.happen("a4", device="a")
    async with idle_world.serving():
        refuses(idle_world)
        await have_all_fall_due(idle_world)
        await until(lambda: "a4" in idle_world.receivers.ids())
    assert [each for each in idle_world.receivers.ids() if each != "a1"] == ["a2", "a3", "a4"]


async def test_a_door_goes_on_after_a_delivery_that_is_given_up(world: World) -> None:
    await world.webhook(ordered=True, retry=(0.3,))
    refuses(world, "a1")
    await world.happen("a1", "a2", device="a")
    await until_states(world, [("a1", "dead", 2), ("a2", "delivered", 1)])


# The breaker.


async def slowed(world: World, **fields: Any) -> list[str]:
    """A webhook that failed for over a minute; returns the names of what happened."""
    await world.webhook(**{"retry": FOREVER, "concurrency": 1, "topics": ("x.test",)} | fields)
    world.receivers.says[URL] = lambda _: FAILED
    names = [f"event-{n:03}" for n in range(40)]
    await world.happen(*names)
    engine = world.service.engine
    assert engine is not None
    breaker = engine.couriers["hook"]._pace.breaker
    for n in range(1, 15):
        await until(lambda n=n: breaker.failures >= n)
        if breaker.open:  # now, not when it is told: the clock must not go on meanwhile
            break
        await world.pass_time(7.0)
    await until(lambda: told(world) == ["slowed"])
    return names


async def test_a_receiver_that_keeps_failing_is_probed_only(world: World) -> None:
    await slowed(world)
    engine = world.service.engine
    assert engine is not None
    courier = engine.couriers["hook"]
    count = len(world.receivers.ids())
    await asyncio.sleep(0.05)
    assert len(world.receivers.ids()) == count
    await until(lambda: len(courier._progress) <= 2)  # it costs its position only, once what failed is recorded
    for wait in (30, 60, 120):
        await world.pass_time(wait - 2)
        await asyncio.sleep(0.02)
        assert len(world.receivers.ids()) == count
        await world.pass_time(3)
        count += 1
        await until(lambda count=count: len(world.receivers.ids()) == count)
        await asyncio.sleep(0.05)
        assert len(world.receivers.ids()) == count


async def test_a_probe_that_succeeds_brings_everything(world: World) -> None:
    names = await slowed(world)
    world.receivers.says.clear()
    failed = set(world.receivers.ids())
    later = [each for each in names if each not in failed]
    await world.pass_time(31)
    await until(lambda: set(later) <= set(world.receivers.ids()))
    await until(lambda: told(world) == ["slowed", "recovered"])
    assert [each for each in world.receivers.ids() if each in later] == later, "each once and in order"


async def test_five_days_of_failures_disable_it(world: World) -> None:
    await slowed(world)
    await world.pass_time(GIVE_UP)
    await until(lambda: told(world) == ["slowed", "disabled"])
    site = world.directory.site(SITE)
    assert site is not None
    webhook = site.webhooks.get("hook")
    assert webhook is not None
    assert not webhook.enabled


async def test_the_breaker_survives_a_restart_and_tells_once(idle_world: World) -> None:
    async with idle_world.serving():
        names = await slowed(idle_world)
        count = len(idle_world.receivers.ids())
    async with idle_world.serving():
        await until(lambda: idle_world.service.engine is not None and "hook" in idle_world.service.engine.couriers)
        await asyncio.sleep(0.1)
        assert len(idle_world.receivers.ids()) == count
        idle_world.receivers.says.clear()
        await idle_world.pass_time(31)
        await until(lambda: names[-1] in idle_world.receivers.ids())
        await until(lambda: told(idle_world) == ["slowed", "recovered"])


async def test_retries_wait_while_it_is_slow_and_come_first(world: World) -> None:
    world.clock.now -= 1000  # nats-server has its own: there everything is due at once
    await slowed(world, retry=(0.2,) * 50)
    world.receivers.says.clear()
    await asyncio.sleep(0.5)
    count = len(world.receivers.ids())
    await asyncio.sleep(0.3)
    assert len(world.receivers.ids()) == count, "what fell due waits"
    await world.pass_time(31)
    await until(lambda: len(set(world.receivers.ids())) == 40)
    await until_delivered(world, 40)


async def until_delivered(world: World, count: int) -> None:
    """Wait until so many are."""
    async with asyncio.timeout(30):
        while len(await ledger(world, state="delivered")) < count:  # noqa: ASYNC110 - the ledger tells nobody
            await asyncio.sleep(0.02)


async def test_an_ordered_webhook_is_slowed_and_recovers_in_order(world: World) -> None:
    world.clock.now -= 1000
    await world.webhook(retry=(0.2,) * 50, ordered=True, topics=("x.test",))
    world.receivers.says[URL] = lambda _: FAILED
    names = [f"{door}{n:02}" for n in range(4) for door in "abcdefghijklmno"]
    for name in names:
        await world.happen(name, device=name[0])
    async with asyncio.timeout(30):
        while "slowed" not in told(world):
            await world.pass_time(7.0)
            await asyncio.sleep(0.05)
    await until(lambda: told(world) == ["slowed"])
    world.receivers.says.clear()
    count = len(world.receivers.ids())
    await world.pass_time(31)
    await until_delivered(world, len(names))
    for door in "abcdefghijklmno":
        got = [each for each in world.receivers.ids()[count:] if each[0] == door]
        assert got == [name for name in names if name[0] == door]


# Changes.


async def test_a_webhook_that_is_deleted_is_sent_nothing_more(world: World) -> None:
    webhook = await world.webhook(retry=FOREVER)
    world.receivers.says[URL] = lambda _: FAILED
    await world.happen("one")
    await until_states(world, [("one", "waiting", 1)])
    await world.directory.delete(webhook, SYSTEM)
    async with asyncio.timeout(10):  # the retry is gone with it
        while set(await subjects(world)) != {"webhooks.attempt.hook"}:  # noqa: ASYNC110 - the stream tells nobody
            await asyncio.sleep(0.01)
    await world.happen("two")
    await world.hub.reached(2)
    await asyncio.sleep(0.02)
    assert world.receivers.ids() == ["one"]


async def test_what_was_left_by_a_webhook_that_was_deleted_while_nobody_delivered(idle_world: World) -> None:
    """Its position and what had fallen due stayed in the stream for ever, as neither ages with the ledger."""
    async with idle_world.serving():
        webhook = await idle_world.webhook()
        other = await idle_world.webhook("other", url=OTHER_URL)
        await idle_world.happen("one")
        await until_states(idle_world, [("one", "delivered", 1)])
        await until_states(idle_world, [("one", "delivered", 1)], "other")
        third = await idle_world.webhook("third")
    async with idle_world.serving(delivers=False) as service:
        await service.replay_one(webhook, webhook, f"{idle_world.log.epoch}-1")
        for each in (webhook, third):
            await idle_world.directory.delete(each, SYSTEM)
    async with idle_world.serving() as service:
        engine = service.engine
        assert engine is not None
        await until(lambda: other.id in engine.couriers)
        await engine.forget_deleted()
        kept = await subjects(idle_world)  # the webhook might have been made just now, elsewhere
        assert {"webhooks.due.hook", "webhooks.cursor.hook", "webhooks.cursor.third"} <= set(kept)
        await engine.forget_deleted()
        left = {"webhooks.attempt.hook", "webhooks.attempt.other", "webhooks.cursor.other"}
        assert set(await subjects(idle_world)) == left
        await engine.forget_deleted()
        assert set(await subjects(idle_world)) == left


async def test_a_webhook_that_is_there_again_while_what_was_left_of_it_is_looked_for(idle_world: World) -> None:
    """It lost its position and what had fallen due, as if it were still gone: who is let go was chosen before."""
    async with idle_world.serving(delivers=False) as service:
        webhook = await idle_world.webhook()
        await idle_world.happen("one")
    async with idle_world.serving() as service:
        await until_states(idle_world, [("one", "delivered", 1)])
    async with idle_world.serving(delivers=False) as service:
        await idle_world.directory.delete(webhook, SYSTEM)
    async with idle_world.serving() as service:
        engine = service.engine
        assert engine is not None
        await engine.forget_deleted()
        async with engine._locks.setdefault(webhook.id, asyncio.Lock()):
            forgetting = asyncio.create_task(engine.forget_deleted())
            await until(lambda: bool(engine._locks[webhook.id]._waiters))
            await idle_world.directory.create(webhook, SYSTEM)
        await forgetting
        assert "webhooks.cursor.hook" in await subjects(idle_world)


async def test_changes_apply_to_what_comes(world: World) -> None:
    webhook = await world.webhook(topics=("x.test",))
    await world.happen("one")
    await until(lambda: world.receivers.ids() == ["one"])
    engine = world.service.engine
    assert engine is not None
    changed = await world.directory.change(webhook, lambda old: replace(old, url=OTHER_URL, topics=("x.*",)), SYSTEM)
    await until(lambda: engine.couriers["hook"].webhook == changed)
    await world.happen("two", topic="x.other")
    await until(lambda: world.receivers.ids(OTHER_URL) == ["two"])


async def test_an_expired_webhook_is_sent_nothing(world: World) -> None:
    moment = world.clock() + 100
    from doorstream.events.event import iso_utc  # noqa: PLC0415 - beside its one use

    await world.webhook(expires=iso_utc(int(moment * 1000)))
    await world.happen("one")
    await until(lambda: world.receivers.ids() == ["one"])
    await world.pass_time(101)
    engine = world.service.engine
    assert engine is not None
    await until(lambda: "hook" not in engine.couriers)
    await world.happen("two")
    await world.hub.reached(2)
    assert world.receivers.ids() == ["one"]


async def test_a_disabled_webhook_goes_on_where_it_stopped(world: World) -> None:
    webhook = await world.webhook()
    engine = world.service.engine
    assert engine is not None
    await world.directory.change(webhook, lambda old: replace(old, enabled=False), SYSTEM)
    await until(lambda: not engine.couriers)
    await world.happen("one")
    await world.directory.change(webhook, lambda old: replace(old, enabled=True), SYSTEM)
    await until(lambda: world.receivers.ids() == ["one"])


async def test_an_event_that_nobody_wants_costs_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from doorstream.webhooks import matching  # noqa: PLC0415 - to replace a part of it

    seen: list[str] = []
    encode = matching.EventEncoder.encode

    def noted(self: Any, entry: Any) -> Any:
        seen.append(entry.event.id)
        return encode(self, entry)

    monkeypatch.setattr(matching.EventEncoder, "encode", noted)
    for n in range(10):
        await world.webhook(f"hook-{n}", topics=("device.request.*",))
    await world.happen(*(f"event-{n}" for n in range(100)))
    await world.hub.reached(100)
    await world.happen("wanted", topic="device.request.allowed", device="door")
    await until(lambda: len(world.receivers.ids()) == 10)
    assert seen == ["wanted"], "once for all ten"


async def test_the_test_event_is_in_no_log(world: World) -> None:
    webhook = await world.webhook()
    tested = await world.service.test(webhook)
    assert tested.outcome.delivered
    assert (await world.log.extent()).last == 0
    found = await ledger(world)
    assert [(each.delivery, each.test, each.state) for each in found] == [(tested.delivery, 1, "delivered")]


async def test_what_fell_due_is_tidied_away(world: World) -> None:
    """The stream keeps what waits for as long as it waits, and no longer."""
    await world.webhook(retry=(0.2,))
    answers = iter([FAILED, OK])
    world.receivers.says[URL] = lambda _: next(answers)
    await world.happen("one")
    await until_states(world, [("one", "delivered", 2)])
    engine = world.service.engine
    assert engine is not None
    await until(engine.couriers["hook"].due_floor)  # the ledger may know of it before the courier does
    await engine._tidy()
    info = await world.connection.api("STREAM.INFO.WEBHOOKS", {"subjects_filter": "webhooks.due.>"})
    assert not info["state"].get("subjects")
    await asyncio.wait_for(world.service.ledger.current(), 5)


def test_a_request_carries_no_secret_in_its_repr() -> None:
    webhook = Webhook(
        id="w", site_id=SITE, created="", start="e.0", name="n", url=URL, headers={"Authorization": "Basic secret"}
    )
    assert "secret" not in repr(webhook).replace("secrets", "").replace("secrecy", "")
    assert isinstance(Request(URL, {}, b""), Request)
