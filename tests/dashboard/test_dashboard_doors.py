"""The tiles of the doors: what they show, and what they let whom do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from person import Person, happened

from doorstream.testing.server import Demo

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAID = (
    ("device.alarm.forced", "Forced open", "device.alarm.forced.cleared"),
    ("device.alarm.propped.on", "Held open too long", "device.alarm.propped.off"),
    ("device.forceclose.on", "Do not disturb", "device.forceclose.off"),
    ("device.input.dps.opened", "Open", "device.input.dps.closed"),
)
"""What happens, what the tile says then, and what ends it."""


async def doors_of(demo: Demo) -> list[dict[str, Any]]:
    """The devices in the order in which they were made, which is that of their modules."""
    devices = (await demo.api.call("GET", f"/api/sites/{demo.site_id}/devices"))["items"]
    return sorted(devices, key=lambda device: (device["created"], device["id"]))


def tile(device: dict[str, Any]) -> dict[str, str]:
    """Where a door is on the page."""
    return {"css": f"li.tile:has(h2:text-is({json.dumps(device['name'])}))"}


def at(device: dict[str, Any], topic: str) -> dict[str, Any]:
    """An event of that door."""
    return happened(topic, deviceId=device["id"], device={"id": device["id"], "name": device["name"]})


async def test_the_tiles_say_what_is_the_matter(demo: Demo, signed_in: Person) -> None:
    """At each door something else; then it is over. A door is offline with its cloud node, and only then."""
    person = signed_in
    node = (await demo.api.call("GET", f"/api/sites/{demo.site_id}/cloud-nodes"))["items"][0]
    doors = [door for door in await doors_of(demo) if door["cloud_node_id"] == node["id"]][: len(SAID)]
    await person.opens("doors")
    for door, (topic, word, _) in zip(doors, SAID, strict=True):
        await demo.api.ingest(demo.site_id, at(door, topic))
        await person.does("see", within={"css": f"{tile(door)['css']} .status"}, text=word, exact=True)
    await person.does("see", within=tile(doors[0]), text="Was forced open")
    await person.clicks("To look at ")
    await person.does("lose", **tile(doors[2]))
    await person.does("see", **tile(doors[1]))
    await person.clicks("All ")
    body = {"cloudNodeId": node["id"], "serialNumber": node["serial_number"]}
    await demo.api.ingest(demo.site_id, happened("cloudnode.disconnected") | {"body": body})
    await person.does("see", within={"css": f"{tile(doors[-1])['css']} .status"}, text="Offline", exact=True)
    await demo.api.ingest(demo.site_id, happened("cloudnode.connected") | {"body": body})
    for door, (_, word, end) in zip(doors, SAID, strict=True):
        await person.does("see", within={"css": f"{tile(door)['css']} .status"}, text=word, exact=True)
        await demo.api.ingest(demo.site_id, at(door, end))
        await person.does("lose", css=f"{tile(door)['css']} .status:text-is({json.dumps(word)})")


async def test_a_tile_has_the_last_events_of_its_door(demo: Demo, signed_in: Person) -> None:
    """The newest first, without the door's name, which stands above them."""
    door = (await doors_of(demo))[-1]
    await signed_in.opens("doors")
    topics = ("device.input.rex.on", "device.input.dps.opened", "device.input.dps.closed")
    await demo.api.ingest(demo.site_id, *(at(door, topic) for topic in topics))
    listed = f"[aria-label={json.dumps('Last events of ' + door['name'])}] li"
    await signed_in.does("see", css=f"{listed}:nth-child(1)", text="Closed")
    for nth, text in enumerate(("Closed", "Opened", "Somebody asked to leave"), 1):
        await signed_in.does("see", within={"css": f"{listed}:nth-child({nth})"}, text=text, exact=True)


async def test_each_may_do_what_they_may(demo: Demo, signed_in: Person) -> None:
    """Everybody of PlaceOS's scope may unlock, support may also hold open; who may only read sees no button at all."""
    name = (await doors_of(demo))[0]["name"]
    buttons = "document.querySelectorAll('li.tile button').length"
    may = {"placeos": 1, "placeos:support": 2, None: 0}
    try:
        for scope, count in may.items():
            scopes = ["events:read", "directory:read", *([scope] if scope else [])]
            client = await demo.api.create_client(name="Limited", scopes=scopes, sites=[demo.site_id])
            await signed_in.does("reload")
            await signed_in.clicks("Sign out")
            await signed_in.sees(role="heading", name="Sign in")
            await signed_in.signs_in(client["api_key"])
            await signed_in.opens("doors")
            await signed_in.sees(role="heading", name=name)
            await signed_in.does("until", code=f"{buttons} === {count} * document.querySelectorAll('li.tile').length")
            if count:
                await signed_in.sees(role="button", name=f"Unlock {name}")
                await signed_in.does("see" if count > 1 else "lose", role="button", name=f"Hold open {name}")
    finally:
        await signed_in.clicks("Sign out")
        await signed_in.sees(role="heading", name="Sign in")
        await signed_in.signs_in()


async def test_a_door_has_what_its_own_driver_can(demo: Demo, signed_in: Person) -> None:
    """One door with another driver gets no buttons of the others; and those still reach their own doors."""
    first, second, third = (await doors_of(demo))[:3]
    path = f"/api/sites/{demo.site_id}/modules"
    other = {"name": "Room", "driver": "bookings", "device_id": second["id"]}
    module = await demo.api.call("POST", path, json=other)
    try:
        await signed_in.opens("doors")
        await signed_in.does("reload")
        await signed_in.sees(role="button", name=f"Unlock {first['name']}")
        await signed_in.does("lose", role="button", name=f"Unlock {second['name']}")
        await signed_in.clicks(f"Hold open {third['name']}")
        await signed_in.sees(role="button", name=f"Release {third['name']}")
        await signed_in.clicks(f"Release {third['name']}")
        await signed_in.sees(role="button", name=f"Hold open {third['name']}")
    finally:
        await demo.api.call("DELETE", f"{path}/{module['id']}")
