"""The unmodified @microsoft/signalr in a real browser, in a page whose origin is another than doorstream's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from patient import put_at_last
from signalr_program import SKIP, access_token, hub_client, hub_url

from doorstream.testing.server import Demo, running_demo

pytestmark = pytest.mark.browser

ALLOWED, FORCED = "device.request.allowed", "device.alarm.forced"
KINDS: dict[str, dict[str, Any]] = {
    "direct": {"options": SKIP},
    "negotiated": {},
    "stateful": {"stateful": True, "reconnect": True},
    "stateful-messagepack": {"stateful": True, "reconnect": True, "messagepack": True},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for the tests that do not harm it."""
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors
        assert "eyJ" not in demo.errors, "tokens are in the query here"


def happened(event_id: str, topic: str = ALLOWED) -> dict[str, Any]:
    """Somebody passes a door, or forces it."""
    return {"id": event_id, "topic": topic, "occurred": 1_720_000_000_000, "body": {"deviceId": "some-door"}}


@every_kind
async def test_sal_03_09_a_page_of_another_origin_receives(demo: Demo, kind: str) -> None:
    """SAL-3, 9, 12: token in the query of the socket; the negotiation is a request of another origin (CORS)."""
    token = await access_token(demo)
    async with (
        hub_client(hub_url(demo, "entries"), token=token, browser=True, **KINDS[kind]) as entries,
        hub_client(hub_url(demo, "incidents"), token=token, browser=True, **KINDS[kind]) as incidents,
    ):
        for program in (entries, incidents):
            assert (await program.tells("page"))["origin"] != demo.url
            await program.tells("connected")
            names = {"site_id", "access_token"} if kind == "direct" else {"site_id", "access_token", "id"}
            assert set((await program.tells("socket"))["query"]) == names, "an id comes with the negotiation"
        await demo.api.ingest(demo.site_id, happened(f"{kind}-1"), happened(f"{kind}-2", FORCED))
        for program, event_id, category in (
            (entries, f"{kind}-1", "lock_opened"),
            (incidents, f"{kind}-2", "intrusion_alarm"),
        ):
            assert (await program.tells("message"))["types"] == ["string"]
            (message,) = program.messages
            assert (message["id"], message["event_category"]) == (event_id, category)
            assert not program.all("crash")


@pytest.mark.parametrize("kind", ["direct", "negotiated"])
async def test_sal_04_a_bad_token_is_refused(demo: Demo, kind: str) -> None:
    """A page learns the status from the negotiation alone: its answer must carry the CORS headers too."""
    async with hub_client(hub_url(demo), token="forged", browser=True, **KINDS[kind]) as program:
        message = (await program.tells("refused"))["message"]
        assert ("401" in message) == (kind == "negotiated")
        assert not program.all("crash")


async def test_automatic_reconnect_comes_back_to_a_new_worker() -> None:
    """With ``since`` set in ``onreconnecting`` nothing of the gap is missing."""
    async with running_demo() as demo:
        url, token = hub_url(demo), await access_token(demo)
        async with hub_client(url, token=token, browser=True, options=SKIP, reconnect=True, since=True) as program:
            await program.tells("connected")
            await demo.api.ingest(demo.site_id, happened("before"))
            await program.tells("message")
            demo.kill_worker()
            await put_at_last(demo, happened("between"))
            await program.tells("reconnected")
            await demo.api.ingest(demo.site_id, happened("after"))
            await program.tells("message", 3)
            assert program.ids == ["before", "between", "after"]
            assert not program.all("close")


@pytest.mark.parametrize("kind", ["stateful", "stateful-messagepack"])
async def test_stateful_reconnect_survives_a_new_worker(kind: str) -> None:
    """The page never notices, and nothing is lost or repeated."""
    async with (
        running_demo() as demo,
        hub_client(hub_url(demo), token=await access_token(demo), browser=True, **KINDS[kind]) as program,
    ):
        await program.tells("connected")
        await demo.api.ingest(demo.site_id, happened("before"))
        await program.tells("message")
        demo.kill_worker()
        await put_at_last(demo, happened("between"), happened("forced", FORCED))
        await program.tells("message", 2)
        await demo.api.ingest(demo.site_id, happened("after"))
        await program.tells("message", 3)
        assert program.ids == ["before", "between", "after"]
        assert len(program.all("socket")) > 1
        assert not program.all("reconnecting")


async def test_stateful_reconnect_survives_dropped_connections() -> None:
    """The demo's fault switch drops every connection after two seconds, and the page never notices."""
    async with (
        running_demo(drop_connections_every=2) as demo,
        hub_client(hub_url(demo), token=await access_token(demo), browser=True, **KINDS["stateful"]) as program,
    ):
        await program.tells("connected")
        for number in range(1, 5):
            await demo.api.ingest(demo.site_id, happened(f"drop-{number}"))
            await program.tells("socket", number + 1)
        await program.tells("message", 4)
        assert program.ids == [f"drop-{number}" for number in range(1, 5)]
        assert not program.all("reconnecting")
