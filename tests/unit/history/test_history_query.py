"""Queries against a list."""

import random

import pytest

from doorstream.events import Event
from doorstream.events.event import encode_kept
from doorstream.history import MAX_LIMIT, ByTime, Query
from doorstream.history.query import MAX_INTEGER, MIN_INTEGER
from doorstream.testing import OTHER_SITE, SITE
from doorstream.testing.live import Site

TOPICS = ("x.a", "x.a.b", "x.ab", "device.alarm.forced", "device.alarm.forced.cleared", "device.battery.low", "y")
PATTERNS = (*TOPICS, "x.*", "x.a.*", "device.*", "device.alarm.*", "device.alarm.forced.*", "none.*", "*", ".*")


class Kept:
    """Events in a list, and what a query should give of them."""

    def __init__(self) -> None:
        self.events: list[tuple[Event, dict[str, str]]] = []

    def add(self, event: Event, body: dict[str, str]) -> None:
        """One more."""
        self.events.append((event, body))

    def page(self, query: Query) -> tuple[list[int], bool]:
        """The sequences, and whether there are more."""
        found = [(event.occurred, event.sequence) for event, body in self.events if self._fits(event, body, query)]
        by_time = query.by_time
        if by_time is not None:
            found.sort(reverse=by_time.is_descending)
            if by_time.behind is not None and by_time.is_descending:
                found = [each for each in found if each < by_time.behind]
            elif by_time.behind is not None:
                found = [each for each in found if each > by_time.behind]
        elif query.after is None:
            found.reverse()
        return [sequence for _, sequence in found[: query.limit]], len(found) > query.limit

    def _fits(self, event, body, query):
        return (
            event.site_id == query.site_id
            and (query.before is None or event.sequence < query.before)
            and (query.after is None or event.sequence > query.after)
            and (not query.topics or any(self._matches(event.topic, topic) for topic in query.topics))
            and (query.device_id is None or body.get("deviceId") == query.device_id)
            and (query.holder_id is None or body.get("holderId") == query.holder_id)
            and (query.occurred_from is None or event.occurred >= query.occurred_from)
            and (query.occurred_to is None or event.occurred <= query.occurred_to)
            and (query.recorded_from is None or event.recorded >= query.recorded_from)
            and (query.recorded_to is None or event.recorded <= query.recorded_to)
        )

    def _matches(self, topic, pattern):
        return topic.startswith(pattern[:-1]) if pattern.endswith(".*") else topic == pattern


@pytest.fixture
async def kept(open_index, log):
    """Three hundred events of two sites, in the index and in a list."""
    chance = random.Random(3)  # noqa: S311 - repeatable on purpose
    site = await Site.open(log)
    index, kept = await open_index(site), Kept()
    for number in range(1, 301):
        topic, site_id = chance.choice(TOPICS), chance.choice([SITE, SITE, OTHER_SITE])
        body = {key: chance.choice("abc") for key in ("deviceId", "holderId") if chance.random() < 0.7}
        json = encode_kept(
            id=f"{number}",
            topic=topic,
            site_id=site_id,
            occurred=chance.randrange(-50, 50),
            body=body,
            cloud_node=None,
            metadata=None,
        )
        event = Event(json, number, 1000 + number // 3)
        kept.add(event, body)
        site.hub.publish(event)
    await index.reached(300)
    return index, kept


@pytest.mark.parametrize("seed", range(4))
async def test_any_query(kept, seed):
    index, listed = kept
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose

    def perhaps(value):
        return value if chance.random() < 0.3 else None

    for _ in range(150):
        query = Query(
            site_id=chance.choice([SITE, OTHER_SITE, "nobody"]),
            limit=chance.choice([1, 2, 10, 100, 1000]),
            before=perhaps(chance.randrange(-5, 310)),
            after=perhaps(chance.randrange(-5, 310)),
            topics=tuple(chance.choices(PATTERNS, k=chance.choice([0, 0, 1, 2, 5]))),
            device_id=perhaps(chance.choice("abcd")),
            holder_id=perhaps(chance.choice("abcd")),
            occurred_from=perhaps(chance.randrange(-60, 60)),
            occurred_to=perhaps(chance.randrange(-60, 60)),
            recorded_from=perhaps(chance.randrange(990, 1110)),
            recorded_to=perhaps(chance.randrange(990, 1110)),
            by_time=perhaps(
                ByTime(
                    is_descending=chance.random() < 0.5,
                    behind=perhaps((chance.randrange(-60, 60), chance.randrange(-5, 310))),
                )
            ),
        )
        page = await index.query(query)
        assert ([event.sequence for event in page.events], page.more) == listed.page(query), query


async def test_events_come_back_whole(kept):
    index, listed = kept
    page = await index.query(Query(site_id=SITE, limit=MAX_LIMIT, after=0))
    expected = [event for event, _ in listed.events if event.site_id == SITE]

    assert [(event.json, event.recorded) for event in page.events] == [
        (event.json, event.recorded) for event in expected
    ]


@pytest.mark.parametrize("limit", [1, 7, 100])
@pytest.mark.parametrize("topics", [(), ("device.*",)])
async def test_page_after_page_gives_everything_once(kept, limit, topics):
    index, listed = kept
    for is_ascending in (False, True):
        cursor, found, more = (0 if is_ascending else None), [], True
        while more:
            query = Query(
                site_id=SITE,
                limit=limit,
                topics=topics,
                before=None if is_ascending else cursor,
                after=cursor if is_ascending else None,
            )
            page = await index.query(query)
            found += [event.sequence for event in page.events]
            cursor, more = page.events[-1].sequence, page.more
        everything = Query(site_id=SITE, limit=MAX_LIMIT, topics=topics, after=0 if is_ascending else None)
        assert found == listed.page(everything)[0]


@pytest.mark.parametrize("limit", [1, 7, 100])
@pytest.mark.parametrize("is_descending", [False, True])
async def test_page_after_page_by_time_gives_everything_once(kept, limit, is_descending):
    """Many events happened in the same millisecond: the position decides between them."""
    index, listed = kept
    behind, found, more = None, [], True
    while more:
        page = await index.query(
            Query(site_id=SITE, limit=limit, by_time=ByTime(is_descending=is_descending, behind=behind))
        )
        found += [event.sequence for event in page.events]
        behind, more = (page.events[-1].occurred, page.events[-1].sequence), page.more
    everything = Query(site_id=SITE, limit=MAX_LIMIT, by_time=ByTime(is_descending=is_descending))
    assert found == listed.page(everything)[0]


@pytest.mark.parametrize("far", [10**30, -(10**30), MAX_INTEGER, MIN_INTEGER])
async def test_numbers_that_no_database_holds_are_far_away(kept, far):
    index, listed = kept
    for name in ("before", "after", "occurred_from", "occurred_to", "recorded_from", "recorded_to"):
        query = Query(site_id=SITE, limit=1000, **{name: far})
        page = await index.query(query)
        assert ([event.sequence for event in page.events], page.more) == listed.page(query)
    for is_descending in (False, True):
        query = Query(site_id=SITE, limit=1000, by_time=ByTime(is_descending=is_descending, behind=(far, far)))
        page = await index.query(query)
        assert ([event.sequence for event in page.events], page.more) == listed.page(query)


async def test_many_topics(kept):
    """Each once: SQLite takes an expression of so many parts and no more."""
    index, listed = kept
    query = Query(site_id=SITE, topics=tuple(f"x.{n}" for n in range(5000)) + ("x.a",) * 5000)
    page = await index.query(query)
    assert [event.sequence for event in page.events] == listed.page(Query(site_id=SITE, topics=("x.a",)))[0]


@pytest.mark.parametrize("text", ["'; DROP TABLE events; --", "%", "_", "\x00", "ä" * 1000])
async def test_texts_are_only_texts(kept, text):
    index, _ = kept
    for name in ("site_id", "device_id", "holder_id"):
        page = await index.query(Query(**{"site_id": SITE, name: text}))
        assert page.events == []
    assert (await index.query(Query(site_id=SITE, topics=(text, f"{text}.*")))).events == []


@pytest.mark.parametrize(
    ("query", "plan"),
    [
        (Query(site_id=SITE), "events_by_site (site=?)"),
        (Query(site_id=SITE, after=5), "events_by_site (site=? AND sequence>?)"),
        (Query(site_id=SITE, before=5), "events_by_site (site=? AND sequence<?)"),
        (Query(site_id=SITE, by_time=ByTime()), "events_by_occurred (site=?)"),
        (Query(site_id=SITE, occurred_from=5, by_time=ByTime()), "events_by_occurred (site=? AND occurred>?)"),
        (Query(site_id=SITE, by_time=ByTime(behind=(5, 5))), "events_by_occurred (site=? AND occurred<?)"),
        (Query(site_id=SITE, device_id="a"), "events_by_device (device=?)"),
        (Query(site_id=SITE, holder_id="a", before=5), "events_by_holder (holder=? AND sequence<?)"),
    ],
)
async def test_the_common_queries_read_only_what_they_give(open_index, query, plan):
    index = await open_index()
    sql, parameters = query.statement()
    [step] = index._file._connection().execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
    assert step[3].endswith(f"USING INDEX {plan}")
