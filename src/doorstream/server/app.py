"""What a worker serves: every route of every dialect and our own, composed in one place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi_offline import FastAPIOffline
from starlette.requests import ClientDisconnect

from doorstream import __version__
from doorstream.auth import Hashes, api_key, hash_secret, new_generation, new_secret
from doorstream.dashboard import dashboard_routes
from doorstream.dialects import parakey, pdk, placeos, salto
from doorstream.dialects.parts import Parts
from doorstream.dialects.pdk.limits import UNLIMITED, Limits
from doorstream.directory import SYSTEM, AlreadyExists, Directory, InvalidEntity
from doorstream.directory.toml import import_file
from doorstream.events.entities import ALL_SITES, Client
from doorstream.gateway import Gateway, Rate
from doorstream.gateway import Limits as ConnectionLimits
from doorstream.gateway.cors import CORS
from doorstream.log import StartError
from doorstream.protocols.engineio import Timing
from doorstream.server import demo
from doorstream.server.api import documentation, problems
from doorstream.server.api.access import Access
from doorstream.server.api.clients import clients_router
from doorstream.server.api.connections import connections_router
from doorstream.server.api.events import events_router
from doorstream.server.api.modules import modules_router
from doorstream.server.api.operations import operations_router
from doorstream.server.api.owned import owned_router
from doorstream.server.api.problems import Problem
from doorstream.server.api.session import session_router
from doorstream.server.api.sites import sites_router
from doorstream.server.api.stream import stream_router
from doorstream.server.api.users import members_router, users_router
from doorstream.server.api.webhooks import webhooks_router
from doorstream.server.control import Orders
from doorstream.server.identity import identity_router
from doorstream.server.metrics import add_metrics
from doorstream.server.services import Services
from doorstream.server.settings import DemoSettings, Settings

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

_logger = structlog.get_logger(__name__)

_ADMIN = "admin"
_BURST = 10  # seconds' worth of messages
_RECOVERING = b'{"status":"recovering"}'
_LATER = {"Retry-After": "1", "Connection": "close"}
_OWN_HEALTH = ("/healthz", "/readyz")


class Recovering:
    """The application until everything is open: it answers at once that it is not ready, and then steps aside."""

    app: ASGIApp | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if self.app is not None:
            await self.app(scope, receive, send)
            return
        if scope["path"] in _OWN_HEALTH:
            status = 200 if scope["path"] == "/healthz" else 503
            response = Response(_RECOVERING, status, _LATER, "application/json")
        else:
            response = Problem("log-unavailable", "the server is starting and reads its log", headers=_LATER).response()
        await response(scope, receive, send)


class Serving:
    """A worker that answers: its application, and the administrator's key if the directory was new."""

    def __init__(self, app: ASGIApp, services: Services, admin_key: str | None) -> None:
        self.app = app
        self.admin_key = admin_key
        self._services = services

    def end_streams(self) -> None:
        """Let every stream end, so that the server can stop at once."""
        self._services.presence.end_all()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        orders: Orders,
        gateway: Gateway,
        *,
        on_log_stuck: Callable[[], None],
        on_log_replaced: Callable[[], None],
    ) -> AsyncIterator[Serving]:
        """Open the services and put the application together; raises StartError or LogError."""
        async with contextlib.AsyncExitStack() as exits:
            settings = orders.settings
            services = await exits.enter_async_context(
                Services.open(settings, orders.nats_url, gateway, number=orders.number, server=orders.server)
            )
            services.log_connection.on_stuck(on_log_stuck)
            services.log.on_replaced(on_log_replaced)
            is_new = not services.directory.clients
            if settings.import_file is not None:
                await _import(services, settings.import_file)
            # Not before the import: a start that fails must not use up the only chance to show the key.
            admin_key = await _first_admin(services.directory) if is_new and settings.demo is None else None
            if settings.demo is not None:
                await _open_demo(services, settings.demo, exits, is_first=orders.number == 0)
            app: ASGIApp = compose(services)
            if services.tracing is not None:
                app = services.tracing.ingesting(app)
            yield cls(CORS(app), services, admin_key)


def compose(services: Services) -> FastAPI:
    """The application of opened services."""
    app = FastAPIOffline(title="doorstream", version=__version__, redoc_url=None, static_url="/docs/static")
    problems.install(app)
    app.add_exception_handler(ClientDisconnect, _nobody_listens)
    _add_own(app, services)
    _add_dialects(app, services)
    _add_health(app, services)
    add_metrics(app, services)
    app.router.routes.extend(dashboard_routes())
    documentation.describe(app)
    return app


async def _nobody_listens(_: Request, __: Exception) -> Response:
    """The client left before its request was complete: nothing was done, and nobody reads this."""
    return Response(status_code=400)


def _add_own(app: FastAPI, services: Services) -> None:
    directory = services.directory
    access = Access(directory, services.auth, services.clock)
    for router in (
        events_router(services, access),
        operations_router(services, access),
        stream_router(services, access),
        sites_router(directory, access),
        owned_router(directory, access),
        members_router(directory, access),
        users_router(directory, access),
        clients_router(directory, access),
        modules_router(directory, services.drivers, access),
        webhooks_router(directory, access, services.webhooks),
        session_router(services.auth, access),
        connections_router(services.presence, services.hub, access, services.siblings),
    ):
        app.include_router(router)


def _add_dialects(app: FastAPI, services: Services) -> None:
    """One line for each dialect."""
    settings, clock, parts = services.settings, services.clock, parts_of(services)
    limits = Limits.vendor(clock) if settings.pdk_rate_limits else UNLIMITED
    interval, timeout = round(settings.ping_interval * 1000), round(settings.ping_timeout * 1000)
    timing = Timing(ping_interval=interval, ping_timeout=timeout)
    app.include_router(identity_router(services.auth, clock, limits.accounts))
    pdk.mount(app, parts, pdk.Options(limits=limits, timing=timing, connect_timeout=settings.connect_timeout))
    salto.mount(
        app, parts, salto.Options(identity=settings.salto_identity, close_at_expiry=settings.salto_close_at_expiry)
    )
    parakey.mount(app, parts, parakey.Options())
    placeos.mount(app, parts, placeos.Options(origins=settings.allowed_origins))


def parts_of(services: Services) -> Parts:
    """What the dialects are built of."""
    settings = services.settings
    return Parts(
        gateway=services.gateway,
        limits=connection_limits(settings),
        directory=services.directory,
        auth=services.auth,
        log=services.log,
        hub=services.hub,
        index=services.index,
        ingest=services.ingest,
        alarms=services.alarms,
        presence=services.presence,
        drivers=services.drivers,
        webhooks=services.webhooks,
        clock=services.clock,
        kept=services.kept,
        retention=settings.retention,
        public_url=settings.public_url or "",
        drop_after=settings.demo.drop_connections_every if settings.demo is not None else None,
    )


def connection_limits(settings: Settings) -> ConnectionLimits:
    """What one streaming connection may cost (D12)."""
    rate = Rate(settings.messages_per_second, round(settings.messages_per_second * _BURST))
    return ConnectionLimits(max_payload=settings.max_message, max_unsent=settings.max_unsent, rate=rate)


def _add_health(app: FastAPI, services: Services) -> None:
    @app.get("/healthz", tags=["operations"], summary="Whether the process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["operations"], summary="Whether events are taken and delivered")
    async def readyz() -> dict[str, Any]:
        services.ingest.check_space()
        extent = await services.log.extent()
        return {
            "status": "ready",
            "durability": services.durability,
            "epoch": services.log.epoch,
            "log": {"first": extent.first, "last": extent.last},
            "index": {"applied": services.index.applied},
        }


async def _import(services: Services, path: Path) -> None:
    """Have what the file says exist; raises StartError that names the bad key."""
    try:
        changed = await import_file(services.directory, path, Hashes(services.auth.passwords))
    except InvalidEntity as error:
        raise StartError(f"{path}: {error}") from None
    _logger.info("imported", file=str(path), changed=changed)


async def _first_admin(directory: Directory) -> str | None:
    """Make an administrator's key, unless another worker has just done so."""
    secret = new_secret()
    client = Client(
        id=_ADMIN,  # one id, so that of several workers only one succeeds
        name="administrator",
        scopes=("admin",),
        sites=ALL_SITES,
        created=directory.now(),
        generation=new_generation(),
        secret_hash=hash_secret(secret),
    )
    try:
        await directory.create(client, SYSTEM)
    except AlreadyExists:
        return None
    return api_key(client.id, secret)


async def _open_demo(
    services: Services, settings: DemoSettings, exits: contextlib.AsyncExitStack, *, is_first: bool
) -> None:
    """Make the building exist, and have one of the workers play its story."""
    credentials = demo.Credentials.derive(settings.seed, services.settings.public_url or "")
    await demo.prepare(services.directory, services.auth, credentials)
    if settings.sign_in is not None:
        await services.auth.codes.keep(demo.client_id("admin"), settings.sign_in.hash, settings.sign_in.expires_at)
    if settings.rate and is_first:
        building = credentials.building
        story = demo.make_story(settings, building)
        services.drivers.stories[building.site.id] = story  # commands to its doors are part of it
        playing = demo.play_story(story, building, services.directory, services.ingest)
        player = asyncio.create_task(playing, name="simulated building")
        exits.push_async_callback(_end, player)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
