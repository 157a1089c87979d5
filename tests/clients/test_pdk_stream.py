"""The documented clients against the real server: connect, subscribe, receive; and who may not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from node_client import NAMES, PLAIN, SOCKET_IO_2, SOCKET_IO_4, NodeClient, node_client

from doorstream.testing.server import Demo, running_demo

pytestmark = pytest.mark.node

SAMPLES = {
    entry["event"]: entry["sample"]
    for entry in json.loads((Path(__file__).parents[1] / "data/pdk-stream-events.json").read_text())
}
ALLOWED, DENIED, OPENED = "device.request.allowed", "device.request.denied", "device.input.dps.opened"

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "4": (SOCKET_IO_4, {}),
    "4-websocket": (SOCKET_IO_4, {"transports": ["websocket"]}),
    "4-polling": (SOCKET_IO_4, {"transports": ["polling"]}),
    "2": (SOCKET_IO_2, {}),
    "2-websocket": (SOCKET_IO_2, {"transports": ["websocket"]}),
    "2-polling": (SOCKET_IO_2, {"transports": ["polling"]}),
    "ws": (PLAIN, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for all tests of this file; whatever they did to it, it must not have been surprised."""
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors
        assert "eyJ" not in demo.errors  # what every token begins with


def client(demo: Demo, kind: str, token: str | None, **more: Any):
    """A program of one of the kinds."""
    library, options = KINDS[kind]
    return node_client(library, demo.url, token=token, options=options, **more)


def put_in(name: str, number: int) -> dict[str, Any]:
    """An event like the sample of that name."""
    sample = SAMPLES[name]
    occurred = 1_720_000_000_000 + number
    body = sample.get("body") or {"serialNumber": "1234ABC", "panelSn": "1234ABC"}
    return {"id": f"{name}-{number}", "topic": name, "occurred": occurred, "body": body}


async def marker(demo: Demo, client: NodeClient, marker_id: str) -> None:
    """Wait until an event of ALLOWED has come that is put in last: nothing that was put in before is under way."""
    await demo.api.ingest(demo.site_id, {"id": marker_id, "topic": ALLOWED, "occurred": 1, "body": {}})
    await client.until(lambda: marker_id in client.ids)


@every_kind
async def test_pdk_04_05_06_08_every_topic_under_its_name(demo: Demo, kind: str) -> None:
    """PDK-4, 5, 6, 8: all 31 events that the vendor documents, by every kind of client and transport."""
    topics = [name for name in NAMES if name != "invalidToken"]
    token = await demo.system_token()
    async with client(demo, kind, token, system_id=demo.site_id, topics=topics) as program:
        await program.tells("connect")
        await subscribed(program, kind)
        put = [put_in(name, number) for number, name in enumerate(topics) if name != "liveEvent"]
        ids = [f"{kind}-{event['id']}" for event in put]
        await demo.api.ingest(demo.site_id, *[event | {"id": id_} for event, id_ in zip(put, ids, strict=True)])
        await program.until(lambda: set(program.names) >= set(topics))
        await marker(demo, program, f"{kind}-last")
    assert [name for name in program.names if name != "liveEvent"] == [*(event["topic"] for event in put), ALLOWED]
    assert {argument["topic"] for name, argument in program.events if name == "liveEvent"} >= {ALLOWED, DENIED}
    assert not program.all("unexpected")
    if KINDS[kind][1] == {} and kind != "ws":
        assert program.all("upgrade")


async def subscribed(program: NodeClient, kind: str) -> None:
    """Wait until the server has taken the subscription: an event could be earlier."""
    if kind == "ws":
        program.do("send", packet='420["subscribeIsolated",{"topics":[]}]')
        await program.until(lambda: any(item["packet"] == '430[{"ok":true}]' for item in program.all("packet")))
    else:
        if KINDS[kind][1] == {}:
            await program.tells("upgrade")
        program.do("ask", name="subscribeIsolated", args=[{"topics": []}])
        assert (await program.tells("ack"))["answer"] == [{"ok": True}]


@every_kind
async def test_pdk_08_only_what_was_subscribed(demo: Demo, kind: str) -> None:
    """PDK-8: one of three topics, in two calls, with one that does not exist; ``systemId`` is not needed (PDK-7)."""
    async with client(demo, kind, await demo.system_token(), subscriptions=[[ALLOWED], ["door.open"]]) as program:
        await program.tells("connect")
        await subscribed(program, kind)
        events = [put_in(name, 1) for name in (OPENED, DENIED, ALLOWED)]
        await demo.api.ingest(demo.site_id, *[event | {"id": f"08-{kind}-{event['topic']}"} for event in events])
        await marker(demo, program, f"08-{kind}-last")
    assert program.names == [ALLOWED, ALLOWED]


@every_kind
async def test_pdk_09_live_event_without_subscription(demo: Demo, kind: str) -> None:
    """PDK-9: as the vendor's own library, which never subscribes."""
    async with client(demo, kind, await demo.system_token()) as program:
        await program.tells("connect")
        await subscribed(program, kind)
        await demo.api.ingest(demo.site_id, put_in(OPENED, 2) | {"id": f"09-{kind}-1"})
        await demo.api.ingest(demo.site_id, put_in(ALLOWED, 3) | {"id": f"09-{kind}-2"})
        await program.until(lambda: program.events)
    ((name, argument),) = program.events
    assert name == "liveEvent"
    assert argument.keys() == SAMPLES["liveEvent"].keys()
    assert argument["topic"] == ALLOWED


async def test_events_of_other_systems_stay_there(demo: Demo) -> None:
    """One token, one system."""
    other = await demo.api.create_site(name="Other")
    async with client(demo, "4", await demo.system_token(), topics=[ALLOWED]) as program:
        await program.tells("connect")
        await subscribed(program, "4")
        await demo.api.ingest(other, put_in(ALLOWED, 4) | {"id": "other"})
        await marker(demo, program, "other-last")
    assert program.ids == ["other-last"]


@pytest.mark.parametrize("kind", ["4", "4-websocket", "4-polling", "2"])
async def test_acknowledgements(demo: Demo, kind: str) -> None:
    """An emit may ask for one, whatever it emits."""
    async with client(demo, kind, await demo.system_token()) as program:
        await program.tells("connect")
        for name, argument in (
            ("subscribeIsolated", {"topics": [ALLOWED, "door.open"]}),
            ("subscribeIsolated", {"topics": ALLOWED}),
            ("renewedToken", {"token": await demo.system_token()}),
            ("openDoor", 1),
        ):
            program.do("ask", name=name, args=[argument])
        await program.tells("ack", 4)
    answers = [item["answer"][0] for item in program.all("ack")]
    assert [answer["ok"] for answer in answers] == [True, False, True, False]
    assert answers[0]["ignored"] == ["door.open"]


@pytest.mark.parametrize("kind", ["4", "4-polling", "2"])
async def test_other_namespaces_are_refused(demo: Demo, kind: str) -> None:
    """Properly: the connection goes on."""
    async with client(demo, kind, await demo.system_token(), topics=[ALLOWED]) as program:
        await program.tells("connect")
        await subscribed(program, kind)
        program.do("namespace", name="/admin")
        assert (await program.tells("namespace_error"))["message"] == "Invalid namespace"
        await marker(demo, program, f"namespace-{kind}")
        assert not program.all("namespace_connect") + program.all("disconnect")


# Who may not


def altered(token: str) -> str:
    """The same claims under a signature that is not ours."""
    head, claims, signature = token.split(".")
    return f"{head}.{claims}.{signature[:-8]}{'AAAAAAAA' if signature[-8:] != 'AAAAAAAA' else 'BBBBBBBB'}"


@every_kind
async def test_pdk_07_refused_with_a_message(demo: Demo, kind: str) -> None:
    """Forged, foreign, missing: a connect error that says why, and no event."""
    token = await demo.system_token()
    pdk = demo.credentials["pdk"]
    id_token = await demo.api.id_token(pdk["client_id"], pdk["client_secret"])
    other = await demo.api.create_site(name="Other")
    for text, system_id, message in (
        (None, demo.site_id, "a system token is required"),
        ("x.y.z", demo.site_id, "invalid token"),
        (altered(token), demo.site_id, "invalid token"),
        (id_token, demo.site_id, "invalid token"),
        (token, other, "the token belongs to another system"),
        (await demo.api.system_token(pdk["client_id"], pdk["client_secret"], other), demo.site_id, None),
    ):
        async with client(demo, kind, text, system_id=system_id) as program:
            refusal = await program.tells("connect_error")
        assert refusal["message"] == (message or "the token belongs to another system")
        assert not program.all("connect")


@every_kind
async def test_a_revoked_client_is_put_out_within_a_second(demo: Demo, kind: str) -> None:
    """And stays out: its token is refused from then on. Others notice nothing."""
    made = await demo.api.create_client()
    token = await demo.api.system_token(made["id"], made["secret"], demo.site_id)
    async with (
        client(demo, kind, token, topics=[ALLOWED]) as program,
        client(demo, "ws", await demo.system_token(), topics=[ALLOWED]) as bystander,
    ):
        await program.tells("connect")
        await bystander.tells("connect")
        await subscribed(program, kind)
        await subscribed(bystander, "ws")
        await demo.api.delete_client(made["id"])
        await program.tells("disconnect", patience=1.0)
        await marker(demo, bystander, f"revoked-{kind}")
        assert not bystander.all("disconnect")
        assert program.ids == []
    async with client(demo, kind, token) as again:
        assert (await again.tells("connect_error"))["message"] == "invalid token"
