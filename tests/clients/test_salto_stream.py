"""The unmodified @microsoft/signalr against the real server: connect, receive, refuse, resume."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from patient import put_at_last, ready
from pdk_programs import seconds_left
from signalr_program import (
    ADMIN,
    SKIP,
    SUPER_USER,
    USER,
    access_token,
    account,
    grant,
    hub_client,
    hub_url,
    rest,
    upgrade,
)

from doorstream.gateway.signalr import HubOptions
from doorstream.testing.server import Demo, running_demo

ALLOWED, DENIED, FORCED = "device.request.allowed", "device.request.denied", "device.alarm.forced"
KINDS: dict[str, dict[str, Any]] = {
    "direct": {"options": SKIP},
    "negotiated": {},
    "direct-messagepack": {"options": SKIP, "messagepack": True},
    "stateful": {"stateful": True, "reconnect": True},
    "stateful-messagepack": {"stateful": True, "reconnect": True, "messagepack": True},
}
every_kind = pytest.mark.parametrize("kind", KINDS)
SALTO_TTL = 12.0
"""Seconds: long enough for programs to start and connect with a fresh token."""
STRANGER = "0738b8df-329a-4d50-88e7-7a48928c4d6f"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for all tests of this file; whatever they did to it, it must not have been surprised."""
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors
        assert "eyJ" not in demo.errors  # what every token begins with


def access(event_id: str, holder_id: str | None = None, topic: str = ALLOWED) -> dict[str, Any]:
    """Somebody passes a door."""
    body = {"holderId": holder_id, "deviceId": "some-door", "requestFactor": "CARD_ONLY", "cardNumber": "33987"}
    return {"id": event_id, "topic": topic, "occurred": 1_720_000_000_000, "body": body}


@pytest.mark.node
@every_kind
async def test_sal_03_07_09_one_string_that_holds_the_entry(demo: Demo, kind: str) -> None:
    """SAL-3, 7, 8, 9: Node sends the token in a header; the message is one string of JSON."""
    async with hub_client(hub_url(demo), token=await access_token(demo), **KINDS[kind]) as program:
        await program.tells("connected")
        await demo.api.ingest(demo.site_id, access(f"09-{kind}", account(demo, USER)["user_id"]))
        told = await program.tells("message")
        program.do("stop")
        assert (await program.tells("close"))["message"] is None
    assert told["types"] == ["string"]
    (entry,) = program.messages
    assert entry["id"] == f"09-{kind}"
    assert entry["event_category"] == "lock_opened"
    assert entry["utc_date_time"] == "2024-07-03T09:46:40.000Z"
    assert entry["user_id"] == account(demo, USER)["user_id"]
    assert entry["user_first_name"]
    assert (entry["access_by"], entry["access_detail"]) == ("tag", "33987")


@pytest.mark.node
async def test_sal_12_neither_hub_carries_the_others(demo: Demo) -> None:
    """SAL-12: and what is neither an entry nor an incident is on neither."""
    token = await access_token(demo)
    async with (
        hub_client(hub_url(demo, "entries"), token=token, options=SKIP) as entries,
        hub_client(hub_url(demo, "incidents"), token=token, options=SKIP) as incidents,
    ):
        await entries.tells("connected")
        await incidents.tells("connected")
        topics = [ALLOWED, FORCED, "device.input.dps.opened", "device.alarm.forced.cleared", DENIED]
        await demo.api.ingest(demo.site_id, *[access(f"12-{topic}", topic=topic) for topic in topics])
        await entries.tells("message", 2)
        await incidents.tells("message", 2)
    assert [each["event_category"] for each in entries.messages] == ["lock_opened", "lock_rejected"]
    assert [each["event_category"] for each in incidents.messages] == ["intrusion_alarm", "end_of_intrusion_alarm"]


async def test_sal_01_password_grant(demo: Demo) -> None:
    user = account(demo, ADMIN)
    form = {"grant_type": "password", "username": user["username"], "password": user["password"]}
    status, granted = await grant(demo, **form, scope="user_api.full_access offline_access")
    assert (status, granted["expires_in"], granted["token_type"]) == (200, 3600, "Bearer")
    assert set(granted["scope"].split()) == {"user_api.full_access", "offline_access"}
    status, again = await grant(demo, grant_type="refresh_token", refresh_token=granted["refresh_token"])
    assert status == 200
    assert await upgrade(hub_url(demo), again["access_token"]) == 101
    for wrong in ({"password": "no"}, {"username": "nobody@example.com"}):
        status, refused = await grant(demo, **(form | wrong))
        assert (status, refused["error"]) == (400, "invalid_grant")
    status, refused = await grant(demo, **form, scope="hardware_api")
    assert (status, refused["error"]) == (400, "invalid_scope")


async def test_sal_04_who_is_refused(demo: Demo) -> None:
    """SAL-3, 4: 401 and 403 are the status of the upgrade, and of the negotiation."""
    token = await access_token(demo)
    weak = await access_token(demo, scope="offline_access")
    url = hub_url(demo)
    assert await upgrade(url, token) == 101
    assert await upgrade(url, token, in_query=True) == 101
    assert await upgrade(url) == 401
    assert await upgrade(url, "forged") == 401
    assert await upgrade(url, token[:-4] + "AAAA") == 401
    assert await upgrade(url, weak) == 403
    assert await upgrade(hub_url(demo, site_id=STRANGER), token) == 403
    assert await upgrade(f"{demo.url}/v1/hub/entries?x=1", token) == 400
    assert await upgrade(url + "&id=forged", token) == 404
    assert await upgrade(hub_url(demo, "nothing"), token) == 404


async def test_sal_04_who_is_refused_by_the_negotiation(demo: Demo) -> None:
    """With the same status, which is where clients that negotiate are told."""
    token, weak = await access_token(demo), await access_token(demo, scope="offline_access")
    nowhere = f"{demo.url}/v1/hub/entries?x=1"
    for url, bearer, expected in (
        (hub_url(demo), token, 200),
        (hub_url(demo), None, 401),
        (hub_url(demo), "forged", 401),
        (hub_url(demo), token[:-4] + "AAAA", 401),
        (hub_url(demo), weak, 403),
        (hub_url(demo, site_id=STRANGER), token, 403),
        (hub_url(demo, user_id=account(demo, ADMIN)["user_id"]), await access_token(demo, USER), 403),
        (nowhere, token, 400),
    ):
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        asked = url.replace("?", "/negotiate?") + "&negotiateVersion=1"
        async with aiohttp.ClientSession() as session, session.post(asked, headers=headers) as answer:
            assert answer.status == expected, (url, await answer.text())
            assert ("connectionToken" in await answer.text()) == (expected == 200)


def test_sal_10_clients_hear_from_the_server_in_time() -> None:
    """Clients give up after 30 s of silence, and the vendor's server pings every 15 s."""
    assert HubOptions().ping_interval <= 15


@pytest.mark.parametrize("hub", ["entries", "incidents"])
async def test_sal_11_three_roles(demo: Demo, hub: str) -> None:
    """SAL-11, and vendor-apis.md 4.3, fact 16."""
    own, other = account(demo, USER)["user_id"], account(demo, ADMIN)["user_id"]
    for role in (ADMIN, SUPER_USER):
        token = await access_token(demo, role)
        assert [await upgrade(hub_url(demo, hub, user_id=user), token) for user in (None, own, other)] == [101] * 3
    token = await access_token(demo, USER)
    assert [await upgrade(hub_url(demo, hub, user_id=user), token) for user in (None, own, other)] == [403, 101, 403]


@pytest.mark.node
async def test_sal_11_only_that_users_entries(demo: Demo) -> None:
    own, other = account(demo, USER)["user_id"], account(demo, ADMIN)["user_id"]
    token = await access_token(demo, USER)
    async with hub_client(hub_url(demo, user_id=own), token=token, options=SKIP) as program:
        await program.tells("connected")
        wanted, unwanted = access("11-own", own), [access("11-other", other), access("11-denied", own, DENIED)]
        await demo.api.ingest(demo.site_id, *unwanted, wanted, access("11-nobody"))
        await demo.api.ingest(demo.site_id, access("11-last", own))
        await program.tells("message", 2)
    assert program.ids == ["11-own", "11-last"]


@pytest.mark.node
async def test_the_client_is_told_of_a_refusal(demo: Demo) -> None:
    """It cannot see why (spikes.md section 7), but it must not hang."""
    for options in ({"options": SKIP}, {}):
        async with hub_client(hub_url(demo), token="forged", **options) as program:
            assert (await program.tells("refused"))["message"]


@pytest.mark.node
async def test_invocations_are_answered_with_an_error(demo: Demo) -> None:
    """One without an id is ignored; the connection goes on."""
    async with hub_client(hub_url(demo), token=await access_token(demo), options=SKIP) as program:
        await program.tells("connected")
        program.do("send", target="Anything", args=[1])
        program.do("invoke", target="Anything", args=[1])
        assert "no methods" in (await program.tells("failed"))["message"]
        program.do("stream", target="Anything", args=[])
        await program.tells("failed", 2)
        await demo.api.ingest(demo.site_id, access("invoked"))
        await program.tells("message")


@pytest.mark.node
async def test_sal_15_every_streamed_event_is_found_in_rest(demo: Demo) -> None:
    """SAL-14, 15: the same objects, joined by id over pages of two."""
    token = await access_token(demo)
    async with hub_client(hub_url(demo), token=token, options=SKIP) as program:
        await program.tells("connected")
        await demo.api.ingest(demo.site_id, *[access(f"15-{number}") for number in range(7)])
        await program.tells("message", 7)
    found = await pages(demo, f"/v1.1/sites/{demo.site_id}/entries?$top=2&$orderby=utc_date_time desc", token)
    listed = {entry["id"]: entry for entry in found}
    assert [listed[message["id"]] for message in program.messages] == program.messages


async def pages(demo: Demo, path: str, token: str) -> list[dict[str, Any]]:
    """Everything of a list, page by page, as the vendor describes it."""
    items: list[dict[str, Any]] = []
    headers: dict[str, str] = {}
    while True:
        status, page = await rest(demo, path, token, **headers)
        assert status == 200, page
        items += page["items"]
        if not page["continuation_token"]:
            return items
        headers = {"CLP-Continuation-Token": page["continuation_token"]}


@pytest.mark.node
async def test_since_brings_what_was_missed(demo: Demo) -> None:
    """The resume that any client can have; an id that is not known ends the connection with a reason."""
    token = await access_token(demo)
    await demo.api.ingest(demo.site_id, *[access(f"since-{number}") for number in range(4)])
    async with hub_client(hub_url(demo, since="since-1"), token=token, options=SKIP) as program:
        await program.tells("message", 2)
        await demo.api.ingest(demo.site_id, access("since-4"))
        await program.tells("message", 3)
    assert program.ids == ["since-2", "since-3", "since-4"]
    for options in ({"options": SKIP}, {"stateful": True, "reconnect": True}):
        async with hub_client(hub_url(demo, since="never-was"), token=token, **options) as program:
            # It may come while start() still waits, which then fails with it.
            await program.until(lambda program=program: program.all("close") or program.all("refused"))
            (end,) = program.all("close") or program.all("refused")
            assert "position gone" in end["message"]


@pytest.mark.node
async def test_since_an_event_that_was_pruned_is_answered_with_a_close_message() -> None:
    """The id was good once, but the log has room for the newest events only: a gap is told, never silent.

    A new worker has nothing in memory that the log has not. Clients with stateful reconnect were once refused here,
    with a status that they cannot see: the negotiation had not looked whether the position was still kept.
    """
    async with running_demo(settings={"log_max_bytes": 100_000}) as demo:
        token = await access_token(demo)
        await demo.api.ingest(demo.site_id, access("pruned"))
        for start in range(0, 1000, 250):
            await demo.api.ingest(demo.site_id, *[access(f"kept-{start + number}") for number in range(250)])
        demo.kill_worker()
        await ready(demo)
        async with hub_client(hub_url(demo, since="kept-997"), token=token, options=SKIP) as program:
            await program.tells("message", 2)
            assert program.ids == ["kept-998", "kept-999"]
        for options in KINDS.values():
            async with hub_client(hub_url(demo, since="pruned"), token=token, **options) as program:
                # It may come while start() still waits, which then fails with it.
                await program.until(lambda program=program: program.all("close") or program.all("refused"))
                (end,) = program.all("close") or program.all("refused")
                assert "position gone" in end["message"]
                assert not program.all("message")


async def changed(demo: Demo, role: str, **fields: Any) -> None:
    """Change the demo's user of a role."""
    name = account(demo, role)["username"]
    users = (await demo.api.call("GET", "/api/users"))["items"]
    (found,) = [user for user in users if user["username"] == name]
    await demo.api.call("PATCH", f"/api/users/{found['id']}", json=fields)


@pytest.mark.node
async def test_sal_06_a_lost_role_closes_the_hub(demo: Demo) -> None:
    """SAL-6 and D8: by itself, long before the token expires, and the client does not come back in."""
    token = await access_token(demo, SUPER_USER)
    async with hub_client(hub_url(demo), token=token, options=SKIP, reconnect=True) as program:
        await program.tells("connected")
        await changed(demo, SUPER_USER, roles={demo.site_id: USER})
        assert "no longer permitted" in (await program.tells("close"))["message"]
    assert await upgrade(hub_url(demo), token) == 403
    await changed(demo, SUPER_USER, roles={demo.site_id: SUPER_USER})
    assert await upgrade(hub_url(demo), token) == 101
    async with hub_client(hub_url(demo), token=token, stateful=True, reconnect=True) as program:
        await program.tells("connected")
        await changed(demo, SUPER_USER, disabled=True)
        assert "no longer permitted" in (await program.tells("close"))["message"]
        assert not program.all("crash")
    assert await upgrade(hub_url(demo), token) == 401


@pytest.mark.node
async def test_a_revoked_client_ends_its_users_hubs(demo: Demo) -> None:
    """D8: the program through which somebody signed in is no longer trusted."""
    made = await demo.api.create_client(name="app", scopes=["events:read"], sites=[demo.site_id])
    user = account(demo, ADMIN)
    form = {"grant_type": "password", "username": user["username"], "password": user["password"]}
    body = form | {"client_id": made["id"], "client_secret": made["secret"]}
    async with (
        aiohttp.ClientSession() as session,
        session.post(demo.credentials["salto"]["token_url"], data=body) as answer,
    ):
        token = (await answer.json())["access_token"]
    async with hub_client(hub_url(demo), token=token, options=SKIP) as program:
        await program.tells("connected")
        await demo.api.delete_client(made["id"])
        assert "no longer permitted" in (await program.tells("close"))["message"]
    assert await upgrade(hub_url(demo), token) == 401


@pytest.mark.node
@pytest.mark.parametrize("kind", ["stateful", "stateful-messagepack"])
async def test_stateful_reconnect_survives_a_new_worker(kind: str) -> None:
    """The parent's socket stays open: the client's one immediate dial waits and nothing is lost or repeated."""
    async with running_demo() as demo:
        async with hub_client(hub_url(demo), token=await access_token(demo), **KINDS[kind]) as program:
            await program.tells("connected")
            await demo.api.ingest(demo.site_id, *[access(f"before-{number}") for number in range(5)])
            await program.tells("message", 5)
            demo.kill_worker()
            await put_at_last(demo, access("after-0"), access("after-1", topic=FORCED), access("after-2"))
            await program.tells("message", 7)
            await demo.api.ingest(demo.site_id, access("after-3"))
            await program.tells("message", 8)
            assert not program.all("reconnecting"), "it never noticed"
        assert program.ids == [*[f"before-{number}" for number in range(5)], "after-0", "after-2", "after-3"]


@pytest.mark.node
async def test_a_restart_of_everything_is_survived_with_since() -> None:
    """Automatic reconnect, and ``since`` in ``onreconnecting`` (spikes.md section 7)."""
    async with running_demo(fixed_port=True) as demo:
        delays = [0, *[500] * 200]
        url = hub_url(demo)
        async with hub_client(url, token=await access_token(demo), reconnect=delays, since=True) as program:
            await program.tells("connected")
            await demo.api.ingest(demo.site_id, access("first"))
            await program.tells("message")
            demo.stop()
            demo.start()
            await demo.api.ingest(demo.site_id, access("second"))
            await program.tells("reconnected")
            await demo.api.ingest(demo.site_id, access("third"))
            await program.tells("message", 3)
        assert program.ids == ["first", "second", "third"]


@pytest.mark.node
async def test_sal_13_token_expiry_in_both_settings() -> None:
    """D8: the hub stays open; or, if so set, closes in a way that brings reconnecting clients back with a new token."""
    async with running_demo(settings={"salto_token_ttl": SALTO_TTL}) as demo:
        token = await access_token(demo)
        async with hub_client(hub_url(demo), token=token, options=SKIP) as program:
            await program.tells("connected")
            await expired(demo, token)
            await demo.api.ingest(demo.site_id, access("later"))
            await program.tells("message")
            assert not program.all("close")
    async with running_demo(settings={"salto_token_ttl": SALTO_TTL, "salto_close_at_expiry": True}) as demo:
        for options in ({"options": SKIP}, {"stateful": True}):
            token = await access_token(demo)
            async with (
                hub_client(hub_url(demo), token=token, options=SKIP) as plain,
                hub_client(hub_url(demo), token=token, reconnect=[0, *[300] * 100], **options) as program,
            ):
                await program.tells("connected")
                await plain.tells("connected")
                await asyncio.sleep(
                    max(0.0, seconds_left(token) - 0.5)
                )  # so that the next one is good for long after it
                program.do("token", value=await access_token(demo))
                assert "token expired" in (await plain.tells("close"))["message"]
                await program.tells("reconnected")
                assert "token expired" in program.all("reconnecting")[0]["message"]
                assert not program.all("crash")


async def expired(demo: Demo, token: str) -> None:
    """Wait until a token is no longer good."""
    while await upgrade(hub_url(demo), token) != 401:
        pass
