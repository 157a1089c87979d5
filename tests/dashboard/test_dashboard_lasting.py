"""What happens to pages that stay open: servers that go away, and more events than anybody reads."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import pytest
from patient import put_at_last
from person import Person, person_at

from doorstream.testing.server import Demo, running_demo

SHOWN = 120
"""Rows that the page shows at most unless asked for more."""

KEPT = 500
"""Events that the page keeps at most."""

TIMELINE = 200
"""Elements that the timeline has at most; it fills in its first minutes."""

SOAK_SECONDS = 60 * float(os.environ.get("DOORSTREAM_SOAK_MINUTES", "0.2"))
"""For how long events come in the test of a page that stays open; ten minutes is what the page is made for."""

_SHOWN_NAMES = (
    "[...document.querySelectorAll('.events > li b:first-of-type')].map((each) => each.textContent).reverse()"
)

_COUNTED = "document.querySelector('figcaption').innerText.includes('%d events in 5 minutes, at most')"
_GAP = """(() => {
  const real = window.fetch
  window.fetch = async (address, init) => {
    const answer = await real(address, init)
    if (!String(address).endsWith("/stream")) return answer
    const { readable, writable } = new TransformStream()
    const writer = writable.getWriter()
    writer.write(new TextEncoder().encode('event: gap\\ndata: {"first":"1"}\\n\\n'))
    writer.releaseLock()
    answer.body.pipeTo(writable, { signal: init.signal }).catch(() => undefined)
    return new Response(readable, { headers: answer.headers })
  }
})()"""
"""From now on the page hears of a gap at the beginning of its stream, as when what it asks for is no longer kept."""


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


async def events(demo: Demo) -> list[dict[str, Any]]:
    """All that are kept."""
    kept: list[dict[str, Any]] = (await demo.api.call("GET", f"/api/sites/{demo.site_id}/events"))["events"]
    return kept


async def cut(demo: Demo) -> None:
    """End the page's stream, which may not have begun yet when the page is there."""
    async with asyncio.timeout(60):
        while not (items := (await demo.api.call("GET", "/api/connections"))["items"]):  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.02)
    await demo.api.call("DELETE", f"/api/connections/{items[0]['id']}")


async def put(demo: Demo, *names: str) -> None:
    await demo.api.ingest(demo.site_id, *passing(*names))


async def test_a_restart_under_an_open_page_leaves_no_gap() -> None:
    """It says plainly that the server is away; and when it is back, what happened since is there, once and in order."""
    async with running_demo(fixed_port=True) as demo, person_at(demo) as person:
        await put(demo, "p1", "p2")
        await person.sees("p2 was let in")
        await person.does("until", code="document.querySelectorAll('.timeline rect.access').length > 0")
        await person.does("until", code=_COUNTED % len(await events(demo)))
        await asyncio.to_thread(demo.kill)
        await person.sees("The server has not answered for")
        await person.sees("Server away")
        await asyncio.to_thread(demo.start)
        await put(demo, "p3", "p4", "p5")
        await person.sees("p5 was let in")
        await person.sees("The server is back after")
        await person.sees("nothing is missing")
        demo.kill_worker()
        await put_at_last(demo, *passing("p6"))
        await person.sees("p6 was let in")
        assert await people(person) == ["p1", "p2", "p3", "p4", "p5", "p6"]
        await person.opens("doors")
        await person.sees(role="heading", name="Doors")


async def test_a_gap_is_said_plainly(demo: Demo) -> None:
    """Where not everything of the time between is kept any more, the page does not say that nothing is missing."""
    async with person_at(demo) as person:
        await person.does("ask", code=_GAP)
        await cut(demo)
        await person.sees("there is a gap in what this page shows")
        await put(demo, "after the gap")
        await person.sees("after the gap was let in")
        await person.does("lose", text="nothing is missing")


async def test_what_happened_while_the_line_was_cut_is_marked(demo: Demo) -> None:
    """The page's stream is ended again and again; every event is there once, those of the time between are marked."""
    async with person_at(demo) as person:
        await put(demo, "q0")
        await person.sees("q0 was let in")
        for number in range(1, 6):
            await cut(demo)
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


async def lively(demo: Demo, stop: asyncio.Event) -> int:
    """200 events a second at the demo's doors until told to stop, by the clock; gives how many they were."""
    doors = (await demo.api.call("GET", f"/api/sites/{demo.site_id}/devices"))["items"]
    topics = ("device.request.allowed", "device.input.dps.opened", "device.input.dps.closed", "device.request.denied")
    begin, count = time.monotonic(), 0
    while not stop.is_set():
        if count > 200 * (time.monotonic() - begin):
            await asyncio.sleep(0.02)
            continue
        events = passing(*(f"s{count + number}" for number in range(20)))
        for number, event in enumerate(events):
            door = doors[number % len(doors)]
            event["topic"] = topics[(count + number) // len(doors) % len(topics)]
            event["body"] |= {"deviceId": door["id"], "device": {"id": door["id"], "name": door["name"]}}
        await demo.api.ingest(demo.site_id, *events)
        count += len(events)
    return count


@pytest.mark.timeout(SOAK_SECONDS + 300)
async def test_200_events_a_second_leave_the_page_as_it_is(demo: Demo) -> None:
    """A lively building before an open page: it neither grows nor falls behind.

    Times are printed only: how long a task waits on the page depends on what else the machine does.
    """
    samples: list[dict[str, float]] = []
    stop = asyncio.Event()
    async with person_at(demo) as person:
        feeding = asyncio.create_task(lively(demo, stop))
        await person.does("until", code=f"document.querySelectorAll('.events > li').length === {SHOWN}")
        begin = time.monotonic()
        while len(samples) < 3 or time.monotonic() - begin < SOAK_SECONDS:
            await asyncio.sleep(SOAK_SECONDS / 20)
            samples.append(await person.does("weigh") | {"seconds": time.monotonic() - begin})
            print({name: round(value, 1) for name, value in samples[-1].items()})  # noqa: T201 - with -s, for people
        stop.set()
        count = await feeding
        await put(demo, "p1", "p2")
        await person.sees("p2 was let in")  # it has not fallen behind by more than a person waits
        assert await people(person) == ["p1", "p2"]
    assert count > 50 * SOAK_SECONDS, "the server was not fed as it should be"
    first, last = samples[0], samples[-1]
    assert last["nodes"] <= 1.1 * first["nodes"] + TIMELINE, samples
    assert last["heap_bytes"] <= 1.2 * first["heap_bytes"] + 2_000_000, samples
