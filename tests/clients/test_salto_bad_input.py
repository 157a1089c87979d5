"""What bad input gets on Salto's hubs: SignalR's own error, promptly; and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from signalr_program import access_token, hub_url
from yarl import URL

from doorstream.protocols.signalr.msgpack_protocol import length, prefixed
from doorstream.testing.server import Demo, running_demo

ALLOWED = "device.request.allowed"
END = "\x1e"
PATIENCE = 60.0
HANDSHAKE_PATIENCE = 90.0
TOO_LONG = 2_000_000
JSON, MESSAGEPACK = "json", "messagepack"
PING = 6


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for all tests of this file; none of them may surprise it."""
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors
        assert "eyJ" not in demo.errors  # what every token begins with


@contextlib.asynccontextmanager
async def raw(demo: Demo) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A WebSocket on which the test speaks for itself."""
    query = {"access_token": await access_token(demo)}
    async with aiohttp.ClientSession() as session, session.ws_connect(hub_url(demo), params=query) as socket:
        yield socket


@contextlib.asynccontextmanager
async def speaking(demo: Demo, protocol: str = JSON) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """The same after the handshake."""
    async with raw(demo) as socket:
        await socket.send_str(json.dumps({"protocol": protocol, "version": 1}) + END)
        answer = await socket.receive(PATIENCE)
        assert answer.data in ("{}" + END, b"{}" + END.encode())
        yield socket


Follow = Callable[[], Awaitable[None]]


@pytest.fixture(autouse=True)
async def go_on(demo: Demo, request: pytest.FixtureRequest) -> AsyncIterator[Follow]:
    """Somebody else, who is connected all the time and gets what is his: whenever it is called, and in the end."""
    async with speaking(demo) as bystander:
        names = (f"{request.node.name} {number}" for number in itertools.count())

        async def follow() -> None:
            event_id = hashlib.sha256(next(names).encode()).hexdigest()
            event = {"id": event_id, "topic": ALLOWED, "occurred": 1_720_000_000_000, "body": {}}
            await demo.api.ingest(demo.site_id, event)
            while (message := await heard(bystander)) == {"type": PING}:
                pass
            assert message["target"] == "ReceiveMessage"
            assert json.loads(message["arguments"][0])["id"] == event_id

        yield follow
        await follow()


async def heard(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """The next message, in JSON."""
    message: dict[str, Any] = json.loads((await socket.receive_str(timeout=PATIENCE)).removesuffix(END))
    return message


async def ended(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """The code with which the server closes, whatever else it says first."""
    while True:
        message = await socket.receive(PATIENCE)
        if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING):
            return socket.close_code


@pytest.mark.parametrize(
    ("handshake", "complaint"),
    [
        ('{"protocol":"xml","version":1}', "the protocol is not supported"),
        ('{"protocol":"json","version":99}', "the version of the protocol"),
        ('{"protocol":"json"}', "the version of the protocol"),
        ('{"protocol":7,"version":"1"}', "the protocol is not supported"),
        ("[]", "handshake"),
        ("{", "handshake"),
        ("", "handshake"),
    ],
)
async def test_a_bad_handshake(demo: Demo, handshake: str, complaint: str) -> None:
    async with raw(demo) as socket:
        await socket.send_str(handshake + END)
        assert complaint in (await heard(socket))["error"].lower()
        assert await ended(socket) == aiohttp.WSCloseCode.OK


async def silent(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Says nothing, and the pongs of its library are no handshake."""
    await socket.pong()


async def half_a_record(socket: aiohttp.ClientWebSocketResponse) -> None:
    """A handshake without its end."""
    await socket.send_str('{"protocol":"json","version":1}')


async def half_a_text(socket: aiohttp.ClientWebSocketResponse) -> None:
    """A handshake that breaks off."""
    await socket.send_str('{"protocol":"js')


async def half_in_bytes(socket: aiohttp.ClientWebSocketResponse) -> None:
    """The same of a client that wants MessagePack."""
    await socket.send_bytes(b'{"protocol":"messagepack"')


async def drop_by_drop(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Always a little more of it: that does not make the time any longer."""
    with contextlib.suppress(ConnectionError):
        while not socket.closed:
            await socket.send_str(" ")
            await asyncio.sleep(0.5)


Behave = Callable[[aiohttp.ClientWebSocketResponse], Coroutine[Any, Any, None]]
HALVES: tuple[Behave, ...] = (silent, half_a_record, half_a_text, half_in_bytes, drop_by_drop)


async def put_off(demo: Demo, behave: Behave) -> tuple[Any, ...]:
    """All that the server says to one who never shakes hands; it must come by itself."""
    async with raw(demo) as socket:
        behaving = asyncio.create_task(behave(socket))
        try:
            message = await socket.receive(HANDSHAKE_PATIENCE)
        finally:
            behaving.cancel()
            await asyncio.gather(behaving, return_exceptions=True)
    return behave.__name__, message.type, message.data, message.extra


async def cut_off(demo: Demo, request: bytes) -> bytes:
    """All that the server says to one who does not even end the request for the upgrade."""
    url = URL(demo.url)
    assert url.host is not None
    assert url.port is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(request)
    try:
        async with asyncio.timeout(HANDSHAKE_PATIENCE):
            return await reader.read()
    finally:
        writer.close()


async def test_who_never_shakes_hands_is_put_off_while_others_go_on(demo: Demo, go_on: Follow) -> None:
    """No handshake, and half of one in every way: closed with the reason, and without a word of SignalR before it."""
    waiting = asyncio.gather(
        *(put_off(demo, behave) for behave in HALVES),
        *(cut_off(demo, request) for request in (b"", b"GET /v1/hub/entries HTTP/1.1\r\nUpgrade: webso")),
    )
    count = 0
    while not waiting.done():
        await go_on()
        count += 1
        await asyncio.sleep(0.2)
    assert count > 1
    *ends, nothing, half = await waiting
    expected = (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.POLICY_VIOLATION, "no handshake")
    assert ends == [(behave.__name__, *expected) for behave in HALVES]
    assert (nothing, half) == (b"", b"")


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "[]",
        "7",
        '{"type":"one"}',
        '{"type":1,"target":7,"arguments":[]}',
        '{"type":1,"target":"x","arguments":"none"}',
        '{"type":2}',
        '{"type":3}',
        "\ufffd",
        '{"type":1,"target":"x","arguments":[' + "[" * 2000,
    ],
)
async def test_malformed_json(demo: Demo, message: str) -> None:
    """The hub is closed with a reason."""
    async with speaking(demo) as socket:
        await socket.send_str(message + END)
        answer = await heard(socket)
        assert answer["type"] == 7
        assert answer["error"]
        assert await ended(socket) == aiohttp.WSCloseCode.OK


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff\xff\x01",
        b"\x02\x91\xc1",
        b"\x01\xc1",
        b"\x03\x92\x01\x80",
        b"\x02\x93\x01",
        b"\x01\x07",
    ],
)
async def test_malformed_messagepack(demo: Demo, data: bytes) -> None:
    """A length without end, a byte that is none, a message that is cut off or no list."""
    async with speaking(demo, MESSAGEPACK) as socket:
        await socket.send_bytes(data)
        answer = await socket.receive_bytes(timeout=PATIENCE)
        kind, error, *_ = msgspec.msgpack.decode(answer[1:])
        assert kind == 7
        assert error
        assert await ended(socket) == aiohttp.WSCloseCode.OK


@pytest.mark.parametrize("protocol", [JSON, MESSAGEPACK])
async def test_an_oversized_message(demo: Demo, protocol: str) -> None:
    async with speaking(demo, protocol) as socket:
        if protocol == JSON:
            await socket.send_str("x" * TOO_LONG)
        else:
            await socket.send_bytes(b"x" * TOO_LONG)
        assert await ended(socket) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


@pytest.mark.parametrize("protocol", [JSON, MESSAGEPACK])
async def test_an_oversized_message_in_pieces(demo: Demo, protocol: str) -> None:
    """Each frame may be sent; what they would make together may not."""
    piece = TOO_LONG // 100
    async with speaking(demo, protocol) as socket:
        with contextlib.suppress(ConnectionError):
            for number in range(100):
                if protocol == JSON:
                    await socket.send_str("x" * piece)
                else:  # a length of 2 MB, and then its bytes
                    await socket.send_bytes((b"\x80\x89\x7a" if number == 0 else b"") + b"x" * piece)
        assert await ended(socket) is not None


@pytest.mark.parametrize("protocol", [JSON, MESSAGEPACK])
@pytest.mark.parametrize("target", ["Anything", "ReceiveMessage", "", "x" * 10_000])
async def test_an_unknown_target(demo: Demo, target: str, protocol: str) -> None:
    """With an id it gets a completion with an error, without one nothing; the connection goes on."""
    async with speaking(demo, protocol) as socket:
        for invocation_id in (None, "5", "6"):
            await call(socket, protocol, target, invocation_id)
        for expected in ("5", "6"):
            kind, answered, error = await completed(socket, protocol)
            assert (kind, answered) == (3, expected)
            assert error


async def call(socket: aiohttp.ClientWebSocketResponse, protocol: str, target: str, invocation_id: str | None) -> None:
    """Invoke a method of the hub; without an id no answer is wanted."""
    if protocol == JSON:
        more = {} if invocation_id is None else {"invocationId": invocation_id}
        await socket.send_str(json.dumps({"type": 1, "target": target, "arguments": []} | more) + END)
    else:
        await socket.send_bytes(prefixed(msgspec.msgpack.encode([1, {}, invocation_id, target, [], []])))


async def completed(socket: aiohttp.ClientWebSocketResponse, protocol: str) -> tuple[int, str, str]:
    """Type, id and error of the next message that is no ping."""
    while True:
        if protocol == JSON:
            answer = await heard(socket)
            if answer["type"] != PING:
                return answer["type"], answer["invocationId"], answer["error"]
            continue
        data = await socket.receive_bytes(timeout=PATIENCE)
        kind, *rest = msgspec.msgpack.decode(data[(length(data) or (0, 0))[1] :])
        if kind != PING:
            _, answered, result, error = rest
            assert result == 1  # an error, and no result
            return kind, answered, error


@pytest.mark.parametrize("site", ["", "nothing", "0738b8df-329a-4d50-88e7-7a48928c4d6f", "x" * 5000])
async def test_sites_that_do_not_exist(demo: Demo, site: str) -> None:
    """Missing is 400; what does not exist is as what one may not see."""
    query = {"site_id": site, "access_token": await access_token(demo)}
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{demo.url}/v1/hub/entries", params=query)
    assert refused.value.status == (400 if site == "" else 403)
