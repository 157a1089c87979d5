"""The kit for authors of drivers, and the base class as its tests see it."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated

import msgspec
import pytest

from doorstream.drivers import Driver, DriverFault, ExecutionFailed, InvalidSettings, Refused
from doorstream.drivers.functions import functions_of
from doorstream.events import InvalidEvent
from doorstream.events.bodies import DeviceRef
from doorstream.testing import KnownNames
from doorstream.testing.drivers import driver_host


class Nested(msgspec.Struct):
    """A part of settings."""

    port: Annotated[int, msgspec.Meta(ge=1)]


class Pump(Driver):
    """Pumps."""

    @dataclasses.dataclass
    class Settings:
        """How often."""

        every: float = 10.0

    async def on_load(self):
        self.strokes = 0
        self.timer = self.every(self.settings.every, self.stroke)
        self.subscribe("Valve", 1, "open", self.valve)

    async def stroke(self) -> int:
        """One stroke."""
        self.strokes += 1
        self.status["strokes"] = self.strokes
        return self.strokes

    def valve(self, is_open):
        self.status["flows"] = is_open

    async def rest(self, seconds: float) -> float:
        """Rest."""
        before = self.now()
        await self.sleep(seconds)
        return self.now() - before

    async def drain(self) -> str:
        """Ask the valve."""
        self.logger.notice("draining %d", 3)
        return await self.call("Valve", 1, "open_up", wide=True)

    async def ring(self, topic: str = "device.input.rex.on") -> None:
        """Emit."""
        await self.emit(topic, {"note": "here"})

    async def stop(self) -> None:
        """Stop the timer."""
        self.timer.cancel()

    async def mutate(self) -> None:
        """Try to change a value in place."""
        self.status["list"] = [1]
        self.status["list"].append(2)

    async def store(self, value: int) -> None:
        """Store what JSON does not have."""
        self.status["thing"] = object() if value else {1, 2}


async def test_time_is_moved_by_hand():
    """Timers fire when it passes them, not before; cancelled ones no more."""
    async with driver_host(Pump, settings={"every": 5}) as host:
        await host.advance(4.9)
        assert "strokes" not in host.status
        await host.advance(0.1)
        assert host.status["strokes"] == 1
        await host.advance(50)
        assert host.status["strokes"] == 11
        await host.exec("stop")
        await host.advance(50)
        assert host.status["strokes"] == 11


async def test_what_a_function_sleeps_passes_at_once():
    """And the clock with it, and the timers."""
    async with driver_host(Pump) as host:
        assert await host.exec("rest", 25) == 25
        assert host.status["strokes"] == 2


async def test_other_modules_are_the_tests_to_play():
    """Their variables, their answers, and what they were asked."""
    async with driver_host(Pump, prepare=lambda host: host.answer("Valve", 1, "open_up", "wide")) as host:
        await host.tell("Valve", 1, "open", True)
        assert host.status["flows"] is True
        assert await host.exec("drain") == "wide"
        (call,) = host.calls
        assert (call.name, call.index, call.function, call.args) == ("Valve", 1, "open_up", {"wide": True})
        host.answer("Valve", 1, "open_up", Refused("stuck"))
        with pytest.raises(ExecutionFailed, match="stuck"):
            await host.exec("drain")
        assert ("notice", "draining 3") in host.lines


async def test_events_are_judged_as_by_the_server():
    """The door's name is filled in; a topic that does not exist is refused."""
    names = KnownNames(devices={"door-1": DeviceRef("door-1", "Main entrance")})
    async with driver_host(Pump, device_id="door-1", names=names) as host:
        await host.exec("ring")
        (event,) = host.emitted
        assert event["body"]["device"]["name"] == "Main entrance"
        assert event["body"]["note"] == "here"
        assert event["metadata"]["by"] == "Tester"
        with pytest.raises(ExecutionFailed, match="topic: unknown"):
            await host.exec("ring", topic="device.nonsense")
        host.errors.clear()
        assert InvalidEvent is not None


async def test_failures_that_nobody_waits_for_fail_the_test():
    """Unless it expects them."""

    class Broken(Driver):
        """Fails in a timer."""

        async def on_load(self):
            self.every(1, self._fail)

        def _fail(self):
            raise ValueError("oh")

    with pytest.raises(AssertionError, match=r"the timer .*Broken._fail: ValueError: oh"):
        async with driver_host(Broken) as host:
            await host.advance(1)
    async with driver_host(Broken) as host:
        await host.advance(3)
        assert len(host.errors) == 3
        host.errors.clear()


async def test_status_is_a_copy_and_has_only_what_json_has():
    """What is read can be changed without effect; what JSON does not have is refused where it is set."""
    async with driver_host(Pump, status={"strokes": 7}) as host:
        assert host.status["strokes"] == 7
        await host.exec("mutate")
        assert host.status["list"] == [1]
        with pytest.raises(ExecutionFailed, match=r"status\['thing'\]: not a value that JSON has"):
            await host.exec("store", 1)
        host.errors.clear()


async def test_settings_have_paths():
    """Of what is missing, unknown, or of another kind, however deep."""

    class Strict(Driver):
        """Strict."""

        class Settings(msgspec.Struct):
            host: str
            links: list[Nested] = msgspec.field(default_factory=list)

    for settings, words in (
        ({}, "^host: is missing$"),
        ({"host": 1}, "^host: expected `str`, got `int`$"),
        ({"host": "x", "links": [{"port": 0}]}, r"^links\[0\].port: expected `int` >= 1$"),
        ({"host": "x", "links": [{}]}, r"^links\[0\].port: is missing$"),
        ({"host": "x", "prot": 1}, "^prot: unknown setting; known are host, links$"),
    ):
        with pytest.raises(InvalidSettings, match=words):
            async with driver_host(Strict, settings=settings):
                pass
    with pytest.raises(InvalidSettings, match="every: expected `float`, got `str`"):
        async with driver_host(Pump, settings={"every": "often"}):
            pass


def test_functions_say_what_they_take():
    """Arity, order, schemas and documentation come from the signature."""

    class Described(Driver):
        """Described."""

        async def paint(self, colour: str, coats: Annotated[int, msgspec.Meta(ge=1)] = 2) -> None:
            """Paint it.

            With care.
            """

        async def _secret(self) -> None:
            pass

        def helper(self) -> None:
            """Not callable: not async."""

    functions = functions_of(Described)
    assert list(functions) == ["paint"]
    paint = functions["paint"]
    assert (paint.arity, paint.order, paint.required) == (2, ("colour", "coats"), ("colour",))
    assert paint.params == {"colour": {"type": "string"}, "coats": {"type": "integer", "minimum": 1, "default": 2}}
    assert paint.doc == "Paint it.\n\nWith care."
    assert paint.arguments(["red"]) == {"colour": "red", "coats": 2}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "colour: is missing; paint takes colour, coats .optional."),
        (["red", 0], "coats: expected `int` >= 1"),
        (["red", 1, 2], "paint takes colour, coats .optional., not 3 arguments"),
        ({"color": "red"}, "paint has no argument 'color'; it takes colour, coats .optional."),
        ({"colour": None}, "colour: expected `str`, got `null`"),
    ],
)
def test_arguments_that_do_not_fit(given, words):
    """The one that does not is named."""

    class Described(Driver):
        """Described."""

        async def paint(self, colour: str, coats: Annotated[int, msgspec.Meta(ge=1)] = 2) -> None:
            """Paint it."""

    with pytest.raises(Exception, match=words):
        functions_of(Described)["paint"].arguments(given)


def test_signatures_that_say_too_little():
    """They are the author's fault, with a message that says where."""

    class Variadic(Driver):
        """Variadic."""

        async def all(self, *things: int) -> None:
            """All."""

    class Odd(Driver):
        """Odd."""

        async def take(self, task: asyncio.Task) -> None:
            """Take."""

    with pytest.raises(DriverFault, match=r"Variadic.all: \*things cannot be described"):
        functions_of(Variadic)
    with pytest.raises(DriverFault, match=r"Odd.take: task has a type that JSON does not have"):
        functions_of(Odd)
