"""Who is connected, as administrators see it, and putting one out."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest_asyncio
from http_support import ask, event, pdk_client, put, websocket

from doorstream.testing.server import Demo, running_demo

PATIENCE = 15.0
HUB = "/v1/hub/entries"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for all tests of this file."""
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors, demo.errors


async def listed(demo: Demo, **wanted: Any) -> list[dict[str, Any]]:
    """The connections whose members are as wanted."""
    answer = await ask(demo, "GET", "/api/connections")
    assert answer.status == 200
    assert answer.body["missing"] == []
    return [each for each in answer.body["items"] if all(each[name] == value for name, value in wanted.items())]


async def one(demo: Demo, **wanted: Any) -> dict[str, Any]:
    """The only such connection, as soon as there is one, and those that were closed just before are gone."""
    async with asyncio.timeout(PATIENCE):
        while len(found := await listed(demo, **wanted)) != 1:  # noqa: ASYNC110 - it is only to be had by asking
            await asyncio.sleep(0.02)
    return found[0]


async def gone(demo: Demo, connection: dict[str, Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        while await listed(demo, id=connection["id"]):  # noqa: ASYNC110 - it is only to be had by asking
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def stream(demo: Demo, **query: str) -> AsyncIterator[aiohttp.StreamReader]:
    headers = {"X-API-Key": demo.credentials["admin"]["api_key"]}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE)) as session,
        session.get(f"{demo.url}/api/sites/{demo.site_id}/stream", headers=headers, params=query) as response,
    ):
        yield response.content


async def test_an_event_stream(demo: Demo) -> None:
    async with stream(demo, topic="device.request.*"):
        found = await one(demo, dialect="events")
        assert found["client_id"] == "demo-admin"
        assert found["site_id"] == demo.site_id
        assert found["peer"] == "127.0.0.1"
        assert found["subscriptions"] == ["device.request.*"]
        assert (found["state"], found["unsent"], found["token_expired"]) == ("live", 0, False)
        assert found["lag"] == 0
        assert found["since"] > 1_700_000_000
    await gone(demo, found)


async def test_a_pdk_client_and_its_topics(demo: Demo) -> None:
    async with pdk_client(demo) as ws:
        await one(demo, dialect="pdk", subscriptions=["liveEvent"])
        await ws.send_str('42["subscribeIsolated",{"topics":["device.request.allowed","device.alarm.forced"]}]')
        found = await one(demo, dialect="pdk", subscriptions=["device.alarm.forced", "device.request.allowed"])
        assert (found["client_id"], found["transport"], found["peer"]) == ("demo-pdk", "websocket", "127.0.0.1")
        (position,) = (await put(demo, event("c1"))).body["positions"]
        await one(demo, dialect="pdk", position=position)
    await gone(demo, found)


async def test_an_expired_token_is_seen() -> None:
    """And that events wait: the connection is held at its position, and falls behind."""
    async with running_demo(system_token_ttl=1) as demo, pdk_client(demo):
        found = await one(demo, dialect="pdk", token_expired=True, state="held")
        await put(demo, event("late"))
        await one(demo, id=found["id"], lag=1)


async def test_a_client_that_does_not_read_is_seen(demo: Demo) -> None:
    """What waits for it is told in bytes, while it may still come to read it."""
    async with pdk_client(demo) as ws:
        found = await one(demo, dialect="pdk", subscriptions=["liveEvent"])
        await ws.send_str('42["subscribeIsolated",{"topics":["device.request.allowed"]}]')
        await one(demo, id=found["id"], subscriptions=["device.request.allowed"])
        sent = 0
        async with asyncio.timeout(4 * PATIENCE):
            while not (await listed(demo, id=found["id"]))[0]["unsent"]:
                await put(demo, event(f"large-{sent}", "device.request.allowed", body={"more": "x" * 90_000}))
                sent += 1
        for number in range(sent):
            while f'"large-{number}"' not in (text := await ws.receive_str()):
                assert text.startswith(("40", "2"))
        await one(demo, id=found["id"], unsent=0)
    await gone(demo, found)


async def test_a_placeos_client_and_its_bindings(demo: Demo) -> None:
    placeos = demo.credentials["placeos"]
    headers = {"X-API-Key": placeos["api_key"]}
    async with websocket(demo, "/api/engine/v2/systems/control", headers) as ws:
        found = await one(demo, dialect="placeos")
        assert (found["client_id"], found["user_id"], found["transport"]) == ("demo-placeos", None, "websocket")
        assert (found["site_id"], found["peer"], found["subscriptions"]) == (demo.site_id, "127.0.0.1", [])
        assert (found["state"], found["unsent"], found["token_expired"]) == ("live", 0, False)
        assert (found["position"], found["lag"]) == (None, None), "it is told of states, not of events"
        bind = {"cmd": "bind", "sys": placeos["system_id"], "mod": "Door", "index": 2, "name": "locked"}
        await ws.send_json({"id": 1} | bind)
        await one(demo, id=found["id"], subscriptions=["Door_2.locked"])
        await ws.send_json({"id": 2} | bind | {"cmd": "unbind"})
        await one(demo, id=found["id"], subscriptions=[])
        assert (await ask(demo, "DELETE", f"/api/connections/{found['id']}")).status == 204
    await gone(demo, found)


async def test_a_salto_user(demo: Demo) -> None:
    salto = demo.credentials["salto"]
    user = salto["users"]["site_user"]
    form = {"grant_type": "password", "scope": "user_api.full_access"} | {
        name: user[name] for name in ("username", "password")
    }
    basic = {"Authorization": aiohttp.encode_basic_auth(salto["client_id"], salto["client_secret"])}
    token = (await demo.api.call("POST", "/connect/token", data=form, headers=basic))["access_token"]
    query = {"site_id": demo.site_id, "user_id": user["user_id"], "access_token": token}
    async with websocket(demo, HUB, **query) as ws:
        await ws.send_str('{"protocol":"json","version":1}\x1e')
        await ws.receive_str()
        found = await one(demo, dialect="salto")
        assert (found["client_id"], found["user_id"]) == ("demo-salto", "demo-site-user")
        assert found["subscriptions"] == [f"entries of {user['user_id']}"]
        assert (found["transport"], found["state"], found["lag"]) == ("websocket, json", "live", 0)


async def test_disconnecting_one(demo: Demo) -> None:
    """The others stay, and the one is gone for good: its id is never another's."""
    async with stream(demo) as first:
        leaving = await one(demo, dialect="events", subscriptions=None)
        async with stream(demo, topic="device.*"):
            staying = await one(demo, dialect="events", subscriptions=["device.*"])
            assert (await ask(demo, "DELETE", f"/api/connections/{leaving['id']}")).status == 204
            async with asyncio.timeout(PATIENCE):
                await first.read()  # to its end
            await gone(demo, leaving)
            assert await listed(demo, id=staying["id"])
            again = await ask(demo, "DELETE", f"/api/connections/{leaving['id']}")
            assert (again.status, again.problem) == (404, "not-found")


async def test_administrators_of_a_site_see_that_site_only(demo: Demo) -> None:
    other = await demo.api.create_site(name="Elsewhere")
    keys = {
        scope: (await demo.api.create_client(scopes=[scope], sites=[other]))["api_key"] for scope in ("admin", "pdk")
    }
    async with stream(demo):
        found = await one(demo, dialect="events")
        answer = await ask(demo, "GET", "/api/connections", key=keys["admin"])
        assert answer.body["items"] == []
        refused = await ask(demo, "DELETE", f"/api/connections/{found['id']}", key=keys["admin"])
        assert refused.status == 404
        assert await listed(demo, id=found["id"])
    for key, status in ((keys["pdk"], 403), (None, 401)):
        assert (await ask(demo, "GET", "/api/connections", key=key)).status == status


async def test_a_session_follows_the_stream_and_is_one_of_the_connections(demo: Demo) -> None:
    """The one-time link that the demo prints is all that a browser needs."""
    ours = {"X-Requested-With": "doorstream"}
    code = json.loads((demo.data_directory / "client.json").read_text())["sign_in"].rpartition("/")[2]
    async with aiohttp.ClientSession(demo.url, cookie_jar=aiohttp.CookieJar(unsafe=True), headers=ours) as browser:
        async with browser.post("/api/session", json={"code": code}) as answer:
            assert answer.status == 200
        async with browser.post("/api/session", json={"code": code}) as answer:
            assert answer.status == 401, "it is a one-time link"
        async with browser.get(f"/api/sites/{demo.site_id}/stream") as response:
            assert response.status == 200
            found = await one(demo, dialect="events")
            assert found["client_id"] == "demo-admin"
            async with browser.delete(f"/api/connections/{found['id']}") as answer:
                assert answer.status == 204
