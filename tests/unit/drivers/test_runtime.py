"""The runtime on a real nats-server: which modules there are, commands, status, and who is told what."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from doorstream.directory import SYSTEM
from doorstream.drivers import (
    BadArguments,
    Caller,
    Driver,
    ExecutionFailed,
    InvalidSettings,
    ModuleNotFound,
    ModuleUnavailable,
    NotAllowed,
    Refused,
    UnknownFunction,
    audit,
    audited,
    security,
)
from doorstream.events.entities import Device
from doorstream.log import Connection
from doorstream.testing import OTHER_SITE, SITE, until
from doorstream.testing.modules import ADMINISTRATOR, USER, running_drivers


class Lamp(Driver):
    """A lamp."""

    class Settings(msgspec.Struct):
        """How it begins."""

        start_on: bool = False
        label: str = "lamp"

    async def on_load(self):
        self.status.setdefault("on", self.settings.start_on)
        self.status["label"] = self.settings.label

    async def on_update(self):
        self.status["label"] = self.settings.label

    async def switch(self, on: bool, times: int = 1) -> int:
        """Switch it."""
        self.status["on"] = on
        return times

    @security("administrator")
    async def burn(self) -> None:
        """Burn it."""

    @audited
    async def give(self, what: str) -> str:
        """Give something."""
        if what == "nothing":
            raise Refused("there is nothing")
        if what == "up":
            raise OSError("the lamp is broken")
        return what

    @audited
    @security("support")
    async def polish(self, how: str) -> str:
        """Polish it."""
        return how

    async def wait(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def tell(self) -> None:
        """Tell the log."""
        await self.emit("x.lamp.told", {"it": "works"})

    async def echo(self, value: Any = None) -> Any:
        """The same."""
        return value


class Mirror(Driver):
    """Follows a lamp."""

    async def on_load(self):
        self.subscribe("Lamp", 1, "on", self.seen)

    def seen(self, value):
        self.status["seen"] = value

    async def light(self, on: bool) -> int:
        """Switch the lamp."""
        return await self.call("Lamp", 1, "switch", on)

    async def pass_on(self, what: str) -> str:
        """Have the lamp give something."""
        return await self.call("Lamp", 1, "give", what)

    @audited
    async def pass_on_openly(self, what: str) -> str:
        """The same, audited."""
        return await self.call("Lamp", 1, "give", what)


async def test_a_site_has_its_modules_without_configuration(connection):
    """One door for each device, in the order in which they were made; one access control; bookings if simulated."""
    async with running_drivers(connection, sites={SITE: True, OTHER_SITE: False}, doors=3) as house:
        found = [(view.name, view.index, view.driver, view.running) for view in house.drivers.modules(SITE)]
        assert found == [
            ("AccessControl", 1, "access_control", True),
            ("Bookings", 1, "bookings", True),
            ("Door", 1, "simulated_door", True),
            ("Door", 2, "simulated_door", True),
            ("Door", 3, "simulated_door", True),
        ]
        other = [(view.name, view.index, view.driver) for view in house.drivers.modules(OTHER_SITE)]
        assert other == [("AccessControl", 1, "access_control")] + [("Door", n, "door") for n in (1, 2, 3)]
        assert [house.drivers.module(door).device_id for door in house.doors()] == ["door-1", "door-2", "door-3"]
        assert all(view.implicit and not view.has_runtime_error for view in house.drivers.modules(SITE))
        assert [each.id for each in house.drivers.entities(SITE)] == [each.id for each in house.drivers.modules(SITE)]
        assert house.drivers.entities("nowhere") == []


async def test_a_stored_module_takes_the_place_of_a_door(connection):
    """At the same index; and when it goes, the implicit one is back."""
    async with running_drivers(connection, drivers=[Lamp]) as house:
        first = house.doors()[0]
        mine = await house.add_module("lamp", "Door", device_id="door-1")
        assert house.doors() == [mine, house.doors()[1]]
        assert house.drivers.module(first) is None
        await house.directory.delete(house.directory.site(SITE).modules.get(mine), SYSTEM)
        assert house.doors()[0] == first
        await until(lambda: house.drivers.module(first).running)


async def test_modules_come_and_go_with_devices(connection):
    """Listeners hear of each."""
    async with running_drivers(connection) as house:
        heard = []
        house.drivers.on_change(heard.append)
        device = Device(id="late", site_id=SITE, name="Late", created="2099-01-01T00:00:00Z")
        await house.directory.create(device, SYSTEM)
        new = house.doors()[2]
        await until(lambda: house.drivers.module(new).running)
        assert new in heard
        heard.clear()
        await house.directory.delete(device, SYSTEM)
        assert len(house.doors()) == 2
        await until(lambda: new in heard and not house.drivers.status.all(new))


async def test_a_command_and_its_answer(connection):
    """Arguments by position or by name; the answer is JSON."""
    async with running_drivers(connection, drivers=[Lamp]) as house:
        lamp = await house.add_module("lamp", "Lamp")
        assert await house.drivers.execute(lamp, "switch", [True], USER) == b"1"
        assert house.status(lamp, "on") is True
        assert await house.drivers.execute(lamp, "switch", {"on": False, "times": 4}, USER) == b"4"
        assert house.status(lamp, "on") is False
        assert await house.drivers.execute(lamp, "echo", None, USER) == b"null"
        assert house.status(lamp, "connected") is True


async def test_commands_that_cannot_be(connection):
    """Each has its error."""
    async with running_drivers(connection, drivers=[Lamp]) as house:
        lamp = await house.add_module("lamp", "Lamp")
        with pytest.raises(ModuleNotFound):
            await house.call("mod-none", "switch", True)
        with pytest.raises(UnknownFunction, match="Lamp has no function 'explode'"):
            await house.call(lamp, "explode")
        for hidden in ("on_load", "emit", "call", "_completed", "sleep"):
            with pytest.raises(UnknownFunction):
                await house.call(lamp, hidden)
        with pytest.raises(BadArguments, match="on: expected `bool`, got `str`"):
            await house.call(lamp, "switch", "yes")
        with pytest.raises(NotAllowed, match="burn needs the level administrator"):
            await house.call(lamp, "burn", caller=USER)
        with pytest.raises(ExecutionFailed, match="there is nothing") as refused:
            await house.call(lamp, "give", "nothing")
        assert refused.value.code == 409
        assert not house.drivers.module(lamp).has_runtime_error
        with pytest.raises(ExecutionFailed, match="give: OSError: the lamp is broken"):
            await house.call(lamp, "give", "up")
        assert house.drivers.module(lamp).error == "give: OSError: the lamp is broken"
        await house.drivers.change(lamp, lambda module: dataclasses.replace(module, running=False), SYSTEM)
        await house.drivers.settled()
        with pytest.raises(ModuleUnavailable):
            await house.call(lamp, "switch", True)
        assert house.status(lamp, "connected") is False


async def test_equal_values_are_no_change(connection):
    """The order of an object's keys does not count, 1 and true do (vendor-apis.md 2.2, change rule)."""
    async with running_drivers(connection, drivers=[Lamp]) as house:
        lamp = await house.add_module("lamp", "Lamp")
        heard = []
        house.drivers.status.on_change(lambda *change: heard.append(change))
        instance = house.drivers._running[lamp]._instance
        for value in ({"a": 1, "b": [1]}, {"b": [1], "a": 1}, {"a": 1, "b": [1]}, {"a": True, "b": [1]}):
            instance.status["thing"] = value
        assert [json.loads(value) for _, _, value in heard] == [{"a": 1, "b": [1]}, {"a": True, "b": [1]}]


async def test_settings_reach_a_running_module_and_bad_ones_are_refused(connection):
    """With the path of what is wrong."""
    async with running_drivers(connection, drivers=[Lamp]) as house:
        lamp = await house.add_module("lamp", "Lamp", settings={"label": "one"})
        assert house.status(lamp, "label") == "one"
        changed = await house.drivers.change(
            lamp, lambda module: dataclasses.replace(module, settings={"label": "two"}), SYSTEM
        )
        assert changed.settings == {"label": "two"}
        await until(lambda: house.status(lamp, "label") == "two")
        for settings, words in (
            ({"label": 3}, "label: expected `str`, got `int`"),
            ({"lable": "x"}, "lable: unknown setting; known are start_on, label"),
        ):
            with pytest.raises(InvalidSettings, match=words):
                await house.drivers.change(
                    lamp, lambda module, new=settings: dataclasses.replace(module, settings=new), SYSTEM
                )
        assert house.drivers.module(lamp).settings == {"label": "two"}


async def test_on_unload_comes_last_however_a_module_ends(connection):
    """Stopped, started anew, removed, or with the server: timers, tasks and subscriptions have ended before."""
    said, values = [], itertools.cycle((True, False))

    class Parting(Driver):
        """Says what goes on in it."""

        async def on_load(self):
            said.append("begun")
            self.every(0.001, lambda: said.append("timer"))
            self.subscribe("Lamp", 1, "on", lambda _: said.append("subscription"))
            self.spawn(self._work())

        async def _work(self):
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(0)
                said.append("task over")

        async def on_unload(self):
            said.append("unload")
            with contextlib.suppress(ModuleUnavailable):  # the lamp ends with the server as well
                await self.call("Lamp", 1, "switch", next(values))
            await asyncio.sleep(0.05)  # for a timer that goes on to be seen
            self.status["ended"] = True
            said.append("over")

    async with running_drivers(connection, drivers=[Parting, Lamp]) as house:
        await house.add_module("lamp", "Lamp")
        module = await house.add_module("parting", "Parting")

        async def works():
            """Forget what was said, and wait until it works."""
            said.clear()
            await until(lambda: "timer" in said)

        await works()
        await house.drivers.change(module, lambda old: dataclasses.replace(old, running=False), SYSTEM)
        await house.drivers.settled()
        assert said[-3:] == ["task over", "unload", "over"]
        assert house.status(module, "ended") is True
        await house.drivers.change(module, lambda old: dataclasses.replace(old, running=True), SYSTEM)
        await works()
        await house.drivers.restart(module)
        at = said.index("unload")
        assert said[at - 1 : at + 3] == ["task over", "unload", "over", "begun"]
        await works()
        await house.directory.delete(house.directory.site(SITE).modules.get(module), SYSTEM)
        await until(lambda: not house.drivers.status.all(module))
        assert said[-3:] == ["task over", "unload", "over"]
        await house.add_module("parting", "Parting")
        await works()
        await house.drivers.close()
        assert said[-3:] == ["task over", "unload", "over"]


class Slow(Driver):
    """Takes its time to begin and to end: as long as the test says."""

    said: list[str]
    may_begin: asyncio.Event
    may_end: asyncio.Event

    async def on_load(self):
        self.said.append("begins")
        self.spawn(self._work())
        await self.may_begin.wait()
        self.status["here"] = True
        self.said.append("begun")

    async def _work(self):
        try:
            await asyncio.sleep(3600)
        finally:
            self.said.append("task over")

    async def on_unload(self):
        self.said.append("unload")
        await self.may_end.wait()
        self.said.append("over")


@pytest.fixture
def slow():
    """A slow driver that begins and ends at once, until it is told otherwise."""
    made = type("Slow", (Slow,), {"said": [], "may_begin": asyncio.Event(), "may_end": asyncio.Event()})
    made.may_begin.set()
    made.may_end.set()
    return made


async def test_a_module_that_is_there_again_before_it_has_gone(connection, slow):
    """A second one ran beside the one that ended, which then took the status of both along: it seemed not to run."""
    async with running_drivers(connection, drivers=[slow]) as house:
        module = await house.add_module("slow", "Slow")
        entity = house.directory.site(SITE).modules.get(module)
        slow.may_end.clear()
        slow.said.clear()
        await house.directory.delete(entity, SYSTEM)
        await until(lambda: "unload" in slow.said)
        await house.directory.create(entity, SYSTEM)
        for _ in range(50):
            await asyncio.sleep(0)
        assert slow.said == ["task over", "unload"]
        slow.may_end.set()
        await until(lambda: "begun" in slow.said)
        await house.drivers.settled()

        assert slow.said == ["task over", "unload", "over", "begins", "begun"]
        assert house.drivers.module(module).running
        assert house.drivers.module(module).connected
        assert house.status(module, "here") is True
        await house.directory.delete(entity, SYSTEM)
        await until(lambda: not house.drivers.status.all(module))
        assert module not in house.drivers.status.modules()


async def test_a_module_that_goes_while_it_is_started_anew(connection, slow):
    """Whoever had asked for the restart waited for ever."""
    async with running_drivers(connection, drivers=[slow]) as house:
        module = await house.add_module("slow", "Slow")
        slow.may_end.clear()
        restarting = asyncio.create_task(house.drivers.restart(module))
        await until(lambda: "unload" in slow.said)
        await house.directory.delete(house.directory.site(SITE).modules.get(module), SYSTEM)
        slow.may_end.set()
        with pytest.raises(ModuleNotFound):
            async with asyncio.timeout(5):
                await restarting
        with pytest.raises(ModuleNotFound):
            await house.drivers.restart(module)


async def test_a_module_that_is_still_beginning_ends_with_the_server_as_any_other(connection, slow):
    """Nobody told it, and what it had begun went on until the process was gone."""
    slow.may_begin.clear()
    async with running_drivers(connection, drivers=[slow]) as house:
        adding = asyncio.create_task(house.add_module("slow", "Slow"))
        await until(lambda: "begins" in slow.said)
        adding.cancel()
        await house.drivers.close()
        assert slow.said == ["begins", "task over", "unload", "over"]


async def test_a_driver_and_a_module_that_change_in_one_moment(connection, tmp_path):
    """A listener that looked at the modules changed them under who told it, who then never looked at drivers again."""
    source = "from doorstream.drivers import Driver\n\n\nclass Lantern(Driver):\n    pass\n"
    (tmp_path / "lantern.py").write_text(source)
    async with running_drivers(connection, drivers_dir=tmp_path) as house:
        lantern = await house.add_module("lantern", "Lantern")
        house.drivers.on_change(lambda _: house.drivers.modules(SITE))
        (tmp_path / "lantern.py").write_text(source + "\n    # changed\n")

        def change_as_well(kind, *_):
            if kind == "device":
                house.drivers._refresh_drivers()

        house.directory.on_change(change_as_well)
        device = Device(id="late", site_id=SITE, name="Late", created="2099-01-01T00:00:00Z")
        with capture_logs() as lines:
            await house.directory.create(device, SYSTEM)
        assert [line for line in lines if line["log_level"] == "error"] == []
        await house.drivers.settled()
        assert house.drivers.module(lantern).running


async def test_an_implicit_module_is_stored_when_it_is_changed(connection):
    """It keeps its id, its place and its status."""
    async with running_drivers(connection) as house:
        door = house.doors()[0]
        await house.drivers.change(door, lambda module: dataclasses.replace(module, notes="creaks"), SYSTEM)
        view = house.drivers.module(door)
        assert (view.notes, view.index, view.implicit) == ("creaks", 1, False)
        await house.drivers.settled()
        assert await house.call(door, "unlock") is True


async def test_a_module_follows_another_and_calls_it(connection):
    """Also one that appears later."""
    async with running_drivers(connection, drivers=[Lamp, Mirror]) as house:
        mirror = await house.add_module("mirror", "Mirror")
        lamp = await house.add_module("lamp", "Lamp", settings={"start_on": True})
        await until(lambda: house.status(mirror, "seen") is True)
        await house.call(mirror, "light", False)
        await until(lambda: house.status(mirror, "seen") is False)
        await house.directory.delete(house.directory.site(SITE).modules.get(lamp), SYSTEM)
        await until(lambda: house.drivers.status.value(mirror, "seen") == b"null")


async def test_what_a_module_emits_names_it_and_who_caused_it(connection):
    """And is in the log when the command is answered."""
    async with running_drivers(connection, drivers=[Lamp]) as house:
        lamp = await house.add_module("lamp", "Lamp")
        await house.call(lamp, "tell", caller=USER)
        await house.index.current()
        await until(lambda: "x.lamp.told" in house.topics())
        event = house.events[-1]
        assert json.loads(event.body) == {"it": "works"}
        assert json.loads(event.metadata) == {
            "cause": "command",
            "by": "Una",
            "caller": {"id": "una", "level": "user", "via": "test"},
            "module": lamp,
        }


async def test_an_audited_command_is_in_the_log(connection):
    """Who, what, with what, and what came of it."""
    async with running_drivers(connection, drivers=[Lamp]) as house:
        lamp = await house.add_module("lamp", "Lamp")
        await house.call(lamp, "give", "light", caller=USER)
        with pytest.raises(ExecutionFailed):
            await house.call(lamp, "give", "nothing")
        await until(lambda: house.topics().count("x.command") == 2)
        done, failed = (json.loads(event.body) for event in house.events if event.topic == "x.command")
        assert done == {
            "module": lamp,
            "name": "Lamp",
            "index": 1,
            "function": "give",
            "args": {"what": "light"},
            "deviceId": None,
            "outcome": "done",
            "error": None,
        }
        assert (failed["outcome"], failed["error"]) == ("failed", "there is nothing")
        assert json.loads(house.events[-2].metadata)["by"] == "Una"


def commands(house):
    """The bodies of all commands in the log."""
    return [json.loads(event.body) for event in house.events if event.topic == "x.command"]


async def test_a_command_by_way_of_another_module_is_in_the_log_once(connection):
    """One that came by a function which is not audited was nowhere."""
    async with running_drivers(connection, drivers=[Lamp, Mirror]) as house:
        await house.add_module("lamp", "Lamp")
        mirror = await house.add_module("mirror", "Mirror")
        assert await house.call(mirror, "pass_on", "light", caller=USER) == "light"
        assert await house.call(mirror, "pass_on_openly", "light", caller=USER) == "light"
        await until(lambda: len(commands(house)) == 2)
        assert [command["function"] for command in commands(house)] == ["give", "pass_on_openly"]
        assert [json.loads(event.metadata)["by"] for event in house.events] == ["Una", "Una"]


async def test_whoever_may_not_cannot_fill_the_log(connection, monkeypatch):
    """Refused commands came with all that was given, 95 kB each, and as many as somebody sent."""
    monkeypatch.setattr(audit, "_COUNTED_FOR", 2.0)
    monkeypatch.setattr(audit, "REFUSALS_PER_SECOND", 0.001)
    async with running_drivers(connection, drivers=[Lamp]) as house:
        lamp = await house.add_module("lamp", "Lamp")
        for _ in range(14):
            with pytest.raises(NotAllowed):
                await house.call(lamp, "polish", "x" * 95_000, caller=USER)
        with pytest.raises(BadArguments):
            await house.drivers.execute(lamp, "polish", {"y" * 95_000: 1}, ADMINISTRATOR)
        await until(lambda: len(commands(house)) == 12)
        *denied, bad = [command for command in commands(house) if "function" in command]
        assert [(command["outcome"], command["args"]) for command in denied] == [("denied", {})] * 10
        assert (bad["outcome"], bad["args"], len(bad["error"])) == ("failed", {}, 256)
        assert commands(house)[-1] == {"outcome": "refused", "count": 4}
        assert json.loads(house.events[-1].metadata)["by"] == "Una"
        assert max(len(event.json) for event in house.events) < 1500
        with pytest.raises(NotAllowed):
            await house.call(lamp, "polish", "", caller=USER)
        await house.drivers.close()
        await until(lambda: len(commands(house)) == 13)
        assert commands(house)[-1] == {"outcome": "refused", "count": 1}


async def test_of_a_long_argument_the_log_has_the_beginning(connection):
    async with running_drivers(connection, drivers=[Lamp]) as house:
        lamp = await house.add_module("lamp", "Lamp")
        await house.call(lamp, "polish", "é" * 1000)
        await until(lambda: commands(house))
        kept = commands(house)[0]["args"]["how"]
        assert kept == '"' + "é" * 127 + "…"


async def test_status_outlives_a_restart(connection, nats_url):
    """It is there before the module has begun, and what is gone stays gone."""
    async with running_drivers(connection, drivers=[Lamp]) as house:
        lamp = await house.add_module("lamp", "Lamp")
        await house.call(lamp, "switch", True)
    again = Connection()
    await again.open(nats_url)
    async with running_drivers(again, drivers=[Lamp]) as house:
        assert house.status(lamp, "on") is True
        assert house.drivers.module(lamp).running
        await house.directory.delete(house.directory.site(SITE).modules.get(lamp), SYSTEM)
        await until(lambda: not house.drivers.status.all(lamp))
    async with running_drivers(again, drivers=[Lamp]) as house:
        assert lamp not in house.drivers.status.modules()
    await again.close()


async def test_two_debuggers_and_the_restored_level(connection):
    """POS-11: debug lines for as long as somebody follows."""
    async with running_drivers(connection, drivers=[Lamp]) as house:
        lamp = await house.add_module("lamp", "Lamp")
        first, second = [], []
        one = house.drivers.debug(lamp, lambda *line: first.append(line))
        two = house.drivers.debug(lamp, lambda *line: second.append(line))
        await house.call(lamp, "switch", True)
        assert first == second == [("debug", "switch(on=True, times=1) by Ada", "Lamp")]
        one.close()
        one.close()
        await house.call(lamp, "switch", False)
        assert (len(first), len(second)) == (1, 2)
        instance = house.drivers._running[lamp]._instance
        assert instance.logger.threshold == 1
        two.close()
        assert instance.logger.threshold == 2


async def test_a_debugger_goes_on_when_its_module_was_away(connection):
    """It heard nothing any more once the module had been removed, and was never told."""
    async with running_drivers(connection, drivers=[Lamp]) as house:
        lamp = await house.add_module("lamp", "Lamp")
        lines = []
        debugger = house.drivers.debug(lamp, lambda *line: lines.append(line))
        entity = house.directory.site(SITE).modules.get(lamp)
        await house.directory.delete(entity, SYSTEM)
        await until(lambda: house.drivers.module(lamp) is None)
        await house.directory.create(entity, SYSTEM)
        await house.drivers.settled()
        await house.call(lamp, "switch", True)
        assert lines[-1] == ("debug", "switch(on=True, times=1) by Ada", "Lamp")
        debugger.close()
        assert not house.drivers._sinks
        assert not house.drivers._running[lamp]._sinks


async def test_another_worker_sees_and_reaches_the_modules(connection, nats_url):
    """Views, status, commands, errors and log lines, all by way of NATS."""
    theirs = Connection()
    await theirs.open(nats_url)
    async with (
        running_drivers(connection, drivers=[Lamp]) as host,
        running_drivers(theirs, drivers=[Lamp], is_host=False) as other,
    ):
        lamp = await host.add_module("lamp", "Lamp")
        await until(lambda: (view := other.drivers.module(lamp)) is not None and view.running)
        changes = []
        other.drivers.status.on_change(lambda *change: changes.append(change))
        lines = []
        debugger = other.drivers.debug(lamp, lambda *line: lines.append(line))
        await until(lambda: host.drivers._running[lamp]._sinks)
        assert await other.call(lamp, "switch", True, 5) == 5
        await until(lambda: (lamp, "on", b"true") in changes and lines)
        assert lines == [("debug", "switch(on=True, times=5) by Ada", "Lamp")]
        with pytest.raises(ExecutionFailed, match="there is nothing") as refused:
            await other.call(lamp, "give", "nothing")
        assert refused.value.code == 409
        debugger.close()
        await until(lambda: not host.drivers._running[lamp]._sinks)
        await other.drivers.restart(lamp)
        with pytest.raises(ModuleNotFound):
            await other.call("mod-none", "switch")
    await theirs.close()


async def test_a_worker_alone_has_no_modules_to_reach(connection):
    """The others say so at once, instead of letting the client wait."""
    async with running_drivers(connection, is_host=False) as other:
        with pytest.raises(ModuleUnavailable, match="does not answer"):
            await other.call(other.doors()[0], "unlock")


async def test_callers_have_levels():
    """Each includes the ones before."""
    assert [Caller(None, "x", level).may("support") for level in ("user", "support", "administrator")] == [
        False,
        True,
        True,
    ]
    assert ADMINISTRATOR.may("administrator")
    assert USER.may(None)
