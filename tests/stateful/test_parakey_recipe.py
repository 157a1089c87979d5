"""The seed's polling recipe misses nothing: as the example runs it, for hours of simulated time, against the dialect.

The time of everything is simulated: the client's clock, and the times that the log gives to events. Index, entity tags
and queries are the real ones.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from asgi_client import AsgiClient
from doorstream.auth import Principal
from doorstream.dialects.parakey.callers import Callers
from doorstream.dialects.parakey.event_logs import EventLogs
from doorstream.dialects.parakey.routes import Guarded
from doorstream.directory import SiteView, Table
from doorstream.events.entities import Site
from doorstream.history import Index
from doorstream.testing import OTHER_SITE, SITE
from memory_log import OPENED, RELAY, START, MemoryLog

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from parakey_poll import Answer, ByCursor, ByDate

MINUTE = 60_000


class OneKey:
    """Every key is that of one caller, who sees both sites."""

    def by_api_key(self, _: str) -> Principal:
        return self.principal

    principal = Principal("integrator", "", "client", frozenset({"events:read"}), None, "g")


class TwoSites:
    """A directory with two sites and nothing in them."""

    def __init__(self) -> None:
        self.sites: Table[Site] = Table()
        for site_id in (SITE, OTHER_SITE):
            self.sites.put(Site(id=site_id, name="", created=""))

    def site(self, _: str) -> SiteView:
        return SiteView()

    def on_change(self, _: Any) -> None:
        pass

    def revision(self, *_: str) -> int:
        return 0


Action = Callable[["Play"], None]


class Play:
    """The log, the dialect, and a clock that only the play moves."""

    def __init__(self, path: Path, runner: asyncio.Runner, ring: int = 40) -> None:
        self._runner = runner
        self.log = MemoryLog(ring=ring)
        self.index = Index(path / "index.sqlite", self.log.hub, self.log)  # type: ignore[arg-type]
        runner.run(self.index.start())
        directory: Any = TwoSites()
        callers = Callers(OneKey(), directory)  # type: ignore[arg-type]
        logs = EventLogs(callers, directory, self.index, "e", "")
        self._client = AsgiClient(Guarded(logs), {"access-token": "any"})
        self.expected: set[str] = set()
        self.answers: list[int] = []
        self._meanwhile: Iterator[Action] = iter(())

    def after_requests(self, *actions: Action) -> None:
        """What happens after the next request is answered, and after those that follow."""
        self._meanwhile = iter(actions)

    def close(self) -> None:
        self._runner.run(self.index.stop())

    def get(self, query: Mapping[str, str], etag: str | None) -> Answer:
        headers = {"if-none-match": etag} if etag is not None else {}
        answer = self._runner.run(self._client.get(f"/eventLogs?{urlencode(query)}", **headers))
        assert answer.status in (200, 304), answer.body
        assert answer.body or answer.status == 304
        self.answers.append(answer.status)
        next(self._meanwhile, nothing)(self)
        return Answer(answer.status, answer.headers["etag"], answer.json() if answer.body else None)

    def together(self, query: Mapping[str, str], etag: str | None, count: int) -> list[int]:
        """The statuses of many requests that come at the same time."""

        async def ask() -> list[int]:
            target = f"/eventLogs?{urlencode(query)}"
            answers = [self._client.get(target, **{"if-none-match": etag or ""}) for _ in range(count)]
            return [answer.status for answer in await asyncio.gather(*answers)]

        return self._runner.run(ask())

    def clock(self) -> datetime:
        return datetime.fromtimestamp(self.now / 1000, UTC)

    def unlock(self, *, late: int = 0, **event: Any) -> None:
        self.expected.add(self.log.put(occurred=self.now - late, **event))

    @property
    def now(self) -> int:
        return self.log.at

    def wait(self, milliseconds: int) -> None:
        self.log.at += milliseconds


def nothing(_: Play) -> None:
    pass


def at_the_same_moment(play: Play) -> None:
    play.unlock()


def two_at_once(play: Play) -> None:
    play.unlock()
    play.unlock(site_id=OTHER_SITE)


def elsewhere(play: Play) -> None:
    play.unlock(site_id=OTHER_SITE)


def late(play: Play) -> None:
    """Of an offline door: it happened yesterday."""
    play.unlock(late=24 * 60 * MINUTE)


def by_command(play: Play) -> None:
    play.unlock(topic=RELAY, cause="command")


def something_else(play: Play) -> None:
    """No event log: a contact, and the relay that follows an access."""
    play.log.put(occurred=play.now, topic=OPENED)
    play.log.put(occurred=play.now, topic=RELAY, cause="request")


def just_before(play: Play) -> None:
    play.unlock()
    play.wait(1)


def just_after(play: Play) -> None:
    play.wait(1)
    play.unlock()


AT_ONCE = (nothing, at_the_same_moment, two_at_once, elsewhere, late, by_command, something_else)
ANYTIME = (*AT_ONCE, just_before, just_after)


@pytest.fixture
def play(tmp_path):
    with asyncio.Runner() as runner:
        play = Play(tmp_path, runner)
        yield play
        play.close()


def test_the_recipe_finds_every_event_log(play: Play):
    """All that can happen before the first request of a round, between its two, and at the very moment of the second.

    What was there before a round is found in it.

    No time passes between the server's answer to the second request and the client's look at its clock: that is the
    trap of the recipe itself, see below. Some four hundred rounds, a minute apart: nearly seven hours.
    """
    poller = ByDate(play.get, play.clock)
    found: list[str] = []
    for before, between, after in itertools.product(ANYTIME, ANYTIME, AT_ONCE):
        play.wait(MINUTE)
        before(play)
        play.after_requests(between, after)
        due = set(play.expected)
        found += [log["id"] for log in poller.poll()]
        assert due <= set(found)
    play.after_requests()
    play.unlock()  # the recipe tells of what came last when something follows
    play.wait(MINUTE)
    found += [log["id"] for log in poller.poll()]
    assert play.now - START > 6 * 60 * MINUTE
    assert len(play.expected) > 500
    assert set(found) == play.expected
    assert 304 in play.answers


def test_the_recipe_in_any_order(tmp_path):
    """The same with rounds drawn at random, polls at irregular times, and a ring that is too short."""
    for seed in range(6):
        chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        path = tmp_path / str(seed)
        path.mkdir()
        with asyncio.Runner() as runner:
            play = Play(path, runner, ring=chance.choice([3, 1000]))
            poller = ByDate(play.get, play.clock)
            found: list[str] = []
            for _ in range(60):
                play.wait(chance.choice([1, 1000, MINUTE]))
                for _ in range(chance.choice([0, 0, 1, 5])):
                    chance.choice(ANYTIME)(play)
                play.after_requests(chance.choice(ANYTIME), chance.choice(AT_ONCE))
                found += [log["id"] for log in poller.poll()]
            play.after_requests()
            play.unlock()
            found += [log["id"] for log in poller.poll()]
            assert set(found) == play.expected
            play.close()


def test_the_clients_clock_is_a_trap_and_the_cursor_is_none(play: Play):
    """Time passes between the server's answer and the client's look at its clock, and something happens in it."""
    by_date, by_cursor = ByDate(play.get, play.clock), ByCursor(play.get)
    dated = [log["id"] for log in by_date.poll()]
    seen = [log["id"] for log in by_cursor.poll()]
    for _ in range(50):
        play.wait(MINUTE)
        play.unlock()
        play.after_requests(nothing, just_before)
        dated += [log["id"] for log in by_date.poll()]
        seen += [log["id"] for log in by_cursor.poll()]
    assert set(dated) < play.expected
    assert seen == [event.id for event in play.log.events]  # each once, and in order


def test_the_cursor_whatever_the_clocks_do(play: Play):
    """NATS's clock is set back, stands still and jumps; every event log comes exactly once, in the order of the log.

    And its ``createdAt`` never decreases (PAR-8).
    """
    chance = random.Random(7)  # noqa: S311 - repeatable on purpose
    poller = ByCursor(play.get)
    found = list(poller.poll())
    for _ in range(150):
        play.log.at += chance.choice([-5 * MINUTE, -1, 0, 1, MINUTE])
        play.after_requests(chance.choice(AT_ONCE), chance.choice(AT_ONCE))
        found += poller.poll()
    play.after_requests()
    found += poller.poll()
    assert [log["id"] for log in found] == [event.id for event in play.log.events if event.id in play.expected]
    created = [log["createdAt"] for log in found]
    assert created == sorted(created)
    recorded = [event.recorded for event in play.log.events]
    assert recorded != sorted(recorded)  # else there was nothing to be shown


def test_an_unchanged_poll_costs_no_query(play: Play, monkeypatch):
    """And those that come together ask the log once, also while what is no event log happens all the time."""
    play.unlock()
    tag = play.get({"limit": "1"}, None).etag

    async def no_query(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(play.index._file, "read", no_query)
    for _ in range(3):
        something_else(play)
        before = play.log.questions
        assert play.together({"limit": "1"}, tag, 50) == [304] * 50
        assert play.log.questions == before + 1
