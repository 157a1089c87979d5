"""The shell around the session: real hub, subscription and Socket.IO; socket, log and clock are the test's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from doorstream.auth import InvalidToken, Signer, SystemToken
from doorstream.dialects.pdk.recovery import Recovery
from doorstream.dialects.pdk.routes import PdkConnection, Stream, recovers
from doorstream.dialects.pdk.session import QUIET, REMIND_EVERY, SETTLE
from doorstream.events import Event, Position
from doorstream.events.event import encode_kept
from doorstream.gateway.socketio import CloseReason
from doorstream.live import Alarms, Hub, Presence
from doorstream.log import LogUnavailable, PositionGone
from doorstream.log.stream import Extent
from doorstream.protocols.websocket import UpgradeRequest

SITE = "0738b8df-329a-4d50-88e7-7a48928c4d6f"
OTHER = "0738b8df-329a-4d50-88e7-7a48928c4d70"
EPOCH = "3f9a1c07"
NOW = 1_000.0
ALLOWED = "device.request.allowed"
OPENED = "device.input.dps.opened"
JS_QUERY = "EIO=4&transport=websocket"
PYTHON_QUERY = "transport=websocket&EIO=4"


def framing(packet: bytes) -> bytes:
    """One packet a line."""
    return packet + b"\n"


def other_framing(packet: bytes) -> bytes:
    """The framing of another transport."""
    return b"~" + packet + b"\n"


class FakeSocket:
    """What the handler knows of an Engine.IO session."""

    def __init__(self, query: str, version: int = 4) -> None:
        self.request = UpgradeRequest.parse(f"GET /socket.io/?{query} HTTP/1.1\r\nhost: x".encode())
        self.version = version
        self.sid = "sid"
        self.framing = framing
        self.replaying = False
        self.is_drained = True
        self.handler: PdkConnection | None = None
        self.lines: list[str] = []
        self.ended: str | None = None
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    def send(self, data: str) -> None:
        """Send one message."""
        assert self.ended is None
        self.lines.append(data)

    def write(self, data: bytes) -> None:
        """Take framed packets."""
        assert self.ended is None
        self.lines += data.decode().splitlines()

    async def drained(self) -> None:
        """Let a replay go on when the test says so."""
        await self.may_go_on.wait()

    def close(self) -> None:
        """Close politely."""
        self._end(CloseReason.FORCED_CLOSE)

    def fail(self, reason: CloseReason) -> None:
        """Break off."""
        self._end(reason)

    def _end(self, reason: CloseReason) -> None:
        if self.ended is None:
            self.ended = reason.value
            self.handler.closed(reason)


class FakeLog:
    """The log as the subscription reads it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.first = 1
        self.epoch = EPOCH
        self.is_away = False

    async def extent(self) -> Extent:
        """Tell what is kept."""
        if self.is_away:
            raise LogUnavailable("NATS is away")
        return Extent(self.first, len(self.events))

    async def check(self, position: Position) -> None:
        """Raise PositionGone where something after the position is missing."""
        if not self.first - 1 <= position.sequence <= len(self.events):
            raise PositionGone(Position(EPOCH, self.first - 1))

    async def read(self, after: int, *, site_id: str, upto: int) -> AsyncIterator[list[Event]]:
        """Give everything between two sequences, one event at a time."""
        for event in self.events[after:upto]:
            if event.site_id == site_id:
                yield [event]


class World:
    """One worker, or after ``restart`` its successor."""

    def __init__(self) -> None:
        self.now = NOW
        self.log = FakeLog()
        self.revoked: set[str] = set()
        self.start_worker()

    def start_worker(self, *, warm: int = 10_000, behind: int = 0) -> None:
        """Start with the newest events in memory, and perhaps without the very newest."""
        last = len(self.log.events) - behind
        self.alarms = Alarms(lambda: self.now)
        self.hub = Hub(EPOCH, max(0, last - warm), before_publish=self.alarms.run_due)
        for event in self.log.events[max(0, last - warm) : last]:
            self.hub.publish(event)
        self.presence = Presence()
        tokens = SimpleNamespace(
            check_system_token=self._check, stands=lambda token: token.client_id not in self.revoked
        )
        recovery = Recovery(Signer(b"secret", "recovery"), EPOCH, lambda: (1, self.hub.sequence))
        self.stream = Stream(
            hub=self.hub,
            log=self.log,
            auth=SimpleNamespace(tokens=tokens),
            alarms=self.alarms,
            presence=self.presence,
            recovery=recovery,
            clock=lambda: self.now,
        )

    def _check(self, text: str, now: float) -> SystemToken:
        site, _, expires = text.partition("~")
        if not expires or "client" in self.revoked:
            raise InvalidToken
        return SystemToken(site, "client", "g1", float(expires), float(expires) <= now)

    def happen(self, topic: str = ALLOWED, site_id: str = SITE, *, told: bool = True) -> int:
        """Have an event kept and, unless this worker is slow, handed out; returns its sequence."""
        sequence = len(self.log.events) + 1
        body = {"deviceId": "d", "number": sequence}
        kept = encode_kept(
            id=f"e{sequence}",
            topic=topic,
            site_id=site_id,
            occurred=sequence,
            body=body,
            cloud_node=None,
            metadata=None,
        )
        event = Event(kept, sequence, sequence)
        self.log.events.append(event)
        if told:
            self.hub.publish(event)
        return sequence

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and what it brings happen."""
        self.now += seconds
        self.alarms.run_due()
        await turn()

    def open(self, query: str = JS_QUERY, token: str | None = None, version: int = 4) -> Client:
        """Have a client open its transport."""
        token = f"{SITE}~{self.now + 300}" if token is None else token
        return Client(self, f"token={token}&{query}", version)

    async def connect(
        self, query: str = JS_QUERY, token: str | None = None, auth: dict[str, Any] | None = None
    ) -> Client:
        """Have a client connect; with its ``pid`` and offset in ``auth`` when it comes back."""
        client = self.open(query, token)
        client.say("0" + ("{}" if query == PYTHON_QUERY else json.dumps(auth) if auth else ""))
        await turn()
        return client


class Client:
    """One connection, and what its client sees."""

    def __init__(self, world: World, query: str, version: int = 4) -> None:
        self.socket = FakeSocket(query, version)
        self.handler = PdkConnection(world.stream)
        self.socket.handler = self.handler
        self.handler.opened(self.socket)

    def say(self, text: str) -> None:
        """Send a Socket.IO packet."""
        self.handler.message(text)

    async def subscribe(self, *topics: str) -> None:
        """Subscribe as programs do."""
        self.say("2" + json.dumps(["subscribeIsolated", {"topics": list(topics)}]))
        await turn()

    async def renew(self, until: float, site_id: str = SITE) -> None:
        """Send a new token."""
        self.say("2" + json.dumps(["renewedToken", {"token": f"{site_id}~{until}"}]))
        await turn()

    @property
    def events(self) -> list[Any]:
        """What was received: names, and for events of the building the number in their body."""
        received = [json.loads(line.lstrip("~")[1:]) for line in self.socket.lines if line.lstrip("~").startswith("2")]
        return [item[1]["body"]["number"] if "body" in item[1] else item[0] for item in received]

    @property
    def answer(self) -> dict[str, Any]:
        """The answer to CONNECT."""
        return json.loads(self.socket.lines[0].removeprefix("0"))

    @property
    def coordinates(self) -> dict[str, str]:
        """What the JavaScript client sends when it comes back."""
        found = {"pid": self.answer["pid"]}
        for line in self.socket.lines[1:]:
            if line.startswith("2") and isinstance(last := json.loads(line[1:])[-1], str):
                found["offset"] = last
        return found

    def cut(self) -> None:
        """Have the network lose the connection."""
        self.socket.fail(CloseReason.TRANSPORT_CLOSE)


async def turn() -> None:
    """Let the loop do what is waiting."""
    for _ in range(12):
        await asyncio.sleep(0)


@pytest.fixture
async def world() -> World:
    """An empty one."""
    return World()


# Connecting


async def test_connects_subscribes_and_follows(world: World) -> None:
    """The plain case, and no traces afterwards."""
    client = await world.connect()
    await client.subscribe(ALLOWED)
    world.happen()
    world.happen(OPENED)
    world.happen(site_id=OTHER)
    await turn()
    assert client.events == [1]
    assert "token" not in str(client.socket.request)  # nobody finds it in the memory of an idle connection
    client.cut()
    assert len(world.presence) == 0
    assert not world.hub._sites


@pytest.mark.parametrize("token", ["", "forged", f"{OTHER}~9999"])
async def test_pdk_07_refused_with_a_message(world: World, token: str) -> None:
    """As a connect error, never as a silent drop; the token is not in it."""
    client = world.open(f"systemId={SITE}&{JS_QUERY}", token)
    client.say("0")
    (line,) = client.socket.lines
    assert line.startswith('4{"message":')
    assert not token or token not in line
    assert len(world.presence) == 0


async def test_socketio_4_is_connected_without_asking(world: World) -> None:
    """Engine.IO 3: the server speaks first, gives no pid, and events have one argument."""
    client = world.open("transport=websocket", version=3)
    assert client.socket.lines == ["0"]
    await client.subscribe(ALLOWED)
    world.happen()
    await turn()
    assert len(json.loads(client.socket.lines[-1][1:])) == 2


async def test_a_client_that_left_may_come_back_on_its_socket(world: World) -> None:
    """With the token that it has by now, but else anew: what it had subscribed before is forgotten."""
    client = await world.connect()
    await client.subscribe(ALLOWED)
    await client.renew(NOW + 900)
    client.say("1")
    world.now = NOW + 600
    client.say("0")
    await turn()
    await client.subscribe(OPENED)
    world.happen(ALLOWED)
    world.happen(OPENED)
    await turn()
    assert client.events == [2]


async def test_a_client_that_left_may_not_come_back_once_revoked(world: World) -> None:
    """Nor does one that was refused get in by asking again."""
    client = await world.connect()
    client.say("1")
    world.revoked.add("client")
    client.say("0")
    foreign = world.open(f"systemId={OTHER}&{JS_QUERY}")
    foreign.say("0")
    foreign.say("0")
    for line in (client.socket.lines[-1], *foreign.socket.lines):
        assert line.startswith("4{")


# Expiry


async def test_pdk_10_withheld_and_released_in_order(world: World) -> None:
    """PDK-10: one ``invalidToken`` in place of the first, and all of them after the renewal."""
    client = await world.connect(token=f"{SITE}~{NOW + 10}")
    await client.subscribe(ALLOWED, OPENED)
    world.happen()
    await world.pass_time(10)
    for topic in (ALLOWED, OPENED, ALLOWED):
        world.happen(topic)
    await turn()
    assert client.events == [1, "invalidToken"]
    await client.renew(NOW + 300)
    world.happen()
    await turn()
    assert client.events == [1, "invalidToken", 2, 3, 4, 5]


async def test_pdk_10_an_event_at_the_very_moment_of_expiry_is_withheld(world: World) -> None:
    """The clock is looked at before every event: a late timer gives nothing away."""
    client = await world.connect(token=f"{SITE}~{NOW + 10}")
    await client.subscribe(ALLOWED)
    world.now += 10  # and no timer has run
    world.happen()
    await turn()
    assert client.events == ["invalidToken"]


async def test_pdk_11_a_hundred_events_one_invalid_token(world: World) -> None:
    """PDK-11; then one every 30 s, until it is renewed."""
    client = await world.connect(token=f"{SITE}~{NOW + 10}")
    await client.subscribe(ALLOWED)
    await world.pass_time(10)
    for _ in range(100):
        world.happen()
        await turn()
    assert client.events == ["invalidToken"]
    await world.pass_time(REMIND_EVERY - 1)
    assert client.events == ["invalidToken"]
    await world.pass_time(1)
    await world.pass_time(REMIND_EVERY)
    assert client.events == ["invalidToken"] * 3
    await client.renew(world.now + 300)
    await world.pass_time(REMIND_EVERY)
    assert client.events == ["invalidToken"] * 3 + list(range(1, 101))


async def test_pdk_12_bad_renewals_release_nothing(world: World) -> None:
    """PDK-12: and the next event says so again."""
    client = await world.connect(token=f"{SITE}~{NOW + 10}")
    await client.subscribe(ALLOWED)
    await world.pass_time(10)
    world.happen()
    await turn()
    for until, site_id in ((NOW + 300, OTHER), (NOW + 1, SITE)):
        await client.renew(until, site_id)
        world.happen()
        await turn()
    assert client.events == ["invalidToken"] * 3
    await client.renew(NOW + 300)
    assert client.events == ["invalidToken"] * 3 + [1, 2, 3]


async def test_pdk_13_an_expired_token_connects(world: World) -> None:
    """PDK-13: nothing before the renewal, then everything since it connected."""
    world.happen()
    client = await world.connect(PYTHON_QUERY, token=f"{SITE}~{NOW - 86_400}")
    await client.subscribe(ALLOWED)
    world.happen()
    await turn()
    assert client.events == ["invalidToken"]
    await client.renew(NOW + 300)
    assert client.events == ["invalidToken", 2]


async def test_events_of_other_topics_and_sites_bring_no_invalid_token(world: World) -> None:
    """Nothing of theirs is withheld."""
    client = await world.connect(token=f"{SITE}~{NOW + 10}")
    await client.subscribe(ALLOWED)
    await world.pass_time(10)
    world.happen(OPENED)
    world.happen(site_id=OTHER)
    await turn()
    assert client.events == []


async def watching(world: World, number: int) -> list[Client]:
    """Clients whose tokens have expired, and who wait to be told so."""
    clients = [await world.connect(token=f"{SITE}~{NOW + 10}") for _ in range(number)]
    for client in clients:
        await client.subscribe(ALLOWED, OPENED)
    await world.pass_time(10)
    return clients


def watch_at_once(world: World) -> Client:
    """One more, connected and subscribed within this turn of the loop."""
    client = world.open(token=f"{SITE}~{NOW}")
    client.say("0")
    client.say("2" + json.dumps(["subscribeIsolated", {"topics": [ALLOWED, OPENED]}]))
    return client


async def test_who_begins_to_watch_in_the_turn_in_which_others_are_told_is_told_next(world: World) -> None:
    """It once was never told.

    Its coming is what had the others told. They left as they were told, and the group that it was about to join ended
    with the last of them: it became the only member of a group to which no event came any more.
    """
    first, second = await watching(world, 2)
    world.happen()
    third = watch_at_once(world)
    assert (first.events, second.events, third.events) == (["invalidToken"], ["invalidToken"], [])
    world.happen(OPENED)
    await turn()
    assert (first.events, second.events, third.events) == (["invalidToken"],) * 3
    for client in (first, second, third):
        await client.renew(NOW + 300)
    assert [client.events[1:] for client in (first, second, third)] == [[1, 2], [1, 2], [2]]


async def test_who_stops_watching_takes_nobody_with_it(world: World) -> None:
    """The same group was ended twice: the second time it took a fourth one's away, and the connection's end failed."""
    await watching(world, 2)
    world.happen()
    third = watch_at_once(world)
    fourth = watch_at_once(world)
    third.cut()
    world.happen(OPENED)
    await turn()
    assert fourth.events == ["invalidToken"]


@pytest.mark.parametrize("told", [0, 1])
async def test_who_begins_to_watch_while_another_is_being_told_is_told_next(
    world: World, monkeypatch: pytest.MonkeyPatch, told: int
) -> None:
    """From within the very call that tells the first of two, or the last, whose leaving ends the group."""
    clients = await watching(world, 2)
    socket, more = clients[told].socket, []
    send = socket.send

    def send_and_watch(data: str) -> None:
        send(data)
        more.append(watch_at_once(world))

    monkeypatch.setattr(socket, "send", send_and_watch)
    world.happen()
    await turn()
    (third,) = more
    assert [client.events for client in (*clients, third)] == [["invalidToken"], ["invalidToken"], []]
    world.happen(OPENED)
    await turn()
    assert third.events == ["invalidToken"]


@pytest.mark.parametrize(
    "said",
    [
        ["subscribeIsolated", {"topics": ["device.input.dps.closed"]}],
        ["renewedToken", {"token": "forged"}],
        ["renewedToken", {"token": f"{SITE}~{NOW + 5}"}],
    ],
)
async def test_who_says_something_in_the_turn_of_the_first_withheld_event_is_told_of_it(
    world: World, said: list[Any]
) -> None:
    """It was not: it stopped watching for a moment, to watch for what it wants now, and what was on its way was lost.

    A client that subscribed one topic more, or sent a bad token, just when somebody opened the door learned that its
    token had expired at the next event only, which at night is hours later.
    """
    first, second = await watching(world, 2)
    world.happen()
    first.say("2" + json.dumps(said))
    await turn()
    assert (first.events, second.events) == (["invalidToken"], ["invalidToken"])
    await world.pass_time(REMIND_EVERY)
    assert (first.events, second.events) == (["invalidToken"] * 2, ["invalidToken"] * 2)
    await first.renew(world.now + 300)
    assert first.events[2:] == [1]


async def test_expires_in_the_middle_of_a_replay(world: World) -> None:
    """The rest is withheld, and the client is told although nothing more happens at the door."""
    for _ in range(10):
        world.happen()
    world.start_worker(warm=0)  # so that the log is read, event by event
    pid = world.stream.recovery.issue(SITE, Position(EPOCH, 0))
    client = await world.connect(token=f"{SITE}~{NOW + 10}", auth={"pid": pid})
    await client.subscribe(ALLOWED)
    client.socket.may_go_on.clear()
    await world.pass_time(QUIET)
    assert client.events == [1]
    await world.pass_time(10)
    client.socket.may_go_on.set()
    await turn()
    assert client.events == [1, "invalidToken"]
    await client.renew(world.now + 300)
    await turn()
    assert client.events == [1, "invalidToken", *range(2, 11)]


# Recovery


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("expired", [False, True])
async def test_d13_nothing_missing_and_nothing_twice(world: World, *, restarted: bool, expired: bool) -> None:
    """D13: cut off or restarted, with a fresh token or an expired one."""
    token = f"{SITE}~{NOW + 10}"
    client = await world.connect(token=token)
    await client.subscribe(ALLOWED)
    world.happen()
    await turn()
    client.cut()
    world.happen()
    if restarted:
        world.start_worker()
    if expired:
        world.now += 20
    world.happen()
    returned = await world.connect(token=token, auth=client.coordinates)
    assert returned.answer["pid"] == client.answer["pid"]
    await returned.subscribe(ALLOWED)
    if expired:
        assert returned.events == ["invalidToken"]
        await returned.renew(world.now + 300)
    await world.pass_time(QUIET)
    world.happen()
    await turn()
    assert [event for event in returned.events if event != "invalidToken"] == [2, 3, 4]


async def test_d13_a_client_without_any_event_yet(world: World) -> None:
    """Its pid says where it began; "not recovered" makes programs subscribe again, and they get what they missed."""
    client = await world.connect()
    await client.subscribe(ALLOWED)
    client.cut()
    world.happen()
    returned = await world.connect(auth=client.coordinates)
    assert returned.answer["pid"] != client.answer["pid"]
    await returned.subscribe(ALLOWED)
    assert returned.events == []
    await world.pass_time(QUIET)
    assert returned.events == [1]


async def test_d13_a_topic_subscribed_after_the_last_event(world: World) -> None:
    """The offset does not know of it, the program does. Its events of the gap would be lost without the wait."""
    client = await world.connect()
    await client.subscribe(ALLOWED)
    world.happen(ALLOWED)
    await turn()
    await client.subscribe(OPENED)
    client.cut()
    world.happen(OPENED)
    returned = await world.connect(auth=client.coordinates)
    await returned.subscribe(ALLOWED)
    await returned.subscribe(OPENED)
    world.happen(ALLOWED)
    await world.pass_time(QUIET)
    assert returned.events == [2, 3]


async def test_d13_a_recovered_program_that_does_not_subscribe_again(world: World) -> None:
    """The offset knows its topics."""
    client = await world.connect()
    await client.subscribe(ALLOWED, OPENED)
    world.happen(ALLOWED)
    await turn()
    client.cut()
    world.happen(OPENED)
    returned = await world.connect(auth=client.coordinates)
    await world.pass_time(SETTLE)
    assert returned.events == [2]


async def test_d13_lost_in_the_middle_of_a_held_time(world: World) -> None:
    """Held, cut off, held again: the position survives both."""
    client = await world.connect(token=f"{SITE}~{NOW + 10}")
    await client.subscribe(ALLOWED)
    world.happen()
    await turn()
    await world.pass_time(10)
    world.happen()
    await turn()
    client.cut()
    world.happen()
    returned = await world.connect(token=f"{SITE}~{NOW + 10}", auth=client.coordinates)
    assert returned.events == ["invalidToken"]
    await returned.renew(NOW + 300)
    assert returned.events == ["invalidToken", 2, 3]


async def test_d13_a_worker_that_is_behind_the_client(world: World) -> None:
    """The log is asked, and nothing is sent twice when this worker catches up."""
    client = await world.connect()
    await client.subscribe(ALLOWED)
    world.happen()
    world.happen()
    await turn()
    client.cut()
    missed = world.log.events[1]
    world.start_worker(behind=1)
    returned = await world.connect(auth=client.coordinates)
    assert returned.answer["pid"] == client.answer["pid"]
    await returned.subscribe(ALLOWED)
    await world.pass_time(QUIET)
    world.hub.publish(missed)
    world.happen()
    await turn()
    assert returned.events == [3]


async def test_d13_a_worker_that_is_behind_and_nats_away(world: World) -> None:
    """The transport is dropped, so that the client dials again: a connect error would stop it for good."""
    client = await world.connect()
    world.happen()
    world.happen()
    pid = world.stream.recovery.issue(SITE, Position(EPOCH, 2))
    client.cut()
    world.start_worker(behind=1)
    world.log.is_away = True
    returned = await world.connect(auth={"pid": pid})
    assert returned.socket.lines == []
    assert returned.socket.ended is not None


async def test_d13_revoked_while_the_log_is_asked(world: World) -> None:
    """The answer comes later, and so does the look at the rights."""
    world.happen()
    pid = world.stream.recovery.issue(SITE, Position(EPOCH, 1))
    world.start_worker(behind=1)
    client = world.open()
    client.say("0" + json.dumps({"pid": pid}))
    world.revoked.add("client")
    await turn()
    assert client.socket.lines == ['4{"message":"invalid token"}']


async def test_d15_a_position_that_is_gone(world: World) -> None:
    """It is dropped once, and then told "not recovered" by a fresh pid: not dropped again and again."""
    client = await world.connect()
    await client.subscribe(ALLOWED)
    world.happen()
    await turn()
    client.cut()
    for _ in range(20):
        world.happen()
    world.log.first = 11
    world.start_worker(warm=10)
    with capture_logs() as logs:
        returned = await world.connect(auth=client.coordinates)
        await world.pass_time(SETTLE)
    assert returned.socket.ended == "transport error"
    assert [line["event"] for line in logs] == ["a client's position is gone"]
    fresh = await world.connect(auth=client.coordinates)
    assert fresh.answer["pid"] != client.answer["pid"]
    await fresh.subscribe(ALLOWED)
    world.happen()
    await turn()
    assert fresh.events == [22]


async def test_d13_python_socketio_gets_one_argument_and_no_pid(world: World) -> None:
    """Its handlers with one parameter fail on any second one."""
    client = await world.connect(PYTHON_QUERY)
    assert client.answer.keys() == {"sid"}
    await client.subscribe(ALLOWED)
    world.happen()
    await turn()
    assert len(json.loads(client.socket.lines[-1][1:])) == 2


@pytest.mark.parametrize(
    ("query", "raw", "version", "expected"),
    [
        ("systemId=s&token=t&EIO=4&transport=polling&t=abc", "", 4, True),
        ("token=t&EIO=4&transport=websocket", '{"pid":"p"}', 4, True),
        ("token=t&EIO=4&transport=websocket", "{}", 4, False),
        ("token=t&transport=polling&EIO=4&t=1.5", "{}", 4, False),
        ("token=t&transport=polling&EIO=4&t=1.5", "", 4, False),
        ("token=t&transport=websocket", "", 3, False),
        ("token=t&EIO=3&transport=websocket", "", 3, False),
        ("token=t&EIO=3&transport=websocket&recovery=1", "", 3, False),
        ("token=t&EIO=4&transport=websocket&recovery=0", "", 4, False),
        ("token=t&transport=websocket&EIO=4&recovery=1", "{}", 4, True),
        ("token=t&EIO=4&transport=websocket&recovery=yes", "", 4, True),
    ],
)
def test_d13_who_takes_part(query: str, raw: str, version: int, *, expected: bool) -> None:
    """The JavaScript family on protocol 4, or whoever says so."""
    request = UpgradeRequest.parse(f"GET /socket.io/?{query} HTTP/1.1\r\nhost: x".encode())
    assert recovers(request, raw, version) is expected


# Transport, rights, talk


async def test_an_upgrade_neither_loses_nor_repeats(world: World) -> None:
    """Polling becomes WebSocket between an event and its delivery."""
    client = await world.connect()
    await client.subscribe(ALLOWED)
    world.happen()
    await turn()
    world.happen()  # waits for the end of this turn
    client.socket.framing = other_framing
    client.handler.transport_changed()
    world.happen()
    await turn()
    assert client.events == [1, 2, 3]
    assert [line.startswith("~") for line in client.socket.lines if line.lstrip("~").startswith("2")] == [
        False,
        True,
        True,
    ]


async def test_an_upgrade_while_withheld_delivers_nothing(world: World) -> None:
    """The hold does not belong to the transport."""
    client = await world.connect(token=f"{SITE}~{NOW + 10}")
    await client.subscribe(ALLOWED)
    await world.pass_time(10)
    client.socket.framing = other_framing
    client.handler.transport_changed()
    world.happen()
    await turn()
    assert client.events == ["invalidToken"]
    await client.renew(NOW + 300)
    assert client.events == ["invalidToken", 1]
    assert client.socket.lines[-1].startswith("~")


async def test_a_revoked_client_is_put_out(world: World) -> None:
    """It is told by a DISCONNECT, on which the client's library does not dial again; D2 would refuse it anyway."""
    client = await world.connect()
    kept = await world.connect(PYTHON_QUERY)
    world.revoked.add("client")
    client.handler.recheck()
    assert client.socket.lines[-1] == "1"
    assert client.socket.ended is not None
    assert kept.socket.ended is None
    assert len(world.presence) == 1


async def test_acknowledgements(world: World) -> None:
    """Any event may ask for one."""
    client = await world.connect()
    for number, (name, argument) in enumerate(
        [
            ("subscribeIsolated", {"topics": [ALLOWED, "door.open"]}),
            ("subscribeIsolated", "all"),
            ("renewedToken", {"token": "forged"}),
            ("renewedToken", {"token": f"{SITE}~{NOW + 900}"}),
            ("open", {"door": 1}),
        ]
    ):
        client.say(f"2{number}" + json.dumps([name, argument]))
    answers = [line.partition("[") for line in client.socket.lines[1:]]
    assert [head for head, _, _ in answers] == ["30", "31", "32", "33", "34"]
    assert [json.loads("[" + body)[0]["ok"] for _, _, body in answers] == [True, False, False, True, False]


async def test_topics_that_do_not_exist_are_logged_once_for_a_client(world: World) -> None:
    """Accepted and ignored; the line is bounded, whatever the client calls them."""
    client = await world.connect()
    with capture_logs() as logs:
        await client.subscribe(ALLOWED, *(f"door.{number}." + "x" * 1000 for number in range(100)))
        await client.subscribe("door.open")
    (line,) = logs
    assert line["number"] == 100
    assert len(str(line)) < 1000
    world.happen()
    await turn()
    assert client.events == [1]


async def test_nothing_is_written_after_the_end(world: World) -> None:
    """Neither events nor reminders, nor what was waiting in this very turn (the socket asserts it)."""
    following = await world.connect()
    await following.subscribe(ALLOWED)
    held = await world.connect(token=f"{SITE}~{NOW}")
    world.happen()
    following.cut()
    held.cut()
    await turn()
    await world.pass_time(REMIND_EVERY * 2)
    assert not world.hub._sites
