"""The hub against a model: members come and go at every moment, also from within what is written to them.

A watcher leaves as soon as it is told of something, as a PDK connection does whose token has expired: with it a group
may end while the hub is in the middle of a join or a leave.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from doorstream.live import Group, Hub, Interest
from doorstream.testing import SITE, make_event
from doorstream.testing.live import PlainEncoder, Recorder, angled

TOPICS = ("x.one", "x.two")
INTERESTS = (
    Interest(SITE, PlainEncoder(), angled),
    Interest(SITE, PlainEncoder(frozenset({"x.one"})), angled),
    Interest(None, PlainEncoder(frozenset(TOPICS)), angled),
)
ACTION = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(TOPICS)),
    st.tuples(st.sampled_from(["join", "watch", "watch again and again"]), st.integers(0, len(INTERESTS) - 1)),
    st.tuples(st.sampled_from(["leave", "leave at once"]), st.integers(0, 9)),
)
TURNS = st.lists(st.lists(ACTION, max_size=12), max_size=8)
"""What is done within one turn of the loop, for some turns."""


@dataclass(eq=False)
class Member:
    """One member of a group; ``due`` are the sequences that were published for it."""

    interest: Interest
    group: Group | None = None
    recorder: Recorder = field(default_factory=Recorder)
    due: list[int] = field(default_factory=list)
    may_lack: bool = False

    def wants(self, topic: str) -> bool:
        """Whether it is a member, and an event is for it."""
        topics = self.interest.encoder.topics
        return self.group is not None and (topics is None or topic in topics)


class Model:
    """A hub and everybody who ever was a member."""

    def __init__(self) -> None:
        self.hub = Hub("test", 0)
        self.everybody: list[Member] = []

    @property
    def members(self) -> list[Member]:
        """Who has not left."""
        return [member for member in self.everybody if member.group is not None]

    def publish(self, topic: str) -> None:
        """The next event."""
        event = make_event(self.hub.sequence + 1, topic=topic)
        self.hub.publish(event)
        for member in self.everybody:
            if member.wants(topic):
                member.due.append(event.sequence)

    def join(self, interest: Interest) -> None:
        """One that stays."""
        member = Member(interest)
        member.group = self.hub.join(interest, member, member.recorder.write)
        self.everybody.append(member)

    def watch(self, interest: Interest, *, again: bool = False) -> None:
        """One that leaves when it is told, and perhaps watches again as it leaves."""
        member = Member(interest)

        def write(data: bytes) -> None:
            member.recorder.write(data)
            if member.group is not None:
                self.leave(member, flush=False)
                if again:
                    self.watch(interest)

        member.group = self.hub.join(interest, member, write)
        self.everybody.append(member)

    def leave(self, member: Member, *, flush: bool) -> None:
        """One goes, with or without what is on its way."""
        group, member.group = member.group, None
        assert group is not None
        member.may_lack = not flush
        self.hub.leave(group, member, flush=flush)

    def do(self, kind: str, argument: str | int) -> None:
        """One action."""
        match kind, argument:
            case "publish", str(topic):
                self.publish(topic)
            case "join", int(number):
                self.join(INTERESTS[number])
            case (("watch" | "watch again and again"), int(number)):
                self.watch(INTERESTS[number], again=kind != "watch")
            case _, int(number) if self.members:
                self.leave(self.members[number % len(self.members)], flush=kind == "leave")

    def check(self) -> None:
        """Once a turn is over, everybody has what was due, once and in order."""
        for member in self.everybody:
            written = member.recorder.sequences
            assert written == member.due[: len(written)], "not due, twice, or out of order"
            assert member.may_lack or written == member.due, "lost"


@settings(max_examples=2_000)
@given(TURNS)
def test_everybody_gets_what_was_published_while_they_were_members(turns):
    async def run() -> None:
        model = Model()
        for actions in turns:
            for kind, argument in actions:
                model.do(kind, argument)
            await asyncio.sleep(0)
            model.check()
        while model.members:
            model.leave(model.members[0], flush=True)
        assert model.hub._sites == {}
        assert model.hub._everywhere.groups == {}

    asyncio.run(run())
