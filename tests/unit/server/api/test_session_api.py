"""Signing in to the dashboard: what begins a session, for whose requests it counts, and what ends it."""

import asyncio
from dataclasses import replace

import pytest

from asgi_client import Answer, AsgiClient
from doorstream.auth import CODE_TTL, SESSION_TTL, SignInCode, api_key, new_generation
from doorstream.directory import SYSTEM
from doorstream.server.api.access import Access
from doorstream.server.api.session import session_router
from world import SECRET, SITE, World, open_world

OURS = {"x_requested_with": "doorstream"}
HOST = "doors.example"
KEY = api_key("ops", SECRET)


@pytest.fixture
async def world(connection):
    async with open_world(connection) as world:
        world.app.include_router(session_router(world.auth, Access(world.directory, world.auth, world.clock)))
        yield world


def browser(world: World) -> AsgiClient:
    """Sends no key of its own."""
    return AsgiClient(world.app, {"host": HOST})


async def signed_in(world: World, key: str = KEY) -> AsgiClient:
    """A browser with a session."""
    answer = await browser(world).post("/api/session", {"api_key": key}, **OURS)
    assert answer.status == 200, answer.body
    return AsgiClient(world.app, {"host": HOST, "cookie": cookie_of(answer)})


def cookie_of(answer: Answer) -> str:
    return answer.headers["set-cookie"].partition(";")[0]


async def test_a_key_begins_a_session(world: World):
    answer = await browser(world).post("/api/session", {"api_key": f" {KEY}\n"}, **OURS)
    assert answer.json() == {
        "id": "ops",
        "name": "ops",
        "kind": "client",
        "scopes": ["admin"],
        "sites": "all",
        "expires_at": world.clock() + SESSION_TTL,
    }
    attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert attributes == {"httponly", "samesite=strict", "path=/api", "max-age=43200", "secure"}
    assert answer.headers["cache-control"] == "no-store"
    assert SECRET not in answer.headers["set-cookie"]
    assert SECRET not in answer.body.decode()


async def test_the_session_is_whoever_signed_in(world: World):
    reader = await signed_in(world, api_key("reader", SECRET))
    assert (await reader.get("/api/session", **OURS)).json()["sites"] == [SITE]
    assert (await reader.get(f"/api/sites/{SITE}/devices", **OURS)).status == 200
    assert (await reader.get("/api/clients", **OURS)).status == 403
    assert (await reader.post("/api/sites", {"name": "x"}, **OURS)).status == 403


async def test_who_has_a_key_is_told_too(world: World):
    answer = await world.client("reader").get("/api/session")
    assert (answer.json()["id"], answer.json()["expires_at"]) == ("reader", None)


@pytest.mark.parametrize(
    "body",
    [{"api_key": "ds_ops_wrong"}, {"api_key": "nonsense"}, {"code": "ops_wrong"}, {"code": ""}, {"code": "nobody_x"}],
)
async def test_wrong_credentials(world: World, body: dict[str, str]):
    answer = await browser(world).post("/api/session", body, **OURS)
    assert answer.status == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("body", [{}, {"api_key": KEY, "code": "x"}, {"password": "x"}, []])
async def test_bodies_that_are_none(world: World, body: object):
    assert (await browser(world).post("/api/session", body, **OURS)).status == 422


@pytest.mark.parametrize(
    ("headers", "counts"),
    [
        ({}, False),
        ({"x_requested_with": "XMLHttpRequest"}, False),
        ({**OURS}, True),
        ({**OURS, "sec_fetch_site": "same-origin"}, True),
        ({**OURS, "sec_fetch_site": "same-site"}, False),
        ({**OURS, "sec_fetch_site": "cross-site"}, False),
        ({**OURS, "origin": f"https://{HOST}"}, True),
        ({**OURS, "origin": "https://elsewhere.example"}, False),
        ({**OURS, "origin": f"https://{HOST}.elsewhere.example"}, False),
        ({**OURS, "origin": f"https://{HOST}:8443"}, False),
        ({**OURS, "origin": f"http://{HOST}"}, False),
        ({**OURS, "origin": "null"}, False),
        ({"origin": f"https://{HOST}"}, False),
    ],
)
async def test_d11_a_cookie_counts_only_for_our_own_pages(world: World, headers: dict[str, str], counts: bool):
    """For reading, for writing, and for beginning a session: nobody signs somebody else in either."""
    client = await signed_in(world)
    expected = {True: (200, 201, 200), False: (401, 401, 401)}[counts]
    read = await client.get("/api/sites", **headers)
    written = await client.post("/api/sites", {"name": "Depot"}, **headers)
    begun = await browser(world).post("/api/session", {"api_key": KEY}, **headers)
    assert (read.status, written.status, begun.status) == expected
    assert len(world.directory.sites) == 2 + counts


async def test_a_configured_origin_may_use_a_cookie(world: World):
    await world.auth.open(world.clock(), allowed_origins=["https://board.example/"])
    client = await signed_in(world)
    assert (await client.get("/api/sites", **OURS, origin="https://board.example")).status == 200
    assert (await client.get("/api/sites", **OURS, origin="https://other.example")).status == 401


async def test_a_key_in_a_header_counts_from_everywhere_and_before_a_cookie(world: World):
    client = await signed_in(world)
    answer = await client.get("/api/session", x_api_key=api_key("reader", SECRET), origin="https://elsewhere.example")
    assert answer.json()["id"] == "reader"
    assert (await client.get("/api/session", x_api_key="ds_ops_wrong", **OURS)).status == 401


async def test_a_session_ends_with_its_time(world: World):
    client = await signed_in(world)
    world.clock.now += SESSION_TTL - 1
    assert (await client.get("/api/session", **OURS)).status == 200
    world.clock.now += 1
    ended = await client.get("/api/session", **OURS)
    assert ended.status == 401
    assert "sign in again" in ended.json()["detail"]


@pytest.mark.parametrize("how", ["renewed", "disabled", "deleted"])
async def test_revoking_the_client_ends_its_sessions_at_once(world: World, how: str):
    client = await signed_in(world, api_key("site-admin", SECRET))
    subject = world.directory.clients.get("site-admin")
    if how == "deleted":
        await world.directory.delete(subject, SYSTEM)
    else:
        change = {"generation": new_generation()} if how == "renewed" else {"disabled": True}
        await world.directory.change(subject, lambda old: replace(old, **change), SYSTEM)
    assert (await client.get("/api/session", **OURS)).status == 401


async def test_signing_out_takes_the_cookie_back(world: World):
    client = await signed_in(world)
    assert (await client.call("DELETE", "/api/session")).status == 401
    answer = await client.call("DELETE", "/api/session", **OURS)
    assert answer.status == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]


async def test_a_cookie_of_elsewhere_is_none(world: World):
    """Neither one of another installation, nor one that was signed for something else, nor a changed one."""
    client = await signed_in(world)
    name, _, value = client._headers["cookie"].partition("=")
    ticket = world.auth.tickets.issue(world.auth.client("ops"), SITE, world.clock())
    for text in (value[:-4] + "AAAA", ticket, "", "x", value + "=", '"'):
        other = AsgiClient(world.app, {"host": HOST, "cookie": f"{name}={text}"})
        assert (await other.get("/api/session", **OURS)).status == 401, text
    other = AsgiClient(world.app, {"host": HOST, "cookie": f"doorstream-xxxxxxxx={value}"})
    assert (await other.get("/api/session", **OURS)).status == 401


class TestCodes:
    async def kept(self, world: World, client_id: str = "ops") -> str:
        code = SignInCode.make(client_id, world.clock())
        await world.auth.codes.keep(client_id, code.hash, code.expires_at)
        return code.text

    async def use(self, world: World, text: str) -> int:
        return (await browser(world).post("/api/session", {"code": text}, **OURS)).status

    async def test_a_code_signs_in_once(self, world: World):
        text = await self.kept(world)
        assert await self.use(world, text) == 200
        assert await self.use(world, text) == 401

    async def test_of_many_at_once_one_gets_in(self, world: World):
        text = await self.kept(world)
        statuses = await asyncio.gather(*(self.use(world, text) for _ in range(5)))
        assert sorted(statuses) == [200, 401, 401, 401, 401]

    async def test_a_wrong_guess_does_not_use_it_up(self, world: World):
        text = await self.kept(world)
        assert await self.use(world, text[:-1] + ("0" if text[-1] != "0" else "1")) == 401
        assert await self.use(world, text) == 200

    async def test_it_is_good_for_a_quarter_of_an_hour(self, world: World):
        text = await self.kept(world)
        world.clock.now += CODE_TTL
        assert await self.use(world, text) == 401

    async def test_a_worker_that_starts_again_neither_forgets_nor_revives_it(self, world: World):
        code = SignInCode.make("ops", world.clock())
        for status in (200, 401):
            await world.auth.codes.keep("ops", code.hash, code.expires_at)
            assert await self.use(world, code.text) == status

    async def test_a_newer_one_replaces_it(self, world: World):
        first, second = await self.kept(world), await self.kept(world)
        assert await self.use(world, first) == 401
        assert await self.use(world, second) == 200

    async def test_not_for_a_client_that_is_gone(self, world: World):
        text = await self.kept(world, "site-admin")
        await world.directory.delete(world.directory.clients.get("site-admin"), SYSTEM)
        assert await self.use(world, text) == 401

    async def test_the_code_itself_is_not_stored(self, world: World):
        text = await self.kept(world)
        record = world.directory.secret("sign-in ops")
        assert text.rpartition("_")[2] not in record.value
