"""PDK's REST and token routes (vendor-apis.md 1.1, 1.4 and 1.5)."""

import pytest

from asgi_client import AsgiClient
from doorstream.dialects.pdk.limits import UNLIMITED
from doorstream.directory import SYSTEM
from doorstream.events.entities import CardFormat, CloudNode, Connection, Credential, Device, Group, Holder
from world import ISSUER, NOWHERE, OTHER, SITE, World, open_world

CREATED = "2026-01-31T10:00:00.123Z"


@pytest.fixture
async def world(connection):
    async with open_world(connection, UNLIMITED) as world:
        yield world


@pytest.fixture
async def building(world: World) -> World:
    """A node with a controller and a door, a node with nothing, a holder with a card."""
    common = {"site_id": SITE, "created": CREATED}
    formats = (CardFormat(id="26", description="26 bit", min_input_bits=26, max_input_bits=26),)
    for entity in (
        CloudNode(id="n1", name="North", serial_number="1234ABC", card_format=formats, **common),
        CloudNode(id="n2", name="South", timezone="Europe/Amsterdam", **common),
        Connection(id="c1", name="Yard", cloud_node_id="n1", **common),
        Device(id="d1", name="Main", connection_id="c1", port=1, **common),
        Device(id="d2", name="Gate", cloud_node_id="n2", **common),
        Holder(
            id="h1",
            first_name="Ada",
            last_name="Park",
            email="ada@example.com",
            pin="1234",
            groups=(Group(id="g1", name="Staff"),),
            credentials=(Credential(id="k1", credential_number=26858, facility_code=77),),
            **common,
        ),
    ):
        await world.directory.create(entity, SYSTEM)
    return world


def is_error(answer, status: int, reason: str) -> bool:
    error = answer.json()
    assert answer.status == status, answer.body
    assert error.keys() == {"statusCode", "error", "message"}
    assert (error["statusCode"], error["error"]) == (status, reason)
    return True


class TestSystemTokens:
    @pytest.mark.parametrize("body", [None, b"{}", b"true", b"\xff{", b"x" * 200_000])
    async def test_pdk_03_any_body(self, world: World, body):
        answer = await world.bearer(world.id_token()).call("POST", f"/api/systems/{SITE}/token", body=body)
        assert answer.status == 200
        assert answer.json().keys() == {"token"}
        found = world.auth.tokens.check_system_token(answer.json()["token"], world.clock())
        assert (found.site_id, found.client_id, found.expires_at) == (SITE, "panel", world.clock() + 300)

    async def test_pdk_03_unknown_and_not_permitted(self, world: World):
        panel = world.bearer(world.id_token())
        assert is_error(await panel.post(f"/api/systems/{NOWHERE}/token"), 404, "Not Found")
        assert is_error(await panel.post("/api/systems/x/token"), 404, "Not Found")
        assert is_error(await panel.post(f"/api/systems/{OTHER}/token"), 403, "Forbidden")
        reader = world.bearer(world.id_token("reader"))
        assert is_error(await reader.post(f"/api/systems/{SITE}/token"), 403, "Forbidden")

    async def test_pdk_03_upper_case_ids(self, world: World):
        answer = await world.bearer(world.id_token()).post(f"/api/systems/{SITE.upper()}/token")
        assert answer.status == 200

    async def test_who_is_nobody(self, world: World):
        target = f"/api/systems/{SITE}/token"
        expired = world.id_token()
        world.clock.now += 300
        for client in (
            world.client(),
            world.client("panel"),
            world.bearer(expired),
            world.bearer(world.system_token()),
            world.bearer(""),
            AsgiClient(world.app, {"authorization": f"Basic {world.id_token()}"}),
        ):
            answer = await client.post(target)
            assert is_error(answer, 401, "Unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert (await world.bearer(world.id_token()).post(target)).status == 200


class TestSystems:
    async def test_where_a_system_lives(self, world: World):
        """The vendor's Node library resolves `api/` against `uri` (vendor-apis.md 1.4)."""
        panel = world.bearer(world.id_token())
        system = (await panel.get(f"/api/systems/{SITE}")).json()
        assert (system["id"], system["name"], system["uri"]) == (SITE, "Harbour House", ISSUER)
        assert (await panel.get("/api/systems")).json() == [system]
        assert is_error(await panel.get(f"/api/systems/{OTHER}"), 403, "Forbidden")
        assert is_error(await panel.get(f"/api/systems/{NOWHERE}"), 404, "Not Found")

    async def test_the_list_is_the_callers(self, world: World):
        ops = world.bearer(world.id_token("ops"))
        answer = await ops.get("/api/systems?page=0&sort=asc&per_page=100")
        assert [system["id"] for system in answer.json()] == [SITE, OTHER]
        assert answer.headers["x-total-count"] == "2"


@pytest.mark.parametrize("root", [f"/{SITE}", f"/{SITE.upper()}", "/api"])
class TestLists:
    """The same below the system's id, and below /api as the Node library asks."""

    async def test_pdk_16_the_system(self, building: World, root):
        system = (await building.bearer(building.system_token()).get(root)).json()
        assert system == {
            "id": SITE,
            "name": "Harbour House",
            "uri": ISSUER,
            "description": None,
            "created": "2026-01-31T10:00:00.000Z",
            "ouId": None,
            "reportingPlan": "premium",
            "credentialSelfHelp": {"enabled": False, "monthlyLimit": 0},
            "cloudNodes": [
                {"id": "n1", "name": "North", "description": None, "created": CREATED, "serialNumber": "1234ABC"},
                {"id": "n2", "name": "South", "description": None, "created": CREATED, "serialNumber": None},
            ],
            "locale": "en",
            "timezone": "UTC",
            "cardFormat": None,
            "offlinePolicy": 2,
            "killTimer": 300,
            "syncStatus": {"synced": True, "details": {"timestamp": "2026-01-31T10:00:00.000Z"}},
        }

    async def test_pdk_16_cloud_nodes(self, building: World, root):
        building.directory.site(SITE).note_status("1234ABC", connected=True, occurred=1_769_853_600_500)
        panel = building.bearer(building.system_token())
        north, south = (await panel.get(f"{root}/cloud-nodes")).json()
        assert north == {
            "id": "n1",
            "name": "North",
            "description": None,
            "created": CREATED,
            "serialNumber": "1234ABC",
            "ecards": [],
            "offlinePolicy": 2,
            "killTimer": 300,
            "timezone": "UTC",
            "locale": "en",
            "cardFormat": [
                {
                    "id": "26",
                    "description": "26 bit",
                    "min_input_bits": 26,
                    "max_input_bits": 26,
                    "facility_code": None,
                }
            ],
            "syncStatus": {"synced": True, "details": {"timestamp": CREATED, "dataFlowStatus": None}},
            "connectionStatus": {"connected": True, "details": {"timestamp": "2026-01-31T10:00:00.500Z"}},
        }
        assert south["timezone"] == "Europe/Amsterdam"
        assert south["connectionStatus"] == {"connected": False, "details": {"timestamp": None}}
        assert (await panel.get(f"{root}/cloud-nodes/n1")).json() == north
        assert is_error(await panel.get(f"{root}/cloud-nodes/n9"), 404, "Not Found")

    async def test_pdk_16_connections(self, building: World, root):
        panel = building.bearer(building.system_token())
        [controller] = (await panel.get(f"{root}/cloud-nodes/n1/connections")).json()
        assert controller["id"] == "c1"
        assert controller["type"] == "ethernet"
        assert controller["connected"] is False
        assert (await panel.get(f"{root}/cloud-nodes/n2/connections")).json() == []
        assert is_error(await panel.get(f"{root}/cloud-nodes/n9/connections"), 404, "Not Found")

    async def test_pdk_16_devices(self, building: World, root):
        """The connection is an object here, and an id in events."""
        panel = building.bearer(building.system_token())
        gate, main = (await panel.get(f"{root}/devices")).json()
        assert main["connection"] == {"id": "c1", "name": "Yard", "type": "ethernet"}
        assert main["created"] == "2026-01-31 10:00:00"
        assert (main["port"], main["type"], main["dwell"]) == (1, "primaryReader", 50)
        assert gate["connection"] is None
        assert (await panel.get(f"{root}/cloud-nodes/n1/devices")).json() == [main]
        assert (await panel.get(f"{root}/cloud-nodes/n2/devices")).json() == [gate]
        assert (await panel.get(f"{root}/devices/d1")).json() == main
        assert is_error(await panel.get(f"{root}/devices/d9"), 404, "Not Found")

    async def test_pdk_16_holders(self, building: World, root):
        """Numbers are integers here, and texts in events; the PIN is never shown."""
        panel = building.bearer(building.system_token())
        card = {
            "id": "k1",
            "holderId": "h1",
            "credentialNumber": 26858,
            "facilityCode": 77,
            "description": None,
            "types": ["card"],
        }
        person = {
            "id": "h1",
            "firstName": "Ada",
            "lastName": "Park",
            "email": "ada@example.com",
            "photoUrl": None,
            "partition": None,
            "enabled": True,
            "activeDate": None,
            "expireDate": None,
            "pin": None,
            "duressPin": None,
            "customFields": [],
            "groups": [{"id": "g1", "name": "Staff", "partition": None}],
            "credentials": [card],
        }
        assert (await panel.get(f"{root}/holders")).json() == [person]
        assert (await panel.get(f"{root}/holders/h1")).json() == person
        assert (await panel.get(f"{root}/holders/h1/credentials")).json() == [card]
        assert (await panel.get(f"{root}/holders?search=ADA@&search_fields=email")).json() == [person]
        assert (await panel.get(f"{root}/holders?search=park")).json() == [person]
        nobody = await panel.get(f"{root}/holders?search=park&search_fields=email")
        assert nobody.json() == []
        assert nobody.headers["x-total-count"] == "0"
        for target in ("holders/h9", "holders/h9/credentials"):
            assert is_error(await panel.get(f"{root}/{target}"), 404, "Not Found")

    async def test_who_is_nobody(self, building: World, root):
        token = building.system_token()
        for client in (building.client(), building.client("ops"), building.bearer(building.id_token())):
            assert is_error(await client.get(f"{root}/holders"), 401, "Unauthorized")
        building.clock.now += 300
        assert is_error(await building.bearer(token).get(f"{root}/holders"), 401, "Unauthorized")

    async def test_read_only(self, building: World, root):
        panel = building.bearer(building.system_token())
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert (await panel.call(method, f"{root}/holders")).status == 405


async def test_another_systems_token(building: World):
    token = building.system_token("ops", OTHER)
    assert is_error(await building.bearer(token).get(f"/{SITE}/holders"), 403, "Forbidden")
    assert (await building.bearer(token).get("/api/holders")).json() == []
    assert is_error(await building.bearer(token).get(f"/{NOWHERE}/holders"), 403, "Forbidden")


class TestPages:
    """PDK-16: a bare array, zero-based pages, the count, and links."""

    @pytest.fixture
    async def people(self, world: World) -> World:
        for number in range(25):
            name = f"N{number:02}"
            await world.directory.create(
                Holder(id=f"h{number:02}", site_id=SITE, first_name=name, created=CREATED), SYSTEM
            )
        return world

    async def pages(self, world: World, query: str) -> list[tuple[list[str], dict[str, str]]]:
        """Follow `next` from the first page on: the ids and links of each page."""
        panel = world.bearer(world.system_token())
        found = []
        target: str | None = f"/{SITE}/holders?{query}"
        while target is not None:
            answer = await panel.get(target)
            assert answer.headers["x-total-count"] == "25"
            links = {}
            for part in answer.headers["link"].split(", "):
                address, _, relation = part.partition("; ")
                links[relation.removeprefix('rel="').rstrip('"')] = address.strip("<>").removeprefix(ISSUER)
            found.append(([holder["id"] for holder in answer.json()], links))
            target = links.get("next")
        return found

    async def test_pdk_16_all_pages(self, people: World):
        pages = await self.pages(people, "per_page=10")
        assert [len(ids) for ids, _ in pages] == [10, 10, 5]
        assert [each for ids, _ in pages for each in ids] == [f"h{number:02}" for number in range(25)]
        assert [set(links) for _, links in pages] == [
            {"first", "next", "last"},
            {"first", "prev", "next", "last"},
            {"first", "prev", "last"},
        ]
        assert pages[1][1] == {
            "first": f"/{SITE}/holders?page=0&per_page=10",
            "prev": f"/{SITE}/holders?page=0&per_page=10",
            "next": f"/{SITE}/holders?page=2&per_page=10",
            "last": f"/{SITE}/holders?page=2&per_page=10",
        }

    async def test_pdk_16_the_default_is_ten(self, people: World):
        assert [len(ids) for ids, _ in await self.pages(people, "")] == [10, 10, 5]

    async def test_pdk_16_as_the_node_library_asks(self, people: World):
        [(ids, links)] = await self.pages(people, "page=0&sort=asc&per_page=100")
        assert len(ids) == 25
        assert "sort=asc" in links["first"]

    async def test_pdk_16_backwards(self, people: World):
        pages = await self.pages(people, "per_page=10&sort=desc")
        assert [each for ids, _ in pages for each in ids] == [f"h{number:02}" for number in reversed(range(25))]

    async def test_pdk_16_edges(self, people: World):
        panel = people.bearer(people.system_token())
        beyond = await panel.get(f"/{SITE}/holders?page=7&per_page=10")
        assert (beyond.status, beyond.json()) == (200, [])
        assert 'page=2&per_page=10>; rel="prev"' in beyond.headers["link"]
        assert len((await panel.get(f"/{SITE}/holders?per_page=1000")).json()) == 25
        assert len((await panel.get(f"/{SITE}/holders?page=&per_page=")).json()) == 10
        for query in ("page=-1", "page=x", "per_page=0", "page=1.5", "page=²", "page=99999999999999999999"):
            assert is_error(await panel.get(f"/{SITE}/holders?{query}"), 400, "Bad Request")
        empty = await people.bearer(people.system_token()).get(f"/{SITE}/devices")
        assert (empty.json(), empty.headers["x-total-count"]) == ([], "0")
