"""The unmodified @placeos/ts-client in a real browser, in a page of doorstream's own origin (vendor-apis.md 2.3)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from browser_program import browser_client
from node_client import NodeClient
from patient import at_last, modules_run

from doorstream.testing.server import Demo, running_demo

pytestmark = pytest.mark.browser

BOOKINGS = {"mod": "Bookings", "index": 1}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for the tests that do not harm it."""
    async with running_demo() as demo:
        await modules_run(demo)
        yield demo
        assert "Traceback" not in demo.errors
        assert "eyJ" not in demo.errors
        assert demo.credentials["placeos"]["api_key"] not in demo.errors


@contextlib.asynccontextmanager
async def app(demo: Demo, *, with_key: bool = True, **config: Any) -> AsyncIterator[NodeClient]:
    """A page with the client, which has the demo's API key unless told otherwise."""
    if with_key:
        config["storage"] = {"x-api-key": demo.credentials["placeos"]["api_key"]}
    async with browser_client(NodeClient, "placeos_page.cjs", {"url": demo.url} | config) as page:
        yield page
        messages = [item["message"] for item in page.all("crash")]
        assert [each for each in messages if "Redirecting to login" not in each] == [], (
            "that one the client throws itself"
        )


def system(demo: Demo) -> str:
    return str(demo.credentials["placeos"]["system_id"])


def values(page: NodeClient, name: str) -> list[Any]:
    """The values of a variable that came."""
    return [item["value"] for item in page.all("value") if item["name"] == name]


async def test_pos_12_13_online_by_cookie_binds_executes_and_follows_the_log(demo: Demo) -> None:
    """The key is in a cookie, so values are raw JSON (D4): applications get them as they are."""
    where = {"sys": system(demo), **BOOKINGS}
    async with app(demo) as page:
        await page.until(lambda: any(item["online"] for item in page.all("online")))
        page.do("bind", **where, name="bookings")
        await page.until(lambda: any(item["connected"] for item in page.all("status")))
        await page.tells("value")
        assert isinstance(values(page, "bookings")[0], list)
        assert (await page.tells("socket"))["query"] == ["fixed_device"], "no credential in the address"
        page.do("debug", **where, name="debug")
        await page.tells("debugging")
        page.do("execute", **where, name="make_booking", args=[1731058815])
        assert (await page.tells("answer"))["value"] == {}
        await page.until(lambda: len(values(page, "bookings")) == 2)
        line = await page.tells("line")
        assert (line["module"], line["level"]) == ("Bookings_1", "debug")
        assert line["mod_id"].startswith("mod-")
        assert "make_booking" in line["message"]
        page.do("ignore", **where, name="ignore")
        await page.tells("ignored")
        page.do("execute", **where, name="unknown", args=[])
        assert (await page.tells("refusal"))["error"]["code"] == 1
        page.do("unbind", **where, name="bookings")
        page.do("systems", q="harbour")
        assert (await page.tells("systems"))["names"] == ["Harbour House"]
        page.do("functions", **where)
        assert "make_booking" in (await page.tells("functions"))["names"]


@pytest.mark.parametrize("auth_type", [None, "auth_code"])
async def test_somebody_signs_in_and_comes_online(demo: Demo, auth_type: str | None) -> None:
    """By the sign-in page and ``/auth/oauth/authorize``: with a token in the fragment, or a code and PKCE."""
    credentials = demo.credentials["salto"]["users"]["site_super_user"]
    setup = {} if auth_type is None else {"auth_type": auth_type}
    async with app(demo, with_key=False, credentials=credentials, setup=setup) as page:
        await page.until(lambda: any(item["path"] == "/auth/login" for item in page.all("page")))
        await page.until(lambda: any(item["token"].startswith("eyJ") for item in page.all("set up")))
        page.do("bind", sys=system(demo), mod="Door", index=1, name="locked")
        await page.tells("value")
        assert values(page, "locked") == [True]
        assert (await page.tells("socket"))["query"] == []
        page.do("execute", sys=system(demo), mod="Door", index=1, name="door_list", args=[])
        assert len((await page.tells("answer"))["value"]) == 1


async def test_a_password_in_the_applications_own_form(demo: Demo) -> None:
    """The password grant: the client puts everything into the query of ``/auth/token``."""
    user = demo.credentials["salto"]["users"]["site_admin"]
    setup = {"auth_type": "password", "username": user["username"], "password": user["password"]}
    async with app(demo, with_key=False, setup=setup) as page:
        await page.until(lambda: any(item["token"].startswith("eyJ") for item in page.all("set up")))
        page.do("bind", sys=system(demo), mod="Door", index=1, name="locked")
        await page.tells("value")


async def test_with_the_credential_in_the_query(demo: Demo) -> None:
    """``token_header``: for pages in frames, where cookies do not get through."""
    async with app(demo, setup={"token_header": True}) as page:
        page.do("bind", sys=system(demo), mod="Door", index=1, name="locked")
        await page.tells("value")
        assert "api-key" in (await page.tells("socket"))["query"]


async def test_pos_15_reconnects_after_a_restart_and_binds_again() -> None:
    """The whole server is killed and started again: the page comes back and gets the present value."""
    async with running_demo(fixed_port=True) as demo:
        where = {"sys": system(demo), **BOOKINGS}
        async with app(demo) as page:
            page.do("bind", **where, name="bookings")
            await page.tells("value")
            demo.kill()
            await page.until(lambda: not page.all("status")[-1]["connected"])
            demo.start()
            booked = f"/api/engine/v2/systems/{system(demo)}/Bookings_1/make_booking"
            await at_last(lambda: demo.api.call("POST", booked, json=[1731058815]))  # its module may begin later
            await page.until(lambda: page.all("status")[-1]["connected"])
            await page.until(lambda: len(values(page, "bookings")[-1]) == 1)
