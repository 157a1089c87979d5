"""What tests share: hypothesis without clocks, and a real nats-server, started once and emptied for each test."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from doorstream.log import Connection
from doorstream.log.embedded import EmbeddedServer, lock_data_directory
from doorstream.testing.nats import removed

# A busy machine is slow, and the first draw of a text builds the tables of Unicode.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """One embedded nats-server for the whole run. Tests that stop or kill a server start one of their own."""
    directory = tmp_path_factory.mktemp("nats")
    with asyncio.Runner() as runner:
        server = EmbeddedServer(directory, runner.run(lock_data_directory(directory)))
        runner.run(server.start())
        try:
            yield server
        finally:
            runner.run(server.stop())


@pytest.fixture
async def nats_url(shared_server: EmbeddedServer) -> str:
    """The address of a nats-server with nothing in it."""
    connection = Connection()
    await connection.open(shared_server.url)
    for name in (await connection.api("STREAM.NAMES"))["streams"] or ():
        await connection.api(f"STREAM.DELETE.{name}")
    await connection.close()
    await removed(shared_server)
    return shared_server.url


@pytest.fixture
async def connection(nats_url: str) -> AsyncIterator[Connection]:
    """A connection to a nats-server with nothing in it."""
    connection = Connection()
    await connection.open(nats_url)
    yield connection
    await connection.close()
