"""A directory with two sites, two clients and the keys of the installation."""

from collections.abc import AsyncIterator

import pytest
from auth_values import NOW, OTHER, SITE, client

from doorstream.auth import Auth
from doorstream.directory import SYSTEM, Directory
from doorstream.events.entities import Site
from doorstream.log import Connection


@pytest.fixture
async def directory(connection: Connection) -> AsyncIterator[Directory]:
    directory = Directory(connection, clock=lambda: NOW)
    await directory.open()
    for site_id in (SITE, OTHER):
        await directory.create(Site(id=site_id, name="Harbour House", created=directory.now()), SYSTEM)
    await directory.create(client(), SYSTEM)
    await directory.create(client(id="ops", name="Operations", scopes=("admin",), sites="all"), SYSTEM)
    yield directory
    await directory.close()


@pytest.fixture
async def auth(directory: Directory) -> Auth:
    auth = Auth(directory, issuer="https://doors.example")
    await auth.open(NOW)
    return auth
