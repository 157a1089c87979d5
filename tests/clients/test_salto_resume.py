"""Stateful reconnect at protocol level, over a restart of everything; and the vendor's own sample."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from signalr_program import access_token, hub_url

from doorstream.testing.server import Demo, running_demo

# Seed 003, "SignalR JavaScript Client", as printed.
SAMPLE = """
const token = "ACCESS_TOKEN"
const siteId = "SITE_ID"
const url = `${streamingEndpointUrl}/v1/hub/entries?site_id=${siteId}`
//`${streamingEndpointUrl}/v1/hub/incidents?site_id=${siteId}`
const connection = new signalR.HubConnectionBuilder()
.withUrl(url, {
accessTokenFactory: () => token,
skipNegotiation: true,
transport: signalR.HttpTransportType.WebSockets,
})
.build();
connection.on('ReceiveMessage', (message) => {
// incident or entry message
});
await connection.start();
"""

# What stands around it: its library, its address, and a look at the argument of its handler.
AROUND = """
const signalR = require("@microsoft/signalr");
const streamingEndpointUrl = process.argv[1];
const on = signalR.HubConnection.prototype.on;
signalR.HubConnection.prototype.on = function (name, handler) {
  on.call(this, name, (message) => { handler(message); console.log(message); });
};
(async () => { SAMPLE; console.log('"started"'); })();
"""


def access(event_id: str, topic: str = "device.request.allowed") -> dict[str, Any]:
    """Somebody passes a door."""
    return {"id": event_id, "topic": topic, "occurred": 1_720_000_000_000, "body": {}}


@pytest.mark.node
async def test_sal_07_the_sample_of_the_seed_as_printed() -> None:
    async with running_demo() as demo:
        token = await access_token(demo)
        program = AROUND.replace("SAMPLE", SAMPLE.replace("ACCESS_TOKEN", token).replace("SITE_ID", demo.site_id))
        process = await asyncio.create_subprocess_exec(
            *("node", "-e", program, demo.url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=Path(__file__).with_name("node"),
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(60):
                while b"started" not in await process.stdout.readline():
                    pass
                await demo.api.ingest(demo.site_id, access("sample"))
                message = b""
                while not message.startswith(b"{"):
                    message = await process.stdout.readline()
        finally:
            process.kill()
            await process.communicate()
        assert json.loads(message)["id"] == "sample"


class Wire:
    """A client that speaks the protocol by hand."""

    def __init__(self, session: aiohttp.ClientSession, demo: Demo, token: str) -> None:
        self._session = session
        self._demo = demo
        self._headers = {"Authorization": f"Bearer {token}"}
        self.token = ""

    async def negotiate(self) -> None:
        url = hub_url(self._demo).replace("?", "/negotiate?") + "&negotiateVersion=1&useStatefulReconnect=true"
        async with self._session.post(url, headers=self._headers) as answer:
            self.token = (await answer.json())["connectionToken"]

    async def dial(self) -> aiohttp.ClientWebSocketResponse:
        return await self._session.ws_connect(f"{hub_url(self._demo)}&id={self.token}", headers=self._headers)


async def read(socket: aiohttp.ClientWebSocketResponse, number: int) -> list[dict[str, Any]]:
    """So many messages, pings left out."""
    messages: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while len(messages) < number:
            records = (await socket.receive_str()).split("\x1e")[:-1]
            messages += [message for message in map(json.loads, records) if message.get("type") != 6]
    return messages


def ids(messages: list[dict[str, Any]]) -> list[str]:
    return [json.loads(message["arguments"][0])["id"] for message in messages]


async def test_numbering_outlives_every_process() -> None:
    """The token alone says where the count began: another process numbers the same messages the same way.

    Whoever answers does not know how far the client was, begins at 1, and the client drops what it has.
    """
    async with running_demo(fixed_port=True) as demo, aiohttp.ClientSession() as session:
        await demo.api.ingest(demo.site_id, access("before"))
        wire = Wire(session, demo, await access_token(demo))
        await wire.negotiate()
        await demo.api.ingest(demo.site_id, access("between"))
        async with await wire.dial() as socket:
            await socket.send_str('{"protocol":"json","version":2}\x1e')
            assert await read(socket, 1) == [{}]
            await demo.api.ingest(demo.site_id, access("one"), access("door", "device.input.dps.opened"))
            assert ids(await read(socket, 2)) == ["between", "one"]
        demo.stop()
        demo.start()
        await demo.api.ingest(demo.site_id, access("two"))
        async with await wire.dial() as socket:
            await socket.send_str('{"type":9,"sequenceId":1}\x1e')
            sequence, *messages = await read(socket, 4)
            assert sequence == {"type": 9, "sequenceId": 1}
            assert ids(messages) == ["between", "one", "two"]


async def test_in_one_process_it_goes_on_from_what_was_acknowledged() -> None:
    """And an older socket of the same client, which may only look alive, is cut."""
    async with running_demo() as demo, aiohttp.ClientSession() as session:
        wire = Wire(session, demo, await access_token(demo))
        await wire.negotiate()
        async with await wire.dial() as socket:
            await socket.send_str('{"protocol":"json","version":2}\x1e')
            await read(socket, 1)
            await demo.api.ingest(demo.site_id, *[access(str(number)) for number in range(1, 301)])
            assert len(await read(socket, 300)) == 300
            await socket.send_str('{"type":8,"sequenceId":260}\x1e')
            async with await wire.dial() as again:
                await again.send_str('{"type":9,"sequenceId":1}\x1e')
                sequence, *messages = await read(again, 41)
                assert sequence == {"type": 9, "sequenceId": 261}
                assert ids(messages) == [str(number) for number in range(261, 301)]
                assert (await socket.receive()).type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE}


async def test_who_may_not_dial_again() -> None:
    """Another user's token, another hub, and a connection that invoked something."""
    async with running_demo() as demo, aiohttp.ClientSession() as session:
        token = await access_token(demo)
        wire = Wire(session, demo, token)
        await wire.negotiate()
        other = Wire(session, demo, await access_token(demo, "site_super_user"))
        other.token = wire.token
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            await other.dial()
        async with await wire.dial() as socket:
            await socket.send_str('{"protocol":"json","version":2}\x1e')
            await read(socket, 1)
            await socket.send_str('{"type":1,"invocationId":"1","target":"a","arguments":[]}\x1e')
            while (closing := (await read(socket, 1))[-1])["type"] == 8:  # it may come by itself
                pass
            assert closing["type"] == 7
            assert "no methods" in closing["error"]
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            await wire.dial()
