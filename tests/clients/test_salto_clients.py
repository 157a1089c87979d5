"""What every client of Salto KS must meet, the same for all.

@microsoft/signalr in Node and in Chromium, pysignalr, signalrcore.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from signalr_program import (
    ADMIN,
    SKIP,
    SUPER_USER,
    USER,
    Program,
    access_token,
    account,
    hub_client,
    hub_url,
    upgrade,
)
from signalr_python import python_client

from doorstream.testing.server import Demo, running_demo

CLIENTS = {
    "node": pytest.param("node", marks=pytest.mark.node),
    "chromium": pytest.param("chromium", marks=pytest.mark.browser),
    "pysignalr": pytest.param("pysignalr"),
    "signalrcore": pytest.param("signalrcore"),
}
every_client = pytest.mark.parametrize("name", CLIENTS.values(), ids=CLIENTS)
RETRIES = [0, *[500] * 200]


def client(name: str, url: str, token: str, *, again: bool = False) -> AbstractAsyncContextManager[Program]:
    """A client as its documentation has it; with ``again`` it comes back when the connection is lost."""
    if name in ("node", "chromium"):
        reconnect: dict[str, Any] = {"reconnect": RETRIES, "since": True} if again else {}
        return hub_client(url, token=token, browser=name == "chromium", options=SKIP, **reconnect)
    return python_client(name, url, token=token, again=again)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors
        assert "eyJ" not in demo.errors


def access(event_id: str, holder_id: str | None = None) -> dict[str, Any]:
    """Somebody passes a door."""
    body = {"holderId": holder_id}
    return {"id": event_id, "topic": "device.request.allowed", "occurred": 1_720_000_000_000, "body": body}


@every_client
@pytest.mark.parametrize("wanted", ["all", "own", "other"])
async def test_sal_11_user_id_and_three_roles(demo: Demo, name: str, wanted: str) -> None:
    """SAL-11: admins and super users see all, or one user; a site user himself, and is refused all else."""
    users = {"own": account(demo, USER)["user_id"], "other": account(demo, ADMIN)["user_id"]}
    url = hub_url(demo, user_id=users.get(wanted))
    async with AsyncExitStack() as stack:
        let_in = []
        for role in (ADMIN, SUPER_USER, USER):
            program = await stack.enter_async_context(client(name, url, await access_token(demo, role)))
            if role == USER and wanted != "own":
                await program.tells("refused")
                assert not program.all("connected")
            else:
                await program.tells("connected")
                let_in.append(program)
        order = ["own", "other"] if wanted == "other" else ["other", "own"]
        events = [access(f"{name}-{wanted}-{number}-{who}", users[who]) for number in (1, 2) for who in order]
        await demo.api.ingest(demo.site_id, *events)
        # The last of them is wanted: what should not come cannot still be on its way behind it.
        expected = [event["id"] for event in events if wanted == "all" or event["body"]["holderId"] == users[wanted]]
        for program in let_in:
            await program.tells("message", len(expected))
            assert program.ids == expected


@every_client
async def test_sal_04_a_bad_token_is_refused(demo: Demo, name: str) -> None:
    async with client(name, hub_url(demo), "forged") as program:
        assert (await program.tells("refused"))["message"]
        assert not program.all("connected")


@pytest.mark.browser
@pytest.mark.parametrize("closes", [False, True])
async def test_sal_13_token_expiry(closes: bool) -> None:
    """SAL-13, D8: the hubs stay open; or, if so set, they are closed, and clients that say so are told why."""
    async with (
        running_demo(settings={"salto_token_ttl": 25, "salto_close_at_expiry": closes}) as demo,
        AsyncExitStack() as stack,
    ):
        programs = {}
        for name in CLIENTS:
            token = await access_token(demo)
            programs[name] = await stack.enter_async_context(client(name, hub_url(demo), token))
            await programs[name].tells("connected")
        if closes:
            for name, program in programs.items():
                end = await program.tells("refused" if name == "pysignalr" else "close", patience=60)
                assert name == "signalrcore" or "token expired" in end["message"]
        else:
            await expired(demo, token)
            await demo.api.ingest(demo.site_id, access("later"))
            for program in programs.values():
                await program.tells("message")
                assert not program.all("close")


async def expired(demo: Demo, token: str) -> None:
    """Wait until a token is no longer good."""
    while await upgrade(hub_url(demo), token) != 401:
        pass


@every_client
async def test_a_restart_of_everything(name: str) -> None:
    """The client comes back by itself; one that asks with ``since`` gets what it missed."""
    async with (
        running_demo(fixed_port=True) as demo,
        client(name, hub_url(demo), await access_token(demo), again=True) as program,
    ):
        await program.tells("connected")
        await demo.api.ingest(demo.site_id, access("before"))
        await program.tells("message")
        await asyncio.to_thread(demo.stop)
        await asyncio.to_thread(demo.start)
        await demo.api.ingest(demo.site_id, access("between"))
        await program.until(lambda: program.all("connected")[1:] or program.all("reconnected"))
        await demo.api.ingest(demo.site_id, access("after"))
        await program.until(lambda: "after" in program.ids)
        # pysignalr dials the same address again by itself, and that names no entry.
        missed = {"between"} if name == "pysignalr" else set()
        assert [each for each in program.ids if each not in missed] == [
            each for each in ("before", "between", "after") if each not in missed
        ]
