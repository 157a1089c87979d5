"""What must run once, and what either can go on with, on two nodes that stand on one NATS."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
from faults_support import DENIED, event, until

from doorstream.testing.nats import nats_server
from doorstream.testing.receiver import Receiver
from doorstream.testing.server import Api, Demo, free_port, running_demo

SOON = 60.0
PING = 6


async def test_webhooks_are_delivered_by_the_node_in_the_background_only() -> None:
    """Whichever node the event, and the webhook, were given to."""
    async with (
        nats_server() as nats,
        running_demo(nats_url=nats.url) as one,
        running_demo(nats_url=nats.url, background=False) as two,
        Receiver() as receiver,
    ):
        body = {"name": "once", "url": receiver.url, "topics": ["x.fault.test"]}
        await two.api.call("POST", f"/api/sites/{two.site_id}/webhooks", json=body)
        for number, node in enumerate((one, two, one, two)):
            await node.api.ingest(node.site_id, event(f"once-{number}", "x.fault.test"))
        await one.api.ingest(one.site_id, event("last", "x.fault.test"))

        def ids() -> list[str]:
            return [json.loads(request.body)["id"] for request in receiver.requests]

        wanted = ["last", *(f"once-{number}" for number in range(4))]
        await until(lambda: set(ids()) >= set(wanted), SOON, lambda: f"{ids()} {one.errors}")  # in any order
        assert sorted(ids()) == wanted


async def test_a_signalr_client_goes_on_at_the_other_node() -> None:
    """Stateful reconnect: negotiated and dialled at one node, dialled again at the other, which numbers alike.

    The other node knows only what the connection token says. It begins at the first message again, and the client
    drops what it has by its number. Both have one public address, as behind a proxy, for it is in every token.
    """
    port = free_port()
    other = f"http://127.0.0.1:{port}"
    async with (
        nats_server() as nats,
        running_demo(nats_url=nats.url) as one,
        running_demo(nats_url=nats.url, background=False, public_url=one.url, settings={"port": port}),
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {await _salto_token(one)}"}) as session,
    ):
        path, query = f"/v1/hub/entries?site_id={one.site_id}", "&negotiateVersion=1&useStatefulReconnect=true"
        async with session.post(one.url + path.replace("?", "/negotiate?") + query) as answer:
            path += f"&id={(await answer.json())['connectionToken']}"
        async with session.ws_connect(one.url + path) as socket:
            await socket.send_str('{"protocol":"json","version":2}\x1e')
            assert await _messages(socket, 1) == [{}]
            await one.api.ingest(one.site_id, event("first", DENIED), event("door"))
            await Api(other, one.credentials["admin"]["api_key"]).ingest(one.site_id, event("second", DENIED))
            assert _ids(await _messages(socket, 2)) == ["first", "second"]
        await one.api.ingest(one.site_id, event("away", DENIED))
        async with session.ws_connect(other + path) as socket:
            await socket.send_str('{"type":9,"sequenceId":1}\x1e')
            sequence, *messages = await _messages(socket, 4)
            assert sequence == {"type": 9, "sequenceId": 1}
            assert _ids(messages) == ["first", "second", "away"]
            await one.api.ingest(one.site_id, event("live", DENIED))
            assert _ids(await _messages(socket, 1)) == ["live"]


async def _salto_token(demo: Demo) -> str:
    """A token of the demo's site admin."""
    salto = demo.credentials["salto"]
    user = salto["users"]["site_admin"]
    form = {"grant_type": "password", "username": user["username"], "password": user["password"]}
    form |= {"scope": "user_api.full_access", "client_id": salto["client_id"], "client_secret": salto["client_secret"]}
    async with aiohttp.ClientSession() as session, session.post(f"{demo.url}/connect/token", data=form) as answer:
        assert answer.status == 200, await answer.text()
        return str((await answer.json())["access_token"])


async def _messages(socket: aiohttp.ClientWebSocketResponse, number: int) -> list[dict[str, Any]]:
    """The next messages, so many or more; pings left out."""
    messages: list[dict[str, Any]] = []
    async with asyncio.timeout(SOON):
        while len(messages) < number:
            records = (await socket.receive_str()).split("\x1e")[:-1]
            messages += [message for message in map(json.loads, records) if message.get("type") != PING]
    return messages


def _ids(messages: list[dict[str, Any]]) -> list[str]:
    """The ids of the entries."""
    return [json.loads(message["arguments"][0])["id"] for message in messages]
