"""The dialect on a real server in the test's loop, with modules that the test drives."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import uvicorn
import websockets
from fake_drivers import FakeDrivers
from fastapi import FastAPI

from asgi_client import Answer, AsgiClient
from doorstream.auth import Auth, api_key, hash_secret
from doorstream.dialects.parts import Parts
from doorstream.dialects.placeos import Options, mount
from doorstream.dialects.placeos.routes import Stream
from doorstream.dialects.placeos.tokens import Tokens
from doorstream.directory import SYSTEM, Directory
from doorstream.events.entities import Client, Site
from doorstream.gateway import Gateway, Limits
from doorstream.gateway.serve import uvicorn_config
from doorstream.live import Alarms, Presence
from doorstream.live.hub import Counts
from doorstream.log import Connection
from world import OTHER, SECRET, SITE, Clock, _Keys

PATH = "/api/engine/v2/systems/control"
SYS = f"sys-{SITE}"
META = {"sys": SYS, "mod": "Bookings", "index": 1, "name": "bookings"}
CLIENTS: dict[str, dict[str, Any]] = {
    "admin": {"scopes": ("admin",), "sites": "all"},
    "support": {"scopes": ("placeos:support",), "sites": (SITE,)},
    "user": {"scopes": ("placeos",), "sites": (SITE,)},
    "elsewhere": {"scopes": ("placeos",), "sites": (OTHER,)},
    "reader": {"scopes": ("directory:read", "events:read"), "sites": (SITE,)},
}
_PATIENCE = 30.0


def key(name: str) -> str:
    """The API key of one of ``CLIENTS``."""
    return api_key(name, SECRET)


@dataclass
class Room:
    """A running server, and everything behind it."""

    url: str
    app: FastAPI
    directory: Directory
    auth: Auth
    clock: Clock
    drivers: FakeDrivers
    presence: Presence
    gateway: Gateway

    @property
    def stream(self) -> Stream:
        """What the control sockets share."""
        stream = self.gateway.find(PATH)
        assert isinstance(stream, Stream)
        return stream

    @property
    def tokens(self) -> Tokens:
        """What issues bearer tokens."""
        return self.stream.door.tokens

    async def http(self, method: str, path: str, *, name: str | None = "admin", **more: Any) -> Answer:
        """A request with the key of one of ``CLIENTS``; arguments as ``AsgiClient.call`` has them."""
        headers = {"x-api-key": key(name)} if name is not None else {}
        headers |= {"host": self.url.removeprefix("http://")}
        return await AsgiClient(self.app, headers).call(method, path, **more)

    @contextlib.asynccontextmanager
    async def connect(
        self, name: str | None = "admin", *, query: str = "", headers: dict[str, str] | None = None
    ) -> AsyncIterator[PlaceOS]:
        """A control socket, with the key of one of ``CLIENTS`` in the documented header unless None."""
        sent = dict(headers or {}) | ({"X-API-Key": key(name)} if name is not None else {})
        address = self.url.replace("http", "ws", 1) + PATH + query
        async with websockets.connect(address, additional_headers=sent, compression=None, max_size=None) as socket:
            yield PlaceOS(socket)


class PlaceOS:
    """A control socket from the client's side."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self._id = 0

    async def send(self, message: Any) -> None:
        """Send JSON, or text as it is."""
        await self.socket.send(message if isinstance(message, str) else json.dumps(message))

    async def receive(self) -> Any:
        """The next message, ``pong`` as it is."""
        async with asyncio.timeout(_PATIENCE):
            text = await self.socket.recv()
        return text if text == "pong" else json.loads(text)

    async def ask(self, message: Any) -> Any:
        """Send, and give what comes next."""
        await self.send(message)
        return await self.receive()

    def command(self, cmd: str, **more: Any) -> dict[str, Any]:
        """A command about ``bookings`` of ``Bookings`` 1 unless told otherwise."""
        self._id += 1
        return {"id": self._id, "cmd": cmd} | META | more

    async def bind(self, **more: Any) -> list[Any]:
        """Bind and give everything until the next pong: the success, and a notification if there is a value."""
        await self.send(self.command("bind", **more))
        return await self.rest()

    async def rest(self) -> list[Any]:
        """Everything that was sent up to now."""
        await self.send("ping")
        found = []
        while (message := await self.receive()) != "pong":
            found.append(message)
        return found


@contextlib.asynccontextmanager
async def open_room(connection: Connection, limits: Limits | None = None) -> AsyncIterator[Room]:
    """Serve two sites, the first with a ``Bookings`` module, on an empty nats-server."""
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
    drivers = FakeDrivers()
    drivers.add(SITE, "mod-bookings")
    drivers.status.set("mod-bookings", "bookings", [])
    gateway, presence = Gateway(), Presence()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"gateway": gateway}

    app = FastAPI(lifespan=lifespan)
    server = uvicorn.Server(uvicorn_config(app, port=0))
    server.config.load()
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    auth = Auth(directory, issuer=url, make_key=_Keys())
    await auth.open(clock())
    parts = SimpleNamespace(
        gateway=gateway,
        limits=limits or Limits(),
        directory=directory,
        auth=auth,
        drivers=drivers,
        alarms=Alarms(clock),
        presence=presence,
        hub=SimpleNamespace(counts=Counts()),
        clock=clock,
        public_url=url,
        drop_after=None,
    )
    mount(app, cast("Parts", parts), Options(origins=("https://app.example",)))
    directory.on_change(lambda *_: presence.recheck_soon())
    try:
        yield Room(url, app, directory, auth, clock, drivers, presence, gateway)
    finally:
        server.should_exit = True
        await serving
        await directory.close()
