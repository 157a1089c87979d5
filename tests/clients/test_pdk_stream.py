"""The documented clients against the real server: connect, subscribe, receive; and who may not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from node_client import NAMES, NodeClient
from pdk_programs import ALLOWED, DENIED, KINDS, OPENED, SAMPLES, UPGRADING, assert_calm, program, put, subscribed

from doorstream.testing.server import Demo, running_demo

pytestmark = pytest.mark.node

every_kind = pytest.mark.parametrize("kind", KINDS)
some_kinds = pytest.mark.parametrize("kind", ["4", "4-polling", "2", "ws"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for all tests of this file; whatever they did to it, it must not have been surprised."""
    async with running_demo() as demo:
        yield demo
        assert_calm(demo)


def put_in(name: str, event_id: str) -> dict[str, Any]:
    """An event like the sample of that name."""
    body = SAMPLES[name].get("body") or {"serialNumber": "1234ABC", "panelSn": "1234ABC"}
    return {"id": event_id, "topic": name, "occurred": 1_720_000_000_000, "body": body}


async def marker(demo: Demo, client: NodeClient, marker_id: str) -> None:
    """Wait until an event of ALLOWED has come that is put in last: nothing that was put in before is under way."""
    await put(demo, marker_id)
    await client.until(lambda: marker_id in client.ids)


@every_kind
async def test_pdk_04_05_06_08_every_topic_under_its_name(demo: Demo, kind: str) -> None:
    """PDK-4, 5, 6, 8: all 31 events that the vendor documents, by every kind of client and transport."""
    topics = [name for name in NAMES if name != "invalidToken"]
    token = await demo.system_token()
    async with program(demo, kind, token, system_id=demo.site_id, topics=topics) as client:
        await client.tells("connect")
        await subscribed(client, kind)
        sent = [put_in(name, f"{kind}-{name}") for name in topics if name != "liveEvent"]
        await demo.api.ingest(demo.site_id, *sent)
        await client.until(lambda: set(client.names) >= set(topics))
        await marker(demo, client, f"{kind}-last")
    assert [name for name in client.names if name != "liveEvent"] == [*(event["topic"] for event in sent), ALLOWED]
    assert {argument["topic"] for name, argument in client.events if name == "liveEvent"} >= {ALLOWED, DENIED}
    assert not client.all("unexpected")
    assert bool(client.all("upgrade")) == (kind in UPGRADING)


@every_kind
async def test_pdk_08_only_what_was_subscribed(demo: Demo, kind: str) -> None:
    """PDK-8: one of three topics, in two calls, with one that does not exist; ``systemId`` is not needed (PDK-7)."""
    async with program(demo, kind, await demo.system_token(), subscriptions=[[ALLOWED], ["door.open"]]) as client:
        await client.tells("connect")
        await subscribed(client, kind)
        await demo.api.ingest(demo.site_id, *[put_in(name, f"08-{kind}-{name}") for name in (OPENED, DENIED, ALLOWED)])
        await marker(demo, client, f"08-{kind}-last")
    assert client.names == [ALLOWED, ALLOWED]


@every_kind
async def test_pdk_09_live_event_without_subscription(demo: Demo, kind: str) -> None:
    """PDK-9: as the vendor's own library, which never subscribes."""
    async with program(demo, kind, await demo.system_token()) as client:
        await client.tells("connect")
        await subscribed(client, kind)
        await put(demo, f"09-{kind}-1", topic=OPENED)
        await put(demo, f"09-{kind}-2")
        await client.until(lambda: client.events)
    ((name, argument),) = client.events
    assert name == "liveEvent"
    assert argument.keys() == SAMPLES["liveEvent"].keys()
    assert argument["topic"] == ALLOWED


async def test_events_of_other_systems_stay_there(demo: Demo) -> None:
    """One token, one system."""
    other = await demo.api.create_site(name="Other")
    async with program(demo, "4", await demo.system_token(), topics=[ALLOWED]) as client:
        await client.tells("connect")
        await subscribed(client, "4")
        await demo.api.ingest(other, put_in(ALLOWED, "other"))
        await marker(demo, client, "other-last")
    assert client.ids == ["other-last"]


@pytest.mark.parametrize("kind", ["4", "4-websocket", "4-polling", "2"])
async def test_acknowledgements(demo: Demo, kind: str) -> None:
    """An emit may ask for one, whatever it emits."""
    async with program(demo, kind, await demo.system_token()) as client:
        await client.tells("connect")
        for name, argument in (
            ("subscribeIsolated", {"topics": [ALLOWED, "door.open"]}),
            ("subscribeIsolated", {"topics": ALLOWED}),
            ("renewedToken", {"token": await demo.system_token()}),
            ("openDoor", 1),
        ):
            client.do("ask", name=name, args=[argument])
        await client.tells("ack", 4)
    answers = [item["answer"][0] for item in client.all("ack")]
    assert [answer["ok"] for answer in answers] == [True, False, True, False]
    assert answers[0]["ignored"] == ["door.open"]


@pytest.mark.parametrize("kind", ["4", "4-polling", "2"])
async def test_other_namespaces_are_refused(demo: Demo, kind: str) -> None:
    """Properly: the connection goes on."""
    async with program(demo, kind, await demo.system_token(), topics=[ALLOWED]) as client:
        await client.tells("connect")
        await subscribed(client, kind)
        client.do("namespace", name="/admin")
        assert (await client.tells("namespace_error"))["message"] == "Invalid namespace"
        await marker(demo, client, f"namespace-{kind}")
        assert not client.all("namespace_connect") + client.all("disconnect")


# Who may not


def altered(token: str) -> str:
    """The same claims under a signature that is not ours."""
    head, claims, signature = token.split(".")
    return f"{head}.{claims}.{signature[:-8]}{'AAAAAAAA' if signature[-8:] != 'AAAAAAAA' else 'BBBBBBBB'}"


@some_kinds
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
        async with program(demo, kind, text, system_id=system_id) as client:
            refusal = await client.tells("connect_error")
        assert refusal["message"] == (message or "the token belongs to another system")
        assert not client.all("connect")


@some_kinds
async def test_a_revoked_client_is_put_out_at_once(demo: Demo, kind: str) -> None:
    """As fast as the machine is; and it stays out: its token is refused from then on. Others notice nothing."""
    made = await demo.api.create_client()
    token = await demo.api.system_token(made["id"], made["secret"], demo.site_id)
    async with (
        program(demo, kind, token, topics=[ALLOWED]) as client,
        program(demo, "ws", await demo.system_token(), topics=[ALLOWED]) as bystander,
    ):
        await client.tells("connect")
        await bystander.tells("connect")
        await subscribed(client, kind)
        await subscribed(bystander, "ws")
        await demo.api.delete_client(made["id"])
        await client.tells("disconnect")
        await marker(demo, bystander, f"revoked-{kind}")
        assert not bystander.all("disconnect")
        assert client.ids == []
    async with program(demo, kind, token) as again:
        assert (await again.tells("connect_error"))["message"] == "invalid token"
