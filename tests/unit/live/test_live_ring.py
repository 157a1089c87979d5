"""The ring against a list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstream.live import Entry
from doorstream.live.ring import Ring
from doorstream.testing import make_event


def entry(sequence, site="a", size=0):
    """An event of a site, somewhat larger than ``size``."""
    return Entry(make_event(sequence, site_id=site, body={"p": "x" * size}))


class Model:
    """What a ring should hold."""

    def __init__(self, base, max_events, max_bytes):
        self.base, self.max_events, self.max_bytes = base, max_events, max_bytes
        self.entries = []

    def append(self, added):
        self.entries.append(added)
        while len(self.entries) > self.max_events or self.size() > self.max_bytes:
            self.base = self.entries.pop(0).event.sequence

    def size(self):
        return sum(len(held.event.json) for held in self.entries)

    def after(self, sequence, site):
        return [
            held
            for held in self.entries
            if held.event.sequence > sequence and (site is None or site == held.event.site_id)
        ]


@given(
    base=st.integers(0, 1000),
    max_events=st.integers(1, 12),
    max_bytes=st.sampled_from([1, 400, 2000, 10_000]),
    steps=st.lists(st.tuples(st.integers(1, 3), st.sampled_from("abc"), st.integers(0, 600)), max_size=40),
)
def test_a_ring_is_the_end_of_a_list(base, max_events, max_bytes, steps):
    """Sequences may have holes: other streams' retention leaves some."""
    ring, model = Ring(base, max_events, max_bytes), Model(base, max_events, max_bytes)
    sequence = base
    for step, site, size in steps:
        sequence += step
        added = entry(sequence, site, size)
        ring.append(added)
        model.append(added)
        assert ring.base == model.base
        for start in range(ring.base, sequence + 2):
            for wanted in (None, "a", "b", "c", "nobody"):
                assert list(ring.after(start, wanted)) == model.after(start, wanted)


def test_a_new_ring_has_nothing_after_its_base():
    ring = Ring(7)

    assert ring.base == 7
    assert list(ring.after(7, None)) == []
    assert list(ring.after(7, "a")) == []


def test_an_event_that_is_larger_than_all_the_room_does_not_stay():
    ring = Ring(0, max_bytes=300)
    ring.append(entry(1))
    ring.append(entry(2, size=1000))

    assert ring.base == 2
    assert list(ring.after(2, None)) == []
    ring.append(entry(3))
    assert [held.event.sequence for held in ring.after(2, None)] == [3]


def test_sites_without_events_leave_nothing_behind():
    ring = Ring(0, max_events=10)
    for sequence in range(1, 2001):
        ring.append(entry(sequence, site=f"site {sequence}"))

    assert len(ring._by_site) == 10


@pytest.mark.parametrize("after", [0, 1, 5000, 9990, 9999, 10_000])
def test_where_to_begin_is_found_in_a_long_ring(after):
    ring = Ring(0)
    for sequence in range(1, 10_001):
        ring.append(entry(sequence, site="ab"[sequence % 2]))

    assert [held.event.sequence for held in ring.after(after, None)] == list(range(after + 1, 10_001))
    assert [held.event.sequence for held in ring.after(after, "a")] == [
        n for n in range(after + 1, 10_001) if n % 2 == 0
    ]
