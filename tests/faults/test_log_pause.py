"""nats-server stops in the middle of what it does, and goes on, or does not."""

import asyncio

from test_log_kill import Load, check, event, followed_log

from doorstream.log import LogUnavailable, Stored
from doorstream.log import commit as commit_module
from doorstream.log import connection as connection_module
from doorstream.testing import nats_server, until

LARGE = b'{"id":"%b","topic":"x.a","siteId":"s","occurred":1,"body":"%b","cloudNode":null,"metadata":null}'


def large_event(event_id):
    """An event of 90 kB."""
    return ("s", "x.a", event_id, LARGE % (event_id.encode(), b"x" * 90_000))


async def test_a_server_that_stops_for_three_seconds(monkeypatch):
    """Nothing fails, nothing is lost, and it goes on at once: no answer has to be given up for that."""
    for each in (commit_module, connection_module):
        monkeypatch.setattr(each, "REQUEST_TIMEOUT", 60.0)
    async with nats_server() as server, followed_log(server) as (_, log, got):
        load = Load(log)
        load.start(singles=20, arrays=2)
        await until(lambda: len(got) > 100)
        await server.pause()
        await asyncio.sleep(3)
        seen = len(got)
        server.resume()
        await until(lambda: len(got) > seen, 30)
        await load.stop()
        assert load.failures == 0
        await check(log, got, load.acknowledged)


async def test_everybody_is_answered_in_time_when_the_server_does_not_answer(monkeypatch):
    """Those who wait for their turn too: group after group would wait for its own time-out."""
    monkeypatch.setattr(commit_module, "_SWEEP", 0.05)
    loop = asyncio.get_running_loop()
    async with nats_server() as server, followed_log(server) as (connection, log, _got):
        stuck = []
        connection.on_stuck(lambda: stuck.append(loop.time()))
        await log.append(event("before"))
        await server.pause()
        with monkeypatch.context() as impatient:
            impatient.setattr(commit_module, "REQUEST_TIMEOUT", 1.0)
            started = loop.time()
            results = await asyncio.gather(
                *(log.append(event(f"{n}")) for n in range(3000)),
                *(log.append_batch([event(f"{a}.{n}") for n in range(500)]) for a in range(20)),
                return_exceptions=True,
            )
            assert {type(result) for result in results} == {LogUnavailable}
            assert loop.time() - started < 25, "one time-out after another are 32 s"
        assert stuck, "whoever owns the server is told"
        server.resume()
        assert type(await log.append(event("after"))) is Stored


async def test_what_a_dead_server_did_not_take_is_not_sent_to_its_successor():
    """More than the sockets hold: the rest waited in nats-py, which sent it after the reconnect."""
    async with nats_server() as server, followed_log(server) as (connection, log, got):
        await log.append(event("before"))
        await server.pause()
        large = [large_event(f"large-{n}") for n in range(200)]
        waiting = [asyncio.create_task(log.append_batch(large))]
        waiting += [asyncio.create_task(log.append(one)) for one in large]
        await asyncio.sleep(0.3)
        assert connection.client.pending_data_size > 0 or connection.client._transport is not None
        await server.kill()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(result) for result in results} == {LogUnavailable}
        await server.start()
        await until(lambda: connection.client.is_connected)
        await log.append(event("after"))
        await until(lambda: got and got[-1][1] == "after")
        assert [one for _, one in got] == ["before", "after"]


async def test_a_server_that_stops_for_longer_than_we_wait_is_given_up_and_found_again(monkeypatch):
    """With unsent bytes: nats-py waited for the dead connection to take them before it made a new one."""
    async with nats_server() as server, followed_log(server) as (connection, log, got):
        connection.client.options["ping_interval"] = 1.0
        await connection.client.force_reconnect()
        await until(lambda: connection.client.stats["reconnects"] == 1 and connection.client.is_connected)
        await log.append(event("before"))
        await server.pause()
        monkeypatch.setattr(commit_module, "REQUEST_TIMEOUT", 0.5)
        waiting = asyncio.create_task(log.append_batch([large_event(f"large-{n}") for n in range(200)]))
        await until(lambda: not connection.client.is_connected)
        assert type((await asyncio.gather(waiting, return_exceptions=True))[0]) is LogUnavailable
        monkeypatch.undo()
        server.resume()
        await until(lambda: connection.client.is_connected)
        await log.append(event("after"))
        await until(lambda: got and got[-1][1] == "after")
        assert [one for _, one in got] == ["before", "after"]
