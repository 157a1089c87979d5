"""What happens to pages that stay open: servers that go away, and more events than anybody reads."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from person import Person, person_at

from doorstream.testing.server import Demo, running_demo

SHOWN = 120
"""Rows that the page shows at most unless asked for more."""

KEPT = 500
"""Events that the page keeps at most."""

_SHOWN_NAMES = (
    "[...document.querySelectorAll('.events > li b:first-of-type')].map((each) => each.textContent).reverse()"
)


def passing(*names: str) -> list[dict[str, Any]]:
    """Somebody passes a door, one after the other."""
    now = int(time.time() * 1000)
    door = {"deviceId": "d", "device": {"id": "d", "name": "Gate"}}
    return [
        {
            "topic": "device.request.allowed",
            "occurred": now,
            "body": door | {"holderId": name, "holder": {"id": name, "name": name}},
        }
        for name in names
    ]


async def people(person: Person, letter: str = "p") -> list[str]:
    """Who of those with a letter and a number is in the list, the oldest first."""
    names = await person.does("ask", code=_SHOWN_NAMES)
    return [name for name in names if name[0] == letter and name[1:].isdigit()]


async def put(demo: Demo, *names: str) -> None:
    await demo.api.ingest(demo.site_id, *passing(*names))


async def test_a_restart_under_an_open_page_leaves_no_gap() -> None:
    """It says plainly that the server is away; and when it is back, what happened since is there, once and in order."""
    async with running_demo(fixed_port=True) as demo, person_at(demo) as person:
        await put(demo, "p1", "p2")
        await person.sees("p2 was let in")
        await asyncio.to_thread(demo.kill)
        await person.sees("The server has not answered for")
        await person.sees("Server away")
        await asyncio.to_thread(demo.start)
        await put(demo, "p3", "p4", "p5")
        await person.sees("p5 was let in")
        await person.sees("The server is back after")
        await person.sees("nothing is missing")
        demo.kill_worker()
        await put(demo, "p6")
        await person.sees("p6 was let in")
        assert await people(person) == ["p1", "p2", "p3", "p4", "p5", "p6"]
        await person.opens("doors")
        await person.sees(role="heading", name="Doors")


async def test_what_happened_while_the_line_was_cut_is_marked(demo: Demo) -> None:
    """The page's stream is ended again and again; every event is there once, those of the time between are marked."""
    async with person_at(demo) as person:
        await put(demo, "q0")
        await person.sees("q0 was let in")
        for number in range(1, 6):
            newest = (await demo.api.call("GET", "/api/connections"))["items"][0]
            await demo.api.call("DELETE", f"/api/connections/{newest['id']}")
            await put(demo, f"q{number}")
            await person.sees(f"q{number} was let in")
        assert await people(person, "q") == [f"q{number}" for number in range(6)]
        await person.sees("while away")


async def test_many_events_leave_the_page_small_and_quick(demo: Demo) -> None:
    """Far more events than fit: rows and what is kept are bounded, and the page answers while they come."""
    async with person_at(demo) as person:
        for batch in range(10):
            await put(demo, *(f"p{batch * 300 + number}" for number in range(300)))
        await person.sees("p2999 was let in")
        await person.does("until", code=f"document.querySelectorAll('.events > li').length === {SHOWN}")
        assert await people(person) == [f"p{number}" for number in range(3000 - SHOWN, 3000)]
        await person.clicks("Show all 500")
        await person.does("until", code=f"document.querySelectorAll('.events > li').length === {KEPT}")
        await person.does("fill", role="searchbox", name="Show only events with this text", value="p2500 let")
        await person.does("until", code="document.querySelectorAll('.events > li').length === 1")
