"""What is read of a door's past: as little as says what it is now."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib.resources import files

import msgspec
import pytest

from doorstream.history.doors import MOST_EVENTS, read_door


@pytest.fixture
def index() -> Iterator[sqlite3.Connection]:
    """An empty index."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(files("doorstream.history").joinpath("schema.sql").read_text())
    yield connection
    connection.close()


def put(index: sqlite3.Connection, sequence: int, topic: str, occurred: int, device: str = "door") -> None:
    """Put an event in."""
    kept = {
        "id": "",
        "topic": topic,
        "siteId": "site",
        "occurred": occurred,
        "body": {},
        "cloudNode": None,
        "metadata": {},
    }
    json = msgspec.json.encode(kept).decode()
    index.execute(
        "INSERT INTO events (sequence, site, id, topic, occurred, recorded, created, device, json)"
        " VALUES (?, 'site', '', ?, ?, 0, 0, ?, ?)",
        (sequence, topic, occurred, device, json),
    )


def test_a_door_without_relay_and_leaf_is_read_without_its_past(index: sqlite3.Connection) -> None:
    """Such a door had all of its events read at each start: 200 ms where it had 90,000."""
    sql = files("doorstream.history").joinpath("doors.sql").read_text()
    parameters = {"device": "door", "site": "site", "limit": MOST_EVENTS}
    plan = [row[3] for row in index.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    searches = [step for step in plan if step.startswith("SEARCH")]
    assert searches == [
        "SEARCH events USING INDEX events_by_device (device=?)",
        "SEARCH events USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH events USING COVERING INDEX states_of_doors (device=? AND site=? AND topic=?)",
    ]
    assert not [step for step in plan if "SCAN events" in step]


def test_of_each_topic_the_one_that_occurred_last_is_read(index: sqlite3.Connection) -> None:
    """Among equals the one that came last."""
    for sequence, (topic, occurred) in enumerate(
        [
            ("device.input.relay.off", 9),
            ("device.input.relay.off", 9),
            ("device.input.relay.off", 5),
            ("device.input.dps.opened", 3),
            *[("device.request.unknown", 10)] * 30,
        ],
        1,
    ):
        put(index, sequence, topic, occurred)
    put(index, 100, "device.input.dps.closed", 99, device="other")
    sequences = [event.sequence for event in read_door(index, "site", "door")]
    assert sequences == [2, 4, *range(15, 35)]
