"""Our own routes of the directory."""

import dataclasses
import json

import pytest

from doorstream.directory import InvalidEntity
from doorstream.directory.errors import Conflict
from doorstream.events.entities import Client, Holder, User
from doorstream.log import LogUnavailable, StorageFull
from doorstream.server.api.forms import ClientView, HolderView, UserView
from doorstream.server.api.problems import CODES
from world import NOWHERE, OTHER, SITE, World, open_world

HERE = f"/api/sites/{SITE}"


@pytest.fixture
async def world(connection):
    async with open_world(connection) as world:
        yield world


def is_problem(answer, slug: str) -> bool:
    document = answer.json()
    assert answer.headers["content-type"] == "application/problem+json", answer.body
    assert document["type"] == f"urn:doorstream:problem:{slug}", document
    assert document["status"] == answer.status == CODES[slug].status
    assert document["title"] == CODES[slug].title
    return True


def faults(answer) -> list[str]:
    assert is_problem(answer, "invalid-request")
    return [error["where"] for error in answer.json()["errors"]]


class TestSites:
    async def test_life_of_a_site(self, world: World):
        ops = world.client("ops")
        created = await ops.post("/api/sites", {"name": "Depot", "timezone": "Europe/Amsterdam"})
        assert created.status == 201
        site = created.json()
        assert created.headers["location"] == f"/api/sites/{site['id']}"
        assert site["created"] == "2026-01-31T10:00:00.000Z"
        assert (await ops.get(created.headers["location"])).json() == site
        changed = await ops.patch(f"/api/sites/{site['id']}", {"name": "Old depot", "description": "closed"})
        assert changed.json() == site | {"name": "Old depot", "description": "closed"}
        cleared = await ops.patch(f"/api/sites/{site['id']}", {"description": None})
        assert cleared.json()["description"] is None
        assert (await ops.delete(f"/api/sites/{site['id']}")).status == 204
        assert is_problem(await ops.get(f"/api/sites/{site['id']}"), "not-found")

    async def test_own_ids_are_uuids(self, world: World):
        ops = world.client("ops")
        assert (await ops.post("/api/sites", {"name": "x", "id": NOWHERE.upper()})).json()["id"] == NOWHERE
        assert is_problem(await ops.post("/api/sites", {"name": "x", "id": NOWHERE}), "already-exists")
        assert faults(await ops.post("/api/sites", {"name": "x", "id": "depot"})) == ["body.id"]

    async def test_who_sees_and_does_what(self, world: World):
        assert [s["name"] for s in (await world.client("ops").get("/api/sites")).json()["items"]] == [
            "Harbour House",
            "Pier House",
        ]
        assert [s["id"] for s in (await world.client("reader").get("/api/sites")).json()["items"]] == [SITE]
        reader, site_admin = world.client("reader"), world.client("site-admin")
        assert is_problem(await reader.post("/api/sites", {"name": "x"}), "forbidden")
        assert is_problem(await site_admin.post("/api/sites", {"name": "x"}), "forbidden")
        assert is_problem(await site_admin.delete(HERE), "forbidden")
        assert is_problem(await reader.patch(HERE, {"name": "x"}), "forbidden")
        assert (await site_admin.patch(HERE, {"name": "x"})).status == 200
        assert is_problem(await reader.get(f"/api/sites/{OTHER}"), "forbidden")
        assert is_problem(await reader.get(f"/api/sites/{NOWHERE}"), "forbidden")
        assert is_problem(await world.client("panel").get(HERE), "forbidden")


BODIES = {
    "cloud-nodes": {"name": "North", "serial_number": "1234ABC", "card_format": [{"id": "26bit"}]},
    "connections": {"name": "Yard", "cloud_node_id": "n1"},
    "devices": {"name": "Main", "connection_id": "c1", "port": 1},
    "holders": {"first_name": "Ada", "pin": "1234", "credentials": [{"id": "k", "credential_number": 26858}]},
}


class TestOwned:
    async def populate(self, world: World) -> None:
        ops = world.client("ops")
        assert (await ops.post(f"{HERE}/cloud-nodes", {"id": "n1", "name": "Node"})).status == 201
        assert (await ops.post(f"{HERE}/connections", {"id": "c1", "name": "C", "cloud_node_id": "n1"})).status == 201

    @pytest.mark.parametrize("path", BODIES)
    async def test_life(self, world: World, path):
        await self.populate(world)
        admin = world.client("site-admin")
        created = await admin.post(f"{HERE}/{path}", BODIES[path])
        assert created.status == 201, created.body
        shown = created.json()
        assert shown["site_id"] == SITE
        one = f"{HERE}/{path}/{shown['id']}"
        assert created.headers["location"] == one
        assert (await world.client("reader").get(one)).json() == shown
        assert shown in (await admin.get(f"{HERE}/{path}")).json()["items"]
        name = "first_name" if path == "holders" else "name"
        assert (await admin.patch(one, {name: "Renamed"})).json() == shown | {name: "Renamed"}
        assert is_problem(await admin.post(f"{HERE}/{path}", BODIES[path] | {"id": shown["id"]}), "already-exists")
        assert is_problem(await world.client("reader").patch(one, {name: "x"}), "forbidden")
        assert is_problem(await world.client("reader").delete(one), "forbidden")
        assert is_problem(await world.client("reader").post(f"{HERE}/{path}", BODIES[path]), "forbidden")
        assert (await admin.delete(one)).status == 204
        for method in ("GET", "DELETE"):
            assert is_problem(await admin.call(method, one), "not-found")
        assert is_problem(await admin.patch(one, {}), "not-found")

    async def test_a_pin_is_never_shown_and_stays(self, world: World):
        admin = world.client("site-admin")
        holder = (await admin.post(f"{HERE}/holders", BODIES["holders"])).json()
        assert "1234" not in json.dumps(holder)
        assert "pin" not in holder
        one = f"{HERE}/holders/{holder['id']}"
        await admin.patch(one, {"last_name": "Park"})
        assert world.directory.site(SITE).holders.get(holder["id"]).pin == "1234"
        assert (await admin.patch(one, {"pin": "777"})).status == 200
        assert world.directory.site(SITE).holders.get(holder["id"]).pin == "777"
        await admin.patch(one, {"pin": None})
        assert world.directory.site(SITE).holders.get(holder["id"]).pin is None

    async def test_what_was_read_can_be_sent_back(self, world: World):
        await self.populate(world)
        admin = world.client("site-admin")
        node = (await admin.get(f"{HERE}/cloud-nodes/n1")).json()
        assert (await admin.patch(f"{HERE}/cloud-nodes/n1", node | {"name": "Other"})).json() == node | {
            "name": "Other"
        }

    async def test_registration(self, world: World):
        await self.populate(world)
        admin = world.client("site-admin")
        assert (await admin.post(f"{HERE}/cloud-nodes/n1/register")).json()["registered"] is True
        assert (await admin.post(f"{HERE}/cloud-nodes/n1/register")).status == 200
        assert (await admin.post(f"{HERE}/cloud-nodes/n1/unregister")).json()["registered"] is False
        assert is_problem(await admin.post(f"{HERE}/cloud-nodes/n2/register"), "not-found")
        assert is_problem(await world.client("reader").post(f"{HERE}/cloud-nodes/n1/register"), "forbidden")
        topics = [event["topic"] for event in world.directory._mirror.entry(f"cloud-node.{SITE}.n1").pending]
        assert topics == ["cloudnode.created", "cloudnode.registered", "cloudnode.unregistered"]

    async def test_events_name_who_did_it(self, world: World):
        await self.populate(world)
        [event] = world.directory._mirror.entry(f"cloud-node.{SITE}.n1").pending
        assert event["metadata"] == {"userId": "ops", "userName": "ops", "occurred": 1_769_853_600_000}

    async def test_online_or_not(self, world: World):
        await self.populate(world)
        await world.client("ops").patch(f"{HERE}/cloud-nodes/n1", {"serial_number": "S1"})
        reader = world.client("reader")
        node = (await reader.get(f"{HERE}/cloud-nodes/n1")).json()
        assert (node["connected"], node["connection_changed"]) == (False, None)
        world.directory.site(SITE).note_status("S1", connected=True, occurred=20)
        world.directory.site(SITE).note_status("S1", connected=False, occurred=10)
        node = (await reader.get(f"{HERE}/cloud-nodes/n1")).json()
        assert (node["connected"], node["connection_changed"]) == (True, 20)

    @pytest.mark.parametrize(
        ("path", "body", "expected"),
        [
            ("cloud-nodes", {}, ["body.name"]),
            ("cloud-nodes", {"name": " "}, ["body.name"]),
            ("cloud-nodes", {"name": "x" * 257}, ["body.name"]),
            ("cloud-nodes", {"name": 5, "offline_policy": "x"}, ["body.name", "body.offline_policy"]),
            ("cloud-nodes", {"name": "x", "offline_policy": 3}, ["body.offline_policy"]),
            ("cloud-nodes", {"name": "x", "kill_timer": -1}, ["body.kill_timer"]),
            ("cloud-nodes", {"name": "x", "timezone": "Mars/Base"}, ["body.timezone"]),
            ("cloud-nodes", {"name": "x", "timezone": "../../etc/passwd"}, ["body.timezone"]),
            ("cloud-nodes", {"name": "x", "locale": "!"}, ["body.locale"]),
            ("cloud-nodes", {"name": "x", "nmae": "x"}, ["body.nmae"]),
            ("cloud-nodes", {"name": "x", "site_id": OTHER}, ["body.site_id"]),
            ("cloud-nodes", {"name": "x", "id": "a/b"}, ["body.id"]),
            ("cloud-nodes", {"name": "x", "id": ""}, ["body.id"]),
            ("cloud-nodes", {"name": "x", "card_format": [{"id": "a", "bits": 1}]}, ["body.card_format[0].bits"]),
            ("connections", {"name": "x", "cloud_node_id": "n9"}, ["body.cloud_node_id"]),
            ("devices", {"name": "x", "connection_id": "c9"}, ["body.connection_id"]),
            ("devices", {"name": "x", "cloud_node_id": "n9"}, ["body.cloud_node_id"]),
            ("devices", {"name": "x", "port": 2**53}, ["body.port"]),
            ("holders", {"first_name": ""}, ["body.first_name"]),
            ("holders", {"first_name": "A", "email": "nobody"}, ["body.email"]),
            ("holders", {"first_name": "A", "pin": "12a"}, ["body.pin"]),
            ("holders", {"first_name": "A", "active_date": "2026-01-31"}, ["body.active_date"]),
            ("holders", {"first_name": "A", "expire_date": "2026-02-31T00:00:00"}, ["body.expire_date"]),
            ("holders", {"first_name": "A", "credentials": [{"id": "a"}, {"id": "a"}]}, ["body.credentials"]),
            ("holders", {"first_name": "A", "groups": [{"id": "a", "name": ""}]}, ["body.groups[0].name"]),
            ("holders", [], ["body"]),
        ],
    )
    async def test_what_is_refused(self, world: World, path, body, expected):
        await self.populate(world)
        answer = await world.client("ops").post(f"{HERE}/{path}", body)
        assert faults(answer) == expected

    async def test_bad_bodies(self, world: World):
        ops = world.client("ops")
        for body in (b"", b"{", b"nonsense", b"\xff", b"[" * 5000):
            assert faults(await ops.call("POST", f"{HERE}/holders", body=body)) == ["body"]
        assert is_problem(await ops.call("POST", f"{HERE}/holders", body=b" " * 1_000_001), "too-large")
        holder = (await ops.post(f"{HERE}/holders", {"first_name": "A"})).json()
        assert faults(await ops.patch(f"{HERE}/holders/{holder['id']}", [1])) == ["body"]
        assert faults(await ops.patch(f"{HERE}/holders/{holder['id']}", {"id": "other"})) == ["body.id"]
        assert faults(await ops.patch(f"{HERE}/holders/{holder['id']}", {"first_name": None})) == ["body.first_name"]
        assert faults(await ops.patch(f"{HERE}/holders/{holder['id']}", {"created": "x"})) == ["body.created"]

    async def test_pages(self, world: World):
        """Every holder once, sorted by name, also when some have the same."""
        ops = world.client("ops")
        for number in range(23):
            await ops.post(f"{HERE}/holders", {"first_name": f"Name {number // 2:02}", "id": f"h{number:02}"})
        seen: list[str] = []
        cursor = ""
        while cursor is not None:
            page = (
                await ops.get(f"{HERE}/holders?limit=5&cursor={cursor}" if cursor else f"{HERE}/holders?limit=5")
            ).json()
            assert len(page["items"]) <= 5
            seen += [item["id"] for item in page["items"]]
            cursor = page["next"]
        assert seen == [f"h{number:02}" for number in range(23)]
        found = (await ops.get(f"{HERE}/holders?name=AME%2001")).json()
        assert [item["id"] for item in found["items"]] == ["h02", "h03"]
        assert found["next"] is None
        assert is_problem(await ops.get(f"{HERE}/holders?cursor=x"), "invalid-parameter")
        assert faults(await ops.get(f"{HERE}/holders?limit=0")) == ["query.limit"]
        assert faults(await ops.get(f"{HERE}/holders?limit=1001")) == ["query.limit"]


class TestClients:
    async def test_life(self, world: World):
        ops = world.client("ops")
        created = await ops.post("/api/clients", {"name": "App", "scopes": ["events:read"], "sites": [SITE]})
        assert created.status == 201, created.body
        assert created.headers["cache-control"] == "no-store"
        client = created.json()
        assert client["api_key"] == f"ds_{client['id']}_{client['secret']}"
        app = type(ops)(world.app, {"authorization": f"Bearer {client['api_key']}"})
        assert (await app.get("/api/sites")).status == 200
        one = created.headers["location"]
        shown = (await ops.get(one)).json()
        assert shown.keys() == {"id", "name", "scopes", "sites", "disabled", "created"}
        rotated = (await ops.post(f"{one}/secret")).json()
        assert rotated["secret"] != client["secret"]
        assert is_problem(await app.get("/api/sites"), "unauthenticated")
        app = type(ops)(world.app, {"x-api-key": rotated["api_key"]})
        assert (await app.get("/api/sites")).status == 200
        assert (await ops.patch(one, {"disabled": True})).json() == shown | {"disabled": True}
        assert is_problem(await app.get("/api/sites"), "unauthenticated")
        assert (await ops.delete(one)).status == 204
        assert is_problem(await ops.get(one), "not-found")

    async def test_secrets_are_shown_once(self, world: World):
        """Neither the secret nor its hash is in any other answer."""
        ops = world.client("ops")
        client = (await ops.post("/api/clients", {"name": "App", "scopes": [], "sites": "all"})).json()
        stored = world.directory.clients.get(client["id"])
        for target in ("/api/clients", f"/api/clients/{client['id']}"):
            text = (await ops.get(target)).body.decode()
            assert client["secret"] not in text
            assert stored.secret_hash not in text
            assert stored.generation not in text
        assert client["secret"] not in repr(stored)

    async def test_disabling_ends_tokens_for_good(self, world: World):
        """Enabling the client again does not bring its old tokens back."""
        token = world.system_token()
        found = world.auth.tokens.check_system_token(token, world.clock())
        ops = world.client("ops")
        await ops.patch("/api/clients/panel", {"disabled": True})
        assert not world.auth.tokens.stands(found)
        await ops.patch("/api/clients/panel", {"disabled": False})
        assert not world.auth.tokens.stands(found)
        assert (await world.client("panel").get("/api/sites")).status == 200

    async def test_own_id_and_secret(self, world: World):
        ops = world.client("ops")
        body = {"name": "App", "scopes": ["pdk"], "sites": "all", "id": "65a1.app", "secret": "s" * 20}
        assert (await ops.post("/api/clients", body)).json()["api_key"] == "ds_65a1.app_" + "s" * 20
        for fault in ({"id": "a_b"}, {"secret": "short"}, {"secret": "ü" * 20}, {"secret": "x" * 257}):
            assert faults(await ops.post("/api/clients", body | {"id": "n"} | fault)) == [f"body.{next(iter(fault))}"]

    async def test_what_is_refused(self, world: World):
        ops = world.client("ops")
        body = {"name": "App", "scopes": ["pdk"], "sites": "all"}
        assert faults(await ops.post("/api/clients", body | {"scopes": ["root"]})) == ["body.scopes[0]"]
        assert faults(await ops.post("/api/clients", body | {"sites": [NOWHERE]})) == ["body.sites[0]"]
        assert "body.sites" in faults(await ops.post("/api/clients", {"name": "App", "scopes": []}))
        assert faults(await ops.patch("/api/clients/panel", {"secret": "x" * 30})) == ["body.secret"]

    async def test_only_for_administrators_of_all_sites(self, world: World):
        for name in ("site-admin", "reader", "panel"):
            client = world.client(name)
            for method, target in (
                ("GET", "/api/clients"),
                ("POST", "/api/clients"),
                ("GET", "/api/clients/ops"),
                ("PATCH", "/api/clients/ops"),
                ("DELETE", "/api/clients/ops"),
                ("POST", "/api/clients/ops/secret"),
                ("GET", "/api/users"),
                ("POST", "/api/users"),
                ("GET", "/api/users/u"),
                ("PATCH", "/api/users/u"),
                ("DELETE", "/api/users/u"),
            ):
                assert is_problem(await client.call(method, target, value={}), "forbidden"), (name, method, target)


class TestUsers:
    async def test_life(self, world: World):
        ops = world.client("ops")
        body = {"username": "ada@example.com", "password": "correct horse", "roles": {SITE: "site_admin"}}
        created = await ops.post("/api/users", body)
        assert created.status == 201, created.body
        user = created.json()
        assert user["name"] == "ada@example.com"
        assert "password" not in created.body.decode()
        assert "argon2" not in created.body.decode()
        stored = world.directory.users.get(user["id"])
        assert await world.auth.passwords.matches("correct horse", stored.password_hash)
        one = created.headers["location"]
        assert (await ops.patch(one, {"roles": {OTHER: "site_user"}})).json()["roles"] == {
            SITE: "site_admin",
            OTHER: "site_user",
        }
        assert world.directory.users.get(user["id"]).generation == stored.generation
        assert (await ops.patch(one, {"roles": {SITE: None}})).json()["roles"] == {OTHER: "site_user"}
        assert (await ops.patch(one, {"password": "another horse"})).status == 200
        changed = world.directory.users.get(user["id"])
        assert changed.generation != stored.generation
        assert await world.auth.passwords.matches("another horse", changed.password_hash)
        assert (await ops.get("/api/users?name=ADA")).json()["items"][0]["id"] == user["id"]
        assert (await ops.delete(one)).status == 204
        assert is_problem(await ops.get(one), "not-found")

    async def test_what_is_refused(self, world: World):
        ops = world.client("ops")
        body = {"username": "ada", "roles": {}}
        await ops.post("/api/users", body)
        assert is_problem(await ops.post("/api/users", body | {"username": "ADA"}), "already-exists")
        assert faults(await ops.post("/api/users", {"username": "a b"})) == ["body.username"]
        assert faults(await ops.post("/api/users", {"username": "b", "password": "short"})) == ["body.password"]
        assert faults(await ops.post("/api/users", {"username": "b", "roles": {NOWHERE: "x"}})) == ["body.roles"]
        holders = {"username": "b", "holder_ids": {SITE: "h9"}}
        assert faults(await ops.post("/api/users", holders)) == [f"body.holder_ids.{SITE}"]

    async def test_users_of_a_site(self, world: World):
        admin, ops = world.client("site-admin"), world.client("ops")
        await ops.post(f"{HERE}/holders", {"first_name": "Ada", "id": "h1"})
        body = {"username": "ada", "role": "site_user", "holder_id": "h1", "password": "correct horse"}
        created = await admin.post(f"{HERE}/users", body)
        assert created.status == 201, created.body
        member = created.json()
        assert member == {
            "id": member["id"],
            "username": "ada",
            "name": "ada",
            "role": "site_user",
            "holder_id": "h1",
            "disabled": False,
            "created": "2026-01-31T10:00:00.000Z",
        }
        one = created.headers["location"]
        assert (await admin.get(one)).json() == member
        assert (await admin.get(f"{HERE}/users")).json()["items"] == [member]
        changed = await admin.patch(one, {"role": "site_admin", "name": "Ada Park"})
        assert changed.json() == member | {"role": "site_admin", "name": "Ada Park"}
        assert (await admin.patch(one, {"holder_id": None})).json()["holder_id"] is None
        assert (await admin.delete(one)).status == 204
        assert world.directory.users.get(member["id"]) is None

    async def test_a_user_of_two_sites(self, world: World):
        """An administrator of one of them decides about the role there, and about nothing else."""
        admin, ops = world.client("site-admin"), world.client("ops")
        body = {"username": "ada", "id": "u1", "roles": {SITE: "site_user", OTHER: "site_user"}}
        await ops.post("/api/users", body)
        one = f"{HERE}/users/u1"
        assert (await admin.patch(one, {"role": "site_admin"})).status == 200
        assert is_problem(await admin.patch(one, {"password": "mine mine mine"}), "forbidden")
        assert is_problem(await admin.patch(one, {"disabled": True}), "forbidden")
        assert (await admin.delete(one)).status == 204
        assert world.directory.users.get("u1").roles == {OTHER: "site_user"}
        assert is_problem(await admin.get(one), "not-found")
        assert is_problem(await admin.get(f"/api/sites/{OTHER}/users/u1"), "forbidden")


class TestTokens:
    async def test_a_system_token(self, world: World):
        answer = await world.client("panel").post(f"{HERE}/tokens", {"kind": "system"})
        assert answer.status == 201
        found = world.auth.tokens.check_system_token(answer.json()["token"], world.clock())
        assert (found.site_id, found.expires_at) == (SITE, answer.json()["expires_at"])

    async def test_a_ticket(self, world: World):
        answer = await world.client("reader").post(f"{HERE}/tokens", {"kind": "ticket"})
        assert world.auth.tickets.redeem(answer.json()["token"], SITE, world.clock()).principal.id == "reader"

    async def test_rights(self, world: World):
        assert is_problem(await world.client("reader").post(f"{HERE}/tokens", {"kind": "system"}), "forbidden")
        assert is_problem(await world.client("panel").post(f"{HERE}/tokens", {"kind": "ticket"}), "forbidden")
        assert faults(await world.client("ops").post(f"{HERE}/tokens", {"kind": "x"})) == ["body.kind"]
        missing = await world.client("ops").post(f"/api/sites/{NOWHERE}/tokens", {"kind": "system"})
        assert is_problem(missing, "not-found")


class TestProblems:
    async def test_no_credentials(self, world: World):
        for target in ("/api/sites", HERE, f"{HERE}/holders", "/api/clients", "/api/users", f"{HERE}/users"):
            answer = await world.client().get(target)
            assert is_problem(answer, "unauthenticated")
            assert answer.headers["www-authenticate"].startswith("Bearer")

    async def test_unknown_paths_and_methods(self, world: World):
        assert is_problem(await world.client().get("/nowhere"), "not-found")
        answer = await world.client().call("PUT", "/api/sites")
        assert is_problem(answer, "method-not-allowed")
        assert "GET" in answer.headers["allow"]

    @pytest.mark.parametrize(
        ("error", "slug", "retry"),
        [
            (LogUnavailable("NATS is away"), "log-unavailable", "1"),
            (StorageFull("no room"), "storage-full", "10"),
            (Conflict(), "conflict", "1"),
            (InvalidEntity("name", "is wrong"), "invalid-request", None),
        ],
    )
    async def test_what_inner_layers_raise(self, world: World, monkeypatch, error, slug, retry):
        async def fail(*_):
            raise error

        monkeypatch.setattr(world.directory._store, "write", fail)
        monkeypatch.setattr(world.directory._store, "catch_up", _nothing)
        answer = await world.client("ops").post(f"{HERE}/holders", {"first_name": "Ada"})
        assert is_problem(answer, slug)
        assert answer.headers.get("retry-after") == retry

    async def test_a_mistake_of_ours_says_nothing(self, world: World, monkeypatch):
        """500 without a stack trace or the error's text; the server's own log has both."""

        def fail(*_):
            raise RuntimeError("secret detail")

        monkeypatch.setattr(world.auth, "caller", fail)
        client = world.client("ops")
        answers = []

        async def app(scope, receive, send):
            async def keep(message):
                answers.append(message)
                await send(message)

            await world.app(scope, receive, keep)

        with pytest.raises(RuntimeError):
            await type(client)(app).get("/api/sites")
        assert answers[0]["status"] == 500
        assert b"secret detail" not in answers[1]["body"]
        assert json.loads(answers[1]["body"])["type"] == "urn:doorstream:problem:internal"


async def _nothing():
    return None


async def test_the_documentation_can_be_made(world: World):
    """OpenAPI has every route, with the bodies that routes read themselves, and no secret in any answer."""
    document = world.app.openapi()
    create = document["paths"]["/api/sites/{site_id}/holders"]["post"]
    schema = create["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["first_name"]
    assert schema["properties"]["credentials"]["items"]["properties"]["facility_code"]
    assert "$ref" not in json.dumps(schema)
    for name, part in document["components"]["schemas"].items():
        hidden = {"pin", "password", "password_hash", "secret_hash", "generation"}
        assert not hidden & part.get("properties", {}).keys(), name


def test_views_are_parts_of_what_is_shown():
    """What the documentation says is what the routes answer."""
    for view, entity in ((HolderView, Holder), (UserView, User), (ClientView, Client)):
        assert {f.name for f in dataclasses.fields(view)} < {f.name for f in dataclasses.fields(entity)}
