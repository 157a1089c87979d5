"""Connection state recovery: ``pid`` and offsets, without stored sessions (D13)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstream.auth import Signer
from doorstream.dialects.pdk.messages import LIVE_EVENT, PdkEncoder
from doorstream.dialects.pdk.recovery import KNOWN, Recovery, Resume, topic_set
from doorstream.events import Event, Position
from doorstream.events.event import encode_kept
from doorstream.live import Entry

SITE = "0738b8df-329a-4d50-88e7-7a48928c4d6f"
OTHER = "0738b8df-329a-4d50-88e7-7a48928c4d70"
EPOCH = "3f9a1c07"
ALLOWED = "device.request.allowed"
BOTH = frozenset({ALLOWED, LIVE_EVENT})

topic_sets = st.none() | st.frozensets(st.sampled_from(sorted(KNOWN)))


class Log:
    """What the log keeps at the moment."""

    def __init__(self, first: int = 1, last: int = 100, epoch: str = EPOCH, secret: bytes = b"secret") -> None:
        self.extent = (first, last)
        self.recovery = Recovery(Signer(secret, "recovery"), epoch, lambda: self.extent)


def at(sequence: int) -> Position:
    """A place in the log."""
    return Position(EPOCH, sequence)


def offset(sequence: int, topics: frozenset[str] | None = frozenset({ALLOWED}), packet: int = 0) -> str:
    """The last argument of an event."""
    return f"{EPOCH}.{sequence}.{packet}.{topic_set(topics)}"


def packets(sequence: int, topics: frozenset[str] | None) -> list[bytes]:
    """What such a subscriber gets of an auditable event."""
    kept = encode_kept(
        id="i", topic=ALLOWED, site_id=SITE, occurred=1, body={"deviceId": "d"}, cloud_node=None, metadata=None
    )
    return PdkEncoder(topics, topic_set(topics), EPOCH).encode(Entry(Event(kept, sequence, 1)))


def read(recovery: Recovery, start: int = 10, site_id: str = SITE, **payload: Any) -> Resume | None:
    """What becomes of a client that comes back with the ``pid`` of a connection that began there."""
    return recovery.read({"pid": recovery.issue(SITE, at(start))} | payload, site_id)


# With an offset


def test_d13_goes_on_after_the_last_event() -> None:
    """The same pid, which is what "recovered" means, and the topics of that moment."""
    recovery = Log().recovery
    pid = recovery.issue(SITE, at(10))
    assert recovery.read({"pid": pid, "offset": offset(42)}, SITE) == Resume(pid, at(42), 0, frozenset({ALLOWED}))


def test_d13_after_a_restart() -> None:
    """Nothing is stored: another process with the same secret reads them, a fresh token or an old one beside it."""
    pid = Log().recovery.issue(SITE, at(10))
    assert Log(last=500).recovery.read({"pid": pid, "offset": offset(42)}, SITE).pid == pid


def test_d13_cut_off_between_the_two_packets_of_an_event() -> None:
    """Who has the event but not its ``liveEvent`` gets that, once."""
    resume = read(Log().recovery, offset=offset(42, BOTH, 0))
    assert (resume.after, resume.skip) == (at(41), 1)
    assert packets(42, BOTH)[resume.skip :] == packets(42, BOTH)[1:]
    complete = read(Log().recovery, offset=offset(42, BOTH, 1))
    assert (complete.after, complete.skip) == (at(42), 0)


def test_d13_topics_added_before_the_release_repeat_nothing() -> None:
    """A packet's number is its own, not its place among those that were sent.

    Counted by place, a client that had only ``liveEvent`` and subscribed the topic before it was released would have
    skipped the topic's packet, which it does not have, and got the ``liveEvent`` again, which it has.
    """
    resume = read(Log().recovery, offset=offset(42, frozenset({LIVE_EVENT}), 1))
    assert (resume.after, resume.skip) == (at(42), 0)


def test_d13_the_event_of_the_offset_is_no_longer_kept() -> None:
    """It cannot be read again for its second packet, but nothing after it is missing."""
    resume = read(Log(first=43).recovery, offset=offset(42, BOTH, 0))
    assert (resume.after, resume.skip) == (at(42), 0)


def test_d13_a_gap_is_not_recovered() -> None:
    """Retention took events that the client does not have: a fresh pid tells it (D15)."""
    assert read(Log(first=60, last=100).recovery, offset=offset(42)) is None


def test_d13_what_turned_out_to_be_gone_is_remembered() -> None:
    """The extent may be half a minute old.

    Without this a client whose position is gone would be taken for recovered, cut off by the replay, and so on, for as
    long as the old extent stands.
    """
    recovery = Log().recovery
    assert read(recovery, offset=offset(42)) is not None
    recovery.forget(at(59))  # 60 is the first that is kept
    assert read(recovery, offset=offset(42)) is None
    assert read(recovery, start=59, offset=offset(59)) is not None


def test_d13_an_offset_of_another_epoch() -> None:
    """The log was made anew: its positions mean other events."""
    recovery = Log().recovery
    old = Log(epoch="00000000").recovery
    assert recovery.read({"pid": old.issue(SITE, Position("00000000", 10)), "offset": "00000000.42.0.1"}, SITE) is None
    fresh = read(recovery, offset="00000000.42.0.1")
    assert (fresh.after, fresh.topics) == (at(10), None)


def test_d13_a_leftover_offset_of_an_earlier_connection() -> None:
    """A client that was not recovered keeps its old offset and sends it with the new pid (spikes.md section 6)."""
    resume = read(Log().recovery, start=50, offset=offset(42))
    assert (resume.after, resume.skip, resume.topics) == (at(50), 0, None)


# Without an offset


def test_d13_a_pid_without_offset_goes_on_from_its_connection() -> None:
    """With a fresh pid, because nobody knows the topics: "not recovered" makes programs subscribe again."""
    recovery = Log().recovery
    pid = recovery.issue(SITE, at(10))
    resume = recovery.read({"pid": pid}, SITE)
    assert resume.pid != pid
    assert (resume.after, resume.skip, resume.topics) == (at(10), 0, None)
    assert recovery.read({"pid": resume.pid}, SITE).after == at(10)


def test_d13_a_pid_from_before_the_first_event() -> None:
    """Position 0 is a place too."""
    assert read(Log(first=1, last=0).recovery, start=0).after == at(0)


def test_d13_a_pid_whose_start_is_gone() -> None:
    """It starts anew."""
    assert read(Log(first=60).recovery, start=10) is None
    assert read(Log(first=60).recovery, start=59).after == at(59)


def test_d13_a_foreign_pid() -> None:
    """Of another system, of another installation, or made up: it starts anew, and that is no error."""
    recovery = Log().recovery
    assert read(recovery, site_id=OTHER, offset=offset(42)) is None
    forged = Log(secret=b"other").recovery.issue(SITE, at(10))
    assert recovery.read({"pid": forged, "offset": offset(42)}, SITE) is None
    assert recovery.read({"offset": offset(42)}, SITE) is None
    assert recovery.read({}, SITE) is None


# Several workers


def test_d13_a_client_that_is_ahead_of_this_worker() -> None:
    """Another worker had event 103 first: it must not be sent again by one that stands at 100."""
    recovery = Log(last=100).recovery
    payload = {"pid": recovery.issue(SITE, at(10)), "offset": offset(103)}
    assert recovery.is_ahead(payload, SITE)
    assert recovery.read(payload, SITE, last=103).after == at(103)
    assert not recovery.is_ahead({"pid": recovery.issue(SITE, at(10)), "offset": offset(100)}, SITE)
    assert recovery.is_ahead({"pid": recovery.issue(SITE, at(101))}, SITE)


def test_d13_an_offset_that_the_log_never_had() -> None:
    """It goes on from the connection's start: too much rather than too little."""
    recovery = Log(last=100).recovery
    payload = {"pid": recovery.issue(SITE, at(10)), "offset": offset(103)}
    assert recovery.read(payload, SITE, last=100).after == at(10)


def test_only_a_genuine_pid_makes_the_log_be_asked() -> None:
    """Asking costs a request to NATS."""
    recovery = Log(last=100).recovery
    assert not recovery.is_ahead({"pid": "forged", "offset": offset(103)}, SITE)
    assert not recovery.is_ahead({"pid": recovery.issue(OTHER, at(10)), "offset": offset(103)}, SITE)


# All kinds


@given(sequence=st.integers(10, 100), topics=topic_sets)
def test_d13_what_the_encoder_writes_is_read_back(sequence: int, topics: frozenset[str] | None) -> None:
    """Round trip over every set of topics: after any packet exactly the packets after it are left."""
    recovery = Log().recovery
    sent = packets(sequence, topics)
    for number, packet in enumerate(sent):
        resume = read(recovery, start=9, offset=packet.decode().rsplit('"', 2)[1])
        assert resume.topics == topics
        assert resume.after in (at(sequence), at(sequence - 1))
        left = packets(sequence, topics)[resume.skip :] if resume.after == at(sequence - 1) else []
        assert left == sent[number + 1 :]


@given(one=topic_sets, other=topic_sets)
def test_d13_sets_of_topics_have_different_ids(one: frozenset[str] | None, other: frozenset[str] | None) -> None:
    """Nothing subscribed and an empty subscription differ too."""
    assert (topic_set(one) == topic_set(other)) == (one == other)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(pid=json_values, wrong=json_values)
def test_garbage_never_raises(pid: Any, wrong: Any) -> None:
    """It is what anybody can send in a CONNECT."""
    recovery = Log().recovery
    assert recovery.read({"pid": pid, "offset": wrong}, SITE) is None
    assert read(recovery, offset=wrong).after == at(10)
    assert not recovery.is_ahead({"pid": pid, "offset": wrong}, SITE)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        EPOCH,
        f"{EPOCH}.42",
        f"{EPOCH}.42.0",
        f"{EPOCH}.42.0.400000.1",
        f"{EPOCH}.-1.0.400000",
        f"{EPOCH}.42.2.400000",
        f"{EPOCH}.42.+0.400000",
        f"{EPOCH}.42.0.0x40",
        f"{EPOCH}.42.0.-4",
        f"{EPOCH}.42.0.80000000",
        f"{EPOCH}.42.0.{'f' * 100}",
        f"{EPOCH}.{'9' * 30}.0.n",
        f"{EPOCH}.99999999999999999999.0.n",
        f"{EPOCH}.4²2.0.n",
        f" {EPOCH}.42.0.n",
        f"{EPOCH}.42.0.n\n",
        f"{EPOCH}.٤٢.0.n",
        "..0.n",
    ],
)
def test_malformed_offsets_are_leftovers(wrong: str) -> None:
    """Only what the encoder writes is read."""
    assert read(Log().recovery, offset=wrong).after == at(10)
