"""One command, and everybody who learns of it: the same event in each dialect's words, under the same id."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from patient import modules_run
from python_program import program
from signalr_program import access_token, hub_url

from doorstream.testing import until
from doorstream.testing.receiver import Receiver
from doorstream.testing.server import Demo, running_demo

RELAY = "device.input.relay.on"
PATIENCE = 60.0


class Salto:
    """A client of the hub of entries that speaks SignalR by hand."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def next(self) -> dict[str, Any]:
        """The next entry."""
        while True:
            for message in await self._records():
                if message.get("type") == 1:
                    entry: dict[str, Any] = json.loads(message["arguments"][0])
                    return entry

    async def shake_hands(self) -> None:
        """Begin the protocol; from then on entries come."""
        await self._socket.send_str('{"protocol":"json","version":1}\x1e')
        assert await self._records() == [{}]

    async def _records(self) -> list[dict[str, Any]]:
        async with asyncio.timeout(PATIENCE):
            return [json.loads(text) for text in (await self._socket.receive_str()).split("\x1e")[:-1]]


@contextlib.asynccontextmanager
async def salto(demo: Demo, session: aiohttp.ClientSession) -> AsyncIterator[Salto]:
    """A client that is connected."""
    headers = {"Authorization": f"Bearer {await access_token(demo)}"}
    async with session.ws_connect(hub_url(demo), headers=headers) as socket:
        client = Salto(socket)
        await client.shake_hands()
        yield client


async def execute(demo: Demo, session: aiohttp.ClientSession, name: str) -> Any:
    """Execute a function of the first door through PlaceOS's socket; returns the answer."""
    placeos = demo.credentials["placeos"]
    url, headers = f"{demo.url}/api/engine/v2/systems/control", {"X-API-Key": placeos["api_key"]}
    command = {"id": 7, "cmd": "exec", "sys": placeos["system_id"], "mod": "Door", "index": 1, "name": name, "args": []}
    async with session.ws_connect(url, headers=headers) as socket, asyncio.timeout(PATIENCE):
        await socket.send_json(command)
        return await socket.receive_json()


async def event_logs(demo: Demo, session: aiohttp.ClientSession, tag: str = "") -> tuple[int, str, Any]:
    """The last event log of the Parakey dialect: status, entity tag, and the list."""
    headers = {"access-token": demo.credentials["parakey"]["access_token"], "If-None-Match": tag}
    async with session.get(f"{demo.url}/eventLogs?limit=1", headers=headers) as answer:
        return answer.status, answer.headers["ETag"], await answer.json() if answer.status == 200 else None


async def test_an_unlock_by_placeos_is_told_in_every_dialect() -> None:
    """PDK's live event, Salto's entry, Parakey's event log and webhook are one event; the log says who did it."""
    async with Receiver() as receiver, running_demo() as demo, aiohttp.ClientSession() as session:
        api, site = demo.api, f"/api/sites/{demo.site_id}"
        await modules_run(demo)
        await api.call("POST", f"{site}/webhooks", json={"url": receiver.url, "form": "parakey"})
        _, tag, _ = await event_logs(demo, session)
        assert (await event_logs(demo, session, tag))[0] == 304
        async with (
            program(demo, await demo.system_token(), ["websocket"], RELAY) as pdk,
            salto(demo, session) as entries,
        ):
            heard: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            pdk.client.on(RELAY, heard.set_result)
            answer = await execute(demo, session, "unlock")
            assert (answer["id"], answer["type"], answer["code"]) == (7, "success", 200), answer
            live = await asyncio.wait_for(heard, PATIENCE)
            entry = await entries.next()
        assert live["topic"] == RELAY
        assert (entry["event_category"], entry["access_by"]) == ("lock_opened", "remote")
        status, changed, (log,) = await event_logs(demo, session, tag)
        assert (status, log["type"]) == (200, "unlock")
        assert changed != tag
        await until(lambda: receiver.requests)
        (delivered,) = receiver.requests
        assert json.loads(delivered.body) == log
        assert live["id"] == entry["id"] == log["id"]
        assert live["body"]["deviceId"] == entry["lock_id"] == log["device"]["id"]

        kept = (await api.call("GET", f"{site}/events", params={"topic": RELAY}))["events"]
        assert [each["id"] for each in kept] == [live["id"]]
        (command,) = (await api.call("GET", f"{site}/events", params={"topic": "x.command"}))["events"]
        assert {name: command["body"][name] for name in ("name", "index", "function", "outcome", "deviceId")} == {
            "name": "Door",
            "index": 1,
            "function": "unlock",
            "outcome": "done",
            "deviceId": entry["lock_id"],
        }
        clients = (await api.call("GET", "/api/clients"))["items"]
        (placeos,) = [each for each in clients if each["id"] == command["metadata"]["caller"]["id"]]
        assert command["metadata"]["by"] == kept[0]["metadata"]["by"] == placeos["name"]
        assert demo.credentials["placeos"]["api_key"].startswith(f"ds_{placeos['id']}")
        assert command["metadata"]["caller"]["via"] == "placeos"
        assert "Traceback" not in demo.errors
