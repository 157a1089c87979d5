"""Incidents on the real server: the list as it was streamed, by page, by time, and with who and what they name."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
from signalr_program import ADMIN, USER, access_token, account, hub_url, rest

from doorstream.testing.server import Demo, running_demo

END = "\x1e"
PATIENCE = 60.0
MINUTE = 60_000
START = 1_720_000_020_000  # 2024-07-03T09:47:00Z

CATEGORIES = {
    "device.alarm.forced": "intrusion_alarm",
    "device.alarm.forced.cleared": "end_of_intrusion_alarm",
    "device.alarm.tamper.on": "tamper_alarm",
    "device.alarm.tamper.off": "end_of_tamper_alarm",
    "device.alarm.propped.on": "door_left_open_alarm",
    "device.alarm.propped.off": "end_of_door_left_open_alarm",
    "device.battery.low": "low_battery_warning",
    "controller.alarm.comloss.on": "lock_connection_lost",
    "controller.alarm.comloss.off": "lock_connection_restored",
    "cloudnode.disconnected": "iq_connection_lost",
    "cloudnode.connected": "iq_connection_restored",
}
"""vendor-apis.md 4.4: the documented enumeration."""

FIELDS = {
    *("id", "event_category", "event_detail", "utc_date_time", "local_date_time", "site_id", "site_customer_reference"),
    *("lock_id", "lock_mac_address", "lock_customer_reference"),
    *("user_id", "user_first_name", "user_last_name", "user_alias", "user_image_url"),
    *("iq_id", "iq_customer_reference", "iq_mac_address", "iq_revision"),
    *("exit_requested", "access_by", "access_detail", "ttl_in_seconds", "expiration_date_time"),
}
"""vendor-apis.md 4.4: an incident has exactly the fields of an entry."""


@dataclass(frozen=True)
class House:
    """A building in which a lot has gone wrong: its incidents as they were streamed, and what they name."""

    demo: Demo
    streamed: list[dict[str, Any]]
    device: Mapping[str, Any]
    holder: Mapping[str, Any]
    node: Mapping[str, Any]

    async def incidents(self, query: str = "", *, role: str = ADMIN, **headers: str) -> dict[str, Any]:
        """One page of the list."""
        path = f"/v1.1/sites/{self.demo.site_id}/incidents?{quote(query, safe='=&$')}"
        status, page = await rest(self.demo, path, await access_token(self.demo, role), **headers)
        assert status == 200, page
        found: dict[str, Any] = page
        return found

    async def pages(self, query: str) -> list[list[dict[str, Any]]]:
        """All pages, each by the token of the one before."""
        found = []
        headers: dict[str, str] = {}
        while True:
            page = await self.incidents(query, **headers)
            found.append(page["items"])
            if page["continuation_token"] is None:
                return found
            headers = {"CLP-Continuation-Token": page["continuation_token"]}


@contextlib.asynccontextmanager
async def following(demo: Demo) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """The hub of incidents, after the handshake."""
    query = {"access_token": await access_token(demo)}
    async with aiohttp.ClientSession() as session, session.ws_connect(hub_url(demo, "incidents"), params=query) as hub:
        await hub.send_str('{"protocol":"json","version":1}' + END)
        assert await hub.receive_str(timeout=PATIENCE) == "{}" + END
        yield hub


async def received(hub: aiohttp.ClientWebSocketResponse, number: int) -> list[dict[str, Any]]:
    """The next incidents, so many."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < number:
            records = map(json.loads, (await hub.receive_str()).split(END)[:-1])
            found += [json.loads(each["arguments"][0]) for each in records if each["type"] == 1]
    return found


def happened(demo: Demo, house: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Two of every kind of incident, with entries among them, in another order than they happened in."""
    own = account(demo, USER)["user_id"]
    events = []
    for number, topic in enumerate((*CATEGORIES, *CATEGORIES)):
        body: dict[str, Any] = {"deviceId": house["device"]["id"]}
        if topic.startswith("cloudnode."):
            body = {"serialNumber": house["node"]["serial_number"]}
        elif number % 2:
            body["holderId"] = house["holder"]["id"]
        minute = number * 7 % 22  # every minute once
        events.append({"id": f"i{minute}", "topic": topic, "occurred": START + minute * MINUTE, "body": body})
        entry = {"topic": "device.request.allowed", "occurred": START + minute * MINUTE, "body": {"holderId": own}}
        events.append({"id": f"entry-{number}"} | entry)
    node = {"id": house["node"]["id"], "serialNumber": house["node"]["serial_number"], "name": house["node"]["name"]}
    return [event | {"cloudNode": node} for event in events]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncIterator[House]:
    """What happened, once for all tests of this file."""
    async with running_demo() as demo:
        named = {}
        for kind, name in (("devices", "device"), ("holders", "holder"), ("cloud-nodes", "node")):
            named[name] = (await demo.api.call("GET", f"/api/sites/{demo.site_id}/{kind}"))["items"][0]
        async with following(demo) as hub:
            await demo.api.ingest(demo.site_id, *happened(demo, named))
            streamed = await received(hub, 2 * len(CATEGORIES))
        yield House(demo, streamed, **named)
        assert "Traceback" not in demo.errors


async def test_sal_15_the_list_holds_what_was_streamed(house: House) -> None:
    """The same objects, member for member; in the stream as they were put in, in the list as they happened."""
    listed = (await house.incidents("$top=1000"))["items"]
    assert [each["id"] for each in house.streamed] == [f"i{number * 7 % 22}" for number in range(22)]
    assert [each["id"] for each in listed] == [f"i{minute}" for minute in range(21, -1, -1)]
    assert sorted(listed, key=lambda each: each["id"]) == sorted(house.streamed, key=lambda each: each["id"])
    assert [each["event_category"] for each in house.streamed] == [*CATEGORIES.values()] * 2


@pytest.mark.parametrize(
    ("order", "ascending"),
    [
        ("", False),
        ("&$orderby=utc_date_time desc", False),
        ("&$orderby=utc_date_time asc", True),
        ("&$orderby=local_date_time", True),
    ],
)
async def test_sal_14_pages_of_incidents(house: House, order: str, *, ascending: bool) -> None:
    """Each once and in order over all pages, whatever order they came in, and no entry among them."""
    pages = await house.pages(f"$top=5{order}")
    assert [len(page) for page in pages] == [5, 5, 5, 5, 2]
    minutes = [int(each["id"].removeprefix("i")) for page in pages for each in page]
    assert minutes == sorted(range(22), reverse=not ascending)
    for name in ("utc_date_time", "local_date_time"):
        times = [each[name] for page in pages for each in page]
        assert times == sorted(times, reverse=not ascending)


async def test_a_page_that_ends_with_the_list_has_no_token(house: House) -> None:
    assert [len(page) for page in await house.pages("$top=11")] == [11, 11]
    assert [len(page) for page in await house.pages("$top=22")] == [22]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("utc_date_time ge DateTime'2024-07-03T10:06:00Z'", [21, 20, 19]),
        ("utc_date_time gt DateTime'2024-07-03T10:06:00Z'", [21, 20]),
        ("utc_date_time le DateTime'2024-07-03T09:48:00Z'", [1, 0]),
        ("utc_date_time lt DateTime'2024-07-03T09:48:00Z'", [0]),
        (
            "(utc_date_time ge DateTime'2024-07-03T09:57:00Z') and (utc_date_time lt DateTime'2024-07-03T10:00:00Z')",
            [12, 11, 10],
        ),
    ],
)
async def test_the_date_filter_of_incidents(house: House, condition: str, expected: list[int]) -> None:
    """Also over pages, of which each has to be asked for with the same filter."""
    pages = await house.pages(f"$top=2&$filter={condition}")
    found = [each["id"] for page in pages for each in page]
    assert found == [f"i{minute}" for minute in expected]


async def test_what_an_incident_names(house: House) -> None:
    """The lock, the user and the gateway with their names from the directory; what is not concerned is null."""
    site = await house.demo.api.call("GET", f"/api/sites/{house.demo.site_id}")
    for number, each in enumerate(house.streamed):
        topic = [*CATEGORIES, *CATEGORIES][number]
        has_lock = not topic.startswith("cloudnode.")
        has_user = has_lock and number % 2 == 1
        assert each.keys() == FIELDS
        lock = (house.device["id"], house.device["name"]) if has_lock else (None, None)
        assert (each["lock_id"], each["lock_customer_reference"]) == lock, topic
        names = (house.holder["id"], house.holder["first_name"], house.holder["last_name"])
        user = (each["user_id"], each["user_first_name"], each["user_last_name"])
        assert user == (names if has_user else (None, None, None)), topic
        assert (each["iq_id"], each["iq_customer_reference"]) == (house.node["id"], house.node["name"])
        assert each["iq_mac_address"] == house.node["serial_number"]
        assert (each["site_id"], each["site_customer_reference"]) == (house.demo.site_id, site["name"])
        assert (each["event_detail"], each["access_by"], each["exit_requested"]) == (None, None, False)
        assert each["utc_date_time"].endswith("Z")
        assert not each["local_date_time"].endswith("Z")


# These put more in.


async def test_an_incident_that_is_told_late_comes_at_its_place(house: House) -> None:
    """Between two pages something older than the first and something newer than both: neither repeats anybody."""
    first = await house.incidents("$top=10")
    for minute, event_id in ((-500, "late"), (500, "new")):
        event = {"topic": "device.alarm.forced", "occurred": START + minute * MINUTE, "body": {}}
        await house.demo.api.ingest(house.demo.site_id, {"id": event_id} | event)
    behind = {"CLP-Continuation-Token": first["continuation_token"]}
    rest_of_it = (await house.incidents("$top=1000", **behind))["items"]
    assert [each["id"] for each in first["items"]] == [f"i{minute}" for minute in range(21, 11, -1)]
    assert [each["id"] for each in rest_of_it] == [*(f"i{minute}" for minute in range(11, -1, -1)), "late"]
    assert (await house.incidents("$top=1"))["items"][0]["id"] == "new"


async def test_sal_11_a_site_user_reads_the_incidents_that_are_his(house: House) -> None:
    own = account(house.demo, USER)["user_id"]
    event = {"topic": "device.alarm.propped.on", "occurred": START, "body": {"holderId": own}}
    await house.demo.api.ingest(house.demo.site_id, {"id": "his"} | event)
    mine = [each["id"] for each in house.streamed if each["user_id"] == own]
    found = (await house.incidents("$top=1000", role=USER))["items"]
    assert {each["id"] for each in found} == {"his", *mine}
