"""Salto KS's REST on the real server: pages, order, filter, rights, lists (SAL-2, SAL-14)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
from signalr_program import ADMIN, USER, access_token, account, grant, hub_url, rest

from doorstream.testing.server import Demo, running_demo

STRANGER = "0738b8df-329a-4d50-88e7-7a48928c4d6f"
MINUTE = 60_000
START = 1_720_000_020_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """Entries a0 … a9, a minute apart and put in late and out of order, and one incident."""
    async with running_demo() as demo:
        events = [event(f"a{number}", number) for number in (5, 6, 7, 8, 9, 0, 1, 2, 3, 4)]
        await demo.api.ingest(demo.site_id, *events)
        await demo.api.ingest(demo.site_id, event("alarm", 20, topic="device.alarm.forced"))
        yield demo
        assert "Traceback" not in demo.errors


def event(event_id: str, minute: int, *, topic: str = "device.request.allowed", **body: Any) -> dict[str, Any]:
    return {"id": event_id, "topic": topic, "occurred": START + minute * MINUTE, "body": body}


async def entries(demo: Demo, query: str = "", *, role: str = ADMIN, hub: str = "entries", **headers: str) -> Any:
    path = f"/v1.1/sites/{demo.site_id}/{hub}?{quote(query, safe='=&$')}"
    return await rest(demo, path, await access_token(demo, role), **headers)


def ids(page: Any) -> list[str]:
    return [entry["id"] for entry in page["items"]]


async def test_sal_14_pages_by_time_in_both_directions(demo: Demo) -> None:
    """Every entry once, in the order of what happened, whenever it was put in; the last page has no token."""
    for order, expected in (("desc", range(9, -1, -1)), ("asc", range(10))):
        found: list[str] = []
        headers: dict[str, str] = {}
        while True:
            status, page = await entries(demo, f"$top=3&$orderby=utc_date_time {order}", **headers)
            assert status == 200
            assert len(page["items"]) <= 3
            found += ids(page)
            if page["continuation_token"] is None:
                break
            assert isinstance(page["continuation_token"], str)
            headers = {"CLP-Continuation-Token": page["continuation_token"]}
        assert [each for each in found if each.startswith("a")] == [f"a{number}" for number in expected]


@pytest.mark.parametrize("order", [" desc", " asc", ""])
async def test_the_order_of_the_wall_clock_is_that_of_the_instants(demo: Demo, order: str) -> None:
    """``local_date_time`` sorts as ``utc_date_time`` does; without a direction ascending."""
    answers = []
    for name in ("local_date_time", "utc_date_time"):
        status, page = await entries(demo, f"$top=1000&$orderby={name}{order}")
        assert status == 200
        answers.append([each for each in ids(page) if each.startswith("a")])
    ascending = [f"a{number}" for number in range(10)]
    assert answers == [ascending[::-1] if order == " desc" else ascending] * 2


async def test_sal_14_an_empty_page_with_a_token_goes_on(demo: Demo) -> None:
    """A relay that switched for another reason than a command is no entry, and is left out behind the limit."""
    site = await demo.api.create_site(name="Pier House")
    relay = [event(f"relay-{number}", 5 + number, topic="device.input.relay.on", cause="x") for number in range(2)]
    await demo.api.ingest(site, event("old", 1), *relay)
    users = (await demo.api.call("GET", "/api/users"))["items"]
    (user,) = [user for user in users if user["username"] == account(demo, "site_super_user")["username"]]
    await demo.api.call("PATCH", f"/api/users/{user['id']}", json={"roles": user["roles"] | {site: ADMIN}})
    client = await demo.api.create_client(name="app", scopes=["events:read"], sites="all")
    token = await other_client_token(demo, client, "site_super_user")
    status, page = await rest(demo, f"/v1.1/sites/{site}/entries?$top=2", token)
    assert (status, page["items"]) == (200, [])
    behind = {"CLP-Continuation-Token": page["continuation_token"]}
    status, page = await rest(demo, f"/v1.1/sites/{site}/entries?$top=2", token, **behind)
    assert (ids(page), page["continuation_token"]) == (["old"], None)


@pytest.mark.parametrize(("top", "expected"), [("", 100), ("$top=1000", 1000), ("$top=5000", 1000)])
async def test_a_page_holds_up_to_a_thousand(demo: Demo, top: str, expected: int) -> None:
    """More is cut, not refused: the continuation token brings the rest."""
    site = await demo.api.create_site(name="Tower House")
    for start in (0, 600):
        await demo.api.ingest(site, *[event(f"{start + number}", start + number) for number in range(600)])
    client = await demo.api.create_client(name="app", scopes=["events:read"], sites="all")
    token = await other_client_token(demo, client)
    status, page = await rest(demo, f"/v1.1/sites/{site}/entries?{top}", token)
    assert (status, ids(page)) == (200, [f"{number}" for number in range(1199, 1199 - expected, -1)])
    behind = {"CLP-Continuation-Token": page["continuation_token"]}
    _, page = await rest(demo, f"/v1.1/sites/{site}/entries?{top}", token, **behind)
    assert ids(page)[0] == f"{1199 - expected}"


async def other_client_token(demo: Demo, client: dict[str, Any], role: str | None = None) -> str:
    """A token through another client than the demo's, for a user, or (None) for the client by itself."""
    form = {"grant_type": "client_credentials", "scope": "user_api.full_access"}
    if role is not None:
        user = account(demo, role)
        form = {"grant_type": "password", "username": user["username"], "password": user["password"]}
    form |= {"client_id": client["id"], "client_secret": client["secret"]}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{demo.url}/connect/token", data=form) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return str((await answer.json())["access_token"])


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("utc_date_time ge DateTime'2024-07-03T09:54:00Z'", ["a9", "a8", "a7"]),
        ("utc_date_time gt DateTime'2024-07-03T09:54:00Z'", ["a9", "a8"]),
        ("utc_date_time lt DateTime'2024-07-03T09:48:00Z'", ["a0"]),
        (
            "(utc_date_time ge DateTime'2024-07-03T09:48:00Z') and (utc_date_time le DateTime'2024-07-03T09:49:00Z')",
            ["a2", "a1"],
        ),
        ("utc_date_time eq DateTime'2024-07-03T11:50:00+02:00'", ["a3"]),
    ],
)
async def test_the_documented_date_filter(demo: Demo, condition: str, expected: list[str]) -> None:
    status, page = await entries(demo, f"$filter={condition}")
    assert status == 200
    assert [each for each in ids(page) if each.startswith("a")] == expected


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("$filter=user_id eq 'x'", 1102),
        ("$filter=utc_date_time ge DateTime'yesterday'", 1102),
        ("$orderby=id", 1102),
        ("$orderby=local_date_time down", 1102),
        ("$top=0", 1100),
        ("$top=many", 1100),
        ("$top=-5", 1100),
    ],
)
async def test_bad_queries(demo: Demo, query: str, code: int) -> None:
    """vendor-apis.md 4.5, facts 9 and 10."""
    status, error = await entries(demo, query)
    assert (status, error["ErrorCode"]) == (400, code)
    assert error["Message"]


@pytest.mark.parametrize(
    "token", ["{}", "[]", "x", '{"occurred":"1","sequence":2}', '{"occurred":1,"sequence":2,"x":3}']
)
async def test_continuation_tokens_that_are_not_ours(demo: Demo, token: str) -> None:
    status, error = await entries(demo, **{"CLP-Continuation-Token": token})
    assert (status, error["ErrorCode"]) == (400, 1100)


@pytest.mark.parametrize("far", [10**30, -(10**30)])
async def test_a_continuation_token_that_no_database_holds(demo: Demo, far: int) -> None:
    """It is behind everything, or before; it once was a fault of the server."""
    token = f'{{"occurred":{far},"sequence":{far}}}'
    status, page = await entries(demo, "$top=1", **{"CLP-Continuation-Token": token})
    assert (status, len(page["items"])) == (200, 1 if far > 0 else 0)


async def test_incidents_are_a_list_of_their_own(demo: Demo) -> None:
    status, page = await entries(demo, hub="incidents")
    assert (status, ids(page)) == (200, ["alarm"])
    assert page["items"][0]["event_category"] == "intrusion_alarm"


async def test_who_reads_what(demo: Demo) -> None:
    own = account(demo, USER)["user_id"]
    await demo.api.ingest(demo.site_id, event("own", 30, holderId=own))
    await demo.api.ingest(demo.site_id, event("own-denied", 31, topic="device.request.denied", holderId=own))
    _, page = await entries(demo, role=USER)
    assert ids(page) == ["own"]
    path = f"/v1.1/sites/{demo.site_id}/entries"
    assert (await rest(demo, path, None))[0] == 401
    assert (await rest(demo, path, "forged"))[0] == 401
    assert (await rest(demo, path, await access_token(demo, scope="offline_access")))[0] == 403
    assert (await rest(demo, f"/v1.1/sites/{STRANGER}/entries", await access_token(demo)))[0] == 403


async def test_lists(demo: Demo) -> None:
    """``{items, next_page_link, count}`` (vendor-apis.md 4.5, fact 5), links that lead through all of it."""
    token = await access_token(demo)
    status, sites = await rest(demo, "/v1.2/sites", token)
    assert (status, [site["id"] for site in sites["items"]], sites["next_page_link"]) == (200, [demo.site_id], None)
    base = f"/v1.2/sites/{demo.site_id}"
    assert (await rest(demo, base, token))[1]["customer_reference"]
    for name in ("locks", "users"):
        _, everything = await rest(demo, f"{base}/{name}?$top=1000", token)
        assert everything["count"] == len(everything["items"]) > 5
        found, link = [], f"{base}/{name}?$top=4"
        while link:
            _, page = await rest(demo, link.removeprefix(demo.url), token)
            found += page["items"]
            link = page["next_page_link"]
        assert found == everything["items"]


async def test_me_and_the_three_ids_of_a_person(demo: Demo) -> None:
    """vendor-apis.md 4.2, facts 6 to 8: the role is here and not in the token."""
    base = f"/v1.2/sites/{demo.site_id}"
    for role in (ADMIN, USER):
        _, me = await rest(demo, f"{base}/me", await access_token(demo, role))
        assert me["roles"] == [{"code": role}]
        assert me["user"]["id"] == account(demo, role)["user_id"]
        assert me["user"]["first_name"]
    assert (await rest(demo, f"{base}/users", await access_token(demo, USER)))[0] == 403


async def test_sal_02_discovery_names_the_grants(demo: Demo) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{demo.url}/.well-known/openid-configuration") as answer,
    ):
        found = await answer.json()
    assert {"password", "refresh_token", "client_credentials"} <= set(found["grant_types_supported"])
    assert "user_api.full_access" in found["scopes_supported"]


async def test_client_credentials(demo: Demo) -> None:
    """A program by itself: what its scopes allow at its sites."""
    status, granted = await grant(demo, grant_type="client_credentials", scope="user_api.full_access")
    assert (status, granted["expires_in"]) == (200, 3600)
    status, _ = await rest(demo, f"/v1.1/sites/{demo.site_id}/entries", granted["access_token"])
    assert status == 200


async def test_browsers_may_negotiate_from_anywhere(demo: Demo) -> None:
    """The preflight of SignalR in a browser is with credentials: the origin is echoed (spikes.md section 7)."""
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-requested-with,x-signalr-user-agent",
    }
    url = hub_url(demo).replace("?", "/negotiate?")
    async with aiohttp.ClientSession() as session:
        async with session.options(url, headers=asked) as answer:
            allowed = answer.headers["Access-Control-Allow-Headers"].lower()
            assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert all(name in allowed for name in asked["Access-Control-Request-Headers"].split(","))
        headers = {"Origin": "https://app.example", "Authorization": f"Bearer {await access_token(demo)}"}
        async with session.post(url, headers=headers) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
            assert answer.headers["Access-Control-Allow-Credentials"] == "true"
            assert (await answer.json())["availableTransports"]
