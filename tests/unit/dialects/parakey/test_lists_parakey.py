"""Domains, devices, users, accesses and access keys, and the granting of them (vendor-apis.md 3.1)."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from fastapi import FastAPI

from asgi_client import AsgiClient
from doorstream.auth import Auth, api_key
from doorstream.dialects.parakey import entities
from doorstream.dialects.parakey.callers import Callers
from doorstream.dialects.parakey.grants import Grants
from doorstream.dialects.parakey.lists import Lists
from doorstream.dialects.parakey.routes import add, operations
from doorstream.directory import SYSTEM, Directory
from doorstream.events.entities import Device, Group, Holder
from world import ISSUER, NOWHERE, OTHER, SECRET, SITE, World, open_world

CREATED = "2026-01-31T10:00:00.123Z"
LISTS = ("/domains", "/devices", "/users", "/accesses", "/access-keys")
STAFF, GUESTS = Group(id="staff", name="Staff"), Group(id="guests", name="Guests")


async def nothing(*_):
    raise AssertionError


def app_of(auth, directory):
    app = FastAPI()
    callers = Callers(auth, directory)
    lists, grants = Lists(callers, directory, ISSUER), Grants(callers, directory)
    add(app, operations(SimpleNamespace(one=nothing), lists, grants, callers))
    return app


@pytest.fixture
async def world(connection):
    async with open_world(connection) as world:
        world.app = app_of(world.auth, world.directory)
        common = {"site_id": SITE, "created": CREATED}
        for entity in (
            Device(id="d1", name="Main", **common),
            Device(id="d2", name="Gate", **common),
            Holder(
                id="h1", first_name="Ada", last_name="Park", email="ada@example.com", groups=(STAFF, GUESTS), **common
            ),
            Holder(id="h2", first_name="Ben", email="ben@example.com", groups=(STAFF,), **common),
            Holder(id="h3", first_name="Cy", site_id=OTHER, created=CREATED, groups=(STAFF,)),
        ):
            await world.directory.create(entity, SYSTEM)
        yield world


def caller(world: World, name: str) -> AsgiClient:
    return AsgiClient(world.app, {"access-token": api_key(name, SECRET)})


async def items(client, path):
    answer = await client.get(path)
    assert answer.status == 200, answer.body
    return answer.json()


async def test_what_the_lists_show(world: World):
    reader = caller(world, "reader")
    assert await items(reader, "/domains") == [
        {"id": SITE, "name": "Harbour House", "timeZone": "UTC", "createdAt": world.directory.site(SITE).site.created}
    ]
    gate, main = await items(reader, "/devices")
    assert gate == {"id": "d2", "name": "Gate", "domain": {"id": SITE}, "createdAt": CREATED}
    assert main["id"] == "d1"
    ada, ben = await items(reader, "/users")
    assert ada == {
        "id": "h1",
        "email": "ada@example.com",
        "name": "Ada Park",
        "firstName": "Ada",
        "lastName": "Park",
        "enabled": True,
        "domain": {"id": SITE},
        "createdAt": CREATED,
    }
    assert ben["id"] == "h2"
    guests, staff = await items(reader, "/accesses")
    assert staff == {"id": "staff", "aliasId": None, "name": "Staff", "domain": {"id": SITE}}
    assert guests["id"] == "guests"
    keys = await items(reader, "/access-keys")
    assert [key["id"] for key in keys] == ["h1!staff", "h1!guests", "h2!staff"]
    assert keys[2] == {
        "id": "h2!staff",
        "access": {"id": "staff", "aliasId": None, "name": "Staff"},
        "user": {"id": "h2", "email": "ben@example.com", "name": "Ben"},
        "domain": {"id": SITE},
        "startDate": None,
        "expirationDate": None,
        "aliasTag": None,
    }
    for path, shown in (
        ("/devices/d2", gate),
        ("/users/h1", ada),
        ("/accesses/staff", staff),
        ("/access-keys/h2!staff", keys[2]),
    ):
        assert await items(reader, path) == shown
    for path in ("/users/h3", "/access-keys/h2!guests", "/access-keys/h2", f"/domains/{OTHER}"):
        assert (await reader.get(path)).status == 404


async def test_a_partner_sees_all_of_its_domains(world: World):
    partner = caller(world, "ops")
    assert {site["id"] for site in await items(partner, "/domains")} == {SITE, OTHER}
    assert {user["id"] for user in await items(partner, "/users")} == {"h1", "h2", "h3"}
    assert [user["id"] for user in await items(partner, f"/users?domainId={OTHER}")] == ["h3"]
    assert await items(partner, f"/users?domainId={NOWHERE}") == []
    assert await items(caller(world, "reader"), f"/users?domainId={OTHER}") == []


async def test_every_etag_follows_what_its_list_shows(world: World):
    """And only that."""
    reader = caller(world, "reader")

    async def changed_by(entity, update):
        before = await tags(reader)
        await world.directory.change(entity, update, SYSTEM)
        after = await tags(reader)
        for path, tag in before.items():
            assert (await reader.get(path, if_none_match=tag)).status == (304 if after[path] == tag else 200)
        return {path for path in after if after[path] != before[path]}

    view = world.directory.site(SITE)
    of_people = {"/users", "/accesses", "/access-keys", "/users/h1"}
    assert await changed_by(view.holders.get("h2"), lambda old: replace(old, first_name="Bo")) == of_people
    assert await changed_by(view.devices.get("d2"), lambda old: replace(old, name="Yard")) == {
        "/devices",
        "/devices/d1",
    }
    in_seoul = await changed_by(view.site, lambda old: replace(old, timezone="Asia/Seoul"))
    assert in_seoul == {"/domains", "/access-keys"}  # whose dates are the site's
    elsewhere = world.directory.site(OTHER)
    assert await changed_by(elsewhere.holders.get("h3"), lambda old: replace(old, first_name="Di")) == set()
    assert await changed_by(elsewhere.site, lambda old: replace(old, name="Pier")) == set()
    before = await tags(reader)
    await world.directory.delete(view.devices.get("d2"), SYSTEM)
    assert (await reader.get("/devices", if_none_match=before["/devices"])).status == 200


async def tags(client):
    return {path: (await client.get(path)).headers["etag"] for path in (*LISTS, "/users/h1", "/devices/d1")}


async def test_every_process_makes_the_same_etag(world: World, connection):
    """One that has seen all changes, and one that starts after them and finds only the mark of what was deleted."""
    await world.directory.delete(world.directory.site(SITE).holders.get("h2"), SYSTEM)
    await world.directory.delete(world.directory.site(SITE).devices.get("d2"), SYSTEM)
    directory = Directory(connection)
    await directory.open()
    try:
        auth = Auth(directory, issuer=ISSUER)
        later = AsgiClient(app_of(auth, directory), {"access-token": api_key("reader", SECRET)})
        assert await tags(later) == await tags(caller(world, "reader"))
    finally:
        await directory.close()


async def test_pages(world: World):
    for number in range(25):
        await world.directory.create(
            Device(id=f"p{number:02}", name=f"P{number:02}", site_id=SITE, created=CREATED), SYSTEM
        )
    reader = caller(world, "reader")
    everything = [device["id"] for device in await items(reader, "/devices")]
    assert len(everything) == 27
    found, target = [], "/devices?limit=10"
    while target:
        answer = await reader.get(target)
        assert answer.headers["x-total-count"] == "27"
        found += [device["id"] for device in answer.json()]
        target = answer.headers.get("link", "").partition(">")[0].removeprefix(f"<{ISSUER}")
    assert found == everything
    for query in ("limit=0", "limit=x", "limit=1&limit=1", "cursor=x"):
        assert (await reader.get(f"/devices?{query}")).status == 400


async def pages(client, path, limit, between=nothing):
    """The ids on the pages of a list, following the links."""
    found, target = [], f"{path}?limit={limit}"
    while target:
        answer = await client.get(target)
        found.append([item["id"] for item in answer.json()])
        target = answer.headers.get("link", "").partition(">")[0].removeprefix(f"<{ISSUER}")
        if target:
            await between()
    return found


@pytest.mark.parametrize("path", LISTS)
async def test_pages_of_every_list_across_domains(world: World, path):
    partner = caller(world, "ops")

    async def at_once():
        pass

    whole = await partner.get(path)
    everything = [item["id"] for item in whole.json()]
    assert whole.headers["x-total-count"] == str(len(everything))
    for limit in (1, 2, 3):
        found = await pages(partner, path, limit, at_once)
        assert [each for page in found for each in page] == everything
        assert {len(page) for page in found[:-1]} <= {limit}


async def test_what_goes_between_two_pages_moves_no_others(world: World):
    """Pages were cut by offset: with something gone from the first, the second left something out."""
    reader, view = caller(world, "reader"), world.directory.site(SITE)
    await world.directory.create(Device(id="d3", name="Zoo", site_id=SITE, created=CREATED), SYSTEM)

    async def device_goes():
        if view.devices.get("d2") is not None:
            await world.directory.delete(view.devices.get("d2"), SYSTEM)

    assert await pages(reader, "/devices", 1, device_goes) == [["d2"], ["d1"], ["d3"]]

    async def membership_goes():
        holder = view.holders.get("h1")
        await world.directory.change(holder, lambda old: replace(old, groups=(GUESTS,)), SYSTEM)

    assert await pages(reader, "/access-keys", 1, membership_goes) == [["h1!staff"], ["h1!guests"], ["h2!staff"]]

    async def group_goes():
        await world.directory.change(view.holders.get("h1"), lambda old: replace(old, groups=()), SYSTEM)

    assert await pages(reader, "/accesses", 1, group_goes) == [["guests"], ["staff"]]
    assert (await reader.get("/accesses")).headers["x-total-count"] == "1"
    assert (await reader.get("/access-keys")).headers["x-total-count"] == "1"


async def test_a_page_makes_only_its_own_items(world: World, monkeypatch):
    """Each page of a list once made every item of every site of the caller."""
    for number in range(50):
        await world.directory.create(
            Holder(id=f"p{number}", first_name="P", groups=(STAFF,), site_id=SITE, created=CREATED), SYSTEM
        )
    made = []
    for name in ("user", "access_key"):
        shape = getattr(entities, name)
        monkeypatch.setattr(entities, name, lambda *args, shape=shape: made.append(args) or shape(*args))
    for path in ("/users?limit=5", "/access-keys?limit=5"):
        made.clear()
        assert len(await items(caller(world, "ops"), path)) == 5
        assert len(made) == 6


class TestGrants:
    """``POST /access-keys``: groups are given and taken; what cannot be done is told item by item."""

    async def change(self, world, body, name="site-admin"):
        answer = await caller(world, name).post("/access-keys", body)
        assert answer.status == 200, answer.body
        return answer.json()

    async def test_give_and_take(self, world: World):
        given = await self.change(
            world,
            {
                "insert": [{"access": {"id": "guests"}, "user": {"email": "BEN@example.com"}, "aliasTag": "t"}],
                "delete": [{"id": "h1!guests"}, {"access": {"id": "staff"}, "user": {"id": "h1"}}],
                "sendPush": True,
                "sendInvitationEmail": False,
            },
        )
        assert [item["status"] for item in (*given["insert"], *given["delete"])] == ["completed"] * 3
        assert given["insert"][0]["accessKey"]["id"] == "h2!guests"
        assert [item["accessKey"]["id"] for item in given["delete"]] == ["h1!guests", "h1!staff"]
        holders = world.directory.site(SITE).holders
        assert holders.get("h1").groups == ()
        assert holders.get("h2").groups == (STAFF, GUESTS)
        again = await self.change(world, {"insert": [{"access": {"id": "guests"}, "user": {"id": "h2"}}]})
        assert again["insert"][0]["status"] == "completed"
        assert holders.get("h2").groups == (STAFF, GUESTS)

    async def test_a_key_is_renewed_with_other_dates(self, world: World):
        """Taken and given in one request, by the only one who has it."""
        dates = {"startDate": None, "expirationDate": "2026-03-01T08:00:00.000Z"}
        item = {"access": {"id": "guests"}, "user": {"id": "h1"}} | dates
        answer = await self.change(world, {"delete": [{"id": "h1!staff"}, {"id": "h1!guests"}], "insert": [item]})
        assert {name: answer["insert"][0]["accessKey"][name] for name in dates} == dates
        assert world.directory.site(SITE).holders.get("h1").groups == (GUESTS,)

    async def test_somebody_new_twice(self, world: World):
        """One person, not two."""
        items = [{"access": {"id": access}, "user": {"email": "di@example.com"}} for access in ("staff", "guests")]
        one, two = (await self.change(world, {"insert": items}))["insert"]
        assert one["accessKey"]["user"] == two["accessKey"]["user"]
        assert len(world.directory.site(SITE).holders) == 3

    async def test_somebody_new(self, world: World):
        """With dates, which are kept in the site's time."""
        item = {
            "access": {"aliasId": "guests"},
            "user": {"email": "di@example.com"},
            "startDate": "2026-02-01T09:00:00+01:00",
            "expirationDate": 1_772_352_000_000,
        }
        [given] = (await self.change(world, {"insert": [item]}))["insert"]
        key = given["accessKey"]
        assert (key["startDate"], key["expirationDate"]) == ("2026-02-01T08:00:00.000Z", "2026-03-01T08:00:00.000Z")
        holder = world.directory.site(SITE).holders.get(key["user"]["id"])
        assert (holder.first_name, holder.email, holder.groups) == ("di", "di@example.com", (GUESTS,))
        assert (holder.active_date, holder.expire_date) == ("2026-02-01T08:00:00", "2026-03-01T08:00:00")

    @pytest.mark.parametrize(
        ("item", "code"),
        [
            ({"access": {"id": "nobody"}, "user": {"id": "h1"}}, "unknown-access"),
            ({"access": {}, "user": {"id": "h1"}}, "unknown-access"),
            ({"access": {"id": "staff"}, "user": {"id": "nobody"}}, "unknown-user"),
            ({"access": {"id": "staff"}, "user": {}}, "unknown-user"),
            ({"access": {"id": "staff"}, "user": {"email": "no address"}}, "not-possible"),
            ({"access": {"id": "staff"}, "user": {"id": "h2"}, "startDate": "soon"}, "bad-date"),
            ({"access": {"id": "staff"}, "user": {"id": "h2"}, "startDate": 999_999_999_999_999}, "bad-date"),
            ({"access": {"id": "guests"}, "user": {"id": "h2"}, "expirationDate": "2026-03-01"}, "other-dates"),
        ],
    )
    async def test_what_cannot_be_done(self, world: World, item, code):
        """Nothing is changed, and the item beside it is done."""
        before = list(world.directory.site(SITE).holders)
        good = {"access": {"id": "staff"}, "user": {"id": "h2"}}
        outcome = (await self.change(world, {"insert": [item, good]}))["insert"]
        assert (outcome[0]["status"], outcome[0]["error"]["code"]) == ("failed", code)
        assert outcome[1]["status"] == "completed"
        assert list(world.directory.site(SITE).holders) == before

    async def test_what_several_domains_have(self, world: World):
        """Both have a group called staff: the domain must be named."""
        item = {"access": {"id": "staff"}, "user": {"email": "ben@example.com"}}
        [unclear] = (await self.change(world, {"insert": [item]}, "ops"))["insert"]
        assert unclear["error"]["code"] == "ambiguous"
        [clear] = (await self.change(world, {"insert": [item], "domainId": SITE}, "ops"))["insert"]
        assert clear["accessKey"]["id"] == "h2!staff"

    async def test_another_domain_is_out_of_reach(self, world: World):
        [outcome] = (await self.change(world, {"delete": [{"id": "h3!staff"}]}))["delete"]
        assert outcome["error"]["code"] == "unknown-access-key"
        assert world.directory.site(OTHER).holders.get("h3").groups == (STAFF,)
        body = {"insert": [{"access": {"id": "staff"}, "user": {"id": "h2"}}], "domainId": OTHER}
        assert (await self.change(world, body))["insert"][0]["error"]["code"] == "unknown-access"

    async def test_who_may(self, world: World):
        body = {"delete": [{"id": "h1!staff"}]}
        for path in ("/access-keys", "/accessKeys"):
            assert (await caller(world, "reader").post(path, body)).status == 403
            assert (await AsgiClient(world.app).post(path, body)).status == 401
        assert world.directory.site(SITE).holders.get("h1").groups == (STAFF, GUESTS)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"{",
            b"\xff",
            b"[" * 100_000,
            b'{"insert":{}}',
            b'{"insert":[1]}',
            b'{"insert":[{"user":{}}]}',
            b'{"insert":[{"access":{"id":1},"user":{}}]}',
            b'{"domainId":5}',
        ],
    )
    async def test_bodies_that_are_none(self, world: World, body):
        answer = await caller(world, "ops").call("POST", "/access-keys", body=body)
        assert (answer.status, answer.json()["error"]["code"]) == (400, "bad-body")

    async def test_too_much(self, world: World):
        answer = await caller(world, "ops").call("POST", "/access-keys", body=b" " * 1_000_001)
        assert answer.status == 413
        assert (await caller(world, "ops").post("/access-keys", {"delete": [{"id": "x"}] * 1001})).status == 413
