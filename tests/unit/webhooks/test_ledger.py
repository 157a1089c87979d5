"""What the ledger makes of a portion of the stream."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from doorstream.log import Connection, Message, Record
from doorstream.webhooks import ledger, questions
from doorstream.webhooks.ledger import Ledger
from doorstream.webhooks.questions import Wanted
from doorstream.webhooks.records import Attempt, Due, State, attempts_message, due_message
from doorstream.webhooks.store import Store


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """A ledger without anything."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(ledger._SCHEMA)
    yield connection
    connection.close()


def due(sequence: int, number: int = 1) -> Due:
    """A delivery of the event at that place."""
    return Due(f"e-{sequence}", "e", sequence, f"event-{sequence}", "s", "t", f"event-{sequence}", number)


def attempt(sequence: int, state: State = State.DELIVERED, number: int = 1) -> Attempt:
    """One of its attempts."""
    name = f"event-{sequence}"
    return Attempt(f"e-{sequence}", "e", sequence, name, "s", "t", name, number, at=sequence, state=state)


def records(*messages: Message) -> list[Record]:
    """As they come from the stream."""
    return [Record(each.subject, each.payload, {}, place, 0) for place, each in enumerate(messages, 1)]


def found(connection: sqlite3.Connection, webhook: str) -> list[tuple[str, str, int]]:
    """The event, state and attempts of each delivery, the oldest first."""
    rows = questions.deliveries(connection, Wanted(webhook=webhook), 10_000)[::-1]
    return [(each.event, each.state, each.number) for each in rows]


def test_messages_of_several_webhooks_are_kept_together(connection: sqlite3.Connection) -> None:
    messages = [
        attempts_message(webhook, [attempt(n) for n in range(start, start + 75)])
        for start in range(0, 600, 75)
        for webhook in ("one", "two")
    ]
    assert ledger._apply(connection, records(*messages)) == set()
    for webhook in ("one", "two"):
        assert found(connection, webhook) == [(f"event-{n}", "delivered", 1) for n in range(600)]
        assert len(questions.attempts(connection, webhook, "e-599")) == 1


def test_what_was_attempted_before_it_fell_due_is_not_due(connection: sqlite3.Connection) -> None:
    """A portion may hold a due and its attempt, in whichever order."""
    messages = (
        attempts_message("hook", [attempt(1, State.WAITING), attempt(2, State.WAITING)]),
        attempts_message("hook", [attempt(1, State.DELIVERED, 2)]),
        due_message("hook", due(1, 2)),
        due_message("hook", due(2, 2)),
        due_message("hook", due(3, 2)),
        attempts_message("hook", [attempt(3, State.DELIVERED, 2)]),
    )
    assert ledger._apply(connection, records(*messages)) == {"hook"}
    assert [row.due.delivery for row in questions.dues(connection, "hook", 0, 10)] == ["e-2"]
    assert found(connection, "hook") == [
        ("event-1", "delivered", 2),
        ("event-2", "waiting", 1),
        ("event-3", "delivered", 2),
    ]
    assert questions.health(connection, "hook") == (0, None, None)


def test_failures_are_counted_over_several_messages(connection: sqlite3.Connection) -> None:
    messages = [attempts_message("hook", [attempt(n, State.WAITING)]) for n in range(1, 4)]
    ledger._apply(connection, records(*messages))
    assert questions.health(connection, "hook") == (3, 1, 3)


def test_a_record_that_cannot_be_read_costs_only_itself(connection: sqlite3.Connection) -> None:
    good = attempts_message("hook", [attempt(1)])
    ledger._apply(connection, records(good._replace(payload=b"["), good))
    assert found(connection, "hook") == [("event-1", "delivered", 1)]


def test_pruning_leaves_what_is_not_finished(connection: sqlite3.Connection) -> None:
    """What the stream no longer holds goes, but for deliveries that wait or are held back, however old."""
    states = (State.DELIVERED, State.DEAD, State.WAITING, State.HELD)
    old = [
        attempts_message("hook", [attempt(n, state, 0 if state is State.HELD else 1)]) for n, state in enumerate(states)
    ]
    late = [
        attempts_message("hook", [attempt(10, State.WAITING)]),
        attempts_message("hook", [attempt(10, number=2)]),
    ]
    ledger._apply(connection, records(*old, *late))
    assert len(found(connection, "hook")) == 5
    assert ledger._prune(connection, 6) == 4 + 2  # attempts and deliveries
    assert found(connection, "hook") == [
        ("event-2", "waiting", 1),
        ("event-3", "held", 0),
        ("event-10", "delivered", 2),
    ]
    kept = {f"e-{n}": questions.attempts(connection, "hook", f"e-{n}") for n in (0, 1, 2, 3, 10)}
    assert {delivery: [each.number for each in rows] for delivery, rows in kept.items() if rows} == {"e-10": [2]}
    assert ledger._prune(connection, 6) == 0
    assert ledger._prune(connection, 7) == 2
    assert [event for event, _, _ in found(connection, "hook")] == ["event-2", "event-3"]


async def test_what_one_server_of_a_cluster_has_not_yet_is_not_passed_over(nats_url: str, tmp_path: Path) -> None:
    """Whoever took over and asked one that was a moment behind never learned what had fallen due: it was never sent."""
    nats = Connection()
    await nats.open(nats_url)
    store = Store(nats, age=1.0)
    await store.open()
    store.stream.replicas = 3
    read = store.stream.reader.read

    async def behind(after: int, subject: str, limit: int = 1000) -> list[Record]:
        """What a server knows that has the first two only."""
        return [record for record in await read(after, subject, limit) if record.sequence <= 2]

    store.stream.reader.read = behind  # type: ignore[method-assign]  # one server of several
    await store.put_many([due_message("hook", due(place)) for place in range(1, 6)])
    ledger = Ledger(tmp_path / "ledger.sqlite", store)
    await ledger.start()
    await ledger.current()
    assert [row.due.sequence for row in await ledger.dues("hook", 0, 10)] == [1, 2, 3, 4, 5]
    await store.put([attempts_message("hook", [attempt(1)])])
    assert await ledger._first_attempt() == 6
    await ledger.stop()
    await store.close()
    await nats.close()
