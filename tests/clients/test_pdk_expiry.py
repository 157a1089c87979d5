"""Tokens that expire under the real clients: held, told, renewed, released (D1, D2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from node_client import NodeClient
from pdk_programs import ALLOWED, DENIED, KINDS, OPENED, assert_calm, program, programs, put, seconds_left, subscribed

from doorstream.testing.server import Demo, running_demo

pytestmark = pytest.mark.node

TTL = 5.0
"""Long enough for what is done with a fresh token, also while seven programs fetch theirs."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server whose system tokens are soon over."""
    async with running_demo(system_token_ttl=TTL) as demo:
        yield demo
        assert_calm(demo)


def renewal(demo: Demo) -> dict[str, str]:
    """What a program needs in order to fetch tokens by itself."""
    pdk = demo.credentials["pdk"]
    return pdk | {"url": demo.url}


async def expired(demo: Demo) -> str:
    """A token that was genuine a moment ago."""
    token = await demo.system_token()
    await asyncio.sleep(seconds_left(token))
    return token


def without_repeats(client: NodeClient) -> bool:
    """Whether nothing came twice."""
    return len(set(client.ids)) == len(client.ids)


async def test_pdk_10_held_told_renewed_released(demo: Demo) -> None:
    """PDK-10 by every kind of client side by side, each of which fetches its token as the vendor documents it."""
    token = await demo.system_token()
    async with programs(demo, KINDS, token, ALLOWED, OPENED, renew=renewal(demo)) as running:
        await asyncio.sleep(seconds_left(token))
        ids = await put(demo, "10-1", "10-2", "10-3")
        ids += await put(demo, "10-4", topic=OPENED)
        ids += await put(demo, "10-5")
        for kind, client in running.items():
            if kind == "ws":  # it has no fetching of its own in this test
                await client.until(lambda client=client: "invalidToken" in client.names)
                client.emit("renewedToken", {"token": await demo.system_token()})
            assert await client.receives(5) == ids
            assert client.names[0] == "invalidToken"
            assert client.names.count("invalidToken") == 1
            assert not client.all("disconnect")


async def test_pdk_11_many_events_one_invalid_token(demo: Demo) -> None:
    """PDK-11: 100 events while nobody renews; the program that renews at last gets them all."""
    token = await expired(demo)
    async with programs(demo, ("4", "4-polling", "2", "ws"), token, ALLOWED) as running:
        events = [f"11-{number}" for number in range(100)]
        for event_id in events:
            await put(demo, event_id)
        for client in running.values():
            await client.until(lambda client=client: client.names)
        await asyncio.sleep(0.3)
        for client in running.values():
            assert client.names == ["invalidToken"]
            client.emit("renewedToken", {"token": await demo.system_token()})
            assert await client.receives(100) == events


async def test_pdk_12_bad_renewals_release_nothing(demo: Demo) -> None:
    """PDK-12: forged, of another system, expired; after each the next event says ``invalidToken`` again."""
    token = await expired(demo)
    pdk = demo.credentials["pdk"]
    other = await demo.api.create_site(name="Other")
    foreign = await demo.api.system_token(pdk["client_id"], pdk["client_secret"], other)
    async with programs(demo, ("4-websocket", "2-polling"), token, ALLOWED) as running:
        ids = await put(demo, "12-first")
        for client in running.values():
            await client.until(lambda client=client: client.names == ["invalidToken"])
        for number, bad in enumerate((token[:-8] + "AAAAAAAA", foreign, token, 7), start=2):
            for client in running.values():
                client.do("ask", name="renewedToken", args=[{"token": bad}])
                answer = (await client.tells("ack", number))["answer"]
                assert answer[0]["ok"] is False
            ids += await put(demo, f"12-{number}")
            for client in running.values():
                await client.until(lambda client=client, number=number: client.names == ["invalidToken"] * number)
        for client in running.values():
            client.emit("renewedToken", {"token": await demo.system_token()})
            assert await client.receives(len(ids)) == ids


async def test_pdk_13_an_expired_token_connects(demo: Demo) -> None:
    """PDK-13, D2: no connect error; held until it is renewed, then everything since it connected."""
    token = await expired(demo)
    await put(demo, "13-before")
    async with programs(demo, KINDS, token, ALLOWED, renew=renewal(demo)) as running:
        ids = await put(demo, "13-1", "13-2")
        for kind, client in running.items():
            if kind == "ws":
                await client.until(lambda client=client: "invalidToken" in client.names)
                client.emit("renewedToken", {"token": await demo.system_token()})
            assert await client.receives(2) == ids
            assert not client.all("connect_error")


async def test_renewed_in_time_there_is_no_pause(demo: Demo) -> None:
    """A careful program is never told. How long it takes to start is no part of it: it begins with a renewal."""
    token = await demo.system_token()
    async with program(demo, "4", token, topics=[ALLOWED]) as client:
        await client.tells("connect")
        await subscribed(client, "4")
        fresh = await renewed(demo, client)
        first = fresh
        for number in range(1, 4):
            await asyncio.sleep(seconds_left(fresh) * 0.5)
            fresh = await renewed(demo, client)
            await put(demo, f"intime-{number}")
        assert seconds_left(first) == 0
        assert await client.receives(3) == ["intime-1", "intime-2", "intime-3"]
        assert "invalidToken" not in client.names


async def renewed(demo: Demo, client: NodeClient) -> str:
    """Have a program renew its token and wait until the server has taken it; gives the new one."""
    token = await demo.system_token()
    before = len(client.all("ack"))
    client.do("ask", name="renewedToken", args=[{"token": token}])
    assert (await client.tells("ack", before + 1))["answer"][0]["ok"] is True
    return token


async def test_topics_added_while_withheld(demo: Demo) -> None:
    """They count from the moment at which the connection was held."""
    token = await expired(demo)
    async with program(demo, "4", token, topics=[ALLOWED]) as client:
        await client.tells("connect")
        await subscribed(client, "4")
        await put(demo, "added-1")
        client.emit("subscribeIsolated", {"topics": [DENIED]})
        await subscribed(client, "4")
        await put(demo, "added-2", topic=DENIED)
        await asyncio.sleep(0.2)
        assert client.names == ["invalidToken"]
        client.emit("renewedToken", {"token": await demo.system_token()})
        assert await client.receives(2) == ["added-1", "added-2"]
        assert without_repeats(client)
