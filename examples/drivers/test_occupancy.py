"""Tests of the example, without a server."""

# ruff: noqa: S101, PLR2004 - asserting what values are is what tests are made of

from __future__ import annotations

import pytest
from occupancy import Occupancy

from doorstream.drivers import ExecutionFailed
from doorstream.testing.drivers import DriverHost, driver_host

pytestmark = pytest.mark.asyncio


def entry(number: int) -> dict[str, object]:
    """An entry as a door's ``recent_events`` has it."""
    return {"id": f"event-{number}", "action": "granted", "holder": {"id": "1", "name": "Ada"}}


def quiet_door(host: DriverHost) -> None:
    """A door that does what it is told."""
    host.answer("Door", 1, "do_not_disturb", None)


async def test_a_full_house_is_closed_and_opened_again() -> None:
    """The third visitor makes it full."""
    async with driver_host(Occupancy, settings={"most": 3}, prepare=quiet_door) as host:
        await host.tell("Door", 1, "recent_events", [entry(1)])
        assert host.status["count"] == 0
        await host.tell("Door", 1, "recent_events", [entry(4), entry(3), entry(2), entry(1)])
        assert host.status["count"] == 3
        assert [call.args for call in host.calls] == [[True]]
        assert await host.exec("left", 2) == 1
        assert [call.args for call in host.calls] == [[True], [False]]
        assert [event["topic"] for event in host.emitted] == ["x.occupancy.full", "x.occupancy.free"]


async def test_nobody_leaves_an_empty_house() -> None:
    """And the message says why."""
    async with driver_host(Occupancy) as host:
        with pytest.raises(ExecutionFailed, match="only 0 are inside"):
            await host.exec("left")


async def test_it_follows_another_door_when_it_is_told_to() -> None:
    """The settings change while it runs."""
    async with driver_host(Occupancy, status={"count": 5, "seen": "event-1"}) as host:
        await host.update({"door": 2})
        await host.tell("Door", 1, "recent_events", [entry(3), entry(1)])
        assert host.status["count"] == 5
        await host.tell("Door", 2, "recent_events", [entry(2), entry(1)])
        assert host.status["count"] == 6
