"""Programs on the unmodified @microsoft/signalr, and what tests need of Salto KS's identity server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
from browser_program import browser_client
from node_client import FOLDER, NodeClient

from doorstream.testing.server import Demo

ADMIN, SUPER_USER, USER = "site_admin", "site_super_user", "site_user"
SKIP = {"skipNegotiation": True, "transport": 1}
"""The options of the seed's samples: WebSockets without negotiation."""


class Program(NodeClient):
    """A running program; ``options`` of ``hub_client`` say what it does."""

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The entries or incidents that came."""
        return [json.loads(item["args"][0]) for item in self.all("message")]

    @property
    def ids(self) -> list[str]:
        """Their ids, in order."""
        return [message["id"] for message in self.messages]


@contextlib.asynccontextmanager
async def hub_client(
    url: str, *, token: str | None = None, browser: bool = False, **config: Any
) -> AsyncIterator[Program]:
    """Run ``node/hub_program.js``, which says what ``config`` holds, in Node or in a browser."""
    config = {"url": url, "token": token} | config
    if browser:
        async with browser_client(Program, "hub_page.cjs", config) as program:
            yield program
        return
    process = await asyncio.create_subprocess_exec(
        "node",
        FOLDER / "signalr_client.cjs",
        json.dumps(config),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=10_000_000,
    )
    program = Program(process)
    watching = asyncio.create_task(program.watch())
    try:
        yield program
    finally:
        if process.returncode is None:
            process.kill()
        await watching
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # its pipes, before the loop is closed


def hub_url(demo: Demo, hub: str = "entries", **query: str | None) -> str:
    """The address of a hub at the demo's site."""
    named = {"site_id": demo.site_id} | query
    return f"{demo.url}/v1/hub/{hub}?{urlencode({name: value for name, value in named.items() if value is not None})}"


def account(demo: Demo, role: str) -> dict[str, str]:
    """The demo's user of a role: ``username``, ``password``, ``user_id``."""
    found: dict[str, str] = demo.credentials["salto"]["users"][role]
    return found


async def grant(demo: Demo, **form: str) -> tuple[int, dict[str, Any]]:
    """Ask for a token as the demo's Salto client."""
    salto = demo.credentials["salto"]
    headers = {"Authorization": aiohttp.encode_basic_auth(salto["client_id"], salto["client_secret"])}
    async with aiohttp.ClientSession() as session, session.post(salto["token_url"], data=form, headers=headers) as got:
        return got.status, await got.json()


async def access_token(demo: Demo, role: str = ADMIN, scope: str = "user_api.full_access") -> str:
    """A token of the demo's user of a role."""
    user = account(demo, role)
    status, granted = await grant(
        demo, grant_type="password", username=user["username"], password=user["password"], scope=scope
    )
    assert status == 200, granted
    return str(granted["access_token"])


async def upgrade(url: str, token: str | None = None, *, in_query: bool = False) -> int:
    """The status with which an upgrade is answered; 101 is success."""
    headers = {"Authorization": f"Bearer {token}"} if token is not None and not in_query else {}
    if token is not None and in_query:
        url += f"&access_token={token}"
    async with aiohttp.ClientSession() as session:
        try:
            async with session.ws_connect(url, headers=headers):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status


async def rest(demo: Demo, path: str, token: str | None, **headers: str) -> tuple[int, Any]:
    """GET a path of Salto KS's REST."""
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with aiohttp.ClientSession() as session, session.get(demo.url + path, headers=headers) as answer:
        return answer.status, await answer.json()
