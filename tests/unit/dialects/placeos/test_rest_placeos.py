"""REST beside the socket (vendor-apis.md 2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fake_drivers import FakeDrivers
from placeos_support import SYS, Room

from asgi_client import Answer
from doorstream.directory import SYSTEM
from doorstream.drivers import ModuleView
from doorstream.events.entities import System
from world import OTHER, SITE

BASE = "/api/engine/v2"
ZONE = f"zone-{SITE}"


async def get(room: Room, path: str, name: str | None = "admin", **headers: str) -> Answer:
    return await room.http("GET", BASE + path, name=name, **headers)


async def create(room: Room, kind: str, caller: str = "admin", **fields: Any) -> Any:
    answer = await room.http("POST", f"{BASE}/{kind}", name=caller, value=fields)
    assert answer.status == 201, answer.body
    return answer.json()


async def test_each_site_is_a_zone_and_a_system_of_all_its_modules(room: Room) -> None:
    """D16; nobody has configured anything."""
    room.drivers.add(SITE, "mod-door", "Door", device_id="d1")
    system = (await get(room, f"/systems/{SYS}?complete=true")).json()
    assert (system["id"], system["name"], system["zones"], system["version"]) == (SYS, "Harbour House", [ZONE], 0)
    assert system["modules"] == ["mod-bookings", "mod-door"]
    assert isinstance(system["created_at"], int)
    assert [zone["id"] for zone in system["zone_data"]] == [ZONE]
    assert [module["driver"]["module_name"] for module in system["module_data"]] == ["Bookings", "Door"]
    assert (await get(room, f"/zones/{ZONE}")).json()["tags"] == ["building"]
    assert [zone["id"] for zone in (await get(room, f"/systems/{SYS}/zones")).json()] == [ZONE]
    for path in ("types", "count"):
        assert (await get(room, f"/systems/{SYS}/{path}")).json() == {"Bookings": 1, "Door": 1}
    assert (await get(room, f"/systems/{SYS}/count?module=Door")).json() == {"count": 1}


async def test_who_may_see_what(room: Room) -> None:
    """A caller that is bound to some sites does not learn which others there are."""
    assert [each["id"] for each in (await get(room, "/systems", "user")).json()] == [SYS]
    assert [each["id"] for each in (await get(room, "/systems", "elsewhere")).json()] == [f"sys-{OTHER}"]
    assert len((await get(room, "/zones")).json()) == 2
    assert (await get(room, f"/systems/sys-{OTHER}", "user")).status == 404
    assert (await get(room, f"/zones/zone-{OTHER}", "user")).status == 404


async def test_lists_cost_what_they_show(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 1,000 sites each list once made views of all modules of all of them, while nobody else got a turn."""
    asked: list[str] = []
    modules = FakeDrivers.modules

    def counted(drivers: FakeDrivers, site_id: str) -> Sequence[ModuleView]:
        asked.append(site_id)
        return modules(drivers, site_id)

    monkeypatch.setattr(FakeDrivers, "modules", counted)
    for path in ("/systems?q=nothing", "/systems?limit=0", "/systems/with_emails?in=a@example.com", "/zones"):
        assert (await get(room, path)).status == 200
    assert asked == []
    (shown,) = (await get(room, "/systems", "elsewhere")).json()
    assert (shown["modules"], asked) == ([], [OTHER])
    for expected in (["mod-bookings"], ["mod-bookings", "mod-door"], ["mod-door"]):
        for _ in range(2):
            (shown,) = (await get(room, "/systems?limit=1&q=harbour")).json()
            assert shown["modules"] == expected
        if expected == ["mod-bookings"]:
            room.drivers.add(SITE, "mod-door", "Door")
        elif "mod-bookings" in expected:
            room.drivers.remove("mod-bookings")
    assert (await get(room, "/systems?module_id=mod-door")).json()[0]["id"] == SYS
    assert (await get(room, "/systems?module_id=mod-bookings")).json() == []


async def test_pos_02_errors_of_rest(room: Room) -> None:
    missing = await get(room, "/systems", None)
    assert (missing.status, set(missing.json())) == (401, {"error"})
    forbidden = await get(room, "/systems", "reader")
    assert (forbidden.status, forbidden.body) == (403, b"")
    gone = await get(room, "/systems/sys-none")
    assert (gone.status, set(gone.json())) == (404, {"error"})
    bad = await get(room, "/systems?limit=many")
    assert bad.status == 422
    assert bad.json()["parameter"] == "limit"
    invalid = await room.http("POST", f"{BASE}/systems", value={"name": "x", "capacity": "big", "zones": [ZONE]})
    assert (invalid.status, invalid.json()["failures"][0]["field"]) == (422, "capacity")
    unnamed = await room.http("POST", f"{BASE}/systems", value={"zones": [ZONE]})
    assert (unnamed.status, unnamed.json()["failures"][0]["field"]) == (422, "name")
    broken = await room.http("POST", f"{BASE}/systems", body=b"{", content_type="application/json")
    assert broken.status == 400
    media = await room.http("POST", f"{BASE}/systems", body=b"<x/>", content_type="application/xml")
    assert (media.status, media.json()["accepts"]) == (415, ["application/json"])


async def test_every_answer_has_a_request_id(room: Room) -> None:
    for path, name in (("/systems", "admin"), ("/systems/none", "admin"), ("/systems", None), ("/systems", "reader")):
        assert (await get(room, path, name, x_request_id="my-id")).headers["X-Request-ID"] == "my-id"
        assert len((await get(room, path, name)).headers["X-Request-ID"]) == 36
        assert (await get(room, path, name, x_request_id="a b")).headers["X-Request-ID"] != "a b"


async def test_pos_14_250_systems(room: Room) -> None:
    """``limit``, ``offset``, ``q``, ``X-Total-Count``, ``Content-Range``, ``Link`` next; order by name, then id."""
    now = room.directory.now()
    wanted = [
        System(
            id=f"sys-{number:03}",
            site_id=SITE,
            name=f"Room {number % 100:02} west-wing",
            version=0,
            created=now,
            updated=now,
        )
        for number in range(250)
    ]
    await room.directory.put_all(wanted)
    first = await get(room, "/systems?api-key=secret")
    assert len(first.json()) == 100
    assert first.headers["X-Total-Count"] == "252"
    assert first.headers["Content-Range"] == "sys 0-99/252"
    assert "secret" not in first.headers["Link"]
    found, path = [], "/systems?q=room&limit=97"
    while path:
        answer = await get(room, path)
        assert answer.headers["X-Total-Count"] == "250"
        found += [(each["name"], each["id"]) for each in answer.json()]
        link = answer.headers.get("Link", "")
        assert not link or link.endswith('>; rel="next"')
        path = link.partition(">")[0].removeprefix("<" + BASE)
    assert found == sorted((system.name, system.id) for system in wanted)
    for query, expected in (
        ("q=*", 252),
        ("q=room%2007", 3),
        ("q=wing%20ROO", 250),
        ("q=oom", 0),
        ("q=harb", 1),
        ("limit=0", 252),
        ("offset=1000", 252),
        ("limit=20000", 252),
    ):
        assert (await get(room, f"/systems?{query}")).headers["X-Total-Count"] == str(expected), query
    assert (await get(room, "/systems?limit=0")).json() == []


async def test_filters_of_systems(room: Room) -> None:
    fields: dict[str, Any] = {"bookable": True, "capacity": 8, "features": ["screen", "phone"], "email": "Room@x.org"}
    system = await create(room, "systems", name="Meeting", zones=[ZONE], modules=["mod-bookings"], **fields)
    for query, is_there in (
        ("bookable=true", True),
        ("bookable=false", False),
        ("capacity=8", True),
        ("capacity=9", False),
        ("features=phone,screen", True),
        ("features=phone,window", False),
        ("email=room@x.org,other@x.org", True),
        ("email=other@x.org", False),
        ("module_id=mod-bookings", True),
        ("module_id=mod-none", False),
        (f"zone_id={ZONE}", True),
        ("zone_id=zone-none", False),
        ("public=true", False),
        ("signage=false", True),
        ("trigger_id=trig-1", False),
    ):
        ids = [each["id"] for each in (await get(room, f"/systems?{query}")).json()]
        assert (system["id"] in ids) is is_there, query
    assert [each["id"] for each in (await get(room, "/systems/with_emails?in=ROOM@x.org")).json()] == [system["id"]]


async def test_a_system_from_creation_to_deletion(room: Room) -> None:
    """Create 201, update with ``version`` or 409, delete 202."""
    system = await create(room, "systems", "support", name="Meeting", zones=[ZONE], ignored=True)
    path = f"{BASE}/systems/{system['id']}"
    assert system["id"].startswith("sys-")
    for query in ("", "?version=7", "?version=x"):
        conflict = await room.http("PATCH", path + query, value={"name": "No"})
        assert (conflict.status, set(conflict.json())) == (409, {"error"})
    for version, (method, change) in enumerate((("PATCH", {"name": "Big room"}), ("PUT", {"display_name": "Big"}))):
        changed = await room.http(
            method, f"{path}?version={version}", name="support", value=change | {"version": version}
        )
        assert (changed.status, changed.json()["version"]) == (200, version + 1)
    assert (changed.json()["name"], changed.json()["display_name"]) == ("Big room", "Big")
    assert (await room.http("PATCH", f"{path}?version=2", name="user", value={"name": "x"})).status == 403
    added = await room.http("PUT", f"{path}/module/mod-bookings")
    assert added.json()["modules"] == ["mod-bookings"]
    again = await room.http("PUT", f"{path}/module/mod-bookings")
    assert again.json()["version"] == added.json()["version"]
    assert (await room.http("PUT", f"{path}/module/mod-none")).status == 404
    assert (await get(room, f"/systems/{system['id']}/types")).json() == {"Bookings": 1}
    removed = await room.http("DELETE", f"{path}/module/mod-bookings")
    assert (removed.status, removed.json()["modules"]) == (202, [])
    assert (await room.http("DELETE", path, name="support")).status == 403
    assert (await room.http("DELETE", path)).status == 202
    assert (await room.http("GET", path)).status == 404


async def test_the_system_and_zone_of_a_site_can_be_changed_and_stay(room: Room) -> None:
    room.drivers.add(SITE, "mod-door", "Door")
    for path, kind in ((f"{BASE}/systems/{SYS}", "systems"), (f"{BASE}/zones/{ZONE}", "zones")):
        changed = await room.http(
            "PATCH", f"{path}?version=0", value={"name": "Head office", "id": "x", "site_id": "y"}
        )
        assert (changed.json()["name"], changed.json()["version"]) == ("Head office", 1)
        assert (await room.http("PATCH", f"{path}?version=0", value={"name": "Late"})).status == 409
        assert (await room.http("DELETE", path)).status == 422
        assert "Head office" in [each["name"] for each in (await get(room, f"/{kind}")).json()]
    assert (await get(room, f"/systems/{SYS}")).json()["modules"] == ["mod-bookings", "mod-door"]
    assert (await room.http("DELETE", f"{BASE}/systems/{SYS}/module/mod-door")).status == 422


async def test_what_belongs_to_another_site_stays_there(room: Room) -> None:
    room.drivers.add(OTHER, "mod-other")
    for fields in ({"modules": ["mod-other"]}, {"zones": [ZONE, f"zone-{OTHER}"]}, {"zones": []}):
        value = {"name": "Mixed", "zones": [ZONE]} | fields
        assert (await room.http("POST", f"{BASE}/systems", value=value)).status == 422
    assert (await room.http("POST", f"{BASE}/systems", name="user", value={"name": "x"})).status == 403
    mine = await create(room, "systems", "support", name="There is but one site")
    assert mine["zones"] == [ZONE]


async def test_zones(room: Room) -> None:
    floor = await create(room, "zones", name="Floor 1", tags=["level"], parent_id=ZONE)
    desk = await create(room, "zones", "support", name="Desk", tags=["desk", "level"], parent_id=floor["id"])
    for query, names in (
        ("parent_id=root", {"Harbour House", "Pier House"}),
        (f"parent_id={ZONE}", {"Floor 1"}),
        ("tags=level", {"Floor 1", "Desk"}),
        ("tags=level,desk", {"Desk"}),
        ("q=floor", {"Floor 1"}),
    ):
        answer = await get(room, f"/zones?{query}")
        assert {each["name"] for each in answer.json()} == names, query
    assert answer.headers["Content-Range"] == "zone 0-0/1"
    path = f"{BASE}/zones/{floor['id']}"
    loop = await room.http("PATCH", f"{path}?version=0", value={"parent_id": desk["id"]})
    assert (loop.status, loop.json()["failures"][0]["field"]) == (422, "parent_id")
    assert (await room.http("PATCH", f"{path}?version=0", value={"capacity": 4})).json()["capacity"] == 4
    assert (await get(room, f"/zones/{floor['id']}/metadata")).json() == {}
    assert (await room.http("DELETE", path)).status == 202
    assert (await room.http("GET", path)).status == 404


async def test_a_function_in_every_system_of_a_zone(room: Room) -> None:
    empty = await create(room, "systems", name="Empty", zones=[ZONE])
    answer = await room.http("POST", f"{BASE}/zones/{ZONE}/exec/make_booking/Bookings", value=[5])
    assert answer.json() == {"success": [SYS], "failure": [], "module_missing": [empty["id"]]}
    answer = await room.http("POST", f"{BASE}/zones/{ZONE}/exec/broken/Bookings_1", value=[])
    assert answer.json()["failure"] == [SYS]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("user", {"make_booking", "nothing", "broken"}),
        ("support", {"make_booking", "nothing", "broken", "clear"}),
        ("admin", {"make_booking", "nothing", "broken", "clear", "destroy"}),
    ],
)
async def test_pos_10_functions_above_the_callers_rights_are_not_shown(
    room: Room, name: str, expected: set[str]
) -> None:
    for slug in ("Bookings", "Bookings_1"):
        functions = (await get(room, f"/systems/{SYS}/functions/{slug}", name)).json()
        assert set(functions) == expected
    shown = functions["make_booking"]
    assert (shown["arity"], shown["order"], shown["params"]["at"]) == (1, ["at"], {"type": "integer"})


async def test_state_by_rest_needs_support(room: Room) -> None:
    """Values as the texts of their JSON; one variable as its value (vendor-apis.md 2.4, facts 9 and 14)."""
    room.drivers.status.set("mod-bookings", "connected", value=True)
    for path in (f"/systems/{SYS}/Bookings_1", f"/systems/{SYS}/Bookings", "/modules/mod-bookings/state"):
        assert (await get(room, path, "support")).json() == {"bookings": "[]", "connected": "true"}
        assert (await get(room, path, "user")).status == 403
    for path in (f"/systems/{SYS}/Bookings_1/", "/modules/mod-bookings/state/"):
        assert (await get(room, path + "bookings", "support")).json() == []
        assert (await get(room, path + "none", "support")).json() is None
        assert (await get(room, path + "bookings", "user")).status == 403
    assert (await get(room, f"/systems/{SYS}/Bookings_2")).status == 404


async def test_a_function_by_rest(room: Room) -> None:
    path = f"{BASE}/systems/{SYS}/Bookings_1"
    done = await room.http("POST", f"{path}/make_booking", name="user", value=[7])
    assert (done.status, done.json()) == (200, {})
    for method, arguments, status in (
        ("unknown", [], 400),
        ("make_booking", ["x"], 400),
        ("clear", [], 403),
        ("broken", [], 500),
        ("make_booking", {"at": 1}, 400),
    ):
        answer = await room.http("POST", f"{path}/{method}", name="user", value=arguments)
        assert answer.status == status, method
    assert (await room.http("POST", f"{BASE}/systems/{SYS}/Window/open", value=[])).status == 404
    by_id = f"{BASE}/modules/mod-bookings/exec/make_booking"
    assert (await room.http("POST", by_id, value=[8])).json() == {}
    assert (await room.http("POST", by_id, name="support", value=[8])).status == 403


async def test_modules(room: Room) -> None:
    room.drivers.add(SITE, "mod-door", "Door", device_id="d1", error="the relay is away", error_at=5, connected=False)
    listed = await get(room, "/modules", "support")
    assert [each["id"] for each in listed.json()] == ["mod-bookings", "mod-door"]
    assert listed.headers["Content-Range"] == "mod 0-1/2"
    assert (await get(room, "/modules", "user")).status == 403
    for query, ids in (
        (f"control_system_id={SYS}", ["mod-bookings", "mod-door"]),
        ("driver_id=driver-door", ["mod-door"]),
        ("no_logic=true", ["mod-door"]),
        ("connected=false", ["mod-door"]),
        ("running=false", []),
        ("as_of=1", []),
        ("q=book", ["mod-bookings"]),
    ):
        assert [each["id"] for each in (await get(room, f"/modules?{query}")).json()] == ids, query
    door = (await get(room, "/modules/mod-door", "support")).json()
    assert (door["role"], door["has_runtime_error"], door["error_timestamp"]) == (1, True, 5)
    assert (await get(room, "/modules/mod-door/error")).json() == ["the relay is away"]
    assert (await get(room, "/modules/mod-bookings/error")).json() == []
    ping = await room.http("POST", f"{BASE}/modules/mod-door/ping")
    assert ping.json() == {"host": "d1", "pingable": False, "warning": None, "exception": None}
    assert (await room.http("POST", f"{BASE}/modules/mod-bookings/ping")).status == 406
    assert (await get(room, "/modules/mod-none")).status == 404


async def test_of_a_page_only_its_modules_are_looked_at(room: Room) -> None:
    """A list of ten took as long as all modules of all sites."""
    for number in range(30):
        room.drivers.add(SITE, f"mod-{number:02d}", "Door", connected=number % 2 == 0)
    room.drivers.looked_at.clear()
    listed = await get(room, "/modules?q=door&limit=3&offset=4")
    assert [each["id"] for each in listed.json()] == room.drivers.looked_at == ["mod-04", "mod-05", "mod-06"]
    assert listed.headers["X-Total-Count"] == "30"
    away = await get(room, "/modules?q=door&limit=3&connected=false")
    assert [each["id"] for each in away.json()] == ["mod-01", "mod-03", "mod-05"]
    assert away.headers["X-Total-Count"] == "15"


async def test_modules_start_stop_load_and_change(room: Room) -> None:
    path = f"{BASE}/modules/mod-bookings"
    for action in ("start", "stop", "load"):
        assert (await room.http("POST", f"{path}/{action}", name="support")).status == 403
    assert (await room.http("POST", f"{path}/stop")).status == 200
    assert (await room.http("GET", path)).json()["running"] is False
    assert (await room.http("POST", f"{path}/load")).json() is True
    assert room.drivers.restarted == ["mod-bookings"]
    assert (await room.http("POST", f"{path}/start")).status == 200
    for action, running in (("stop", False), ("start", True)):
        assert (await room.http("POST", f"{BASE}/systems/{SYS}/{action}")).status == 200
        assert (await room.http("GET", path)).json()["running"] is running
    changed = await room.http("PATCH", f"{path}?version=0", value={"notes": "by the lift", "settings": {"a": 1}})
    assert changed.json()["notes"] == "by the lift"
    (settings,) = (await get(room, "/modules/mod-bookings/settings")).json()
    assert (settings["keys"], settings["parent_id"]) == (["a"], "mod-bookings")
    assert [each["id"] for each in (await get(room, f"/systems/{SYS}/settings")).json()] == [settings["id"]]
    assert (await get(room, "/modules/mod-bookings/settings", "support")).status == 403
    assert (await room.http("PATCH", path, value={"running": "yes"})).status == 422
    assert (await room.http("DELETE", path)).status == 422, "it is there of itself"


async def test_a_module_is_created_and_deleted(room: Room) -> None:
    value = {"driver_id": "driver-bookings", "control_system_id": SYS, "custom_name": "Desks", "settings": {"a": 1}}
    created = await create(room, "modules", **value)
    view = room.directory.site(SITE)
    assert view is not None
    module = view.modules.get(created["id"])
    assert module is not None
    assert (module.name, module.driver, module.settings) == ("Desks", "bookings", {"a": 1})
    room.drivers.add(SITE, module.id, "Desks")
    assert (await room.http("DELETE", f"{BASE}/modules/{module.id}")).status == 202
    assert view.modules.get(module.id) is None
    for more, status in (({"driver_id": "driver-x"}, 404), ({"control_system_id": "sys-x"}, 404)):
        assert (await room.http("POST", f"{BASE}/modules", value=value | more)).status == status


async def test_drivers(room: Room) -> None:
    listed = await get(room, "/drivers?limit=1", "support")
    assert [each["id"] for each in listed.json()] == ["driver-bookings"]
    assert listed.headers["X-Total-Count"] == "2"
    driver = (await get(room, "/drivers/driver-door", "support")).json()
    assert (driver["module_name"], driver["json_schema"]["type"]) == ("Door", "object")
    assert (await get(room, "/drivers", "user")).status == 403
    assert (await get(room, "/drivers/driver-none")).status == 404
    assert (await room.http("POST", f"{BASE}/drivers/driver-bookings/reload", name="support")).status == 403
    assert (await room.http("POST", f"{BASE}/drivers/driver-bookings/reload")).status == 200
    assert room.drivers.restarted == ["mod-bookings"]


async def test_a_token_is_good_for_its_scopes_only(room: Room) -> None:
    principal = room.auth.client("admin")
    assert principal is not None
    token = room.tokens.issue(principal, ["systems.read"], room.clock())
    bearer = {"authorization": f"Bearer {token}"}
    assert (await room.http("GET", f"{BASE}/systems", name=None, **bearer)).status == 200
    assert (await room.http("GET", f"{BASE}/zones", name=None, **bearer)).status == 403
    assert (await room.http("POST", f"{BASE}/systems", name=None, value={"name": "x"}, **bearer)).status == 403


async def test_a_site_that_comes_and_goes(room: Room) -> None:
    site = room.directory.sites.get(OTHER)
    assert site is not None
    await room.directory.change(site, lambda old: replace(old, name="Quay House"), SYSTEM)
    assert (await get(room, f"/systems/sys-{OTHER}")).json()["name"] == "Quay House"
    system = await create(room, "systems", name="Room", zones=[f"zone-{OTHER}"])
    await room.directory.delete(site, SYSTEM)
    for system_id in (f"sys-{OTHER}", system["id"]):
        assert (await get(room, f"/systems/{system_id}")).status == 404


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"capacity": -1}, "capacity"),
        ({"timezone": "Nowhere/Land"}, "timezone"),
        ({"features": ["a", "a"]}, "features"),
        ({"name": " "}, "name"),
        ({"description": "x" * 2001}, "description"),
    ],
)
async def test_values_that_cannot_be_kept(room: Room, fields: dict[str, Any], field: str) -> None:
    answer = await room.http("POST", f"{BASE}/systems", value={"name": "Room", "zones": [ZONE]} | fields)
    assert (answer.status, answer.json()["failures"][0]["field"]) == (422, field)
