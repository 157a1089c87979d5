"""Engine.IO sessions: handshakes, both transports, the upgrade between them, heartbeats, and bad input."""

import asyncio
import json
import logging

import pytest
from engine_support import Applications, Echo, FakeConnection, Poller, open_websocket, websocket_request
from gateway_support import Start, eventually

from doorstream.gateway import Gateway, Limits, Rate, Refusal
from doorstream.gateway.engineio import CloseReason, EngineIOEndpoint, EngineOptions
from doorstream.gateway.framing import engine_polling_v3, engine_polling_v4, engine_websocket
from doorstream.gateway.polling import Polling
from doorstream.protocols.websocket import Opcode


@pytest.fixture
def applications() -> Applications:
    """What the endpoint accepts clients with."""
    return Applications()


@pytest.fixture
def endpoint(applications, clock) -> EngineIOEndpoint:
    """An endpoint with the default settings, on a clock turned by hand."""
    return EngineIOEndpoint(applications, clock=clock)


# Handshakes


async def test_a_polling_handshake(endpoint, applications) -> None:
    opening = await Poller(endpoint, query="&token=t").open()
    assert opening == {
        "sid": opening["sid"],
        "upgrades": ["websocket"],
        "pingInterval": 25_000,
        "pingTimeout": 20_000,
        "maxPayload": 100_000,
    }
    socket = applications.one.socket
    assert (socket.sid, socket.version, socket.transport) == (opening["sid"], 4, "polling")
    assert socket.request.query == [("EIO", "4"), ("transport", "polling"), ("token", "t")]


def test_a_websocket_handshake(endpoint, applications) -> None:
    connection = open_websocket(endpoint)
    (text,) = connection.take()
    assert text[0] == "0"
    assert json.loads(text[1:])["upgrades"] == []
    socket = applications.one.socket
    assert (socket.version, socket.transport, socket.framing) == (4, "websocket", engine_websocket)
    assert socket.write == connection.write


def test_pdk_5_a_websocket_without_eio_speaks_version_3(endpoint, applications) -> None:
    open_websocket(endpoint, "transport=websocket")
    assert applications.one.socket.version == 3


def test_sids_are_long_and_never_the_same(endpoint) -> None:
    sids = {endpoint.new_sid() for _ in range(1_000)}
    assert len(sids) == 1_000
    assert min(map(len, sids)) >= 20


@pytest.mark.parametrize(
    ("method", "query", "code"),
    [
        ("GET", "EIO=4", 0),
        ("GET", "EIO=4&transport=abc", 0),
        ("GET", "EIO=4&transport=polling&sid=unknown", 1),
        ("POST", "EIO=4&transport=polling&sid=unknown", 1),
        ("POST", "EIO=4&transport=polling", 2),
        ("PUT", "EIO=4&transport=polling", 2),
        ("GET", "EIO=4&transport=websocket", 3),
        ("GET", "EIO=abc&transport=polling", 5),
        ("GET", "EIO=2&transport=polling", 5),
    ],
)
async def test_requests_that_are_refused(endpoint, method: str, query: str, code: int) -> None:
    """Status 400, and code and text of the reference implementation."""
    answer = await Poller(endpoint).call(method, query=query)
    assert (answer.status, answer.code) == (400, code)
    assert answer.headers["content-type"] == "application/json"
    assert len(endpoint) == 0


async def test_the_text_for_an_unknown_sid(endpoint) -> None:
    answer = await Poller(endpoint).call(query="EIO=4&transport=polling&sid=x")
    assert answer.text == '{"code":1,"message":"Session ID unknown"}'


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("EIO=4", 0),
        ("EIO=4&transport=polling", 3),
        ("EIO=4&transport=websocket&sid=unknown", 1),
        ("EIO=abc&transport=websocket", 5),
    ],
)
def test_upgrades_that_are_refused(endpoint, query: str, code: int) -> None:
    refusal = endpoint.open(websocket_request(query))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, json.loads(refusal.body)["code"]) == (400, code)


async def test_a_missing_version_can_be_refused(applications) -> None:
    """The official test suite wants it so."""
    endpoint = EngineIOEndpoint(applications, EngineOptions(missing_version=None))
    assert (await Poller(endpoint, None).call()).code == 5
    assert isinstance(endpoint.open(websocket_request("transport=websocket")), Refusal)


@pytest.mark.parametrize("later", [True, False])
async def test_an_application_refuses(later) -> None:
    async def decide(request):
        del request
        return Refusal(403, {"X-Why": "no"}, b"no")

    endpoint = EngineIOEndpoint(decide if later else lambda request: Refusal(403, {"X-Why": request.path}, b"no"))
    answer = await Poller(endpoint).call()
    assert (answer.status, answer.text) == (403, "no")
    assert "x-why" in answer.headers
    decision = endpoint.open(websocket_request("EIO=4&transport=websocket"))
    refusal = await decision if later else decision
    assert refusal.status == 403


# Messages on polling


async def test_messages_on_polling_4(endpoint, applications) -> None:
    poller = Poller(endpoint)
    await poller.open()
    assert applications.one.socket.framing is engine_polling_v4
    answer = await poller.post("4a\x1ebAQID\x1e4c")
    assert (answer.status, answer.text) == (200, "ok")
    assert await poller.poll() == "4a\x1ebAQID\x1e4c"
    assert applications.one.messages == ["a", b"\x01\x02\x03", "c"]


@pytest.mark.parametrize("query", ["", "&b64=1"])
async def test_messages_on_polling_3(endpoint, applications, query: str) -> None:
    """Text stays text; with binary in it a client that can take it gets byte frames."""
    poller = Poller(endpoint, 3, query)
    await poller.open()
    assert applications.one.socket.framing is engine_polling_v3
    await poller.post("2:4€3:4😀")
    assert await poller.poll() == "2:4€3:4😀"
    await poller.post("2:4a10:b4AQIDBA==")
    answer = await poller.call()
    if query:
        assert answer.text == "2:4a10:b4AQIDBA=="
    else:
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.body == b"\x00\x02\xff4a\x01\x05\xff\x04\x01\x02\x03\x04"


async def test_a_text_that_looks_like_binary_stays_text(endpoint, applications) -> None:
    poller = Poller(endpoint, 3)
    await poller.open()
    applications.one.socket.send("x:b4AQID")
    assert await poller.poll() == "9:4x:b4AQID"


async def test_binary_bodies_of_version_3(endpoint, applications) -> None:
    poller = Poller(endpoint, 3)
    await poller.open()
    answer = await poller.call("POST", b"\x01\x03\xff\x04\x01\x02", content_type="application/octet-stream")
    assert answer.status == 200
    assert applications.one.messages == [b"\x01\x02"]


async def test_a_waiting_poll_is_answered_by_the_next_write(endpoint, applications) -> None:
    """Several writes of one turn come in one answer, joined as they are."""
    poller = Poller(endpoint)
    await poller.open()
    poll = poller.start_poll()
    await asyncio.sleep(0)
    socket = applications.one.socket
    socket.write(socket.framing(b"1") + socket.framing(b"2"))
    socket.send("3")
    assert (await poll).text == "41\x1e42\x1e43"


@pytest.mark.parametrize("body", ["abc", "", "4a\x1e", "4a\x1ex", "2", "b*"])
async def test_bad_packets_end_a_polling_session(endpoint, applications, body: str) -> None:
    """Also a ping, which in version 4 comes from the server."""
    poller = Poller(endpoint)
    await poller.open()
    assert (await poller.post(body)).status == 400
    assert applications.one.reasons == [CloseReason.PARSE_ERROR]
    assert (await poller.call()).code == 1
    assert len(endpoint) == 0


@pytest.mark.parametrize("headers", [{}, {"content_length": "100001"}, {"content_length": "9" * 5_000}])
async def test_a_body_beyond_the_limit_ends_a_session(endpoint, applications, headers: dict[str, str]) -> None:
    """Named in advance or not."""
    poller = Poller(endpoint)
    await poller.open()
    answer = await poller.call("POST", b"4" + b"x" * 100_000, **headers)
    assert answer.status == 413
    assert applications.one.reasons == [CloseReason.TRANSPORT_ERROR]


async def test_other_methods_are_refused_within_a_session(endpoint, applications) -> None:
    poller = Poller(endpoint)
    await poller.open()
    assert (await poller.call("DELETE")).code == 3
    assert applications.one.reasons == []


async def test_two_polls_at_once_end_a_session(endpoint, applications) -> None:
    poller = Poller(endpoint)
    await poller.open()
    first = poller.start_poll()
    await asyncio.sleep(0)
    second = await poller.call()
    assert (second.status, second.code) == (400, 3)
    assert (await first).text == "1"
    assert applications.one.reasons == [CloseReason.TRANSPORT_ERROR]
    assert (await poller.call()).code == 1


async def test_two_posts_at_once_end_a_session(endpoint, applications) -> None:
    poller = Poller(endpoint)
    await poller.open()
    leave = asyncio.Event()
    first = asyncio.create_task(poller.call("POST", stalled="yes", leave=leave))
    await asyncio.sleep(0)
    assert (await poller.post("4x")).code == 3
    assert applications.one.reasons == [CloseReason.TRANSPORT_ERROR]
    leave.set()
    await first


async def test_a_cancelled_poll_ends_a_session(endpoint, applications) -> None:
    poller = Poller(endpoint)
    await poller.open()
    leave = asyncio.Event()
    poll = asyncio.create_task(poller.call(leave=leave))
    await asyncio.sleep(0)
    leave.set()
    await poll
    assert applications.one.reasons == [CloseReason.TRANSPORT_CLOSE]
    assert len(endpoint) == 0


async def test_a_post_cut_off_ends_a_session(endpoint, applications) -> None:
    poller = Poller(endpoint)
    await poller.open()
    leave = asyncio.Event()
    leave.set()
    assert (await poller.call("POST", stalled="yes", leave=leave)).status == 408
    assert applications.one.reasons == [CloseReason.TRANSPORT_ERROR]


async def test_a_client_closes_while_its_poll_waits(endpoint, applications) -> None:
    poller = Poller(endpoint)
    await poller.open()
    poll = poller.start_poll()
    await asyncio.sleep(0)
    assert (await poller.post("1")).text == "ok"
    assert (await poll).text == "6"
    assert applications.one.reasons == [CloseReason.TRANSPORT_CLOSE]
    assert (await poller.call()).code == 1


async def test_we_close_while_a_poll_waits(endpoint, applications) -> None:
    poller = Poller(endpoint)
    await poller.open()
    poll = poller.start_poll()
    await asyncio.sleep(0)
    applications.one.socket.send("bye")
    applications.one.socket.close()
    assert (await poll).text == "4bye\x1e1"
    assert applications.one.reasons == [CloseReason.FORCED_CLOSE]
    assert (await poller.call()).code == 1


async def test_we_close_between_two_polls(endpoint, applications) -> None:
    """The last words are kept for the next poll; nothing more is taken."""
    poller = Poller(endpoint)
    await poller.open()
    socket = applications.one.socket
    socket.send("bye")
    socket.close()
    socket.send("never")
    assert not socket.is_open
    assert (await poller.post("4x")).status == 400
    assert await poller.poll() == "4bye\x1e1"
    assert (await poller.call()).code == 1
    assert (applications.one.messages, applications.one.reasons) == ([], [CloseReason.FORCED_CLOSE])


async def test_last_words_are_not_kept_for_ever(endpoint, applications, clock) -> None:
    poller = Poller(endpoint)
    await poller.open()
    applications.one.socket.close()
    assert len(endpoint) == 1
    clock.turn(6)
    assert len(endpoint) == 0


async def test_d12_an_outbox_that_nobody_fetches_is_bounded(applications, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = EngineIOEndpoint(applications, EngineOptions(limits=Limits(max_unsent=10_000)))
    poller = Poller(endpoint)
    await poller.open()
    socket = applications.one.socket
    with caplog.at_level(logging.WARNING):
        for _ in range(11):
            socket.write(socket.framing(b"x" * 1_000))
        assert applications.one.reasons == []
        await asyncio.sleep(0)
    assert applications.one.reasons == [CloseReason.SLOW_CONSUMER]
    assert "slow consumer" in caplog.text
    assert (await poller.call()).code == 1


async def test_a_replay_on_polling_waits_for_the_polls(applications) -> None:
    endpoint = EngineIOEndpoint(applications, EngineOptions(limits=Limits(max_unsent=1_000, low_water=100)))
    poller = Poller(endpoint)
    await poller.open()
    socket = applications.one.socket
    socket.replaying = True
    assert socket.replaying
    await socket.drained()
    socket.write(socket.framing(b"x" * 2_000))
    waiting = asyncio.create_task(socket.drained())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert len(await poller.poll()) == 2_001
    await waiting
    socket.write(socket.framing(b"x" * 2_000))
    waiting = asyncio.create_task(socket.drained())
    await asyncio.sleep(0)
    socket.close()
    await waiting
    assert applications.one.reasons == [CloseReason.FORCED_CLOSE]


async def test_d12_a_polling_client_that_talks_too_fast_is_answered_later(applications) -> None:
    limits = Limits(rate=Rate(per_second=100.0, burst=10))
    endpoint = EngineIOEndpoint(applications, EngineOptions(limits=limits))
    poller = Poller(endpoint)
    await poller.open()
    loop = asyncio.get_running_loop()
    before = loop.time()
    post = asyncio.create_task(poller.post("\x1e".join(f"4{number}" for number in range(20))))
    await eventually(lambda: applications.one.socket.held_back)
    assert (await post).status == 200
    assert loop.time() - before > 0.08
    assert applications.one.messages == [str(number) for number in range(20)]


# Messages on WebSocket


def test_messages_on_websocket(endpoint, applications) -> None:
    connection = open_websocket(endpoint)
    connection.take()
    connection.handler.message("4hello")
    connection.handler.message(b"\x01")
    assert connection.take() == ["4hello", b"\x01"]
    assert applications.one.messages == ["hello", b"\x01"]


def test_binary_on_websocket_3(endpoint, applications) -> None:
    connection = open_websocket(endpoint, "EIO=3&transport=websocket")
    connection.take()
    connection.handler.message(b"\x04\x01")
    assert connection.take() == [b"\x04\x01"]
    assert applications.one.messages == [b"\x01"]


@pytest.mark.parametrize("data", ["", "abc", "2", "b*"])
def test_bad_packets_end_a_websocket_session(endpoint, applications, data: str) -> None:
    connection = open_websocket(endpoint)
    connection.handler.message(data)
    assert applications.one.reasons == [CloseReason.PARSE_ERROR]
    assert connection.closed_with == [1002]
    assert len(endpoint) == 0


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1006, CloseReason.TRANSPORT_CLOSE),
        (1000, CloseReason.TRANSPORT_CLOSE),
        (1012, CloseReason.SERVER_SHUTDOWN),
        (1013, CloseReason.SLOW_CONSUMER),
    ],
)
def test_the_end_of_the_connection_ends_the_session(endpoint, applications, code: int, reason: CloseReason) -> None:
    connection = open_websocket(endpoint)
    connection.handler.closed(code)
    connection.handler.closed(1006)
    assert applications.one.reasons == [reason]
    assert len(endpoint) == 0


def test_close_on_websocket_by_either_side(endpoint, applications) -> None:
    theirs, ours = open_websocket(endpoint), open_websocket(endpoint)
    theirs.handler.message("1")
    applications.all[1].socket.close()
    applications.all[1].socket.close()
    assert [one.reasons for one in applications.all] == [[CloseReason.TRANSPORT_CLOSE], [CloseReason.FORCED_CLOSE]]
    assert (theirs.closed_with, ours.closed_with) == ([1000], [1000])


def test_a_handler_that_fails_ends_its_session(clock, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Echo):
        def message(self, data: str | bytes) -> None:
            """Fail."""
            raise ValueError(data)

    application = Failing()
    endpoint = EngineIOEndpoint(lambda request: application, clock=clock)  # noqa: ARG005 - all are accepted
    connection = open_websocket(endpoint)
    connection.handler.message("4x")
    assert application.reasons == [CloseReason.SERVER_ERROR]
    assert connection.closed_with == [1011]
    assert "a handler failed" in caplog.text


# Heartbeats


def test_version_4_the_server_pings_and_wants_an_answer(endpoint, applications, clock) -> None:
    connection = open_websocket(endpoint)
    connection.take()
    for _ in range(3):
        clock.turn(24.9)
        assert connection.take() == []
        clock.turn(0.2)
        assert connection.take() == ["2"]
        clock.turn(10)
        connection.handler.message("3")
    clock.turn(25.1)
    clock.turn(19.8)
    assert applications.one.reasons == []
    clock.turn(0.3)
    assert applications.one.reasons == [CloseReason.PING_TIMEOUT]
    assert connection.closed_with == [1001]
    assert len(endpoint) == 0


def test_pdk_5_version_3_the_client_pings_and_the_server_never_does(endpoint, applications, clock) -> None:
    connection = open_websocket(endpoint, "transport=websocket")
    connection.take()
    for _ in range(3):
        clock.turn(44)
        assert connection.take() == []
        connection.handler.message("2")
        assert connection.take() == ["3"]
    clock.turn(45.1)
    assert applications.one.reasons == [CloseReason.PING_TIMEOUT]


async def test_a_polling_client_that_vanishes_is_closed_by_the_heartbeat(endpoint, applications, clock) -> None:
    poller = Poller(endpoint)
    await poller.open()
    clock.turn(25.1)
    assert await poller.poll() == "2"
    await poller.post("3")
    clock.turn(25.1)
    clock.turn(20.1)
    assert applications.one.reasons == [CloseReason.PING_TIMEOUT]
    assert (await poller.call()).code == 1


async def test_a_waiting_poll_learns_that_the_session_timed_out(endpoint, clock) -> None:
    poller = Poller(endpoint, 3)
    await poller.open()
    poll = poller.start_poll()
    await asyncio.sleep(0)
    clock.turn(45.1)
    assert (await poll).text == "1:1"


def test_a_client_that_is_read_slowly_is_not_taken_for_dead(endpoint, applications, clock) -> None:
    """Its pong waits unread behind what it sent too fast."""
    connection = open_websocket(endpoint)
    connection.throttled = True
    clock.turn(25.1)
    clock.turn(20.1)
    assert applications.one.reasons == []
    connection.throttled = False
    clock.turn(25.1)
    clock.turn(20.1)
    assert applications.one.reasons == [CloseReason.PING_TIMEOUT]


# The upgrade


def start_upgrade(endpoint: EngineIOEndpoint, sid: str, version: int = 4) -> FakeConnection:
    """Open a WebSocket for a session that is polling."""
    return open_websocket(endpoint, f"EIO={version}&transport=websocket&sid={sid}")


async def test_pdk_4_an_upgrade(endpoint, applications) -> None:
    """Probe, release of the poll, and what was not fetched goes out on the WebSocket first."""
    poller = Poller(endpoint)
    await poller.open()
    poll = poller.start_poll()
    await asyncio.sleep(0)
    connection = start_upgrade(endpoint, poller.sid)
    connection.handler.message("2probe")
    assert connection.take() == ["3probe"]
    assert (await poll).text == "6"
    assert await poller.poll() == "6"
    application = applications.one
    application.socket.send("text")
    application.socket.send(b"\x01\x02")
    connection.handler.message("5")
    assert application.changes == ["websocket"]
    application.socket.send("after")
    assert connection.take() == ["4text", b"\x01\x02", "4after"]
    assert application.socket.write == connection.write
    assert application.socket.framing is engine_websocket
    connection.handler.message("4hello")
    assert connection.take() == ["4hello"]
    assert (await poller.call()).code == 3
    assert (await poller.post("4x")).code == 3
    assert application.reasons == []


async def test_an_upgrade_with_a_poll_still_waiting(endpoint, applications) -> None:
    """A client should not leave one; it gets a noop."""
    poller = Poller(endpoint, 3)
    await poller.open()
    connection = start_upgrade(endpoint, poller.sid, 3)
    connection.handler.message("2probe")
    assert await poller.poll() == "1:6"
    connection.handler.message("5")
    applications.one.socket.send("x")
    assert connection.take() == ["3probe", "4x"]


async def test_a_poll_that_is_cut_off_as_the_upgrade_completes_ends_nothing(endpoint, applications) -> None:
    """It ended the session, which the WebSocket carried by then, and took along what it was about to be answered.

    A client may hang up its last poll as it sends the upgrade: both can be read in the same turn of the loop.
    """
    poller = Poller(endpoint)
    await poller.open()
    leave = asyncio.Event()
    poll = asyncio.create_task(poller.call(leave=leave))
    await asyncio.sleep(0)
    connection = start_upgrade(endpoint, poller.sid)
    connection.handler.message("2probe")
    applications.one.socket.send("on its way")
    connection.handler.message("5")
    leave.set()
    await poll
    assert applications.one.reasons == []
    applications.one.socket.send("after")
    assert connection.take() == ["3probe", "4on its way", "4after"]
    assert len(endpoint) == 1


async def test_a_second_websocket_is_accepted_and_closed(endpoint, applications) -> None:
    """While one probes, and after the upgrade."""
    poller = Poller(endpoint)
    await poller.open()
    first = start_upgrade(endpoint, poller.sid)
    assert start_upgrade(endpoint, poller.sid).closed_with == [1000]
    first.handler.message("2probe")
    first.handler.message("5")
    assert start_upgrade(endpoint, poller.sid).closed_with == [1000]
    assert first.closed_with == []
    assert applications.one.reasons == []


@pytest.mark.parametrize("steps", [["5"], ["4hello"], ["abc"], ["2"], ["2probe", "4hello"], ["2probe", "3"]])
async def test_a_wrong_step_ends_the_probe_and_not_the_session(endpoint, applications, steps: list[str]) -> None:
    poller = Poller(endpoint)
    await poller.open()
    connection = start_upgrade(endpoint, poller.sid)
    for step in steps:
        connection.handler.message(step)
    assert connection.closed_with == [1000]
    applications.one.socket.send("still here")
    assert (await poller.poll()).endswith("4still here")
    again = start_upgrade(endpoint, poller.sid)
    again.handler.message("2probe")
    assert again.take() == ["3probe"]


async def test_a_probe_that_goes_no_further_is_given_up(endpoint, clock) -> None:
    poller = Poller(endpoint)
    await poller.open()
    connection = start_upgrade(endpoint, poller.sid)
    clock.turn(10.1)
    assert connection.closed_with == [1000]
    assert start_upgrade(endpoint, poller.sid).closed_with == []


async def test_the_end_of_a_session_ends_its_probe(endpoint, applications) -> None:
    poller = Poller(endpoint)
    await poller.open()
    connection = start_upgrade(endpoint, poller.sid)
    applications.one.socket.close()
    assert connection.closed_with == [1000]


async def test_a_replay_goes_on_after_the_upgrade(applications, clock) -> None:
    """`drained()` does not hang on the old transport, and `replaying` moves to the new one."""
    options = EngineOptions(limits=Limits(max_unsent=1_000, low_water=100))
    endpoint = EngineIOEndpoint(applications, options, clock=clock)
    poller = Poller(endpoint)
    await poller.open()
    socket = applications.one.socket
    socket.replaying = True
    socket.write(socket.framing(b"x" * 500))
    waiting = asyncio.create_task(socket.drained())
    await asyncio.sleep(0)
    connection = start_upgrade(endpoint, poller.sid)
    connection.handler.message("2probe")
    connection.handler.message("5")
    await waiting
    assert connection.replaying
    assert connection.take() == ["3probe", "4" + "x" * 500]


# The server's end, and over real sockets


async def test_shutdown_answers_waiting_polls(endpoint, applications) -> None:
    poller = Poller(endpoint)
    await poller.open()
    poll = poller.start_poll()
    await asyncio.sleep(0)
    open_websocket(endpoint)
    endpoint.shutdown()
    assert (await poll).text == "1"
    assert [one.reasons for one in applications.all] == [[CloseReason.SERVER_SHUTDOWN], []]


async def test_a_server_with_a_waiting_poll_ends(start: Start, applications) -> None:
    gateway = Gateway()
    gateway.add("/engine.io/", EngineIOEndpoint(applications))
    server = await start(gateway)
    client = await server.connect()
    client.writer.write(b"GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.reader.readuntil(b"}")
    sid = applications.one.socket.sid
    client.writer.write(f"GET /engine.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await eventually(lambda: applications.one.socket.polling.polled)
    server.server.should_exit = True
    assert (await client.end()).endswith(b"\r\n\r\n1")


async def test_a_poll_on_a_connection_that_breaks_ends_the_session(start: Start, applications) -> None:
    gateway = Gateway()
    endpoint = EngineIOEndpoint(applications)
    gateway.add("/engine.io/", endpoint)
    server = await start(gateway)
    client = await server.connect()
    client.writer.write(b"GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.reader.readuntil(b"}")
    sid = applications.one.socket.sid
    client.writer.write(f"GET /engine.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await eventually(lambda: applications.one.socket.polling.polled)
    client.writer.transport.abort()
    await eventually(lambda: applications.one.reasons == [CloseReason.TRANSPORT_CLOSE])
    assert len(endpoint) == 0


async def test_an_upgrade_over_real_sockets(start: Start, applications, clock) -> None:
    """What the application writes goes straight to the new transport."""
    gateway = Gateway()
    gateway.add("/engine.io/", EngineIOEndpoint(applications, clock=clock))
    server = await start(gateway)
    client = await server.connect()
    client.writer.write(b"GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.reader.readuntil(b"}")
    socket = applications.one.socket
    probe = await server.open(f"/engine.io/?EIO=4&transport=websocket&sid={socket.sid}")
    probe.send("2probe")
    assert await probe.receive() == "3probe"
    socket.send("before")
    probe.send("5")
    assert await probe.receive() == "4before"
    assert socket.write == socket._connection.transport.write
    clock.turn(25.1)
    assert await probe.receive() == "2"
    probe.send("3")
    probe.send_frame(Opcode.CLOSE)
    await eventually(lambda: applications.one.reasons == [CloseReason.TRANSPORT_CLOSE])


def test_neither_session_nor_transport_has_a_dictionary(endpoint, applications) -> None:
    open_websocket(endpoint)
    assert not hasattr(applications.one.socket, "__dict__")
    assert not hasattr(Polling(4, Limits(), base64=False), "__dict__")
