"""The bucket of module status: what is written, when, and what survives."""

from __future__ import annotations

import asyncio
import contextlib

from doorstream.drivers import status
from doorstream.drivers.status import StatusStore
from doorstream.drivers.views import ModuleState
from doorstream.log import Connection
from doorstream.testing import nats_server, until


@contextlib.asynccontextmanager
async def opened(connection, *, is_writer=True):
    """A store that is open."""
    store = StatusStore(connection, is_writer=is_writer)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def test_many_changes_are_few_writes(connection):
    """Of a variable that changes often only the last value is written."""
    async with opened(connection) as store:
        for number in range(5000):
            store.change("mod-a", f"v{number % 10}", b"%d" % number)
        await until(lambda: store.written >= 10)
        assert store.written == 10
        assert store.all("mod-a")["v9"] == b"4999"
    async with opened(connection) as again:
        assert again.all("mod-a") == {f"v{n}": b"%d" % (4990 + n) for n in range(10)}


async def test_what_the_log_has_anyway_is_written_less_often(connection, monkeypatch):
    """Each event of a door cost two writes of all its last events; what is removed or closed is written at once."""
    monkeypatch.setattr(status, "_LONG_LINGER", 3600.0)
    async with opened(connection) as store:
        for number in range(5):
            store.change("mod-a", "last_event", b"%d" % number)
            store.change("mod-a", "locked", b"%d" % number)
            await until(lambda: not store._dirty)
        store.change("mod-b", "last_event", b"1")
        store.change("mod-b", "last_event", None)
        await until(lambda: store.written == 6 and store.value("mod-a", "last_event") == b"4")
    assert store.written == 7
    async with opened(connection) as again:
        assert again.all("mod-a") == {"last_event": b"4", "locked": b"4"}
        assert again.all("mod-b") == {}
    monkeypatch.setattr(status, "_LONG_LINGER", 0.05)
    async with opened(connection) as store:
        store.change("mod-a", "last_event", b"5")
        await until(lambda: store.written == 1)


async def test_names_may_have_any_character(connection):
    """Keys of the bucket may not."""
    names = ["a.b", "ключ", "with space", "*", ">", "=2E", "$"]
    async with opened(connection) as store:
        for name in names:
            store.change(name, name, b"1")
        store.change_state("a.b", ModuleState(running=True, error="ö", error_at=3))
    async with opened(connection) as again:
        assert sorted(again.modules()) == sorted(names)
        assert all(again.value(name, name) == b"1" for name in names)
        assert again.state("a.b") == ModuleState(running=True, error="ö", error_at=3)


async def test_what_was_removed_stays_away(connection):
    """Also for who reads later."""
    async with opened(connection) as store:
        store.change("mod-a", "x", b"1")
        store.change("mod-a", "y", b"1")
        store.change_state("mod-a", ModuleState(running=True))
        await until(lambda: store.written == 3)
        store.change("mod-a", "x", None)
        store.change("mod-a", "nothing", None)
        assert store.all("mod-a") == {"y": b"1"}
        store.forget("mod-a")
        assert store.modules() == []
    async with opened(connection) as again:
        assert again.modules() == []


async def test_listeners_hear_each_change_once(connection):
    """One that fails does not keep the others from it."""
    heard = []

    def fails(*_):
        raise ValueError

    async with opened(connection) as store:
        store.on_change(fails)
        store.on_change(lambda *change: heard.append(change))
        for value in (b"1", b"1", b"2", None, None):
            store.change("mod-a", "x", value)
        assert heard == [("mod-a", "x", b"1"), ("mod-a", "x", b"2"), ("mod-a", "x", None)]


async def test_another_process_follows(connection, nats_url):
    """Values and states, deletions too."""
    theirs = Connection()
    await theirs.open(nats_url)
    async with opened(connection) as writer, opened(theirs, is_writer=False) as reader:
        writer.change("mod-a", "x", b"[1]")
        writer.change_state("mod-a", ModuleState(running=True))
        await until(lambda: reader.value("mod-a", "x") == b"[1]" and reader.state("mod-a").running)
        writer.forget("mod-a")
        await until(lambda: reader.modules() == [])
    await theirs.close()


async def test_changes_while_nats_is_away_are_written_when_it_is_back():
    """They count at once all the same; nothing of them is lost, and no newer value is overwritten."""
    async with nats_server() as server:
        connection = Connection()
        await connection.open(server.url)
        async with opened(connection) as store:
            store.change("mod-a", "x", b"1")
            await until(lambda: store.written == 1)
            await server.kill()
            await until(lambda: not connection.client.is_connected)
            for number in range(2, 100):
                store.change("mod-a", "x", b"%d" % number)
                await asyncio.sleep(0)
            assert store.value("mod-a", "x") == b"99"
            await server.start()
            await until(lambda: store.written >= 2 and not store._dirty)
        async with opened(connection) as again:
            assert again.value("mod-a", "x") == b"99"
        await connection.close()
