"""Connection state recovery with the unmodified JavaScript client: nothing missing, nothing twice (D13)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from node_client import NodeClient
from patient import put_at_last
from pdk_programs import (
    ALLOWED,
    DENIED,
    OPENED,
    RECOVERING,
    assert_calm,
    event,
    program,
    programs,
    put,
    seconds_left,
    subscribed,
)

from doorstream.testing.server import Demo, running_demo

pytestmark = pytest.mark.node

SLOWLY = {"reconnectionDelay": 700, "reconnectionDelayMax": 700, "randomizationFactor": 0}
"""Time for events that happen while the client is away."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for the tests that only cut connections."""
    async with running_demo() as demo:
        yield demo
        assert_calm(demo)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mortal() -> AsyncIterator[Demo]:
    """One server that is killed; its tokens are soon over."""
    async with running_demo(fixed_port=True, system_token_ttl=5) as demo:
        yield demo
        assert_calm(demo)


def renewal(demo: Demo) -> dict[str, str]:
    """What a program needs in order to fetch tokens by itself."""
    return demo.credentials["pdk"] | {"url": demo.url}


async def again(client: NodeClient, kind: str, number: int = 2) -> bool:
    """Wait until a client has connected for the n-th time; tells whether it was recovered."""
    recovered: bool = (await client.tells("connect", number))["recovered"]
    await subscribed(client, kind)
    return recovered


async def test_d13_a_lost_transport(demo: Demo) -> None:
    """On every transport: ``recovered`` is true, and what happened meanwhile comes, once and in order."""
    token = await demo.system_token()
    async with programs(demo, RECOVERING, token, ALLOWED, OPENED, options=SLOWLY) as running:
        ids = await put(demo, "lost-1", "lost-2")
        for client in running.values():
            await client.receives(2)
            client.do("cut")
            await client.tells("disconnect")
        ids += await put(demo, "lost-3")
        ids += await put(demo, "lost-4", topic=OPENED)
        for kind, client in running.items():
            assert await again(client, kind)
        ids += await put(demo, "lost-5")
        for client in running.values():
            assert await client.receives(5) == ids


async def test_d13_lost_before_the_first_event(demo: Demo) -> None:
    """There is no offset yet. The program is told "not recovered", subscribes again, and has missed nothing."""
    token = await demo.system_token()
    async with programs(demo, RECOVERING, token, ALLOWED, options=SLOWLY, unlessRecovered=True) as running:
        for client in running.values():
            client.do("cut")
            await client.tells("disconnect")
        ids = await put(demo, "none-1", "none-2")
        for kind, client in running.items():
            assert not await again(client, kind)
            assert await client.receives(2) == ids


async def test_d13_several_subscriptions(demo: Demo) -> None:
    """One call for each topic, as many programs do it; the second topic's events of the gap are not lost."""
    token = await demo.system_token()
    each = {"subscriptions": [[ALLOWED], [OPENED], [DENIED]], "options": SLOWLY}
    async with program(demo, "4", token, **each) as early, program(demo, "4", token, **each) as late:
        for client in (early, late):
            await client.tells("connect")
            await subscribed(client, "4")
        early.do("cut")
        await early.tells("disconnect")
        ids = await put(demo, "each-1")
        await late.receives(1)
        late.do("cut")
        await late.tells("disconnect")
        ids += await put(demo, "each-2", topic=OPENED)
        ids += await put(demo, "each-3", topic=DENIED)
        for client in (early, late):
            assert await client.receives(3) == ids


async def test_d13_a_program_that_asks_whether_it_was_recovered(demo: Demo) -> None:
    """It does not subscribe again; its topics are in its offset."""
    token = await demo.system_token()
    async with programs(demo, RECOVERING, token, ALLOWED, options=SLOWLY, unlessRecovered=True) as running:
        ids = await put(demo, "asks-1")
        for client in running.values():
            await client.receives(1)
            client.do("cut")
            await client.tells("disconnect")
        ids += await put(demo, "asks-2")
        for client in running.values():
            assert await client.receives(2) == ids
            assert client.all("connect")[1]["recovered"]


async def test_d13_cut_again_and_again_under_load(demo: Demo) -> None:
    """Connections that are lost in the middle of a stream of events, replays included."""
    token = await demo.system_token()
    options = {"reconnectionDelay": 20, "reconnectionDelayMax": 50}
    async with programs(demo, RECOVERING, token, ALLOWED, "liveEvent", options=options) as running:
        ids: list[str] = []
        for number in range(120):
            ids += await put(demo, f"load-{number}")
            await asyncio.sleep(0.01)
            if number % 15 == 5:
                for client in running.values():
                    client.do("cut")
        for kind, client in running.items():
            await client.receives(len(ids))
            await client.until(lambda client=client: client.names.count("liveEvent") == len(ids))
            assert client.ids == ids, kind
            assert client.names == [ALLOWED, "liveEvent"] * len(ids)


async def test_d13_switched_off(demo: Demo) -> None:
    """``recovery=0``: no pid, no offsets, and after a cut only what comes then."""
    token = await demo.system_token()
    by_hand = {"reconnection": False}  # else it could be back before the event that it is to miss
    async with programs(demo, ("4",), token, ALLOWED, options=by_hand, query={"recovery": "0"}) as running:
        client = running["4"]
        await put(demo, "off-1")
        await client.receives(1)
        client.do("cut")
        await client.tells("disconnect")
        await put(demo, "off-2")
        client.do("connect")
        assert not await again(client, "4")
        await put(demo, "off-3")
        assert await client.receives(2) == ["off-1", "off-3"]
        assert all(len(item["args"]) == 1 for item in client.all("event"))


async def test_d13_the_server_is_killed(mortal: Demo) -> None:
    """``kill -9`` of everything with events on their way, and a start on the same data: tokens are still fresh."""
    token = await mortal.system_token()
    async with programs(mortal, RECOVERING, token, ALLOWED, renew=renewal(mortal)) as running:
        ids = await put(mortal, "killed-0")
        for client in running.values():  # who has an offset is recovered
            await client.receives(1)
        ids += await put(mortal, *(f"killed-{number}" for number in range(1, 20)))
        mortal.kill()
        await asyncio.to_thread(mortal.start)
        ids += await put(mortal, "killed-20")
        for kind, client in running.items():
            assert await again(client, kind)
        ids += await put(mortal, "killed-21")
        for client in running.values():
            assert await client.receives(22) == ids


async def test_d13_the_server_is_killed_and_tokens_expire(mortal: Demo) -> None:
    """The same when the clients come back with their first token, which is over by then: held, renewed, complete."""
    token = await mortal.system_token()
    async with programs(mortal, RECOVERING, token, ALLOWED, renew=renewal(mortal)) as running:
        ids = await put(mortal, "expired-1", "expired-2")
        for client in running.values():
            await client.receives(2)
        mortal.kill()
        await asyncio.sleep(seconds_left(token))
        await asyncio.to_thread(mortal.start)
        ids += await put(mortal, "expired-3", "expired-4")
        for client in running.values():
            await client.tells("connect", 2)
            assert await client.receives(4) == ids
            assert client.all("connect")[1]["recovered"]
            assert "invalidToken" in client.names


async def test_d13_a_worker_is_killed(mortal: Demo) -> None:
    """Its successor knows as much, whoever the clients are."""
    token = await mortal.system_token()
    async with programs(mortal, (*RECOVERING, "2"), token, ALLOWED, renew=renewal(mortal)) as running:
        ids = await put(mortal, "worker-1", "worker-2")
        for client in running.values():
            await client.receives(2)
        mortal.kill_worker()
        await put_at_last(mortal, event("worker-3"))
        ids.append("worker-3")
        for kind, client in running.items():
            assert await again(client, kind) == (kind != "2")
        ids += await put(mortal, "worker-4")
        for kind, client in running.items():
            if kind in RECOVERING:
                assert await client.receives(4) == ids
            else:  # it has no recovery, but nothing comes twice and what comes now comes
                await client.until(lambda client=client: "worker-4" in client.ids)
                assert [event_id for event_id in ids if event_id in client.ids] == client.ids
