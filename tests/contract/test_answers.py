"""What a running demo answers is what the document says: every GET route that has an example is asked."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from contract_support import Made
from schemas import Judge, found

from doorstream.server.documents.openapi import operations
from doorstream.testing.server import Demo

JSON = ("application/json", "application/problem+json")
QUERIES: Mapping[str, Mapping[str, str]] = {
    "/api/engine/v2/systems/with_emails": {"in": "nobody@example.org"},
    "/api/sites/{site_id}/events": {"limit": "1000"},
    "/socket.io/": {"EIO": "4", "transport": "polling"},
}
NOT_ASKED = {
    "/api/sites/{site_id}/stream": "it does not end: test_asyncapi.py reads it",
    "/metrics": "test_metrics.py reads it",
    "/auth/oauth/authorize": "it leads applications back to where they are",
}
_MEMBERS = ("type", "title", "status", "detail")


@dataclass(frozen=True)
class World:
    """The demo, who asks it in which dialect, and what is there by the names that paths use."""

    demo: Demo
    session: aiohttp.ClientSession
    headers: Mapping[str, Mapping[str, str]]
    names: Mapping[str, str]

    async def get(self, path: str, guard: str, query: Mapping[str, str]) -> tuple[int, str, bytes]:
        """Status, media type and body of an answer."""
        async with self.session.get(
            self.demo.url + path, headers=self.headers[guard], params=query, allow_redirects=False
        ) as response:
            return response.status, response.content_type, await response.read()

    async def value(self, path: str, guard: str = "key", **query: str) -> Any:
        """The JSON of an answer."""
        status, _, body = await self.get(path, guard, query)
        assert status == 200, (path, status, body)
        return json.loads(body)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(demo: Demo) -> Any:
    """The demo with everything there that routes can show one of."""
    async with aiohttp.ClientSession() as session:
        headers = await _headers(demo, session)
        yield World(demo, session, headers, await _names(World(demo, session, headers, {})))


async def _headers(demo: Demo, session: aiohttp.ClientSession) -> dict[str, dict[str, str]]:
    """Headers for each of the document's guards."""
    pdk, salto = demo.credentials["pdk"], demo.credentials["salto"]
    admin = salto["users"]["site_admin"]
    id_token = await demo.api.id_token(pdk["client_id"], pdk["client_secret"])
    form = {"grant_type": "password", "scope": "user_api.full_access"}
    form |= {"username": admin["username"], "password": admin["password"]}
    form |= {"client_id": salto["client_id"], "client_secret": salto["client_secret"]}
    async with session.post(salto["token_url"], data=form) as response:
        salto_token = (await response.json())["access_token"]
    return {
        "": {},
        "key": {"X-API-Key": demo.credentials["admin"]["api_key"]},
        "pdkIdToken": {"Authorization": f"Bearer {id_token}"},
        "pdkSystemToken": {"Authorization": f"Bearer {await demo.system_token()}"},
        "saltoToken": {"Authorization": f"Bearer {salto_token}"},
        "parakeyToken": {"access-token": demo.credentials["parakey"]["access_token"]},
    }


async def _names(world: World) -> dict[str, str]:
    """One of everything; a name that means several things is told apart by the path before it."""
    demo = world.demo
    site = f"/api/sites/{demo.site_id}"
    subscriptions = f"/api/organizations/{demo.site_id}/subscriptions"
    await demo.api.call(
        "POST", subscriptions, json={"url": "https://example.org/"}, headers=world.headers["pdkIdToken"]
    )
    webhook = await demo.api.call("POST", f"{site}/webhooks", json={"url": "http://127.0.0.1:20001/"})
    logs = await some(lambda: world.value("/eventLogs", "parakeyToken"))
    deliveries = await some(lambda: _items(world, f"{site}/webhooks/{webhook['id']}/deliveries"))
    placeos = demo.credentials["placeos"]["system_id"]
    modules = await world.value("/api/engine/v2/modules")
    device = next(each for each in modules if each["name"] == "Door")
    holder = (await world.value(f"{site}/holders"))["items"][0]["id"]
    access_keys = await world.value("/access-keys", "parakeyToken")
    accesses = await world.value("/accesses", "parakeyToken")
    names = {
        "/api/sites/{site_id}": demo.site_id,
        "/v1.1/sites/{site_id}": demo.site_id,
        "/v1.2/sites/{site_id}": demo.site_id,
        "/{system_id}": demo.site_id,
        "/api/systems/{system_id}": demo.site_id,
        "/api/organizations/{organization_id}": demo.site_id,
        "/api/engine/v2/systems/{system_id}": placeos,
        "/api/engine/v2/zones/{zone_id}": (await world.value("/api/engine/v2/zones"))[0]["id"],
        "{module_id}": device["id"],
        "/api/engine/v2/drivers/{driver_id}": device["driver_id"],
        "{slug}": "Door_1",
        "{key}": next(iter(await world.value(f"/api/engine/v2/systems/{placeos}/Door_1"))),
        "{webhook_id}": webhook["id"],
        "{delivery_id}": deliveries[0]["id"],
        "{cloud_node_id}": (await world.value(f"{site}/cloud-nodes"))["items"][0]["id"],
        "{device_id}": device_id_of(await world.value(f"{site}/devices")),
        "{holder_id}": holder,
        "{subscription_id}": (await world.value(subscriptions, "pdkIdToken"))[0]["id"],
        "/api/clients/{client_id}": (await world.value("/api/clients"))["items"][0]["id"],
        "{user_id}": (await world.value("/api/users"))["items"][0]["id"],
        "/eventLogs/{id}": logs[0]["id"],
        "/domains/{id}": demo.site_id,
        "/devices/{id}": device_id_of(await world.value(f"{site}/devices")),
        "/users/{id}": holder,
        "/accesses/{id}": accesses[0]["id"],
        "/access-keys/{id}": access_keys[0]["id"],
        "/batches/{id}": "none",
    }
    for kind in ("cloud-nodes", "connections", "devices", "holders"):
        names[f"/{kind}/{{entity_id}}"] = (await world.value(f"{site}/{kind}"))["items"][0]["id"]
    return names


async def some(ask: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
    """What is asked for, as soon as there is any."""
    async with asyncio.timeout(20):
        while True:
            if found_some := await ask():
                return found_some
            await asyncio.sleep(0.1)


async def _items(world: World, path: str) -> list[Any]:
    items: list[Any] = (await world.value(path))["items"]
    return items


def device_id_of(devices: Any) -> str:
    """The first."""
    return str(devices["items"][0]["id"])


def filled(path: str, names: Mapping[str, str]) -> str | None:
    """The path with an example for each of its names; None where there is none."""
    while (match := re.search(r"{\w+}", path)) is not None:
        before = path[: match.end()]
        example = next((names[name] for name in sorted(names, key=len, reverse=True) if _ends(before, name)), None)
        if example is None:
            return None
        path = f"{path[: match.start()]}{example}{path[match.end() :]}"
    return path


def _ends(path: str, name: str) -> bool:
    """Whether what stands before is what the name is about: from the start if it begins there."""
    if name == "/{system_id}" or name.startswith(("/api/", "/v1.")):
        return path == name
    return path.endswith(name)


def readable(made: Made) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every GET operation that is asked."""
    for method, path, operation in operations(made.openapi):
        if method == "GET" and path not in NOT_ASKED:
            yield path, operation


@pytest.mark.asyncio(loop_scope="session")
async def test_every_answer_is_as_documented(world: World, made: Made) -> None:
    """Status, media type and body of every GET route, with a good credential and one of everything."""
    judge = Judge(made.openapi)
    faults, asked = [], 0
    for path, operation in readable(made):
        address = filled(path, world.names)
        if address is None:
            faults.append(f"{path}: there is no example for it; give one in _names()")
            continue
        guards = [name for each in operation["security"] for name in each] or [""]
        query = QUERIES.get(path, {})
        status, media, body = await world.get(address, guards[0], query)
        expected = next(iter(operation["responses"]))
        if str(status) != expected:
            faults.append(f"{path}: {status} in place of {expected}: {body[:200]!r}")
            continue
        asked += 1
        faults += [f"{path}: {fault}" for fault in judged(judge, made, operation, (status, media, body))]
    assert not faults, "\n".join(faults)
    assert asked > 80


@pytest.mark.asyncio(loop_scope="session")
async def test_every_refusal_is_as_documented(world: World, made: Made) -> None:
    """The same without a credential."""
    judge = Judge(made.openapi)
    faults = []
    for path, operation in readable(made):
        address = filled(path, world.names)
        if address is not None and all(operation["security"]) and operation["security"]:
            status, media, body = await world.get(address, "", QUERIES.get(path, {}))
            if status != 401:
                faults.append(f"{path}: {status} without a credential")
            faults += [f"{path}: {fault}" for fault in judged(judge, made, operation, (status, media, body))]
    assert not faults, "\n".join(faults)


@pytest.mark.asyncio(loop_scope="session")
async def test_problems_are_as_documented(world: World, made: Made) -> None:
    """What is not there, and what cannot be read."""
    judge = Judge(made.openapi)
    site = f"/api/sites/{world.demo.site_id}"
    for path, asked, query, status in (
        ("/api/sites/{site_id}", "/api/sites/00000000-0000-4000-8000-000000000000", {}, 404),
        ("/api/sites/{site_id}/devices/{entity_id}", f"{site}/devices/none", {}, 404),
        ("/api/sites/{site_id}/events", f"{site}/events", {"limit": "many"}, 422),
        ("/api/sites/{site_id}/events", f"{site}/events", {"colour": "red"}, 422),
        ("/api/sites/{site_id}/events", f"{site}/events", {"after": "other.5"}, 410),
    ):
        found_status, media, body = await world.get(asked, "key", query)
        assert found_status == status, (asked, body)
        operation = made.openapi["paths"][path]["get"]
        assert judged(judge, made, operation, (found_status, media, body)) == []


def judged(judge: Judge, made: Made, operation: dict[str, Any], given: tuple[int, str, bytes]) -> list[str]:
    """What is wrong with an answer: its status, media type and body."""
    status, media, body = given
    answer = operation["responses"].get(str(status), operation["responses"].get("default"))
    if answer is None:
        return [f"{status} is not documented"]
    if "$ref" in answer:
        answer = found(made.openapi, answer["$ref"])
    content = answer.get("content", {})
    if not content:
        return [f"{status} has a body: {body[:100]!r}"] if body else []
    if media not in content:
        return [f"{status}: {media} in place of {', '.join(content)}"]
    if media not in JSON:
        return []
    if media == "application/problem+json":  # some have further members
        members = {
            name: each for name, each in json.loads(body).items() if name in ("type", "title", "status", "detail")
        }
        return judge.faults(content[media]["schema"], members)
    return judge.faults(content[media]["schema"], json.loads(body))
