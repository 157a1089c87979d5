"""Modules that misbehave, and the others, which must not notice."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
import textwrap
import time

import pytest

from doorstream.directory import SYSTEM
from doorstream.drivers import Driver, ExecutionFailed, Limits, ModuleUnavailable, audited, instance
from doorstream.events.entities import Module
from doorstream.testing import SITE, until
from doorstream.testing.modules import USER, running_drivers

QUICK = Limits(
    execute=10.0,
    blocking=0.5,
    most_blocked=2,
    process_blocking=4.0,
    first_pause=0.02,
    longest_pause=0.1,
    most_failures=3,
)


class Good(Driver):
    """Does what it should."""

    async def add(self, left: int, right: int) -> int:
        """Add."""
        self.status["sum"] = left + right
        return left + right


class Raises(Driver):
    """Raises wherever it can."""

    async def on_load(self):
        self.every(0.01, self.fail)
        self.spawn(self.fail())
        self.subscribe("Good", 1, "sum", self.fail_with)

    async def fail(self) -> None:
        """Raise."""
        raise ValueError("as always")

    def fail_with(self, _value):
        raise ValueError("of a subscription")


class Exits(Driver):
    """Tries to end the process that it is in."""

    async def on_load(self):
        self.spawn(self.leave())

    async def leave(self) -> None:
        """Leave."""
        sys.exit(3)


class Blocks(Driver):
    """Blocks the event loop now and then."""

    async def on_load(self):
        self.every(0.05, self.block)

    async def block(self) -> None:
        """Block."""
        time.sleep(0.7)  # noqa: ASYNC251 - that is what is tested


class Crashes(Driver):
    """Never begins."""

    async def on_load(self):
        raise ConnectionError("the device is not there")

    async def anything(self) -> None:
        """Nothing."""


class FloodsStatus(Driver):
    """Changes its status all the time."""

    async def on_load(self):
        self.spawn(self.flood())

    async def flood(self) -> None:
        """Flood."""
        number = 0
        while True:
            for _ in range(50):
                number += 1
                self.status[f"number{number % 5}"] = number
            await asyncio.sleep(0.001)


class FloodsLog(Driver):
    """Never stops talking."""

    async def on_load(self):
        self.spawn(self.flood())

    async def flood(self) -> None:
        """Flood."""
        while True:
            for _ in range(50):
                self.logger.error("again")
            await asyncio.sleep(0.001)


async def add_modules(house, **drivers):
    """Store so many modules of each driver; returns their ids by driver."""
    now = house.directory.now()
    modules = [
        Module(
            id=f"mod-{driver}-{number:03d}",
            site_id=SITE,
            name=driver.title().replace("_", ""),
            driver=driver,
            created=now,
            updated=now,
        )
        for driver, count in drivers.items()
        for number in range(count)
    ]
    await house.directory.put_all(modules)
    await house.drivers.settled()
    return {driver: [m.id for m in modules if m.driver == driver] for driver in drivers}


async def test_200_modules_of_which_20_misbehave(connection):
    """The other 180 answer each of their commands, and each culprit is named with what it did."""
    bad = {"raises": 4, "exits": 3, "blocks": 3, "crashes": 4, "floods_status": 3, "floods_log": 3}
    classes = [Good, Raises, Exits, Blocks, Crashes, FloodsStatus, FloodsLog]
    async with running_drivers(connection, drivers=classes, limits=QUICK) as house:
        ids = await add_modules(house, good=180, **bad)
        good = ids.pop("good")
        assert sum(len(each) for each in ids.values()) == 20
        rounds = 0

        def is_over():
            """Whether everybody who is to be given up was."""
            blocked = all("isolation" in (house.drivers.module(each).error or "") for each in ids["blocks"])
            return blocked and all("given up" in (house.drivers.module(each).error or "") for each in ids["crashes"])

        deadline = time.monotonic() + 100
        while rounds < 3 or not is_over():
            answers = await asyncio.gather(*(house.call(each, "add", rounds, 1) for each in good))
            assert answers == [rounds + 1] * 180
            rounds += 1
            assert time.monotonic() < deadline, [house.drivers.module(each).error for each in ids["blocks"]]
        assert [house.status(each, "sum") for each in good] == [rounds] * 180
        assert all(not house.drivers.module(each).has_runtime_error for each in good)
        errors = {driver: {house.drivers.module(each).error for each in ids[driver]} for driver in bad}
        assert all("ValueError: " in error for error in errors["raises"])
        assert errors["exits"] == {"the task Exits.leave: SystemExit: 3"}
        assert all('isolation = "process"' in error for error in errors["blocks"])
        assert errors["crashes"] == {
            "given up after 3 failures in a row: on_load: ConnectionError: the device is not there"
        }
        assert house.drivers.status.written < 60_000
        with pytest.raises(ModuleUnavailable, match="given up"):
            await house.call(ids["crashes"][0], "anything")


async def test_what_was_given_up_is_started_by_whoever_asks(connection):
    """And counts its failures anew."""
    attempts = []

    class Late(Driver):
        """Begins at the fourth attempt."""

        async def on_load(self):
            attempts.append(1)
            if len(attempts) < 4:
                raise OSError("not yet")

    async with running_drivers(connection, drivers=[Late], limits=QUICK) as house:
        module = await house.add_module("late")
        await until(lambda: "given up" in (house.drivers.module(module).error or ""))
        assert len(attempts) == 3
        await house.drivers.restart(module)
        assert house.drivers.module(module).running
        assert house.drivers.module(module).error is None


async def test_a_command_that_does_not_end(connection):
    """It fails in time, also when the driver will not be cancelled, and the module goes on."""

    class Stubborn(Driver):
        """Does not end."""

        async def wait(self) -> None:
            """Wait for ever."""
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    if self.status.get("give_in"):
                        raise

        async def give_in(self) -> None:
            """End at last."""
            self.status["give_in"] = True

    limits = Limits(execute=1.0)
    async with running_drivers(connection, drivers=[Stubborn], limits=limits) as house:
        module = await house.add_module("stubborn")
        with pytest.raises(ExecutionFailed, match=r"did not answer within 1 s") as late:
            await house.call(module, "wait")
        assert late.value.code == 504
        await house.call(module, "give_in")


async def set_running(house, module_id, *, running):
    """Stop a module or start it, and wait until it is so."""
    await house.drivers.change(module_id, lambda old: dataclasses.replace(old, running=running), SYSTEM)
    await house.drivers.settled()


async def test_an_end_that_fails_or_does_not_come_harms_nobody(connection, monkeypatch):
    """``on_unload`` is cut off after its limit, what it raises is a line of the log, and the module can begin again."""
    monkeypatch.setattr(instance, "UNLOAD_LIMIT", 0.5)
    cut_off, still = [], []

    class Fails(Driver):
        """Raises at the end."""

        async def on_unload(self):
            raise ValueError("as always")

    class Leaves(Driver):
        """Tries to take the process along."""

        async def on_unload(self):
            sys.exit(3)

    class Lingers(Driver):
        """Does not end."""

        async def on_unload(self):
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cut_off.append(self.module.id)
                raise

    class GoesOn(Driver):
        """Begins something at the end."""

        async def on_unload(self):
            self.spawn(self._stay())
            await asyncio.sleep(0)

        async def _stay(self):
            still.append("here")
            try:
                await asyncio.sleep(3600)
            finally:
                still.remove("here")

    expected = {
        "fails": "on_unload: ValueError: as always",
        "leaves": "on_unload: SystemExit: 3",
        "lingers": "on_unload is not over after 0.5 s",
        "goes_on": None,
    }
    async with running_drivers(connection, drivers=[Good, Fails, Leaves, Lingers, GoesOn]) as house:
        good = await house.add_module("good")
        for driver, words in expected.items():
            module = await house.add_module(driver)
            lines = []
            debugger = house.drivers.debug(module, lambda *line, lines=lines: lines.append(line[:2]))
            await set_running(house, module, running=False)
            assert [line for line in lines if line[0] == "error"] == ([("error", words)] if words else [])
            view = house.drivers.module(module)
            assert (view.running, view.error, view.connected) == (False, None, False)
            assert await house.call(good, "add", 1, 1) == 2
            await set_running(house, module, running=True)
            assert house.drivers.module(module).running
            debugger.close()
        await until(lambda: len(cut_off) == 1 and not still)


PROCESS_DRIVERS = textwrap.dedent(
    '''
    """Drivers with processes of their own."""

    import os
    import time

    import msgspec

    from doorstream.drivers import Driver, Refused, audited, instance


    class Slow(Driver):
        """Code that blocks."""

        isolation = "process"

        class Settings(msgspec.Struct):
            greeting: str = "hello"

        async def on_load(self):
            self.status["greeting"] = self.settings.greeting
            self.subscribe("Slow", 2, "greeting", self.heard)

        async def on_update(self):
            self.status["greeting"] = self.settings.greeting

        def heard(self, value):
            self.status["heard"] = value

        async def block(self, seconds: float) -> int:
            """Block."""
            time.sleep(seconds)
            return os.getpid()

        async def refuse(self) -> None:
            """Refuse."""
            raise Refused("no", 418)

        async def say(self, words: str) -> None:
            """Say something to everybody."""
            self.logger.debug("saying %s", words)
            await self.emit("x.slow.said", {"words": words})

        async def other(self) -> int:
            """Ask the other one."""
            return await self.call("Slow", 2, "block", 0.0)

        async def die(self) -> None:
            """End the process."""
            os._exit(7)


    class Dies(Driver):
        """Never begins."""

        isolation = "process"

        async def on_load(self):
            os._exit(9)


    class Parts(Driver):
        """Says farewell, and asks others at it."""

        isolation = "process"

        async def on_unload(self):
            self.status["sum"] = await self.call("Good", 1, "add", 2, 3)
            await self.emit("x.parts.gone")


    class Stays(Driver):
        """Does not end."""

        isolation = "process"

        async def on_load(self):
            instance.UNLOAD_LIMIT = 0.05  # in its own process only
            self.status["pid"] = os.getpid()

        async def on_unload(self):
            await self.sleep(3600)


    class Passes(Driver):
        """Has another module do it."""

        isolation = "process"

        async def quietly(self, what: str) -> str:
            """Not audited itself."""
            return await self.call("Gives", 1, "give", what)

        @audited
        async def openly(self, what: str) -> str:
            """Audited as a whole."""
            return await self.call("Gives", 1, "give", what)
    '''
)


@pytest.fixture
def folder(tmp_path):
    """A folder with drivers that have processes of their own."""
    (tmp_path / "slow.py").write_text(PROCESS_DRIVERS)
    return tmp_path


async def test_a_process_of_its_own(connection, folder):
    """Commands, refusals, status, settings, subscriptions, calls, log lines and events cross the pipe."""
    async with running_drivers(connection, drivers_dir=folder) as house:
        ids = (await add_modules(house, slow=2))["slow"]
        first, second = ids
        pid = await house.call(first, "block", 0.0)
        assert pid not in (os.getpid(), await house.call(second, "block", 0.0))
        assert await house.call(first, "other") == await house.call(second, "block", 0.0)
        with pytest.raises(ExecutionFailed, match="no") as refused:
            await house.call(first, "refuse")
        assert refused.value.code == 418
        assert house.status(first, "connected") is True
        await until(lambda: house.status(first, "heard") == "hello")
        module = house.drivers.entity(second)
        await house.drivers.change(
            second, lambda old: type(module)(**{**_fields(old), "settings": {"greeting": "moin"}}), SYSTEM
        )
        await until(lambda: house.status(first, "heard") == "moin")
        lines = []
        debugger = house.drivers.debug(first, lambda *line: lines.append(line))
        await house.call(first, "say", "hi")
        await until(lambda: ("debug", "saying hi", "Slow") in lines and "x.slow.said" in house.topics())
        debugger.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def _fields(entity):
    return {name: getattr(entity, name) for name in entity.__dataclass_fields__}


async def test_the_end_of_a_process_of_its_own(connection, folder):
    """``on_unload`` may call and emit there too: it waited for answers that nobody read any more, and was cut off."""
    async with running_drivers(connection, drivers=[Good], drivers_dir=folder) as house:
        await house.add_module("good", "Good")
        parts = await house.add_module("parts")
        lines = []
        debugger = house.drivers.debug(parts, lambda *line: lines.append(line))
        await set_running(house, parts, running=False)
        assert house.status(parts, "sum") == 5
        assert [line for line in lines if line[0] != "debug"] == []
        debugger.close()
        await until(lambda: house.topics() == ["x.parts.gone"])


async def test_a_process_of_its_own_that_does_not_end(connection, folder):
    """Its ``on_unload`` is cut off and says so, and the process is gone."""
    async with running_drivers(connection, drivers_dir=folder) as house:
        module = await house.add_module("stays")
        pid = house.status(module, "pid")
        lines = []
        debugger = house.drivers.debug(module, lambda *line: lines.append(line[:2]))
        await set_running(house, module, running=False)
        assert ("error", "on_unload is not over after 0.05 s") in lines
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        debugger.close()


class Gives(Driver):
    """Gives things."""

    @audited
    async def give(self, what: str) -> str:
        """Give something."""
        return what


async def test_a_command_by_way_of_a_process_is_in_the_log_once(connection, folder):
    """That the command was audited already did not cross the pipe, and its part was logged as another one."""
    async with running_drivers(connection, drivers=[Gives], drivers_dir=folder) as house:
        await house.add_module("gives", "Gives")
        passes = await house.add_module("passes", "Passes")
        for function in ("openly", "quietly", "openly"):
            assert await house.call(passes, function, "light", caller=USER) == "light"
        commands = [json.loads(event.body)["function"] for event in house.events]
        assert commands == ["openly", "give", "openly"]
        assert {json.loads(event.metadata)["by"] for event in house.events} == {"Una"}


async def test_a_process_that_blocks_for_ever(connection, folder):
    """Its command fails in time, its process is ended and started again, and nobody else waits."""
    async with running_drivers(connection, drivers=[Good], drivers_dir=folder, limits=QUICK) as house:
        good = await house.add_module("good")
        slow = (await add_modules(house, slow=1))["slow"][0]
        pid = await house.call(slow, "block", 0.0)
        blocked = asyncio.create_task(house.call(slow, "block", 3600.0))
        longest = 0.0
        while not blocked.done():
            began = time.monotonic()
            assert await house.call(good, "add", 1, 1) == 2
            longest = max(longest, time.monotonic() - began)
            await asyncio.sleep(0.01)
        with pytest.raises((ExecutionFailed, ModuleUnavailable)):
            await blocked
        assert longest < 3.0
        await until(lambda: house.drivers.module(slow).running, 30)
        assert await house.call(slow, "block", 0.0) != pid


async def test_a_process_that_ends(connection, folder):
    """It is started again; one that never begins is given up."""
    async with running_drivers(connection, drivers_dir=folder, limits=QUICK) as house:
        slow = (await add_modules(house, slow=1))["slow"][0]
        with pytest.raises(ModuleUnavailable):
            await house.call(slow, "die")
        await until(lambda: house.drivers.module(slow).running, 30)
        dies = await house.add_module("dies")
        await until(lambda: "given up" in (house.drivers.module(dies).error or ""), 30)
        assert "status 9" in house.drivers.module(dies).error


async def test_drivers_of_a_folder(connection, tmp_path):
    """A file that changes is loaded anew, its modules with it; a broken one harms nobody and says what is wrong."""
    file = tmp_path / "greeter.py"
    source = textwrap.dedent(
        '''
        from doorstream.drivers import Driver

        class Greeter(Driver):
            """Greets."""

            async def greet(self, name: str) -> str:
                """Greet somebody."""
                return f"{GREETING} {name}"

        GREETING = "hello"
        '''
    )
    file.write_text(source)
    async with running_drivers(connection, drivers_dir=tmp_path) as house:
        module = await house.add_module("greeter")
        assert await house.call(module, "greet", "you") == "hello you"
        file.write_text(source.replace('"hello"', '"good morning"'))
        os.utime(file, (1, 1))
        await house.drivers.restart(module)
        assert await house.call(module, "greet", "you") == "good morning you"
        file.write_text(source.replace('"hello"', "hello"))
        await until(lambda: house.drivers.module(module).has_runtime_error)
        assert "name 'hello' is not defined (line 11)" in house.drivers.module(module).error
        (fault,) = [view for view in house.drivers.drivers() if view.fault is not None]
        assert fault.name == "greeter"
        file.write_text(source)
        await until(lambda: house.drivers.module(module).running)
        file.unlink()
        await until(lambda: house.drivers.module(module).error == "there is no driver 'greeter'")
