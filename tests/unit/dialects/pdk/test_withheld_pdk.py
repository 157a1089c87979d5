"""Several clients of the same wishes against a model, while their tokens expire and are renewed at every moment.

Real sessions, hub and subscriptions; things happen within one turn of the loop, in any order: events, expiry (seen by
a timer or only by the next event), good and bad renewals, further topics, clients that come, leave, and come back.
Where the ring is small, what was withheld is read from the log, and a client that does not take its bytes is held in
the middle of that, by the next expiry or for ever.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from test_routes_pdk import ALLOWED, JS_QUERY, OPENED, OTHER, PYTHON_QUERY, SITE, Client, World, turn

from doorstream.live.ring import Ring

MORE = "device.input.dps.closed"  # never happens
LARGE = 10_000
QUERIES = (PYTHON_QUERY, JS_QUERY)
ACTION = st.one_of(
    st.tuples(st.sampled_from(["happen", "happen", "happen elsewhere"]), st.integers(0, 1)),
    st.tuples(st.sampled_from(["come", "come expired"]), st.integers(0, 1)),
    st.tuples(
        st.sampled_from(
            ["renew", "renew", "renew badly", "renew elsewhere", "subscribe", "go", "go and come back", "stall", "take"]
        ),
        st.integers(0, 9),
    ),
    st.tuples(st.sampled_from(["time", "time unnoticed"]), st.sampled_from([4, 10, 30])),
)
TURNS = st.lists(st.lists(ACTION, max_size=8), max_size=8)
"""What is done within one turn of the loop, for some turns."""


@dataclass
class Watched:
    """A client, what it is to have, and what is withheld from it."""

    client: Client
    connect: str
    until: float
    due: list[int] = field(default_factory=list)
    withheld: list[int] = field(default_factory=list)
    has_stalled: bool = False
    told_before: int = 0
    """``invalidToken`` up to when it was last in order."""

    @property
    def received(self) -> list[int]:
        """The events."""
        return [event for event in self.client.events if event != "invalidToken"]

    @property
    def told(self) -> int:
        """How often it was told that its token has expired."""
        return self.client.events.count("invalidToken") - self.told_before

    def say(self, name: str, argument: dict[str, object]) -> None:
        """Send one of its events."""
        self.client.say("2" + json.dumps([name, argument]))

    def join(self) -> None:
        """Connect, and subscribe at once."""
        self.client.say(self.connect)
        self.say("subscribeIsolated", {"topics": [ALLOWED, OPENED]})

    @property
    def takes(self) -> bool:
        """Whether a replay goes on."""
        return self.client.socket.is_drained

    def stall(self) -> None:
        """Take no bytes, so that a replay waits."""
        self.has_stalled = True
        self.client.socket.is_drained = False
        self.client.socket.may_go_on.clear()

    def take(self) -> None:
        """Take them again."""
        self.client.socket.is_drained = True
        self.client.socket.may_go_on.set()

    def begin_anew(self) -> None:
        """What it has is all that it gets of what was before."""
        self.due, self.withheld = self.received, []
        self.told_before += self.told


class Model:
    """A worker and its clients."""

    def __init__(self, ring: int) -> None:
        self.world = World()
        self.world.hub.ring = Ring(0, max_events=ring)
        self.is_replayed = ring < LARGE
        self.clients: list[Watched] = []

    async def do(self, kind: str, argument: int) -> None:
        """One action."""
        world = self.world
        if kind == "happen":
            number = world.happen((ALLOWED, OPENED)[argument])
            for client in self.clients:
                (client.withheld if client.until <= world.now else client.due).append(number)
        elif kind == "happen elsewhere":
            world.happen(site_id=OTHER)
        elif kind.startswith("come"):
            until = world.now + (10 if kind == "come" else -10)
            query = QUERIES[argument]
            client = Watched(world.open(query, f"{SITE}~{until}"), "0{}" if query == PYTHON_QUERY else "0", until)
            client.join()
            self.clients.append(client)
        elif kind.startswith("time"):
            world.now += argument
            if kind == "time":
                world.alarms.run_due()
        elif self.clients:
            self._of_one(kind, self.clients[argument % len(self.clients)])

    def _of_one(self, kind: str, client: Watched) -> None:
        world = self.world
        match kind:
            case "renew":
                client.until = world.now + 10
                client.say("renewedToken", {"token": f"{SITE}~{client.until}"})
                client.due += client.withheld
                client.withheld = []
                client.told_before += client.told
            case "renew badly":
                client.say("renewedToken", {"token": f"{SITE}~{world.now}"})
            case "renew elsewhere":
                client.say("renewedToken", {"token": f"{OTHER}~{world.now + 10}"})
            case "subscribe":
                client.say("subscribeIsolated", {"topics": [MORE]})
            case "go":
                client.client.cut()
                self.clients.remove(client)
            case "go and come back":
                client.client.say("1")
                client.begin_anew()
                client.join()
            case "stall":
                client.stall()
            case "take":
                client.take()

    def check(self) -> None:
        """Everybody has what is due, nothing else, and knows when something is withheld."""
        for client in self.clients:
            received = client.received
            assert received == client.due[: len(received)]
            is_expired = client.until <= self.world.now
            may_be_replayed = self.is_replayed or client.has_stalled
            if client.takes and not (is_expired and may_be_replayed):  # a replay ends where the next token expires
                assert received == client.due
            assert client.told or not client.withheld
            if not may_be_replayed:  # else it may be told in the middle of a replay
                assert client.withheld or not client.told


@settings(max_examples=1_000)
@given(TURNS, st.sampled_from([1, 3, LARGE, LARGE]))
def test_pdk_10_everybody_gets_everything_once_and_is_told_what_is_withheld(turns, ring):
    async def run() -> None:
        model = Model(ring)
        for actions in turns:
            for action in actions:
                await model.do(*action)
            await turn()
            model.check()
        for client in model.clients:
            client.take()
            model._of_one("renew", client)
        await turn()
        model.check()
        for client in model.clients:
            client.client.cut()
        assert model.world.hub._sites == {}
        assert len(model.world.presence) == 0

    with capture_logs() as logs:
        asyncio.run(run())
    assert [line for line in logs if line["log_level"] == "error"] == []
