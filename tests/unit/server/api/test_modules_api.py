"""Our own routes of modules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from doorstream.testing.server import Api, ApiRefused, Demo, running_demo


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for all tests of this file."""
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors, demo.errors


def path(demo: Demo, *more: str) -> str:
    """The path of a site's modules, or of one."""
    return "/".join([f"/api/sites/{demo.site_id}/modules", *more])


async def refused(call: Any) -> tuple[int, str]:
    """The status and the text with which it is refused."""
    with pytest.raises(ApiRefused) as error:
        await call
    return error.value.status, error.value.body


@pytest.mark.asyncio(loop_scope="module")
async def test_doors_are_modules_without_being_created(demo: Demo) -> None:
    listed: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while not listed or not all(each["running"] for each in listed):  # they begin while it answers already
            listed = (await demo.api.call("GET", path(demo)))["items"]
    doors = [each for each in listed if each["name"] == "Door"]
    assert [each["index"] for each in doors] == list(range(1, 13))
    assert {each["driver"] for each in listed} == {"simulated_door", "access_control", "bookings"}
    assert all(each["implicit"] and each["error"] is None for each in listed)
    assert await demo.api.call("GET", path(demo, doors[0]["id"])) == doors[0]


@pytest.mark.asyncio(loop_scope="module")
async def test_life_of_a_module(demo: Demo) -> None:
    body = {"name": "Room", "driver": "bookings", "settings": {"duration": 60}}
    made = await demo.api.call("POST", path(demo), json=body)
    assert (made["name"], made["settings"], made["implicit"]) == ("Room", {"duration": 60}, False)
    where = path(demo, made["id"])
    changed = await demo.api.call("PATCH", where, json={"settings": {"duration": 90}, "notes": "second floor"})
    assert (changed["settings"], changed["notes"]) == ({"duration": 90}, "second floor")
    assert (await demo.api.call("PATCH", where, json={"running": False}))["wanted"] is False
    await demo.api.call("POST", f"{where}/restart")
    await demo.api.call("DELETE", where)
    assert (await refused(demo.api.call("GET", where)))[0] == 404
    assert (await refused(demo.api.call("DELETE", where)))[0] == 404


@pytest.mark.asyncio(loop_scope="module")
async def test_what_cannot_be(demo: Demo) -> None:
    status, text = await refused(demo.api.call("POST", path(demo), json={"name": "Room", "driver": "teleporter"}))
    assert status == 422
    assert "body.driver" in text
    assert "simulated_door" in text
    status, text = await refused(demo.api.call("POST", path(demo), json={"name": "Room", "driver": "bookings", "x": 1}))
    assert status == 422
    door = (await demo.api.call("GET", path(demo)))["items"][0]["id"]
    status, text = await refused(
        demo.api.call("PATCH", path(demo, door), json={"driver": "bookings", "settings": {"q": 1}})
    )
    assert status == 422
    assert "body.settings.q" in text
    assert (await refused(demo.api.call("GET", path(demo, "mod-none"))))[0] == 404


@pytest.mark.asyncio(loop_scope="module")
async def test_settings_are_for_who_may_change_them(demo: Demo) -> None:
    """They may hold the password of a broker."""
    made = await demo.api.call("POST", path(demo), json={"name": "Secret", "driver": "bookings"})
    reader = Api(demo.url, demo.credentials["parakey"]["access_token"])
    assert (await reader.call("GET", path(demo, made["id"])))["settings"] is None
    assert (await refused(reader.call("PATCH", path(demo, made["id"]), json={"notes": "mine"})))[0] == 403
    assert {each["name"] for each in (await reader.call("GET", "/api/drivers"))["items"]} >= {"mqtt_relay", "door"}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_module_of_another_site_cannot_be_taken_over(demo: Demo) -> None:
    """Its id was free at one's own site, and the driver that ran under it was then of that site."""
    theirs = (await demo.api.call("GET", path(demo)))["items"][0]["id"]
    site = await demo.api.create_site(name="Mine")
    body = {"id": theirs, "name": "Room", "driver": "bookings"}
    assert (await refused(demo.api.call("POST", f"/api/sites/{site}/modules", json=body)))[0] == 409
    assert (await demo.api.call("GET", path(demo, theirs)))["site_id"] == demo.site_id
