"""The additions to uvicorn's HTTP protocol."""

import asyncio
import resource

import pytest
from gateway_support import FakeClock, Start, eventually

from doorstream.gateway import Gateway
from doorstream.gateway.serve import gateway_app, raise_file_limit, uvicorn_config


@pytest.mark.parametrize("head", [b"", b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX: "])
async def test_a_head_that_never_ends_is_not_waited_for(start: Start, head: bytes) -> None:
    server = await start(Gateway(handshake_timeout=0.05))
    client = await server.connect()
    client.writer.write(head)
    assert await client.end() == b""
    assert server.gateway.counters.handshake_timeouts == 1


async def test_a_second_head_that_never_ends_is_not_waited_for_either(start: Start, clock: FakeClock) -> None:
    """The keep-alive timer of uvicorn stops at the first byte of it."""
    server = await start(Gateway(clock=clock))
    client = await server.connect()
    client.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.reader.readuntil(b"\r\n\r\n")
    clock.turn(20)
    client.writer.write(b"GET / HTTP/1.1\r\nHo")
    await eventually(lambda: len(server.gateway.handshakes) == 1)
    clock.turn(10.1)
    assert await client.end() == b""


async def test_a_request_that_takes_long_is_not_cut_off(start: Start, clock: FakeClock) -> None:
    """Only the head has to come in time."""
    gateway = Gateway(clock=clock)
    inner = gateway_app(gateway)

    async def slow(scope, receive, send) -> None:
        if scope["type"] == "http":
            clock.turn(30)
        await inner(scope, receive, send)

    server = await start(gateway, slow)
    client = await server.connect()
    client.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
    assert gateway.counters.handshake_timeouts == 0


async def test_a_head_without_end_is_cut_off_by_size(start: Start) -> None:
    server = await start(Gateway())
    client = await server.connect()
    client.writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000)
    assert (await client.end()).startswith(b"HTTP/1.1 400 ")


async def test_garbage_is_answered_with_400(start: Start) -> None:
    server = await start(Gateway())
    client = await server.connect()
    client.writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert (await client.end()).startswith(b"HTTP/1.1 400 ")


async def test_another_upgrade_is_served_as_a_request(start: Start) -> None:
    """HTTP/2 upgrades are offered by some clients; they may be ignored."""
    server = await start(Gateway())
    client = await server.connect()
    client.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")


async def test_an_upgrade_pipelined_behind_an_unanswered_request_is_hung_up_on(start: Start) -> None:
    gateway = Gateway()
    inner = gateway_app(gateway)

    async def slow(scope, receive, send) -> None:
        if scope["type"] == "http":
            await asyncio.sleep(0.1)
        await inner(scope, receive, send)

    server = await start(gateway, slow)
    client = await server.connect()
    client.writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert b" 101 " not in await client.end()


async def test_ten_thousand_connections_that_never_finish_their_handshake(start: Start, clock: FakeClock) -> None:
    """Scaled to the files a process may open; both ends are in this one."""
    count = min(10_000, raise_file_limit() // 2 - 200)
    server = await start(Gateway(clock=clock))
    loop = asyncio.get_running_loop()
    ended = 0

    class Silent(asyncio.Protocol):
        def connection_made(self, transport) -> None:
            transport.write(b"GET /socket.io/ HTTP/1.1\r\n")

        def connection_lost(self, exc: Exception | None) -> None:
            del exc
            nonlocal ended
            ended += 1

    for _ in range(count):
        await loop.create_connection(Silent, "127.0.0.1", server.port)
    client = await server.connect()
    client.writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await client.end()).startswith(b"HTTP/1.1 404 ")
    clock.turn(10.1)
    await eventually(lambda: ended == count)
    assert server.gateway.counters.handshake_timeouts == count
    assert not server.server.server_state.connections


def test_the_file_limit_is_raised_to_the_hard_limit() -> None:
    assert raise_file_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def test_settings_of_the_caller_win() -> None:
    config = uvicorn_config(gateway_app(Gateway()), port=1234, timeout_graceful_shutdown=1)
    assert (config.port, config.timeout_graceful_shutdown, config.access_log) == (1234, 1, False)


def test_a_path_leads_to_one_endpoint() -> None:
    """With or without the slash at its end."""
    gateway = Gateway()
    gateway.add("/a/", object())
    assert gateway.find("/a") is gateway.find("/a/") is gateway.endpoints["/a"]
    assert gateway.find("/b") is None
    with pytest.raises(ValueError, match="leads somewhere already"):
        gateway.add("/a", object())
