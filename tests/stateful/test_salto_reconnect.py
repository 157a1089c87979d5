"""SignalR's stateful reconnect against a model: sockets die at every moment, seen or unseen, and are dialled again.

The client drops what it has by its number and breaks when a number is missing. Checkpoints move with its
acknowledgements and are forgotten with time; of two sockets with one connection token the later one counts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from doorstream.auth import FULL_ACCESS, AccessToken
from doorstream.dialects.salto import numbering, routes
from doorstream.dialects.salto.messages import Shapes
from doorstream.dialects.salto.routes import SaltoConnection, SaltoHub, Stream
from doorstream.events import Event, Position
from doorstream.events.event import encode_kept
from doorstream.gateway.signalr import HubEndpoint, Ticket
from doorstream.live import Alarms, Hub, Presence
from doorstream.live.ring import Ring
from doorstream.log import PositionGone
from doorstream.protocols.websocket import UpgradeRequest

SITE = "0738b8df-329a-4d50-88e7-7a48928c4d6f"
EPOCH = "3f9a1c07"
ENTRY, INCIDENT = "device.request.allowed", "device.alarm.forced"
TOKEN = AccessToken("ann", "g", "app", "g", frozenset({FULL_ACCESS}), 9_999.0)
REQUEST = UpgradeRequest.parse(f"GET /v1/hub/entries?site_id={SITE}&access_token=t HTTP/1.1".encode())
FIRST, AGAIN = '{"protocol":"json","version":2}\x1e', '{"type":9,"sequenceId":1}\x1e'

CLIENTS = range(2)
ACTION = st.one_of(
    st.tuples(st.sampled_from(["enter", "enter", "incident", "forget"]), st.just(0)),
    st.tuples(
        st.sampled_from(["dial", "dial", "speak", "speak", "acknowledge", "lose", "notice", "stall"]),
        st.sampled_from(CLIENTS),
    ),
)
TURNS = st.lists(st.lists(ACTION, max_size=8), max_size=10)
"""What is done within one turn of the loop, for some turns."""


class FakeLog:
    """The log as a subscription reads it: all of it is kept."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def check(self, position: Position) -> None:
        """Raise PositionGone for what never was."""
        if not 0 <= position.sequence <= len(self.events):
            raise PositionGone(Position(EPOCH, 0))

    async def read(self, after: int, *, site_id: str, upto: int) -> AsyncIterator[list[Event]]:
        """Give one event at a time."""
        del site_id
        for event in self.events[after:upto]:
            await asyncio.sleep(0)
            yield [event]


class Socket:
    """One socket of a client, as the server sees it; an unseen death loses everything that is written."""

    peer = "192.0.2.1"
    unsent = 0
    replaying = False

    def __init__(self, client: Client, handler: SaltoConnection) -> None:
        self.client = client
        self.handler = handler
        self.is_dead = False
        self.is_closed = False
        self.has_spoken = False
        self.takes = asyncio.Event()
        self.takes.set()

    @property
    def is_drained(self) -> bool:
        """Whether it takes bytes."""
        return self.takes.is_set()

    async def drained(self) -> None:
        """Wait until it does."""
        await self.takes.wait()

    def write(self, data: bytes) -> None:
        """Take frames."""
        assert not self.is_closed
        while data:
            size, start = (data[1], 2) if data[1] < 126 else (int.from_bytes(data[2:4], "big"), 4)
            if not self.is_dead:
                self.client.take(data[start : start + size])
            data = data[start + size :]

    def close(self, code: int = 1000, _reason: str = "") -> None:
        """End, once."""
        if not self.is_closed:
            self.is_closed = True
            self.takes.set()
            self.handler.closed(code)

    def abort(self, _reason: str) -> None:
        """Break off."""
        self.close(1006)


class Client:
    """Counts messages as the vendor's client does, and remembers which entries it has."""

    def __init__(self, ticket: Ticket, start: int) -> None:
        self.ticket = ticket
        self.start = start
        self.socket: Socket | None = None
        self.has_met = False
        self.latest = 0
        self.next = 1
        self.entries: list[str] = []

    def take(self, payload: bytes) -> None:
        """Read the messages of a frame."""
        for record in payload.split(b"\x1e")[:-1]:
            message = json.loads(record)
            kind = message.get("type")
            assert kind != 7, message
            if kind == 9:
                assert message["sequenceId"] <= self.latest + 1, "what is between is lost"
                self.next = message["sequenceId"]
            elif kind == 1:
                number, self.next = self.next, self.next + 1
                if number > self.latest:
                    self.latest = number
                    self.entries.append(json.loads(message["arguments"][0])["id"])


class Model:
    """A worker and its clients."""

    def __init__(self) -> None:
        self.log = FakeLog()
        self.live = Hub(EPOCH, 0)
        self.live.ring = Ring(0, max_events=4)
        self.presence = Presence(lambda: 0.0)
        stream = SimpleNamespace(
            hub=self.live,
            log=self.log,
            index=None,
            directory=None,
            tokens=SimpleNamespace(check=self._check),
            alarms=Alarms(lambda: 0.0),
            presence=self.presence,
            shapes=Shapes(lambda _: None),
            clock=lambda: 0.0,
            close_at_expiry=False,
            drop_after=None,
        )
        self.hub = SaltoHub(cast("Stream", stream), "entries")
        self.endpoint = HubEndpoint(self.hub.open, stateful=True)
        self.clients: list[Client] = []
        self.entries: list[str] = []

    async def _check(self, _token: str, _now: float) -> AccessToken:
        return TOKEN

    async def open(self) -> None:
        """The clients negotiate."""
        for number in CLIENTS:
            data = await self.hub.negotiate(REQUEST, True)
            assert isinstance(data, str)
            self.clients.append(Client(Ticket(str(number), data, is_stateful=True), len(self.entries)))

    def happen(self, topic: str) -> None:
        """Somebody enters, or does not."""
        sequence = len(self.log.events) + 1
        kept = encode_kept(
            id=f"e{sequence}", topic=topic, site_id=SITE, occurred=0, body={}, cloud_node=None, metadata=None
        )
        event = Event(kept, sequence, 0)
        self.log.events.append(event)
        if topic == ENTRY:
            self.entries.append(f"e{sequence}")
        self.live.publish(event)

    async def dial(self, client: Client) -> None:
        """Open another socket; the old one may be alive, for the server or for both."""
        handler = await self.hub.open(REQUEST, client.ticket)
        assert isinstance(handler, SaltoConnection)
        handler.prepare(self.endpoint, client.ticket)
        old = client.socket
        if old is not None:
            old.is_dead = True
        client.socket = Socket(client, handler)
        handler.opened(cast("Any", client.socket))

    def speak(self, client: Client) -> None:
        """The client's first message on its socket: a handshake, or the Sequence of one that was there before."""
        socket = client.socket
        if socket is not None and not (socket.has_spoken or socket.is_closed or socket.is_dead):
            socket.has_spoken = True
            socket.handler.message(AGAIN if client.has_met else FIRST)
            client.has_met = True

    async def do(self, kind: str, number: int) -> None:
        """One action."""
        client = self.clients[number]
        if kind in ("enter", "incident"):
            self.happen(ENTRY if kind == "enter" else INCIDENT)
        elif kind == "forget":
            for connection_id in tuple(self.hub._forget._queue):
                self.hub._forget.stop(connection_id)
                self.hub._forgotten(connection_id)
        elif kind == "dial":
            await self.dial(client)
        elif kind == "speak":
            self.speak(client)
        elif client.socket is not None and not client.socket.is_closed:
            self._of_socket(kind, client, client.socket)

    def _of_socket(self, kind: str, client: Client, socket: Socket) -> None:
        if kind == "stall":
            socket.takes.clear()
        elif kind != "acknowledge":
            socket.is_dead = True
            if kind == "notice":
                socket.close(1006)
        elif socket.has_spoken and not socket.is_dead:
            socket.handler.message(json.dumps({"type": 8, "sequenceId": client.latest}) + "\x1e")

    async def settle(self) -> None:
        """Whoever takes bytes has everything, in order and once."""
        for _ in range(60):
            await asyncio.sleep(0)
        for client in self.clients:
            due = self.entries[client.start :]
            assert client.entries == due[: len(client.entries)]
            socket = client.socket
            if socket is not None and socket.has_spoken and not socket.is_dead and socket.is_drained:
                assert client.entries == due

    async def finish(self) -> None:
        """In the end everybody dials once more."""
        for client in self.clients:
            await self.dial(client)
            self.speak(client)
        await self.settle()
        for client in self.clients:
            assert client.socket is not None
            client.socket.close(1006)
        assert (self.hub.stateful, len(self.presence), self.live._sites) == ({}, 0, {})


@settings(max_examples=600)
@given(TURNS)
def test_whoever_dials_again_misses_nothing_and_gets_nothing_twice(turns):
    async def run() -> None:
        model = Model()
        await model.open()
        for actions in turns:
            for action in actions:
                await model.do(*action)
            await model.settle()
        await model.finish()

    with capture_logs() as logs, pytest.MonkeyPatch.context() as patch:
        patch.setattr(routes, "visible", lambda *_: None)
        patch.setattr(numbering, "CHECKPOINT_EVERY", 2)
        asyncio.run(run())
    assert [line for line in logs if line["log_level"] == "error"] == []
