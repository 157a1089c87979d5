"""The directory while NATS is away, and after it is back."""

import asyncio
from pathlib import Path

import pytest

from doorstream.directory import SYSTEM, Directory
from doorstream.events.entities import Site
from doorstream.log import Connection, LogUnavailable
from doorstream.log.embedded import EmbeddedServer, lock_data_directory

SITE = "0738b8df-329a-4d50-88e7-7a48928c4d6f"


async def test_nats_goes_and_comes_back(tmp_path: Path):
    """Questions are answered all the time; changes fail with LogUnavailable until NATS is back, then they work."""
    server = EmbeddedServer(tmp_path, await lock_data_directory(tmp_path))
    await server.start()
    connection, other_connection = Connection(), Connection()
    await connection.open(server.url)
    await other_connection.open(server.url)
    directory, other = Directory(connection), Directory(other_connection)
    await directory.open()
    await other.open()
    site = await directory.create(Site(id=SITE, name="Harbour House", created=""), SYSTEM)
    await server.stop()
    with pytest.raises(LogUnavailable):
        await directory.create(Site(id=directory.new_id(), name="Pier House", created=""), SYSTEM)
    assert directory.site(SITE).site == site
    seen = asyncio.Event()
    other.on_change(lambda _, __, new: seen.set() if new.name == "Depot" else None)
    await server.start()
    async with asyncio.timeout(30):
        while True:
            try:
                await directory.create(Site(id=directory.new_id(), name="Depot", created=""), SYSTEM)
            except LogUnavailable:
                await asyncio.sleep(0.02)
            else:
                break
        await seen.wait()
        # one that was refused may have been kept all the same, so there may be several to come
        while [each.name for each in directory.sites] != [each.name for each in other.sites]:  # noqa: ASYNC110 - they tell nobody
            await asyncio.sleep(0.02)
    for each in (directory, other):
        await each.close()
    for each in (connection, other_connection):
        await each.close()
    await server.stop()
