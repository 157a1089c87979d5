"""The hub: one encoding and one write for all events of a turn."""

import asyncio
from typing import cast

import pytest
from structlog.testing import capture_logs

from doorstream.events import Position
from doorstream.live import Hub, Interest, Subscription
from doorstream.live.hub import MAX_JOINED
from doorstream.log import EventLog
from doorstream.testing import OTHER_SITE, SITE, make_event
from doorstream.testing.live import PlainEncoder, Recorder, angled, squared

ALL = Interest(SITE, PlainEncoder(), angled)


@pytest.fixture
def hub():
    """A hub at the start of a log."""
    return Hub("test", 0)


async def turn():
    """One turn of the loop."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def joined(hub, interest=ALL):
    """A member of a group."""
    member = Recorder()
    group = hub.join(interest, member, member.write)
    return member, group


async def test_all_events_of_a_turn_are_one_write_for_each_member(hub):
    members = [joined(hub)[0] for _ in range(50)]
    for sequence in range(1, 11):
        hub.publish(make_event(sequence))
    assert not any(member.writes for member in members)
    await turn()

    assert {len(member.writes) for member in members} == {1}
    assert members[0].sequences == list(range(1, 11))
    assert len({id(member.writes[0]) for member in members}) == 1, "the same bytes for all"


async def test_events_of_different_turns_are_different_writes(hub):
    member, _ = joined(hub)
    for sequence in (1, 2, 3):
        hub.publish(make_event(sequence))
        await turn()

    assert [len(data) for data in member.writes] == [5, 5, 5]


async def test_an_event_is_encoded_once_for_all_groups_with_the_same_packets(hub):
    made: list[int] = []
    joined(hub, Interest(SITE, PlainEncoder(encoded=made), angled))
    joined(hub, Interest(SITE, PlainEncoder(frozenset({"x.test"}), encoded=made), angled))
    joined(hub, Interest(SITE, PlainEncoder(encoded=made), squared))
    joined(hub, Interest(None, PlainEncoder(encoded=made), angled))
    hub.publish(make_event(1))
    await turn()

    assert made == [1]


async def test_the_ring_keeps_nothing_that_was_encoded(hub):
    """Once it kept a packet for each event and set of wishes there had been: 1.8 GB for a hundred of them."""
    for number in range(100):
        joined(hub, Interest(SITE, PlainEncoder(padding=b"%d" % number), angled))
    for sequence in range(1, 11):
        hub.publish(make_event(sequence))
    await turn()
    entries = list(hub.ring.after(0, None))
    member = Recorder()
    late = Subscription(hub, cast("EventLog", None), member, member)
    late.seek(Position(hub.epoch, 0))
    late.follow(Interest(SITE, PlainEncoder(), angled))
    assert member.sequences == list(range(1, 11))
    await turn()

    assert len(entries) == 10
    assert [entry.memo for entry in entries] == [{}] * 10


def test_the_table_of_topics_holds_what_groups_want_and_no_more(hub):
    """Once it had a place for every topic there had been, and drivers may make up as many as they like."""
    member, group = joined(hub, Interest(SITE, PlainEncoder(frozenset({"x.a", "x.b"})), angled))
    _, everything = joined(hub)
    site = hub._sites[SITE]
    assert set(site.by_topic) == {"x.a", "x.b"}
    hub.leave(group, member)
    assert site.by_topic == {}
    assert list(site.every) == [everything]


async def test_a_packet_is_framed_once_for_each_framing(hub):
    calls = []

    def counted(packet):
        calls.append(packet)
        return b"<%b>" % packet

    first, _ = joined(hub, Interest(SITE, PlainEncoder(), counted))
    second, _ = joined(hub, Interest(SITE, PlainEncoder(frozenset({"x.test", "x.other"})), counted))
    hub.publish(make_event(1))
    await turn()

    assert len(calls) == 1
    assert first.sequences == second.sequences == [1]


async def test_only_who_wants_an_event_gets_it(hub):
    one, _ = joined(hub, Interest(SITE, PlainEncoder(frozenset({"x.one"})), angled))
    both, _ = joined(hub, Interest(SITE, PlainEncoder(frozenset({"x.one", "x.two"})), angled))
    elsewhere, _ = joined(hub, Interest(OTHER_SITE, PlainEncoder(), angled))
    everywhere, _ = joined(hub, Interest(None, PlainEncoder(), angled))
    for sequence, topic, site in (
        (1, "x.one", SITE),
        (2, "x.two", SITE),
        (3, "x.three", SITE),
        (4, "x.one", OTHER_SITE),
    ):
        hub.publish(make_event(sequence, topic=topic, site_id=site))
    await turn()

    assert one.sequences == [1]
    assert both.sequences == [1, 2]
    assert elsewhere.sequences == [4]
    assert everywhere.sequences == [1, 2, 3, 4]


async def test_work_is_done_only_for_who_wants_an_event(hub):
    """An event costs nothing for groups that do not want it, however many there are."""
    groups = [joined(hub, Interest(f"site {n}", PlainEncoder(), angled))[1] for n in range(100)]
    groups += [joined(hub, Interest(SITE, PlainEncoder(frozenset({f"x.{n}"})), angled))[1] for n in range(100)]
    hub.publish(make_event(1, topic="x.7"))

    assert [group for group in groups if group.pending] == [groups[107]]
    await turn()


async def test_a_new_group_gets_topics_that_were_seen_before_it(hub):
    """Who wants which topic is remembered, and must be forgotten when a group comes or goes."""
    hub.publish(make_event(1, topic="x.a"))
    member, group = joined(hub, Interest(SITE, PlainEncoder(frozenset({"x.a"})), angled))
    hub.publish(make_event(2, topic="x.a"))
    await turn()
    assert member.sequences == [2]

    hub.leave(group, member)
    hub.publish(make_event(3, topic="x.a"))
    late, _ = joined(hub, Interest(SITE, PlainEncoder(frozenset({"x.a"})), angled))
    hub.publish(make_event(4, topic="x.a"))
    await turn()
    assert member.sequences == [2]
    assert late.sequences == [4]


async def test_what_was_published_before_is_for_those_who_were_there(hub):
    early, group = joined(hub)
    hub.publish(make_event(1))
    late, _ = joined(hub)
    hub.publish(make_event(2))
    hub.leave(group, early)
    hub.publish(make_event(3))
    await turn()

    assert early.sequences == [1, 2]
    assert late.sequences == [2, 3]


async def test_who_left_without_a_flush_gets_nothing_more(hub):
    member, group = joined(hub)
    other, _ = joined(hub)
    hub.publish(make_event(1))
    hub.leave(group, member, flush=False)
    await turn()

    assert member.sequences == []
    assert other.sequences == [1]


async def test_groups_and_sites_without_members_are_forgotten(hub):
    for n in range(100):
        member, group = joined(hub, Interest(f"site {n}", PlainEncoder(), angled))
        hub.publish(make_event(n + 1, site_id=f"site {n}"))
        hub.leave(group, member)
        hub.leave(group, member)
    everywhere, group = joined(hub, Interest(None, PlainEncoder(), angled))
    hub.leave(group, everywhere)

    assert hub._sites == {}
    assert hub._everywhere.groups == {}


async def test_much_at_once_is_written_in_pieces(hub):
    interest = Interest(SITE, PlainEncoder(padding=b"x" * 1000), angled)
    member, _ = joined(hub, interest)
    for sequence in range(1, 1001):
        hub.publish(make_event(sequence))
    await turn()

    sizes = [len(data) for data in member.writes]
    assert sum(sizes) > 1_000_000
    assert len(sizes) == 4
    assert all(MAX_JOINED <= size <= MAX_JOINED + 2000 for size in sizes[:-1])
    assert b"".join(member.writes).count(b"<") == 1000


async def test_a_member_that_fails_harms_nobody(hub):
    before, _ = joined(hub)
    broken = object()

    def fail(_data):
        raise RuntimeError("broken")

    hub.join(ALL, broken, fail)
    after, _ = joined(hub)
    with capture_logs() as logs:
        hub.publish(make_event(1))
        await turn()
        hub.publish(make_event(2))
        await turn()

    assert before.sequences == after.sequences == [1, 2]
    assert len([entry for entry in logs if entry["log_level"] == "error"]) == 2


async def test_a_member_that_leaves_while_it_is_written_to_harms_nobody(hub):
    """Large writes are several pieces: what was published before it left is all for it."""
    interest = Interest(SITE, PlainEncoder(padding=b"x" * 100_000), angled)
    members = [Recorder() for _ in range(3)]
    groups = []

    def leave_all(data):
        members[1].writes.append(data)
        for member, group in zip(members, groups, strict=True):
            hub.leave(group, member)

    for number, member in enumerate(members):
        groups.append(hub.join(interest, member, leave_all if number == 1 else member.write))
    for sequence in range(1, 8):
        hub.publish(make_event(sequence))
    await turn()
    hub.publish(make_event(8))
    await turn()

    assert [len(b"".join(member.writes)) for member in members] == [7 * 100_005] * 3
    assert hub._sites == {}


async def test_a_member_that_joins_while_another_is_written_to_gets_what_comes_after(hub):
    late = Recorder()

    def join_late(data):
        if late not in group.members:
            hub.join(ALL, late, late.write)
        early.writes.append(data)

    early = Recorder()
    group = hub.join(ALL, early, join_late)
    hub.publish(make_event(1))
    await turn()
    hub.publish(make_event(2))
    await turn()

    assert early.sequences == [1, 2]
    assert late.sequences == [2]


class Broken(PlainEncoder):
    """An encoder that cannot write every third event."""

    def encode(self, entry):
        if entry.event.sequence % 3 == 0:
            raise RuntimeError("cannot")
        return PlainEncoder.encode(self, entry)


async def test_an_event_that_cannot_be_encoded_keeps_back_no_other(hub):
    """Neither those after it nor those of the groups that are written later."""
    broken, _ = joined(hub, Interest(SITE, Broken(), angled))
    sound, _ = joined(hub)
    with capture_logs() as logs:
        for sequence in range(1, 7):
            hub.publish(make_event(sequence))
        await turn()
        hub.publish(make_event(7))
        await turn()

    assert broken.sequences == [1, 2, 4, 5, 7]
    assert sound.sequences == [1, 2, 3, 4, 5, 6, 7]
    assert [entry["sequence"] for entry in logs if entry["log_level"] == "error"] == [3, 6]


async def test_waiting_for_a_sequence(hub):
    first = asyncio.create_task(hub.reached(2))
    second = asyncio.create_task(hub.reached(3))
    await hub.reached(0)
    hub.publish(make_event(1))
    await turn()
    assert not first.done()
    hub.publish(make_event(2))
    await turn()
    assert first.done()
    assert not second.done()
    hub.publish(make_event(5))
    await turn()
    assert second.done()
    assert not hub._waiting


async def test_the_position_is_that_of_the_last_event(hub):
    assert hub.position == ("test", 0)
    hub.publish(make_event(7))
    assert hub.position == ("test", 7)
    assert hub.counts.published == 1


async def test_something_may_be_done_ahead_of_each_event():
    seen = []
    hub = Hub("test", 0, before_publish=lambda: seen.append(hub.sequence))
    for sequence in (1, 2):
        hub.publish(make_event(sequence))
    assert seen == [0, 1]
