"""What ``doorstream demo`` prints is enough to connect over every dialect."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
import pytest_asyncio
from cli_support import PATIENCE, launch

from doorstream.testing.server import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Printed(NamedTuple):
    """What a person reads: a paragraph for each way to connect. ``data`` is the folder of the demo."""

    text: str
    data: Path

    def paragraph(self, name: str) -> str:
        """The paragraph that begins with the name."""
        found = next(each for each in re.split(r"\n\n+", self.text) if each.strip().startswith(name))
        return found.strip()

    def address(self, name: str) -> str:
        """The address in its first line."""
        found = re.search(r"\w+://[^\s)]+", self.paragraph(name))
        assert found is not None
        return found[0]

    def value(self, name: str, label: str) -> str:
        """What stands behind a label."""
        found = re.search(rf"^\s+{label}\s{{2,}}(\S+)$", self.paragraph(name), re.MULTILINE)
        assert found is not None, self.paragraph(name)
        return found[1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def printed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Printed]:
    """A demo as a person starts it, and what it prints."""
    data = tmp_path_factory.mktemp("demo") / "data"
    process = await launch("demo", "--rate", "0", "--port", str(free_port()), "--data-dir", str(data))
    assert process.stdout is not None
    try:
        text = await asyncio.wait_for(process.stdout.readuntil(b"Ctrl-C"), PATIENCE)
        yield Printed(text.decode(), data)
    finally:
        process.terminate()
        await asyncio.wait_for(process.communicate(), PATIENCE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE), raise_for_status=True) as session:
        yield session


async def test_pdk(printed: Printed, http: aiohttp.ClientSession) -> None:
    client = f"{printed.value('PDK', 'client id')}:{printed.value('PDK', 'client secret')}"
    address, system = printed.address("PDK"), printed.value("PDK", "system id")
    base = address.removesuffix("/socket.io/")
    grant = {"grant_type": "client_credentials"}
    async with http.post(
        f"{base}/oauth2/token", data=grant, headers={"Authorization": f"Basic {b64encode(client.encode()).decode()}"}
    ) as answer:
        bearer = {"Authorization": f"Bearer {(await answer.json())['id_token']}"}
    async with http.post(f"{base}/api/systems/{system}/token", headers=bearer) as answer:
        token = (await answer.json())["token"]
    query = {"systemId": system, "token": token, "EIO": "4", "transport": "websocket"}
    async with http.ws_connect(address, params=query) as socket:
        assert (await socket.receive_str()).startswith("0{")
        await socket.send_str("40")
        assert (await socket.receive_str()).startswith("40{")


async def test_salto(printed: Printed, http: aiohttp.ClientSession) -> None:
    address = printed.address("Salto")
    form = {"grant_type": "password", "scope": "user_api.full_access"}
    labels = {"client_id": "client id", "client_secret": "client secret", "username": "user", "password": "password"}
    form |= {name: printed.value("Salto", label) for name, label in labels.items()}
    async with http.post(f"{address.partition('/v1/')[0]}/connect/token", data=form) as answer:
        token = (await answer.json())["access_token"]
    async with http.ws_connect(address, params={"access_token": token}) as socket:
        await socket.send_str('{"protocol":"json","version":1}\x1e')
        assert await socket.receive_str() == "{}\x1e"


async def test_placeos(printed: Printed, http: aiohttp.ClientSession) -> None:
    key, system = printed.value("PlaceOS", "API key"), printed.value("PlaceOS", "system")
    async with http.ws_connect(printed.address("PlaceOS"), params={"api-key": key}) as socket:
        of_door = {"sys": system, "mod": "Door", "index": 1, "name": "locked"}
        await socket.send_json({"id": 7, "cmd": "bind", **of_door})
        answer = json.loads(await socket.receive_str())
        assert (answer["id"], answer["type"]) == (7, "success")


async def test_parakey(printed: Printed, http: aiohttp.ClientSession) -> None:
    token = printed.value("Parakey", "access token")
    async with http.get(printed.address("Parakey"), headers={"access-token": token}) as answer:
        assert await answer.json() == []


async def test_our_own_api_and_the_dashboard(printed: Printed, http: aiohttp.ClientSession) -> None:
    documents = re.search(r"^\s+API\s+(\S+)/docs$", printed.text, re.MULTILINE)
    key = re.search(r"^\s+API key\s+(\S+)$", printed.text, re.MULTILINE)
    site = re.search(r"^\s+site\s+(\S+)$", printed.text, re.MULTILINE)
    assert documents is not None
    assert key is not None
    assert site is not None
    events = f"{documents[1]}/api/sites/{site[1]}/events"
    async with http.get(events, headers={"X-API-Key": key[1]}) as answer:
        assert {event["siteId"] for event in (await answer.json())["events"]} == {site[1]}
    async with http.get(printed.address("Dashboard")) as answer:
        assert "<!doctype html>" in (await answer.text()).lower()


async def test_the_printed_link_signs_a_browser_in_once(printed: Printed, http: aiohttp.ClientSession) -> None:
    """It is the one that programs on this machine find, and its code is what the dashboard sends."""
    link = printed.address("Dashboard")
    assert link == json.loads((printed.data / "client.json").read_text())["sign_in"]
    base, _, code = link.partition("/#/sign-in/")
    ours = {"X-Requested-With": "doorstream"}
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(base, cookie_jar=jar, headers=ours, timeout=http.timeout) as browser:
        async with browser.get("/api/session") as answer:
            assert answer.status == 401
        async with browser.post("/api/session", json={"code": code}) as answer:
            assert answer.status == 200
        async with browser.get("/api/session") as answer:
            assert answer.status == 200
            assert (await answer.json())["id"] == "demo-admin"
        async with browser.post("/api/session", json={"code": code}) as answer:
            assert answer.status == 401
