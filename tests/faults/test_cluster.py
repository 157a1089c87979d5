"""Two doorstream nodes on a cluster of three nats-servers: one building, wherever one connects, whoever dies."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from cluster_support import Cluster, nats_cluster
from faults_support import Feeder, Serve, SseReader, check_acknowledged, difference, event, history, running, until

from doorstream.events import Retention
from doorstream.log import Connection, EventLog, StartError, Stream
from doorstream.testing.server import Api, ApiRefused

SOON = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """One cluster for all tests of this file."""
    async with nats_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


async def patient_site(api: Api) -> str:
    """A site, as soon as the directory can be written."""
    while True:
        try:
            return await api.create_site(name="Harbour House")
        except ApiRefused as error:
            if error.status != 503:
                raise
        await asyncio.sleep(0.2)


@pytest.mark.timeout(400)
async def test_two_nodes_are_one_server_and_a_dead_nats_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """What one node acknowledges the other delivers, also while the leader of the log is killed and comes back.

    Whoever loses his node goes on at the other one from where he was.
    """
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one = Serve(tmp_path / "one", "--nats-url", cluster.url)
    two = Serve(tmp_path / "two", "--nats-url", cluster.url, "--no-background")
    try:
        await one.start()
        two.key = one.key  # one directory: the second node makes no administrator
        await two.start()
        ready = await one.api.call("GET", "/readyz")
        assert ready["durability"] == "replicated"
        site = await patient_site(one.api)
        follower = SseReader(two.url, two.key, site)
        feeder = Feeder(one.url, one.key, site, "fed")
        async with running(follower.run()):
            await until(lambda: follower.is_open, SOON, lambda: two.errors)  # it is to get the first event, too
            feeding = asyncio.create_task(feeder.run())
            await until(lambda: len(feeder.acknowledged) > 50, SOON, lambda: one.errors)
            connection = Connection()
            await connection.open(cluster.url)
            leader = cluster.leader(await connection.api("STREAM.INFO.EVENTS"))
            await connection.close()
            leader.end()
            at_kill = len(feeder.acknowledged)
            await until(lambda: len(feeder.acknowledged) > at_kill + 100, SOON, lambda: one.errors)
            leader.start()
            at_start = len(feeder.acknowledged)
            await until(lambda: len(feeder.acknowledged) > at_start + 100, SOON, lambda: one.errors)
            feeder.stopping = True
            await asyncio.wait_for(feeding, SOON)  # what was under way is in the log, too
            await until(lambda: set(follower.ids) >= set(feeder.acknowledged), SOON, lambda: two.errors)
        for server in (one, two):
            log = await history(server.api, site)
            assert check_acknowledged([feeder], log) > 250
            order = [event_id for event_id in log if event_id.startswith("fed-")]
            seen = [event_id for event_id in follower.ids if event_id.startswith("fed-")]
            assert seen == order, difference(order, seen)
        assert follower.gaps == 0
        await two.stop(signal.SIGKILL)
        missed = [f"missed-{number}" for number in range(5)]
        await one.api.ingest(site, *map(event, missed))
        follower._url = follower._url.replace(two.url, one.url)
        async with running(follower.run()):
            await until(lambda: follower.ids[-5:] == missed, SOON, lambda: one.errors)
        assert follower.gaps == 0
        await two.start()
        assert await one.stop() == 0
        assert await two.stop() == 0
    finally:
        for server in (one, two):
            await server.stop()


@pytest.mark.timeout(180)
async def test_reads_know_what_the_leader_has(cluster: Cluster) -> None:
    """Direct reads are answered by any replica; where it has no more, the leader is asked."""
    connection = Connection()
    await connection.open(cluster.url)
    try:
        assert connection.is_clustered
        assert connection.new_replicas == 3
        stream = Stream(connection, "READS")
        await stream.open({"subjects": ["reads.>"], "storage": "file", "allow_direct": True}, {})
        assert stream.replicas == 3
        for number in range(3):
            await connection.request(f"reads.{number % 2}", b"%d" % number)
        [record] = await stream.reader.read_next(1, "reads.0")
        assert (record.sequence, record.data, record.subject) == (3, b"2", "reads.0")
        assert abs(record.time - (await stream.reader.read(2, "reads.>"))[0].time) <= 1
        assert await stream.reader.read_next(3, "reads.>") == []
        assert await stream.reader.read_next(2, "reads.1") == []
        await stream.close()
    finally:
        await connection.api("STREAM.DELETE.READS")
        await connection.close()


@pytest.mark.timeout(180)
async def test_more_copies_than_servers_are_refused_in_one_line(cluster: Cluster) -> None:
    """Nobody gets fewer copies than were asked for without being told."""
    connection = Connection(replicas=5)
    await connection.open(cluster.url)
    try:
        with pytest.raises(StartError, match=r"NATS cannot keep MANY on 5 servers: .*give --nats-replicas"):
            await Stream(connection, "MANY").open({"subjects": ["many.>"]}, {})
    finally:
        await connection.close()


@pytest.mark.timeout(180)
async def test_the_number_of_copies_can_be_changed(cluster: Cluster) -> None:
    """What is there keeps its number unless one is given."""

    async def opened(replicas: int | None) -> int:
        connection = Connection(replicas=replicas)
        await connection.open(cluster.url)
        try:
            stream = Stream(connection, "COPIES")
            await stream.open({"subjects": ["copies.>"]}, {})
            await stream.close()
            return stream.replicas
        finally:
            await connection.close()

    assert [await opened(number) for number in (1, None, 3, None, 1)] == [1, 1, 3, 3, 1]


async def test_a_single_server_keeps_one_copy(connection: Connection) -> None:
    """And says so when it is asked for more."""
    log = EventLog(connection, Retention(86_400))
    await log.open()
    assert log.replicas == 1
    await log.close()
    more = Connection(replicas=3)
    await more.open(connection.client.connected_url.geturl())
    with pytest.raises(StartError, match="on 3 servers"):
        await Stream(more, "MANY").open({"subjects": ["many.>"]}, {})
    await more.close()
