"""Whose code keeps the event loop, and what is done about code that never gives it back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from doorstream.drivers import Driver
from doorstream.drivers.stuck import EXIT_STATUS, Stuck, take_note
from doorstream.drivers.watch import Watch, watched
from doorstream.testing import until
from doorstream.testing.modules import running_drivers


def quiet(*_):
    """Nobody blocks here."""
    raise AssertionError


async def test_what_is_watched_works_as_before():
    """Values, exceptions, cancellation and awaiting go through."""
    watch = Watch(10.0, quiet)

    async def work(fail: bool):
        await asyncio.sleep(0)
        value = await asyncio.to_thread(lambda: 7)
        if fail:
            raise KeyError(value)
        return value

    async def in_a_task(coroutine):
        return await watched(watch, "mod-a", "work", coroutine)

    assert await in_a_task(work(fail=False)) == 7
    with pytest.raises(KeyError):
        await in_a_task(work(fail=True))
    caught = []

    async def waits():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            caught.append(True)
            raise

    task = asyncio.create_task(in_a_task(waits()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert caught == [True]
    assert watch._steps == []


async def test_the_innermost_is_to_blame():
    """Who called the one that blocks only waited."""
    blocked = []
    watch = Watch(0.1, lambda *who: blocked.append(who[:2]))

    async def inner():
        time.sleep(0.15)  # noqa: ASYNC251 - that is what is tested

    async def outer():
        await watched(watch, "mod-b", "inner", inner())

    await watched(watch, "mod-a", "outer", outer())
    assert blocked == [("mod-b", "inner")]


def test_what_never_comes_back_is_told_from_another_thread():
    """Once, however long it lasts; and never for many short steps of the same work."""
    stuck = []
    told = threading.Event()
    watch = Watch(0.02, lambda *_: None, stuck_after=0.1, on_stuck=lambda *who: (stuck.append(who), told.set()))
    watch.start()
    for _ in range(30):
        watch.enter("mod-a", "short")
        time.sleep(0.01)
        watch.leave()
    assert stuck == []
    watch.enter("mod-a", "for ever")
    assert told.wait(10)
    time.sleep(0.1)
    watch.leave()
    watch.stop()
    assert stuck == [("mod-a", "for ever")]


def test_the_process_is_ended_and_leaves_a_note(tmp_path):
    """Even in the middle of code that never returns."""
    file = tmp_path / "note.json"
    program = (
        "import pathlib, sys\n"
        "from doorstream.drivers.stuck import end_because_of\n"
        "from doorstream.drivers.watch import Watch\n"
        "file = pathlib.Path(sys.argv[1])\n"
        "watch = Watch(0.05, print, stuck_after=0.2, on_stuck=lambda *who: end_because_of(file, *who))\n"
        "watch.start()\n"
        "watch.enter('mod-a', 'spin')\n"
        "while True: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", program, file], timeout=60, check=False, capture_output=True)
    assert done.returncode == EXIT_STATUS
    assert take_note(file) == Stuck("mod-a", "spin")
    assert take_note(file) is None


async def test_the_module_that_ended_the_process_is_not_started_again(connection, tmp_path):
    """Until somebody asks for it."""

    class Spins(Driver):
        """Would never come back."""

    async with running_drivers(connection, drivers=[Spins]) as house:
        module = await house.add_module("spins")
    file = tmp_path / "stuck-module.json"
    file.write_bytes(b'{"module":"%b","doing":"on_load"}' % module.encode())
    async with running_drivers(connection, drivers=[Spins], stuck_file=file) as house:
        view = house.drivers.module(module)
        assert not view.running
        assert "on_load never gave the event loop back" in view.error
        assert not file.exists()
        await house.drivers.restart(module)
        await until(lambda: house.drivers.module(module).running)
