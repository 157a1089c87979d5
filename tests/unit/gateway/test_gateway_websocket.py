"""Connections on a real server: their life, their limits, and clients that misbehave."""

import asyncio
import contextlib
import logging

import pytest
from gateway_support import FakeClock, RunningServer, Start, client_frame, eventually

from doorstream.gateway import Gateway, Limits, Rate, Refusal, WebSocketConnection
from doorstream.gateway.serve import raise_file_limit
from doorstream.protocols.websocket import Opcode, UpgradeRequest, text_frame


class Recorder:
    """A handler that writes down what happens to it, and echoes."""

    def __init__(self, *, echo: bool = True) -> None:
        self.echo = echo
        self.messages: list[str | bytes] = []
        self.codes: list[int] = []
        self.connection: WebSocketConnection | None = None

    def opened(self, connection: WebSocketConnection) -> None:
        """Keep the connection."""
        self.connection = connection

    def message(self, data: str | bytes) -> None:
        """Write it down."""
        self.messages.append(data)
        if self.echo and self.connection is not None:
            self.connection.send(data)

    def closed(self, code: int) -> None:
        """Write it down."""
        self.codes.append(code)


class Endpoint:
    """Gives each client a recorder, or what the test says."""

    def __init__(self, limits: Limits | None = None, answer=None) -> None:
        self.limits = limits or Limits()
        self.handlers: list[Recorder] = []
        self.requests: list[UpgradeRequest] = []
        self.answer = answer

    def open(self, request: UpgradeRequest):
        """Decide."""
        self.requests.append(request)
        if self.answer is not None:
            return self.answer()
        self.handlers.append(Recorder())
        return self.handlers[-1]

    @property
    def handler(self) -> Recorder:
        """The only client's."""
        assert len(self.handlers) == 1
        return self.handlers[0]


async def serve(start: Start, endpoint: Endpoint, **settings) -> RunningServer:
    """Start a server with one endpoint at `/`."""
    gateway = Gateway(**settings)
    gateway.add("/", endpoint)
    return await start(gateway)


# Life


async def test_messages_and_a_clean_close(start: Start) -> None:
    endpoint = Endpoint()
    server = await serve(start, endpoint)
    client = await server.open("/?a=1&b=2", Origin="http://o")
    client.send("hello")
    assert await client.receive() == "hello"
    client.send(b"\x00\xff")
    assert await client.receive() == b"\x00\xff"
    client.send_frame(Opcode.CLOSE, (4000).to_bytes(2, "big"))
    assert await client.closed() == 4000
    assert await client.end() == b""
    handler = endpoint.handler
    await eventually(lambda: server.gateway.counters.closed == 1)
    assert (handler.messages, handler.codes) == (["hello", b"\x00\xff"], [4000])
    assert endpoint.requests[0].query == [("a", "1"), ("b", "2")]
    assert endpoint.requests[0].origin == "http://o"
    assert endpoint.requests[0].peer == "127.0.0.1"
    assert server.gateway.connections == 0


async def test_write_is_the_transports_own_method(start: Start) -> None:
    """The live path: no layer of ours between the hub and the socket; joined frames are as good as single ones."""
    endpoint = Endpoint()
    server = await serve(start, endpoint)
    client = await server.open()
    await eventually(lambda: server.gateway.connections == 1)
    connection = endpoint.handler.connection
    assert connection is not None
    assert connection.write == connection.transport.write
    assert connection.framing is text_frame
    connection.write(connection.framing(b"one") + connection.framing("zwö".encode()))
    assert [await client.receive(), await client.receive()] == ["one", "zwö"]


async def test_opened_comes_a_moment_after_the_101_or_with_the_first_bytes(start: Start, clock: FakeClock) -> None:
    """Programs that wait for "open" before they listen would lose a message that came with the 101."""
    gateway = Gateway(clock=clock)
    endpoint = Endpoint()
    gateway.add("/", endpoint)
    server = await start(gateway)
    await server.open()
    assert gateway.connections == 0
    clock.turn(0.02)
    assert gateway.connections == 1
    client = await server.open()
    client.send("x")
    assert await client.receive() == "x"


async def test_bytes_that_come_with_the_upgrade_request_are_not_lost(start: Start) -> None:
    """Uvicorn drops them (`spikes.md` section 8)."""
    endpoint = Endpoint()
    server = await serve(start, endpoint)
    client = await server.request(extra=client_frame(Opcode.TEXT, b"early") + client_frame(Opcode.TEXT, b"bird"))
    assert [await client.receive(), await client.receive()] == ["early", "bird"]


async def test_a_request_may_come_byte_by_byte(start: Start) -> None:
    server = await serve(start, Endpoint())
    client = await server.connect()
    head = (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    for index in range(len(head)):
        client.writer.write(head[index : index + 1])
        await asyncio.sleep(0)
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")


async def test_a_request_and_then_an_upgrade_on_one_connection(start: Start) -> None:
    server = await serve(start, Endpoint())
    client = await server.connect()
    client.writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
    client.writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")


async def test_our_close_waits_for_the_client(start: Start) -> None:
    endpoint = Endpoint()
    server = await serve(start, endpoint)
    client = await server.open()
    await eventually(lambda: server.gateway.connections == 1)
    handler = endpoint.handler
    assert handler.connection is not None
    handler.connection.send("last")
    handler.connection.close(4001, "enough")
    assert handler.codes == [4001]
    handler.connection.send("never")
    assert await client.receive() == "last"
    assert await client.closed() == 4001
    client.send("too late")
    client.send_frame(Opcode.CLOSE, (4001).to_bytes(2, "big"))
    assert await client.end() == b""
    assert (handler.messages, handler.codes) == ([], [4001])


async def test_a_client_that_does_not_close_is_aborted_after_the_grace(start: Start) -> None:
    endpoint = Endpoint(Limits(close_grace=0.05))
    server = await serve(start, endpoint)
    client = await server.open()
    await eventually(lambda: server.gateway.connections == 1)
    assert endpoint.handler.connection is not None
    endpoint.handler.connection.close()
    assert await client.closed() == 1000
    assert await client.end() == b""


async def test_a_broken_connection_is_told_as_1006(start: Start) -> None:
    endpoint = Endpoint()
    server = await serve(start, endpoint)
    client = await server.open()
    await eventually(lambda: server.gateway.connections == 1)
    client.writer.transport.abort()
    await eventually(lambda: endpoint.handler.codes == [1006])


async def test_a_half_closed_connection_is_closed(start: Start) -> None:
    endpoint = Endpoint()
    server = await serve(start, endpoint)
    client = await server.open()
    await eventually(lambda: server.gateway.connections == 1)
    client.writer.write_eof()
    await eventually(lambda: endpoint.handler.codes == [1006])


# Refusals


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (lambda: Refusal(401, {"Content-Type": "application/json"}, b'{"error":"no"}'), 401, b'{"error":"no"}'),
        (lambda: asyncio.sleep(0.01, Refusal(403)), 403, b""),
        (lambda: 1 // 0, 500, b""),
    ],
)
async def test_an_endpoint_refuses_or_fails(start: Start, answer, status: int, body: bytes) -> None:
    server = await serve(start, Endpoint(answer=answer))
    client = await server.request()
    assert client.head.startswith(f"HTTP/1.1 {status} ".encode())
    assert await client.end() == body
    assert server.gateway.counters.refused == 1


async def test_an_unknown_path_is_404_and_a_wrong_version_426(start: Start) -> None:
    server = await serve(start, Endpoint())
    client = await server.request("/elsewhere")
    assert client.head.startswith(b"HTTP/1.1 404 ")
    client = await server.connect()
    client.writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 12\r\n\r\n"
    )
    answer = await client.end()
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in answer


async def test_a_decision_may_take_time_and_what_comes_meanwhile_is_kept(start: Start) -> None:
    decided = asyncio.Event()
    endpoint = Endpoint()

    async def decide():
        await decided.wait()
        endpoint.handlers.append(Recorder())
        return endpoint.handlers[-1]

    endpoint.answer = decide
    server = await serve(start, endpoint)
    waiting = asyncio.create_task(server.request(extra=client_frame(Opcode.TEXT, b"early")))
    await eventually(lambda: len(endpoint.requests) == 1)
    decided.set()
    client = await waiting
    assert client.head.startswith(b"HTTP/1.1 101 ")
    assert await client.receive() == "early"


async def test_a_decision_that_fails_is_500(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    async def decide():
        await asyncio.sleep(0)
        raise ValueError("broken")

    server = await serve(start, Endpoint(answer=decide))
    client = await server.request()
    assert client.head.startswith(b"HTTP/1.1 500 ")
    assert "failed to decide" in caplog.text


async def test_a_client_that_goes_away_cancels_the_decision(start: Start) -> None:
    cancelled = asyncio.Event()

    async def decide():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    endpoint = Endpoint(answer=decide)
    server = await serve(start, endpoint)
    waiting = asyncio.create_task(server.request())
    await eventually(lambda: len(endpoint.requests) == 1)
    server.clients[0].writer.transport.abort()
    await cancelled.wait()
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        await waiting


async def test_a_decision_that_never_comes_is_given_up(start: Start, clock: FakeClock) -> None:
    endpoint = Endpoint(answer=lambda: asyncio.Event().wait())
    server = await serve(start, endpoint, clock=clock)
    waiting = asyncio.create_task(server.request())
    await eventually(lambda: len(endpoint.requests) == 1)
    clock.turn(10.1)
    client = await waiting
    assert client.head.startswith(b"HTTP/1.1 503 ")
    assert server.gateway.counters.handshake_timeouts == 1


async def test_a_flood_while_the_decision_is_pending_is_not_kept(start: Start) -> None:
    """Reading stops; when the decision comes everything is there."""
    decided = asyncio.Event()
    endpoint = Endpoint(Limits(max_payload=2**20, max_unsent=2**24))

    async def decide():
        await decided.wait()
        endpoint.handlers.append(Recorder(echo=False))
        return endpoint.handlers[-1]

    endpoint.answer = decide
    server = await serve(start, endpoint)
    flood = client_frame(Opcode.BINARY, bytes(1000)) * 1_500
    waiting = asyncio.create_task(server.request(extra=flood))
    await eventually(lambda: len(endpoint.requests) == 1)
    await asyncio.sleep(0.05)
    (connection,) = server.server.server_state.connections
    assert isinstance(connection, WebSocketConnection)
    assert len(connection._early or b"") < 600_000
    decided.set()
    await waiting
    await eventually(lambda: bool(endpoint.handlers) and len(endpoint.handler.messages) == 1_500)


# Limits


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"\x81\x05Hello", 1002),
        (client_frame(Opcode.TEXT, b"\xff"), 1007),
        (client_frame(Opcode.BINARY, bytes(100_001))[:20], 1009),
        (client_frame(Opcode.CONTINUATION, b"x"), 1002),
    ],
)
async def test_a_peers_mistake_closes_its_connection(start: Start, bad: bytes, code: int) -> None:
    """The client gets our close frame although it keeps sending."""
    endpoint = Endpoint()
    server = await serve(start, endpoint)
    client = await server.open()
    client.send("good")
    client.writer.write(bad + bytes(50_000))
    assert await client.receive() == "good"
    assert await client.closed() == code
    assert await client.end() == b""
    assert endpoint.handler.codes == [code]
    assert server.gateway.counters.protocol_errors == 1


async def test_d12_a_client_that_does_not_read_is_aborted(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Its handler is told in the next loop turn, not from within the write."""
    endpoint = Endpoint(Limits(max_unsent=200_000))
    server = await serve(start, endpoint)
    client = await server.open()
    await eventually(lambda: server.gateway.connections == 1)
    handler = endpoint.handler
    assert handler.connection is not None
    client.reader._transport.pause_reading()
    frame = text_frame(bytes(50_000))
    with caplog.at_level(logging.WARNING):
        for _ in range(1_000):
            handler.connection.write(frame)
            assert handler.codes == []
            if handler.connection.transport.get_write_buffer_size() > 200_000:
                break
        else:
            pytest.fail("the transport never filled")
        await eventually(lambda: bool(handler.codes))
    assert handler.codes == [1013]
    assert "slow consumer" in caplog.text
    assert server.gateway.counters.slow_consumers == 1
    await eventually(lambda: not server.server.server_state.connections)


async def test_a_replay_waits_for_the_client(start: Start) -> None:
    """`drained()` returns below the low-water mark, again and again, and nothing is aborted."""
    endpoint = Endpoint(Limits(max_unsent=300_000, low_water=50_000))
    server = await serve(start, endpoint)
    client = await server.open()
    await eventually(lambda: server.gateway.connections == 1)
    handler = endpoint.handler
    connection = handler.connection
    assert connection is not None
    count, chunk = 200, text_frame(b"x" * 100_000)
    high: list[int] = []

    async def replay() -> None:
        connection.replaying = True
        for _ in range(count):
            connection.write(chunk)
            await connection.drained()
            high.append(connection.transport.get_write_buffer_size())
        connection.replaying = False

    async def read() -> None:
        for _ in range(count):
            assert len(await client.receive()) == 100_000

    await asyncio.gather(replay(), read())
    assert max(high) <= 50_000
    assert handler.codes == []
    # afterwards the ordinary limit counts again
    client.reader._transport.pause_reading()
    for _ in range(1_000):
        connection.write(chunk)
        await asyncio.sleep(0)
        if handler.codes:
            break
    assert handler.codes == [1013]


@pytest.mark.parametrize("max_unsent", [0, 1, 5_000, 65_536])
async def test_a_small_limit_takes_a_smaller_low_water_mark(start: Start, max_unsent: int) -> None:
    """An example with `--max-payload 1000` accepted connections and then never opened them."""
    server = await serve(start, Endpoint(Limits(max_unsent=max_unsent)))
    client = await server.open()
    client.send("x")
    assert await client.receive() == "x"


async def test_drained_returns_when_the_connection_is_lost(start: Start) -> None:
    endpoint = Endpoint(Limits(max_unsent=100_000, low_water=10_000))
    server = await serve(start, endpoint)
    client = await server.open()
    await eventually(lambda: server.gateway.connections == 1)
    connection = endpoint.handler.connection
    assert connection is not None
    client.reader._transport.pause_reading()
    connection.replaying = True
    connection.write(text_frame(bytes(20_000_000)))
    waiting = [asyncio.create_task(connection.drained()) for _ in range(2)]
    await asyncio.sleep(0.02)
    assert not any(task.done() for task in waiting)
    assert endpoint.handler.codes == []
    client.writer.transport.abort()
    await asyncio.gather(*waiting)
    await connection.drained()


async def test_d12_a_client_that_talks_too_fast_is_read_more_slowly(start: Start) -> None:
    """It is never refused, and everything arrives in order."""
    endpoint = Endpoint(Limits(rate=Rate(per_second=1_000.0, burst=100)))
    server = await serve(start, endpoint)
    client = await server.open()
    loop = asyncio.get_running_loop()
    before = loop.time()
    for number in range(500):
        client.send(str(number))
    assert [await client.receive() for _ in range(500)] == [str(number) for number in range(500)]
    assert loop.time() - before > 0.3
    assert server.gateway.counters.throttled >= 1
    assert endpoint.handler.codes == []


async def test_a_slowed_client_that_leaves_is_noticed(start: Start) -> None:
    endpoint = Endpoint(Limits(rate=Rate(per_second=10.0, burst=10), close_grace=0.2))
    server = await serve(start, endpoint)
    client = await server.open()
    for number in range(50):
        client.send(str(number))
    await eventually(lambda: server.gateway.counters.throttled >= 1)
    connection = endpoint.handler.connection
    assert connection is not None
    assert connection.throttled
    connection.close()
    client.close()
    await eventually(lambda: not server.server.server_state.connections)


# Handlers that fail


async def test_a_handler_that_fails_closes_its_connection(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Recorder):
        def message(self, data: str | bytes) -> None:
            """Fail."""
            raise ValueError(data)

        def closed(self, code: int) -> None:
            """Fail too."""
            super().closed(code)
            raise ValueError

    handler = Failing()
    server = await serve(start, Endpoint(answer=lambda: handler))
    client = await server.open()
    client.send("x")
    assert await client.closed() == 1011
    assert handler.codes == [1011]
    assert "a handler failed" in caplog.text


async def test_a_handler_that_fails_to_open_closes_its_connection(start: Start) -> None:
    class Failing(Recorder):
        def opened(self, connection: WebSocketConnection) -> None:
            """Fail."""
            raise ValueError(connection)

    server = await serve(start, Endpoint(answer=Failing))
    client = await server.open()
    assert await client.closed() == 1011


# The server's end


async def test_shutdown_closes_everyone_with_1012(start: Start) -> None:
    endpoint = Endpoint(Limits(close_grace=0.1))
    server = await serve(start, endpoint)
    polite, deaf = await server.open(), await server.open()
    await eventually(lambda: server.gateway.connections == 2)
    server.server.should_exit = True
    assert await polite.closed() == 1012
    polite.send_frame(Opcode.CLOSE, (1012).to_bytes(2, "big"))
    assert await polite.end() == b""
    assert await deaf.closed() == 1012
    await eventually(lambda: not server.server.server_state.connections)
    assert [handler.codes for handler in endpoint.handlers] == [[1012], [1012]]


async def test_without_a_gateway_the_mistake_is_named() -> None:
    with pytest.raises(RuntimeError, match="the lifespan must yield"):
        WebSocketConnection(server_state=None, app_state={})


def test_a_connection_has_no_dictionary() -> None:
    """Memory for each idle connection matters."""
    assert not hasattr(WebSocketConnection, "__dict__") or "__dict__" not in dir(WebSocketConnection)


# Many


async def test_one_write_for_each_of_a_thousand_clients(start: Start) -> None:
    endpoint = Endpoint()
    server = await serve(start, endpoint)
    raise_file_limit()  # both ends are in this process
    clients = [await server.open() for _ in range(1_000)]
    await eventually(lambda: server.gateway.connections == 1_000)
    writes = [handler.connection.write for handler in endpoint.handlers if handler.connection is not None]
    frame = text_frame(b"event" * 100) * 3
    for write in writes:
        write(frame)
    for client in clients:
        assert await client.reader.readexactly(len(frame)) == frame
