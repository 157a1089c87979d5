"""Socket.IO applications: joining, events, acknowledgements, and clients that break the order."""

import asyncio
from typing import ClassVar

import pytest
from engine_support import FakeConnection, Poller, open_websocket, websocket_request
from gateway_support import eventually

from doorstream.gateway import Refusal
from doorstream.gateway.engineio import CloseReason
from doorstream.gateway.socketio import ConnectError, SocketIOEndpoint, SocketIOHandler, new_sid
from doorstream.protocols.socketio import event_packet


class Application(SocketIOHandler):
    """Writes down what happens, and answers events."""

    namespaces: ClassVar[frozenset[str]] = frozenset({"/", "/custom"})

    def __init__(self, decision=None) -> None:
        super().__init__()
        self.decision = decision
        self.log: list[tuple] = []

    def connecting(self, connect):
        """Decide as the test says."""
        self.log.append(("connecting", connect.namespace, connect.auth, connect.raw))
        return self.decision() if self.decision is not None else {"sid": "SID"}

    def connected(self, namespace: str) -> None:
        """Write it down."""
        self.log.append(("connected", namespace))

    def event(self, namespace: str, name: str, arguments: list, ack) -> None:
        """Write it down, acknowledge, and echo."""
        self.log.append(("event", namespace, name, arguments))
        if ack is not None:
            ack(*arguments)
        elif name == "echo":
            self.emit("back", *arguments, namespace=namespace)

    def transport_changed(self) -> None:
        """Write it down."""
        self.log.append(("transport", self.socket.transport))

    def disconnected(self, namespace: str, reason: str) -> None:
        """Write it down."""
        self.log.append(("disconnected", namespace, reason))


class Server:
    """An endpoint whose clients are applications."""

    def __init__(self, clock, decision=None) -> None:
        self.applications: list[Application] = []
        self.decision = decision
        self.endpoint = SocketIOEndpoint(self.open, clock=clock)

    def open(self, request) -> Application:
        """Accept the connection."""
        del request
        self.applications.append(Application(self.decision))
        return self.applications[-1]

    @property
    def one(self) -> Application:
        """The only client."""
        assert len(self.applications) == 1
        return self.applications[0]

    def connect(self, version: int = 4) -> FakeConnection:
        """Open a WebSocket and read the open packet."""
        connection = open_websocket(self.endpoint, f"EIO={version}&transport=websocket")
        if version == 4:
            assert len(connection.take()) == 1
        return connection

    def join(self) -> FakeConnection:
        """Open a WebSocket and join the default namespace."""
        connection = self.connect()
        connection.handler.message("40")
        assert connection.take() == ['40{"sid":"SID"}']
        self.one.log.clear()
        return connection


@pytest.fixture
def server(clock) -> Server:
    """A server that lets everyone join."""
    return Server(clock)


# Joining


@pytest.mark.parametrize(
    ("packet", "auth", "raw"),
    [("40", None, ""), ("40{}", {}, "{}"), ('40{"token": "t"}', {"token": "t"}, '{"token": "t"}')],
)
def test_spikes_6_joining_and_what_the_client_sent(server, packet: str, auth, raw: str) -> None:
    """`40` and `40{}` tell client families apart (`spikes.md` section 6)."""
    connection = server.connect()
    connection.handler.message(packet)
    assert connection.take() == ['40{"sid":"SID"}']
    assert server.one.log == [("connecting", "/", auth, raw), ("connected", "/")]
    assert server.one.joined == ("/",)


def test_pdk_5_in_version_3_the_client_is_in_at_once(server) -> None:
    connection = server.connect(3)
    opening, joined = connection.take()
    assert opening[0] == "0"
    assert joined == "40"
    assert server.one.log == [("connecting", "/", None, ""), ("connected", "/")]
    connection.handler.message('42["echo",1]')
    connection.handler.message("40")
    assert connection.take() == ['42["back",1]', "40"]


async def test_joining_on_polling_3(server) -> None:
    """The open packet comes alone, the join with the next poll."""
    poller = Poller(server.endpoint, 3)
    await poller.open()
    assert await poller.poll() == "2:40"


@pytest.mark.parametrize(
    ("version", "error", "text"),
    [
        (4, ConnectError("invalid token"), '44{"message":"invalid token"}'),
        (4, ConnectError("invalid token", {"code": 7}), '44{"message":"invalid token","data":{"code":7}}'),
        (3, ConnectError("invalid token"), '44"invalid token"'),
    ],
)
def test_a_client_is_refused(clock, version: int, error: ConnectError, text: str) -> None:
    server = Server(clock, lambda: error)
    connection = server.connect(version)
    if version == 4:
        connection.handler.message("40")
    assert connection.take()[-1] == text
    assert server.one.joined == ()
    assert connection.closed_with == []
    clock.turn(1)
    server.one.emit("nothing")
    assert connection.take() == []


def test_what_may_pass_drops_the_transport(clock) -> None:
    """A connect error would stop the client for good (`spikes.md` section 6)."""
    server = Server(clock, lambda: None)
    connection = server.connect()
    connection.handler.message("40")
    assert connection.take() == []
    assert connection.closed_with == [1000]


async def test_a_decision_may_take_time(clock) -> None:
    decided = asyncio.Event()

    async def decide():
        await decided.wait()
        return {"sid": "SID", "pid": "PID"}

    server = Server(clock, decide)
    connection = server.connect()
    connection.handler.message("40")
    await asyncio.sleep(0)
    assert connection.take() == []
    decided.set()
    await eventually(lambda: server.one.joined == ("/",))
    assert connection.take() == ['40{"sid":"SID","pid":"PID"}']


async def test_a_client_that_leaves_cancels_the_decision(clock) -> None:
    cancelled = asyncio.Event()

    async def decide():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    server = Server(clock, decide)
    connection = server.connect()
    connection.handler.message("40")
    await asyncio.sleep(0)
    connection.handler.closed(1006)
    await cancelled.wait()
    assert server.one.log == [("connecting", "/", None, "")]


@pytest.mark.parametrize("later", [True, False])
async def test_a_decision_that_fails_closes_the_connection(clock, later, caplog: pytest.LogCaptureFixture) -> None:
    async def fail_later():
        await asyncio.sleep(0)
        raise ValueError("broken")

    server = Server(clock, fail_later if later else lambda: 1 // 0)
    connection = server.connect()
    connection.handler.message("40")
    await eventually(lambda: bool(connection.closed_with))
    assert connection.closed_with == [1011]
    assert "connection is closed" in caplog.text or "session is closed" in caplog.text


def test_a_client_that_never_joins_is_closed(server, clock) -> None:
    """45 s (`vendor-apis.md` 1.2.1, fact 6)."""
    silent, refused, joined = server.connect(), server.connect(), server.connect()
    joined.handler.message("40")
    refused.handler.message("40/unknown")
    for _ in range(2):
        clock.turn(22)
        for connection in (silent, refused, joined):
            connection.handler.message("3")
    assert silent.closed_with == []
    clock.turn(1.5)
    assert (silent.closed_with, refused.closed_with, joined.closed_with) == ([1000], [1000], [])


# Namespaces


def test_namespaces(server) -> None:
    connection = server.join()
    connection.handler.message("40/random")
    connection.handler.message('40/custom,{"a":1}')
    connection.handler.message('42/custom,["echo",2]')
    assert connection.take() == [
        '44/random,{"message":"Invalid namespace"}',
        '40/custom,{"sid":"SID"}',
        '42/custom,["back",2]',
    ]
    connection.handler.message("41/custom")
    connection.handler.message('42["echo",3]')
    assert connection.take() == ['42["back",3]']
    assert server.one.log[-2:] == [
        ("disconnected", "/custom", "client namespace disconnect"),
        ("event", "/", "echo", [3]),
    ]


def test_we_put_a_client_out(server) -> None:
    connection = server.join()
    server.one.disconnect()
    server.one.disconnect()
    assert connection.take() == ["41"]
    assert server.one.log == [("disconnected", "/", "server namespace disconnect")]
    assert connection.closed_with == []


# Events


def test_events_and_acknowledgements(server) -> None:
    connection = server.join()
    connection.handler.message('42["x",{"topics":["a"]}]')
    connection.handler.message('4212["y",1,null]')
    assert connection.take() == ["4312[1,null]"]
    assert server.one.log == [("event", "/", "x", [{"topics": ["a"]}]), ("event", "/", "y", [1, None])]


def test_attachments_both_ways(server) -> None:
    connection = server.join()
    connection.handler.message('451-["echo",{"_placeholder":true,"num":0}]')
    connection.handler.message(b"\x01\x02")
    assert connection.take() == ['451-["back",{"_placeholder":true,"num":0}]', b"\x01\x02"]
    connection.handler.message('451-7["y",{"_placeholder":true,"num":0}]')
    connection.handler.message(b"\x03")
    assert connection.take() == ['461-7[{"_placeholder":true,"num":0}]', b"\x03"]


def test_the_live_path(server) -> None:
    """A packet made once, framed once, written to each."""
    connection = server.join()
    socket = server.one.socket
    socket.write(socket.framing(event_packet(b'"device.request.allowed"', b'{"id":1}')))
    assert connection.take() == ['42["device.request.allowed",{"id":1}]']


def test_an_acknowledgement_after_the_end_is_dropped(server) -> None:
    acks = []
    connection = server.join()
    server.one.event = lambda _namespace, _name, _arguments, ack: acks.append(ack)
    connection.handler.message('421["y"]')
    connection.handler.closed(1006)
    acks[0]("late")
    assert connection.take() == []


@pytest.mark.parametrize(
    "message",
    [
        "4",
        "4abc",
        "42{}",
        "42[]",
        '42abc["x"]',
        "40",
        "43[]",
        '44"x"',
        '42/custom,["x"]',
        "41/custom",
        b"\x00",
        '42["x"',
    ],
)
def test_a_client_that_breaks_the_order_is_closed(server, message: str | bytes) -> None:
    connection = server.join()
    connection.handler.message(message)
    assert connection.closed_with == [1002]
    assert server.one.log == [("disconnected", "/", "parse error")]
    connection.handler.message('42["x"]')
    assert len(server.one.log) == 1


@pytest.mark.parametrize("message", ['42["x"]', "41", "4abc"])
def test_nothing_comes_before_the_join(server, message: str) -> None:
    connection = server.connect()
    connection.handler.message(message)
    assert connection.closed_with == [1002]
    assert server.one.log == []


# Ends and changes


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda connection, _: connection.handler.closed(1006), "transport close"),
        (lambda connection, _: connection.handler.message("41"), "client namespace disconnect"),
        (lambda _, application: application.close(), "forced close"),
        (lambda _, application: application.socket.fail(CloseReason.PING_TIMEOUT), "ping timeout"),
    ],
)
def test_every_end_is_told_once(server, end, reason: str) -> None:
    connection = server.join()
    end(connection, server.one)
    connection.handler.closed(1006)
    assert server.one.log == [("disconnected", "/", reason)]
    server.one.emit("nothing")
    server.one.disconnect()
    assert server.one.joined == ()


async def test_pdk_4_an_upgrade_is_told(server) -> None:
    """Nothing is lost between the transports, attachments included."""
    poller = Poller(server.endpoint)
    await poller.open()
    await poller.post("40")
    assert await poller.poll() == '40{"sid":"SID"}'
    connection = open_websocket(server.endpoint, f"EIO=4&transport=websocket&sid={poller.sid}")
    connection.handler.message("2probe")
    server.one.emit("x", b"\x01")
    connection.handler.message("5")
    assert connection.take() == ["3probe", '451-["x",{"_placeholder":true,"num":0}]', b"\x01"]
    assert server.one.log[-1] == ("transport", "websocket")


@pytest.mark.parametrize("later", [True, False])
async def test_a_connection_can_be_refused_before_it_begins(later) -> None:
    async def refuse(request):
        del request
        return Refusal(403)

    endpoint = SocketIOEndpoint(refuse if later else lambda request: Refusal(403, {"X": request.path}))
    assert (await Poller(endpoint).call()).status == 403
    answer = endpoint.open(websocket_request("EIO=4&transport=websocket"))
    assert (await answer if later else answer).status == 403


async def test_a_handler_may_be_made_later(clock) -> None:
    async def make(request):
        del request
        return Application()

    endpoint = SocketIOEndpoint(make, clock=clock)
    poller = Poller(endpoint)
    await poller.open()
    clock.turn(22)
    await poller.post("3")
    clock.turn(22)
    await poller.post("3")
    clock.turn(2)
    assert (await poller.poll()).endswith("1")


def test_the_default_application_lets_everyone_join(clock) -> None:
    endpoint = SocketIOEndpoint(lambda request: SocketIOHandler(), clock=clock)  # noqa: ARG005 - all are accepted
    connection = open_websocket(endpoint)
    connection.take()
    connection.handler.message("40")
    connection.handler.message('42["x"]')
    connection.handler.message("40/custom")
    joined, refused = connection.take()
    assert joined.startswith('40{"sid":"')
    assert refused == '44/custom,{"message":"Invalid namespace"}'
    assert new_sid() != new_sid()
