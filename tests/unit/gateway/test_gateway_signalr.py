"""The hub base on a real server, with a raw client: negotiation, handshake, pings, closing, dialling again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from gateway_support import FakeClock, RawClient, RunningServer, Start, eventually

from doorstream.auth import Signer
from doorstream.gateway import Gateway, Limits, Refusal
from doorstream.gateway.signalr import Call, HubEndpoint, HubHandler, HubOptions, Ticket
from doorstream.protocols.signalr import Completion, Invocation, Sequence
from doorstream.protocols.websocket import UpgradeRequest

HELLO = '{"protocol":"json","version":1}\x1e'
HELLO_2 = '{"protocol":"json","version":2}\x1e'


class Told(HubHandler):
    """A hub that tells its test everything."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self.told: list[Any] = []
        hub.handlers.append(self)

    def connected(self) -> None:
        self.told.append("connected")

    def resumed(self) -> None:
        self.told.append("resumed")
        self.send(Sequence(1))
        self.send(Invocation("Again", []))

    def received(self, message: Call) -> None:
        self.told.append(message)
        if isinstance(message, Invocation) and message.target == "fail":
            raise RuntimeError("a fault of the application")

    def acknowledged(self, sequence_id: int) -> None:
        self.told.append(sequence_id)

    def disconnected(self, code: int) -> None:
        self.told.append(f"disconnected {code}")


class Hub:
    """One hub at /hub."""

    def __init__(self, **settings: Any) -> None:
        self.handlers: list[Told] = []
        self.tickets: list[Ticket | None] = []
        options = settings.pop("options", {})
        self.endpoint = HubEndpoint(self.open, HubOptions(**options), negotiate=self.negotiate, **settings)
        self.gateway = Gateway()
        self.gateway.add("/hub", self.endpoint)
        self.gateway.add("/hub/negotiate", self.endpoint.negotiation)

    def open(self, request: UpgradeRequest, ticket: Ticket | None) -> HubHandler | Refusal:
        if request.get("refuse"):
            return Refusal(403, {}, b"no")
        self.tickets.append(ticket)
        return Told(self)

    def negotiate(self, request: UpgradeRequest, is_stateful: bool) -> str | Refusal:
        del is_stateful
        return Refusal(401, {}, b"who?") if request.get("refuse") else "data"

    @property
    def told(self) -> list[Any]:
        """What the latest client did."""
        return self.handlers[-1].told


async def negotiate(server: RunningServer, query: str = "") -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.post(f"{server.url}/hub/negotiate?{query}") as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if answer.status == 200 else text


async def shaken(server: RunningServer, target: str = "/hub", hello: str = HELLO) -> RawClient:
    """A client after its handshake."""
    client = await server.open(target)
    client.send(hello)
    assert await client.receive() == "{}\x1e"
    return client


async def test_sal_07_08_direct_without_negotiation(start: Start) -> None:
    hub = Hub()
    client = await shaken(await start(hub.gateway))
    client.send('{"type":1,"target":"a","arguments":[1]}\x1e{"type":6}\x1e')
    await eventually(lambda: len(hub.told) == 2)
    assert hub.told == ["connected", Invocation("a", [1])]
    assert hub.tickets == [None]
    hub.handlers[0].send(Completion("7", None))
    assert await client.receive() == '{"type":3,"invocationId":"7","result":null}\x1e'


@pytest.mark.parametrize("hello", ['{"protocol":"xml","version":1}\x1e', "hello\x1e", '{"type":6}\x1e'])
async def test_sal_08_a_handshake_that_is_refused(start: Start, hello: str) -> None:
    """One answer with the reason, and nothing else before the end."""
    hub = Hub()
    client = await (await start(hub.gateway)).open("/hub")
    client.send(hello)
    assert "error" in json.loads(str(await client.receive())[:-1])
    assert await client.closed() == 1000
    assert hub.told == []


async def test_a_client_that_never_shakes_hands(start: Start) -> None:
    hub = Hub(options={"handshake_timeout": 0.05, "ping_interval": 0.01})
    client = await (await start(hub.gateway)).open("/hub")
    opcode, _ = await client.frame()
    assert opcode == 8, "nothing may be sent before the handshake, pings neither"


async def test_negotiation_offers_websockets_only(start: Start) -> None:
    hub = Hub()
    server = await start(hub.gateway)
    status, answer = await negotiate(server, "negotiateVersion=1")
    assert status == 200
    assert answer["availableTransports"] == [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}]
    assert (answer["negotiateVersion"], "useStatefulReconnect" in answer) == (1, False)
    await shaken(server, f"/hub?id={answer['connectionToken']}")
    assert hub.tickets[-1] == Ticket(answer["connectionId"], "data")
    _, old = await negotiate(server)
    assert (old["negotiateVersion"], "connectionToken" in old) == (0, False)
    await shaken(server, f"/hub?id={old['connectionId']}")
    ticket = hub.tickets[-1]
    assert ticket is not None
    assert ticket.data == "data"


async def test_refusals_are_http_statuses(start: Start) -> None:
    hub = Hub()
    server = await start(hub.gateway)
    assert await negotiate(server, "refuse=1") == (401, "who?")
    assert b" 403 " in (await server.request("/hub?refuse=1")).head
    assert b" 404 " in (await server.request("/hub?id=forged")).head
    assert b" 404 " in (await server.request("/hub/negotiate")).head
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/hub/negotiate") as answer:
        assert answer.status == 405


async def test_tokens_of_another_installation_or_purpose(start: Start) -> None:
    signer, other = Signer(b"a" * 32, "signalr"), Signer(b"b" * 32, "signalr")
    hub = Hub(signer=signer)
    server = await start(hub.gateway)
    payload = b'["x","data",false]'
    await shaken(server, f"/hub?id={signer.sign(payload)}")
    for token in (other.sign(payload), Signer(b"a" * 32, "ticket").sign(payload), signer.sign(b"nonsense")):
        assert b" 404 " in (await server.request(f"/hub?id={token}")).head


async def test_sal_10_pings_in_both_encodings(start: Start) -> None:
    hub = Hub(options={"ping_interval": 0.02})
    server = await start(hub.gateway)
    text = await shaken(server)
    binary = await server.open("/hub")
    binary.send('{"protocol":"messagepack","version":1}\x1e')
    assert await binary.receive() == b"{}\x1e"
    for _ in range(3):
        assert await text.receive() == '{"type":6}\x1e'
        assert await binary.receive() == b"\x02\x91\x06"


async def test_a_silent_client_is_given_up_and_a_pinging_one_is_not(start: Start, clock: FakeClock) -> None:
    hub = Hub(clock=clock)
    server = await start(hub.gateway)
    client = await shaken(server)
    handler = hub.handlers[0]
    handler._heard_at -= 31  # so long ago
    silent_since = handler._heard_at
    client.send('{"type":6}\x1e')
    await eventually(lambda: handler._heard_at > silent_since)
    clock.turn(10.1)
    assert await client.receive() == '{"type":6}\x1e'
    assert hub.told == ["connected"]
    handler._heard_at -= 31
    clock.turn(10.1)
    assert hub.told == ["connected", "disconnected 1006"]


@pytest.mark.parametrize("allow", [True, False])
async def test_close_messages(start: Start, allow: bool) -> None:
    hub = Hub()
    client = await shaken(await start(hub.gateway))
    hub.handlers[0].close("enough", allow_reconnect=allow)
    expected = {"type": 7, "error": "enough"} | ({"allowReconnect": True} if allow else {})
    assert json.loads(str(await client.receive())[:-1]) == expected
    assert await client.closed() == 1000
    assert hub.told[-1] == "disconnected 1000"
    hub.handlers[0].send(Invocation("late", []))
    hub.handlers[0].close()


async def test_the_client_closes(start: Start) -> None:
    hub = Hub()
    client = await shaken(await start(hub.gateway))
    client.send('{"type":7}\x1e')
    assert await client.closed() == 1000


@pytest.mark.parametrize("data", ["{\x1e", '{"type":1}\x1e', "x" * 300, '{"type":2}\x1e'])
async def test_malformed_messages_end_it_with_a_reason(start: Start, data: str) -> None:
    hub = Hub(options={"limits": Limits(max_payload=200)})
    client = await shaken(await start(hub.gateway))
    client.send(data[:150])
    client.send(data[150:])
    closing = json.loads(str(await client.receive())[:-1])
    assert (closing["type"], "allowReconnect" in closing) == (7, False)
    assert closing["error"]
    assert await client.closed() == 1000


async def test_malformed_messagepack_ends_it_with_a_reason(start: Start) -> None:
    hub = Hub()
    client = await (await start(hub.gateway)).open("/hub")
    client.send('{"protocol":"messagepack","version":1}\x1e')
    await client.receive()
    client.send(b"\x01\xc1")
    closing = await client.receive()
    assert isinstance(closing, bytes)
    assert closing[1:3] == b"\x93\x07"
    assert await client.closed() == 1000


async def test_a_fault_of_the_application_ends_one_connection(start: Start) -> None:
    hub = Hub()
    server = await start(hub.gateway)
    other, client = await shaken(server), await shaken(server)
    client.send('{"type":1,"target":"fail","arguments":[]}\x1e')
    assert await client.closed() == 1011
    other.send('{"type":1,"target":"fine","arguments":[]}\x1e')
    await eventually(lambda: len(hub.handlers[0].told) == 2)


# Stateful reconnect


async def stateful(server: RunningServer) -> str:
    """A connection token for it."""
    _, answer = await negotiate(server, "negotiateVersion=1&useStatefulReconnect=true")
    assert answer["useStatefulReconnect"] is True
    return str(answer["connectionToken"])


async def test_dialling_again(start: Start) -> None:
    """Same token, no handshake, first a Sequence from each side; the client's own messages are acknowledged."""
    hub = Hub(stateful=True)
    server = await start(hub.gateway)
    token = await stateful(server)
    client = await shaken(server, f"/hub?id={token}", HELLO_2)
    client.send('{"type":1,"target":"a","arguments":[]}\x1e{"type":8,"sequenceId":3}\x1e')
    assert await client.receive() == '{"type":8,"sequenceId":1}\x1e'
    assert hub.told == ["connected", Invocation("a", []), 3]
    client.close()
    again = await server.open(f"/hub?id={token}")
    again.send('{"type":9,"sequenceId":2}\x1e{"type":1,"target":"b","arguments":[]}\x1e')
    assert await again.receive() == '{"type":9,"sequenceId":1}\x1e'
    assert await again.receive() == '{"type":1,"target":"Again","arguments":[]}\x1e'
    assert await again.receive() == '{"type":8,"sequenceId":2}\x1e'
    assert hub.told == ["resumed", Invocation("b", [])]


async def test_after_a_close_message_the_token_leads_nowhere(start: Start) -> None:
    """The Node client dials again all the same, and crashes over anything but a 404."""
    hub = Hub(stateful=True)
    server = await start(hub.gateway)
    token = await stateful(server)
    client = await shaken(server, f"/hub?id={token}", HELLO_2)
    hub.handlers[0].close("enough", allow_reconnect=True)
    await client.closed()
    assert b" 404 " in (await server.request(f"/hub?id={token}")).head


async def test_dropped_without_a_word_it_may_come_back(start: Start) -> None:
    hub = Hub(stateful=True)
    server = await start(hub.gateway)
    token = await stateful(server)
    client = await shaken(server, f"/hub?id={token}", HELLO_2)
    hub.handlers[0].drop()
    assert await client.closed() == 1012
    await server.open(f"/hub?id={token}")


async def test_version_1_is_not_stateful(start: Start) -> None:
    """Such a client neither counts nor dials again."""
    hub = Hub(stateful=True)
    server = await start(hub.gateway)
    client = await shaken(server, f"/hub?id={await stateful(server)}", HELLO)
    assert not hub.handlers[0].is_stateful
    client.send('{"type":1,"target":"a","arguments":[]}\x1e')
    await eventually(lambda: len(hub.told) == 2)
    await asyncio.sleep(0)
    assert not hub.told.count(1)


async def test_who_did_not_negotiate_it_cannot_resume(start: Start) -> None:
    hub = Hub()
    server = await start(hub.gateway)
    _, answer = await negotiate(server, "negotiateVersion=1&useStatefulReconnect=true")
    assert "useStatefulReconnect" not in answer
    client = await server.open(f"/hub?id={answer['connectionToken']}")
    client.send('{"type":9,"sequenceId":1}\x1e')
    assert "error" in json.loads(str(await client.receive())[:-1])
