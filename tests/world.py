"""A directory with two sites and some clients, and an application with the routes that stand on it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from asgi_client import AsgiClient
from doorstream.auth import Auth, api_key, hash_secret
from doorstream.auth.keys import new_signing_key
from doorstream.dialects.pdk.limits import Limits
from doorstream.dialects.pdk.rest import Pdk, pdk_router
from doorstream.directory import SYSTEM, Directory
from doorstream.events.entities import Client, SigningKey, Site
from doorstream.log import Connection
from doorstream.server.api import problems
from doorstream.server.api.access import Access
from doorstream.server.api.clients import clients_router
from doorstream.server.api.owned import owned_router
from doorstream.server.api.sites import sites_router
from doorstream.server.api.users import members_router, users_router
from doorstream.server.identity import identity_router

SITE = "0738b8df-329a-4d50-88e7-7a48928c4d6f"
OTHER = "0738b8df-329a-4d50-88e7-7a48928c4d70"
NOWHERE = "0738b8df-329a-4d50-88e7-7a48928c4dff"
SECRET = "5e" * 32
ISSUER = "https://doors.example"

CLIENTS: dict[str, dict[str, Any]] = {
    "ops": {"scopes": ("admin",), "sites": "all"},
    "site-admin": {"scopes": ("admin",), "sites": (SITE,)},
    "reader": {"scopes": ("directory:read", "events:read"), "sites": (SITE,)},
    "panel": {"scopes": ("pdk",), "sites": (SITE,)},
}


_KEYS: dict[int, SigningKey] = {}


class _Keys:
    """Makes the same keys for each test: a new RSA key takes longer than most tests."""

    def __init__(self) -> None:
        self._made = 0

    async def __call__(self, now: float) -> SigningKey:
        self._made += 1
        if self._made not in _KEYS:
            _KEYS[self._made] = await new_signing_key(now)
        return _KEYS[self._made]


class Clock:
    """A clock that is moved by hand; unix seconds."""

    def __init__(self) -> None:
        self.now = 1_769_853_600.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """Everything a test of routes needs."""

    directory: Directory
    auth: Auth
    clock: Clock
    app: FastAPI

    def client(self, name: str | None = None, **headers: str) -> AsgiClient:
        """A client with the API key of one of ``CLIENTS``, or without any."""
        key = {"x-api-key": api_key(name, SECRET)} if name is not None else {}
        return AsgiClient(self.app, key | headers)

    def bearer(self, token: str) -> AsgiClient:
        """A client with a bearer token."""
        return AsgiClient(self.app, {"authorization": f"Bearer {token}"})

    def id_token(self, name: str = "panel") -> str:
        """An id token of one of ``CLIENTS``."""
        return self.auth.tokens.issue_id_token(self.directory.clients.get(name), self.clock())

    def system_token(self, name: str = "panel", site_id: str = SITE) -> str:
        """A system token of one of ``CLIENTS``."""
        return self.auth.tokens.issue_system_token(self.directory.clients.get(name), site_id, self.clock())


@contextlib.asynccontextmanager
async def open_world(connection: Connection, limits: Limits | None = None) -> AsyncIterator[World]:
    """Open it on an empty nats-server; ``limits`` are the vendor's unless given."""
    clock = Clock()
    directory = Directory(connection, clock=clock)
    await directory.open()
    for site_id, name in ((SITE, "Harbour House"), (OTHER, "Pier House")):
        await directory.create(Site(id=site_id, name=name, created=directory.now()), SYSTEM)
    for name, rights in CLIENTS.items():
        client = Client(
            id=name, name=name, created=directory.now(), generation="g", secret_hash=hash_secret(SECRET), **rights
        )
        await directory.create(client, SYSTEM)
    auth = Auth(directory, issuer=ISSUER, make_key=_Keys())
    await auth.open(clock())
    limits = limits if limits is not None else Limits.vendor(clock)
    app = FastAPI()
    problems.install(app)
    access = Access(directory, auth, clock)
    for router in (sites_router, owned_router, members_router, users_router, clients_router):
        app.include_router(router(directory, access))
    app.include_router(identity_router(auth, clock, limits.accounts))
    app.include_router(pdk_router(Pdk(directory, auth, clock, limits)))
    try:
        yield World(directory, auth, clock, app)
    finally:
        await directory.close()
