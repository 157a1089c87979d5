"""The dashboard as a person uses it: each page does what it is there for."""

from __future__ import annotations

import csv
import io
import json
import time

import pytest
import pytest_asyncio
from person import Person, happened, person_at

from doorstream.testing import until
from doorstream.testing.receiver import Answer, Receiver
from doorstream.testing.server import ApiRefused, Demo, running_demo

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATE_MS = 600_000


@pytest_asyncio.fixture(loop_scope="module")
async def person(signed_in: Person) -> Person:
    """The administrator with a fresh page of Live."""
    await signed_in.opens("live")
    await signed_in.does("reload")
    await signed_in.sees(role="heading", name="Live")
    return signed_in


async def test_the_link_signs_in_once_and_events_arrive() -> None:
    """The link of ``doorstream demo`` needs no password; it leaves the address, and is of no use to the next."""
    # A demo of its own: the link of the one that all tests share may be older than the 15 minutes that it has.
    async with running_demo() as demo, person_at(demo, signed_in=False) as person:
        link = json.loads((demo.data_directory / "client.json").read_text())["sign_in"]
        await person.does("goto", url=link)
        await person.sees(role="heading", name="Live")
        assert await person.does("ask", code="location.hash") == "#/live"
        assert await person.does("ask", code="document.cookie") == "", "scripts cannot read the session"
        await demo.api.ingest(demo.site_id, happened("device.request.allowed", "Ada Example"))
        await person.sees("Ada Example was let in at Test door")
        await person.does("reload")
        await person.sees("Ada Example was let in at Test door")
        await person.clicks("Sign out")
        await person.sees(role="heading", name="Sign in")
        await person.does("goto", url=link.replace("/#/", "/?again#/"))
        await person.sees("the link was used already")
        await person.does("fill", label="API key", value="ds_demo-admin_wrong")
        await person.clicks("Sign in")
        await person.sees("the credentials are missing or not valid")
        await person.does("fill", label="API key", value=demo.credentials["admin"]["api_key"])
        await person.clicks("Sign in")
        await person.sees(role="heading", name="Live")


async def test_live_filters_and_pauses(demo: Demo, person: Person) -> None:
    await demo.api.ingest(
        demo.site_id, happened("device.request.denied", "Grace Filter"), happened("device.input.dps.opened")
    )
    await person.sees("Grace Filter was refused at Test door")
    await person.clicks("Refused")
    await person.does("lose", text="Grace Filter was refused at Test door")
    await person.clicks("Refused")
    await person.does("fill", role="searchbox", name="Show only events with this text", value="grace refused")
    await person.does("until", code="document.querySelectorAll('.events > li').length === 1")
    await person.clicks("Pause")
    await demo.api.ingest(demo.site_id, happened("device.request.denied", "Grace Filter"))
    await person.sees(role="button", name="Go on: 1 new")
    assert await person.does("ask", code="document.querySelectorAll('.events > li').length") == 1
    await person.clicks("Go on: 1 new")
    await person.does("until", code="document.querySelectorAll('.events > li').length === 2")
    await person.clicks("Grace Filter was refused", nth=0)
    await person.sees("Happened at the door")


async def test_unlocking_a_door_is_seen_in_live_and_history(demo: Demo, person: Person) -> None:
    devices = (await demo.api.call("GET", f"/api/sites/{demo.site_id}/devices"))["items"]
    name = min(devices, key=lambda device: (device["created"], device["id"]))["name"]
    await person.opens("doors")
    tile = {"css": f"li.tile:has(h2:text-is({json.dumps(name)}))"}
    await person.clicks(f"Unlock {name}")
    await person.does("see", within=tile, text="Unlocked", exact=True)
    await person.clicks("Live", role="link")
    await person.sees(f"told {name} to unlock")
    await person.opens("doors")
    await person.clicks(f"Hold open {name}")
    await person.sees(role="button", name=f"Release {name}")
    await person.does("see", within=tile, text="Kept unlocked")
    await person.clicks(f"Release {name}")
    await person.sees(role="button", name=f"Hold open {name}")
    await person.clicks(f"History of {name}", role="link")
    await person.sees(role="heading", name="History")
    await person.sees(f"told {name} to unlock")
    await person.sees(f"{name} unlocked")


async def test_history_searches_marks_what_is_late_and_exports(demo: Demo, person: Person) -> None:
    rows = [happened("device.request.allowed", f"Row {number}", cardNumber="=1+1") for number in range(120)]
    await demo.api.ingest(demo.site_id, *rows, happened("device.alarm.forced", late=LATE_MS))
    await person.opens("history")
    await person.sees("10 min late")
    await person.does("choose", label="What", value="device.request.*")
    await person.does("choose", label="When", value="hour")
    await person.clicks("Search")
    await person.sees("Row 119 was let in at Test door")
    await person.does("lose", text="10 min late")
    await person.clicks("Show older ones")
    await person.sees("Row 0 was let in at Test door")
    await person.clicks("CSV")
    table = await person.tells("download")
    assert table["name"].endswith(".csv")
    lines = list(csv.DictReader(io.StringIO(table["text"])))
    assert [line["person"] for line in lines if line["person"].startswith("Row")] == [
        f"Row {number}" for number in reversed(range(120))
    ]
    assert {line["topic"].rpartition(".")[0] for line in lines} == {"device.request"}
    assert all(line["occurred"] and line["recorded"] for line in lines)
    await person.clicks("NDJSON")
    events = [json.loads(line) for line in (await person.tells("download", 2))["text"].splitlines()]
    assert [event["position"] for event in events] == [line["position"] for line in lines]


async def test_history_by_door_person_and_time(demo: Demo, person: Person) -> None:
    """Each condition leaves something out; a row has the time at the door and the time here."""
    devices = (await demo.api.call("GET", f"/api/sites/{demo.site_id}/devices"))["items"][:2]
    holders = (await demo.api.call("GET", f"/api/sites/{demo.site_id}/holders"))["items"][:2]
    now = int(time.time()) * 1000
    for device in devices:
        for holder in holders:
            body = {"deviceId": device["id"], "holderId": holder["id"]}
            for late in (0, 2 * LATE_MS):
                event = happened("device.request.denied") | {"occurred": now - late, "body": body}
                await demo.api.ingest(demo.site_id, event)
    name = f"{holders[0]['first_name']} {holders[0]['last_name']}"
    await person.opens("history")
    await person.does("choose", label="What", value="device.request.denied")
    await person.does("choose", label="Door", value=devices[0]["id"])
    await person.clicks("Search")
    rows = "document.querySelectorAll('.events > li').length"
    await person.does("until", code=f"{rows} === 4")
    await person.does("fill", label="Person", value=name)
    people = "[...document.querySelectorAll('#people option')].map((each) => each.value)"
    await person.does("until", code=f"{people}.join() === {json.dumps(name)}")
    await person.does("ask", code="new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    await person.clicks("Search")
    await person.does("until", code=f"{rows} === 2")
    assert name in await person.does("read", css=".events > li")
    times = "[...document.querySelectorAll('.events > li:first-child time')].map((each) => Date.parse(each.dateTime))"
    occurred, recorded = await person.does("ask", code=times)
    assert occurred == now - 2 * LATE_MS
    assert recorded >= now
    await person.does("choose", label="When", value="between")
    local = "((ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60000).toISOString().slice(0, 19))"
    begin, end = [await person.does("ask", code=f"{local}({now + add})") for add in (-60_000, 60_000)]
    await person.does("fill", label="From", exact=True, value=begin)
    await person.does("fill", label="To", exact=True, value=end)
    await person.clicks("Search")
    await person.does("until", code=f"{rows} === 1")


async def test_a_webhook_that_fails_is_tried_again_and_replayed(demo: Demo, person: Person) -> None:
    async with Receiver() as receiver:
        receiver.plan(Answer(503, {"Retry-After": "9"}), Answer())  # the page looks every 3 s
        await person.opens("webhooks")
        await person.clicks("New webhook")
        await person.does("fill", label="Address", value=receiver.url)
        await person.does("fill", label="Name", exact=True, value="Board")
        await person.clicks("Create")
        secret = await person.does("read", css=".secret code")
        assert secret.startswith("whsec_")
        await person.clicks("I have it")
        await person.clicks("Board", role="link")
        await demo.api.ingest(demo.site_id, happened("device.request.allowed", "Hedy Hook"))
        await person.sees("waiting to be tried again")
        await person.sees("answered 503")
        await person.sees("delivered", exact=True)
        await person.sees("2 attempts")
        await person.does("click", css=".event.delivery > button")
        await person.does("until", code="document.querySelectorAll('.event-more tbody tr').length === 2")
        await person.clicks("Deliver again")
        await person.does("click", within={"css": "dialog"}, role="button", name="Deliver again")
        await person.sees("1 delivery will be sent again.")
        await person.sees("replay", exact=True)
        await until(lambda: len(receiver.requests) == 3, 60)
        await person.clicks("Send a test")
        await person.sees("The receiver took the test event")
        bodies = [json.loads(request.body) for request in receiver.requests]
        assert [body["topic"] for body in bodies] == ["device.request.allowed"] * 3 + ["x.webhook.test"]
        receiver.plan(Answer(410))
        await person.clicks("Send a test")
        await person.sees("The test was not taken")
        await person.clicks("Delete")
        await person.does("click", within={"css": "dialog"}, role="button", name="Delete")
        await person.sees("No webhooks yet")


async def test_deliveries_that_were_given_up_go_to_another_webhook(demo: Demo, person: Person) -> None:
    """A range of them is sent to a webhook that takes them, as somebody asks for whose receiver has moved."""
    path = f"/api/sites/{demo.site_id}/webhooks"
    async with Receiver() as receiver:
        receiver.plan(Answer(500), path="/old")
        old = {"name": "Old", "url": f"{receiver.origin}/old", "topics": ["x.lift.*"], "retry": []}
        made = await demo.api.call("POST", path, json=old)
        new = {"name": "Newer", "url": f"{receiver.origin}/new", "topics": ["x.nothing.*"]}
        other = await demo.api.call("POST", path, json=new)
        await person.opens(f"webhooks/{made['id']}")
        await demo.api.ingest(demo.site_id, happened("x.lift.stuck"), happened("x.lift.freed"))
        await person.does("click", role="radio", name="Given up")
        await person.does("until", code="document.querySelectorAll('.event.delivery').length === 2")
        await person.sees("given up", exact=True)
        assert "x.lift.freed · 1 attempt · answered 500" in await person.does("read", css=".event.delivery")
        await person.clicks("Deliver a range again")
        await person.does("choose", within={"css": "dialog"}, css="select", nth=1, value="Newer")
        await person.does("click", within={"css": "dialog"}, role="button", name="Deliver again")
        await person.sees("2 deliveries will be sent again.")
        await person.opens(f"webhooks/{other['id']}")
        await person.does("until", code="document.querySelectorAll('.event.delivery').length === 2")
        await person.sees("delivered", exact=True)
        await person.sees("replay", exact=True)
        await person.does("lose", text="waiting to be tried again")
        await until(lambda: len([each for each in receiver.requests if each.path == "/new"]) == 2, 60)
        new_ones = [each for each in receiver.requests if each.path == "/new"]
        assert {json.loads(each.body)["topic"] for each in new_ones} == {"x.lift.stuck", "x.lift.freed"}
        for each in (made, other):
            await demo.api.call("DELETE", f"{path}/{each['id']}")


async def test_connections_are_listed_and_one_is_put_out(demo: Demo, person: Person) -> None:
    """The one is the page's own, which comes back by itself."""
    await person.opens("connections")
    await person.sees("server-sent events")
    before = (await demo.api.call("GET", "/api/connections"))["items"][0]["id"]
    await person.clicks("Disconnect demo-admin")
    await person.does("click", within={"css": "dialog"}, role="button", name="Disconnect")
    await person.sees("nothing is missing")
    after = (await demo.api.call("GET", "/api/connections"))["items"]
    assert [each["id"] for each in after] != [before]


async def test_the_inspectors_show_what_passes(demo: Demo, person: Person) -> None:
    """The vendors' own clients connect from the page with a fresh credential, and the event is in a frame of each."""
    for dialect, waits_for in (
        ("pdk", '430[{"ok":true'),
        ("salto", '"type":6'),
        ("placeos", '"type":"success"'),
        ("parakey", "200 OK"),
        ("own", "200 OK"),
    ):
        await person.opens(f"connect/{dialect}")
        await person.sees(role="button", name="Fill in a fresh credential")
        await person.does("click", role="button", name="Connect", exact=True)
        if dialect != "pdk":
            await person.does("see", within={"css": ".frames"}, text=waits_for)
        else:
            await person.does("see", within={"css": ".frames"}, text='42["subscribeIsolated"')
        await person.sees(role="button", name="Disconnect", exact=True)
        await demo.api.ingest(demo.site_id, happened("device.request.allowed", f"Seen by {dialect}"))
        if dialect == "parakey":
            await person.clicks("Poll now")
        if dialect == "placeos":  # it is bound to what happens at one door, not to what happens
            await person.clicks("Unlock the first door")
            await person.does("see", within={"css": ".frames"}, text='"name":"last_event"')
            await person.does("see", within={"css": ".frames"}, text="device.input.relay.on")
        else:
            await person.does("see", within={"css": ".frames"}, text=f"Seen by {dialect}")
        code = await person.does("read", css=".code code")
        assert "YOUR_" not in code
        assert demo.url.partition("//")[2] in code
        frames = await person.does("read", css=".frames")
        assert "access_token=ey" not in frames
    names = [client["name"] for client in (await demo.api.call("GET", "/api/clients"))["items"]]
    assert {"Connect: PDK", "Connect: Salto KS", "Connect: PlaceOS", "Connect: Parakey"} <= set(names)


async def test_a_client_is_made_shown_once_and_revoked(demo: Demo, person: Person) -> None:
    await person.opens("clients")
    await person.clicks("New API key")
    await person.does("fill", label="Name", exact=True, value="Lift board")
    await person.does("click", label="directory:read")
    await person.does("click", label="events:write")
    await person.does("click", label="All, future ones too")
    await person.clicks("Create")
    key = await person.does("read", css=".secret code")
    await person.clicks("I have it")
    await person.sees("Lift board")
    assert key not in await person.does("ask", code="document.documentElement.outerHTML")
    own = {"X-API-Key": key}
    session = await demo.api.call("GET", "/api/session", headers=own)
    assert session["name"] == "Lift board"
    assert (set(session["scopes"]), session["sites"]) == ({"events:read", "events:write"}, [demo.site_id])
    await person.clicks("Revoke Lift board")
    await person.clicks("Delete it")
    await person.does("lose", css="dialog")
    await person.does("lose", text="Lift board")
    with pytest.raises(ApiRefused) as refused:
        await demo.api.call("GET", "/api/session", headers=own)
    assert refused.value.status == 401


async def test_a_person_gets_a_role(demo: Demo, person: Person) -> None:
    await person.opens("clients")
    await person.clicks("New person")
    await person.does("fill", label="User name", value="ada@example.org")
    await person.does("choose", label="Role at this site", value="site_super_user")
    await person.does("click", within={"css": "dialog"}, role="button", name="Create")
    await person.clicks("I have it")
    await person.does("choose", label="Role of ada@example.org", value="site_admin")
    users = f"""fetch("/api/sites/{demo.site_id}/users", {{ headers: {{ "X-Requested-With": "doorstream" }} }})"""
    role = """.then((answer) => answer.json()).then(({ items }) => items.some((user) =>
      user.username === "ada@example.org" && user.role === "site_admin"))"""
    await person.does("until", code=users + role)
    await person.clicks("Remove ada@example.org")
    await person.does("click", within={"css": "dialog"}, role="button", name="Remove")
    await person.does("lose", css="dialog")
    users = (await demo.api.call("GET", "/api/users"))["items"]
    assert "ada@example.org" not in {user["username"] for user in users}
