"""What bad input gets on the PDK stream: the documented error, no stack trace, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from pdk_programs import ALLOWED, assert_calm, put
from python_program import program

from doorstream.testing.server import Demo, running_demo

CONNECT_TIMEOUT = 4.0
HANDSHAKE_TIMEOUT = 4.0
PING_INTERVAL, PING_TIMEOUT = 1.0, 6.0
"""Seconds: short enough to wait for, and longer than a slow machine keeps the bystander from an answer."""
PATIENCE = 60.0
TOO_LONG = b"x" * 2_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One impatient server for all tests of this file; none of them may surprise it."""
    settings = {
        "connect_timeout": CONNECT_TIMEOUT,
        "handshake_timeout": HANDSHAKE_TIMEOUT,
        "ping_interval": PING_INTERVAL,
        "ping_timeout": PING_TIMEOUT,
    }
    async with running_demo(settings=settings) as demo:
        yield demo
        assert_calm(demo)


@pytest.fixture(autouse=True)
async def _bystander(demo: Demo, request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Somebody else, who is connected all the time and gets what is his."""
    async with program(demo, await demo.system_token(), ["websocket"], ALLOWED) as bystander:
        yield
        await put(demo, request.node.name)
        await bystander.until(lambda: bystander.ids)
        assert bystander.ids == [request.node.name]
        assert bystander.told.count("connect") == 1


@contextlib.asynccontextmanager
async def raw(demo: Demo, query: str = "EIO=4") -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A WebSocket on which the test speaks for itself, after the server's open packet."""
    address = f"{demo.url}/socket.io/?{query}&transport=websocket&token={await demo.system_token()}"
    async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
        assert (await socket.receive_str(timeout=PATIENCE)).startswith("0{")
        yield socket


async def heard(socket: aiohttp.ClientWebSocketResponse) -> str:
    """What the server says next but for its pings, which are answered."""
    while (packet := await socket.receive_str(timeout=PATIENCE)) == "2":
        await socket.send_str("3")
    return packet


@contextlib.asynccontextmanager
async def joined(demo: Demo) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """The same, in the default namespace."""
    async with raw(demo) as socket:
        await socket.send_str("40")
        assert (await heard(socket)).startswith("40{")
        yield socket


async def end_of(socket: aiohttp.ClientWebSocketResponse) -> int:
    """Wait until the server closes, and give its code."""
    async with asyncio.timeout(PATIENCE):
        while not socket.closed:
            await socket.receive()
    return socket.close_code


class Poller:
    """A polling client on which the test speaks for itself."""

    def __init__(self, session: aiohttp.ClientSession, demo: Demo, token: str) -> None:
        self.session = session
        self.address = f"{demo.url}/socket.io/?EIO=4&transport=polling&token={token}"

    async def get(self, more: str = "") -> tuple[int, str]:
        """Poll."""
        async with self.session.get(self.address + more) as answer:
            return answer.status, await answer.text()

    async def post(self, body: str | bytes | io.BytesIO, more: str = "") -> tuple[int, str]:
        """Send packets."""
        async with self.session.post(self.address + more, data=body) as answer:
            return answer.status, await answer.text()

    async def open(self) -> str:
        """Open a session and join; gives the part of the query that names it."""
        status, text = await self.get()
        assert status == 200
        sid = f"&sid={json.loads(text[1:])['sid']}"
        assert await self.post("40", sid) == (200, "ok")
        status, text = await self.get(sid)
        if text == "2":
            assert await self.post("3", sid) == (200, "ok")
            status, text = await self.get(sid)
        assert any(packet.startswith("40{") for packet in text.split("\x1e"))
        return sid


@pytest_asyncio.fixture
async def poller(demo: Demo) -> AsyncIterator[Poller]:
    """A polling client."""
    async with aiohttp.ClientSession() as session:
        yield Poller(session, demo, await demo.system_token())


UNKNOWN_SID = (400, '{"code":1,"message":"Session ID unknown"}')
BAD_REQUEST = (400, '{"code":3,"message":"Bad request"}')


@pytest.mark.parametrize("packet", ["", "x", "9", "7", "2", "ping", "\x00", "5", "4\ud7ff", "b!!"])
async def test_malformed_engineio_packets(demo: Demo, packet: str) -> None:
    """They end the session, as in the reference implementation; a ping by the client is one of them (1.2.1, fact 5)."""
    async with joined(demo) as socket:
        await socket.send_str(packet)
        if packet == "5":  # an upgrade packet after the upgrade: harmless, and ignored by others too
            return
        assert await end_of(socket) in (1002, 1000, 1007)


@pytest.mark.parametrize(
    "packet",
    [
        "4x",
        "48",
        "42",
        "42{",
        "42[]",
        "42{}",
        "42[1]",
        '42["connect"]',
        '42["disconnect",1]',
        "42" + "[" * 50_000,
        "43[]",
        '44{"message":"no"}',
        "40",
        "45",
        '451-["x",{"_placeholder":true,"num":5}]',
        '459999-["x"]',
        '42/admin,["x"]',
        '42["x"',
        "41x",
        '40["x"]',
    ],
    ids=lambda packet: packet[:20],
)
async def test_malformed_socketio_packets(demo: Demo, packet: str) -> None:
    """They end the session; nothing of what follows is taken."""
    async with joined(demo) as socket:
        await socket.send_str(packet)
        if "_placeholder" in packet:
            await socket.send_bytes(b"attachment")
        assert await end_of(socket) in (1000, 1002)


async def test_binary_where_text_belongs(demo: Demo) -> None:
    """An attachment that nobody announced."""
    async with joined(demo) as socket:
        await socket.send_bytes(b"\x00\x01")
        assert await end_of(socket) in (1000, 1002)


async def test_harmless_nonsense_is_ignored_or_answered(demo: Demo) -> None:
    """Events that nobody knows, and arguments that make no sense, are no crime."""
    async with joined(demo) as socket:
        for text in ('42["open",{"door":1}]', '42["subscribeIsolated"]', '42["renewedToken",null]', '431["late ack"]'):
            await socket.send_str(text)
        await socket.send_str('427["subscribeIsolated",{"topics":"all"}]')
        assert (await heard(socket)).startswith('437[{"ok":false')


async def test_a_message_of_two_megabytes(demo: Demo) -> None:
    """Refused with 1009 on a WebSocket."""
    async with joined(demo) as socket:
        with contextlib.suppress(ConnectionError):
            await socket.send_str("4" + TOO_LONG.decode())
        assert await end_of(socket) in (1009, 1006)


async def test_a_poll_of_two_megabytes(poller: Poller) -> None:
    """Refused with 413, and the session is over."""
    sid = await poller.open()
    with contextlib.suppress(aiohttp.ClientConnectionError):  # the server need not read on
        assert (await poller.post(io.BytesIO(b"4" + TOO_LONG), sid))[0] == 413
    assert await poller.get(sid) == UNKNOWN_SID


@pytest.mark.parametrize("body", ["", "x", "4\x1e", "42{", "\x1e\x1e", b"\xff\xfe", "b!!"])
async def test_malformed_payloads(poller: Poller, body: str | bytes) -> None:
    """Refused, and the session is over."""
    sid = await poller.open()
    status, text = await poller.post(body, sid)
    assert (status, text) == BAD_REQUEST or body == "42{"
    assert await poller.get(sid) == UNKNOWN_SID


async def test_unknown_sid(demo: Demo, poller: Poller) -> None:
    """Polling and WebSocket alike: the client opens a new session."""
    for sid in ("&sid=nobody", "&sid=", "&sid=" + "x" * 5000):
        assert await poller.get(sid) == UNKNOWN_SID
        assert await poller.post("40", sid) == UNKNOWN_SID
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{demo.url}/socket.io/?EIO=4&transport=websocket&sid=nobody")
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("query", "code"),
    [("EIO=4", 0), ("EIO=4&transport=pigeon", 0), ("EIO=5&transport=polling", 5), ("EIO=4&transport=websocket", 3)],
)
async def test_handshakes_that_make_no_sense(demo: Demo, query: str, code: int) -> None:
    """With the codes of the reference implementation."""
    async with aiohttp.ClientSession() as session, session.get(f"{demo.url}/socket.io/?{query}") as answer:
        assert answer.status == 400
        assert (await answer.json())["code"] == code


async def test_two_polls_at_once(poller: Poller) -> None:
    """The second is refused and ends the session; the first is answered, not left hanging."""
    answers: list[tuple[int, str]] = []
    async with asyncio.timeout(PATIENCE):
        while BAD_REQUEST not in answers:  # a ping may answer the one before the other comes: then they try again
            sid = await poller.open()
            answers = list(await asyncio.gather(poller.get(sid), poller.get(sid)))
    assert {status for status, _ in answers} <= {200, 400}
    assert await poller.get(sid) == UNKNOWN_SID


async def test_a_websocket_that_never_sends_its_40(demo: Demo) -> None:
    """It is closed after the time it has (vendor-apis.md 1.2.1, fact 6), even if its heart beats."""
    before = time.monotonic()
    async with raw(demo) as socket, asyncio.timeout(PATIENCE):
        async for message in socket:
            if message.data == "2":
                await socket.send_str("3")
    assert time.monotonic() - before >= CONNECT_TIMEOUT - 0.1


@pytest.mark.parametrize("query", ["EIO=4", "EIO=3"])
async def test_half_open_clients(demo: Demo, query: str) -> None:
    """Silence ends a session after interval and time-out, whoever has to beat."""
    before = time.monotonic()
    async with raw(demo, query) as socket:
        if query == "EIO=4":
            await socket.send_str("40")
        await end_of(socket)
    assert time.monotonic() - before >= PING_INTERVAL + PING_TIMEOUT - 0.1


async def test_a_poller_that_goes_silent(poller: Poller) -> None:
    """The same for one that stops polling."""
    sid = await poller.open()
    await asyncio.sleep(PING_INTERVAL + PING_TIMEOUT + 4)
    assert await poller.get(sid) == UNKNOWN_SID


async def test_connections_that_never_finish_their_handshake(demo: Demo) -> None:
    """They are closed after the time they have, and meanwhile others connect."""
    host, port = demo.url.removeprefix("http://").split(":")
    head = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upg"
    streams = [await asyncio.open_connection(host, int(port)) for _ in range(200)]
    for number, (_, writer) in enumerate(streams):
        writer.write(head[: number % len(head)])
    async with joined(demo):
        pass
    async with asyncio.timeout(PATIENCE):
        for reader, writer in streams:
            await reader.read()
            writer.close()


async def test_tokens_are_refused_without_being_named(demo: Demo) -> None:
    """What is wrong with a token is said, the token itself is not: neither to the client nor to the log."""
    token = await demo.system_token()
    for bad in (token[:-4] + "AAAA", "eyJhbGciOiJub25lIn0.e30.", "x" * 20_000, "%00%ff", token.replace(".", "..")):
        async with aiohttp.ClientSession() as session:
            address = f"{demo.url}/socket.io/?EIO=4&transport=websocket&token={bad}"
            async with session.ws_connect(address) as socket:
                await socket.receive_str(timeout=PATIENCE)
                await socket.send_str("40")
                assert await heard(socket) == '44{"message":"invalid token"}'
