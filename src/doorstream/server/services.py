"""Everything that a worker is made of, opened in order and closed in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import structlog

from doorstream.auth import Auth
from doorstream.directory import Directory, uuid7
from doorstream.drivers import Drivers, Options
from doorstream.events import Event
from doorstream.events.bodies import ConnectionBody
from doorstream.gateway import Gateway
from doorstream.history import Index
from doorstream.ingest import Ingest, SpaceGuard
from doorstream.ingest.space import default_reserve
from doorstream.live import Alarms, Hub, Presence
from doorstream.live.faults import DeliveryFaults
from doorstream.log import Connection, EventLog, LogError, LogUnavailable, StartError
from doorstream.server.settings import DAY, Settings
from doorstream.server.siblings import Siblings
from doorstream.server.tracing import Tracing
from doorstream.server.webhooks import open_webhooks

_logger = structlog.get_logger(__name__)
_decode_serial = msgspec.json.Decoder(ConnectionBody).decode


def index_file(number: int) -> str:
    """The file of a worker's history index in the data directory: each has its own, as none is the truth."""
    return "index.sqlite" if number == 0 else f"index-{number}.sqlite"


_WARM = 10_000
"""Events that are read into the ring at the start, so that a storm of returning clients costs no reads of the log."""

_COPIES = 3
_EXTENT_EVERY = 30.0
_KEYS_EVERY = 3600.0
_KEY_AGE = 90 * DAY
_CONNECTED = "cloudnode.connected"
_STATUS = frozenset({_CONNECTED, "cloudnode.disconnected"})
_RIGHTS = frozenset({"client", "user", "site"})


class Services:
    """The parts of one worker."""

    def __init__(
        self, settings: Settings, gateway: Gateway, clock: Callable[[], float], *, number: int, server: str
    ) -> None:
        self.settings = settings
        self.number = number
        self._index_path = settings.data_dir / index_file(number)
        self.gateway = gateway
        self.clock = clock
        self.alarms = Alarms(clock)
        self.presence = Presence()
        self.log_connection = Connection(replicas=settings.nats_replicas)
        self.siblings = Siblings(self.log_connection, server=server, number=number, workers=settings.workers)
        self.log = EventLog(
            self.log_connection,
            settings.retention,
            max_bytes=settings.log_max_bytes,
            is_sole_writer=settings.nats_url is None and settings.workers == 1,
            is_traced=settings.otel_endpoint is not None,
        )
        self.tracing = Tracing.start(settings.otel_endpoint, number) if settings.otel_endpoint is not None else None
        self.directory = Directory(self.log_connection, clock=clock)
        self._listeners: list[Callable[[Event], None]] = []
        self._first_kept = 0
        self._is_live = False  # until then events are read into the ring that were delivered long ago

    @classmethod
    @contextlib.asynccontextmanager
    async def open(  # noqa: PLR0913 - what a worker is told, and who it is, each by name
        cls,
        settings: Settings,
        nats_url: str,
        gateway: Gateway,
        *,
        number: int = 0,
        server: str = "",
        clock: Callable[[], float] = time.time,
    ) -> AsyncIterator[Services]:
        """Open everything for the worker of that number, and close it in the end; raises StartError or LogError.

        ``server`` is the same for all workers of one parent.
        """
        services = cls(settings, gateway, clock, number=number, server=server)
        async with contextlib.AsyncExitStack() as exits:
            await services._open(nats_url, exits)
            yield services

    async def _open(self, nats_url: str, exits: contextlib.AsyncExitStack) -> None:
        if self.tracing is not None:
            exits.push_async_callback(self.tracing.close)
        await self.log_connection.open(nats_url)
        exits.push_async_callback(self.log_connection.close)
        await self.siblings.open()
        exits.push_async_callback(self.siblings.close)
        await self.log.open()
        exits.push_async_callback(self.log.close)
        await self.directory.open()
        exits.push_async_callback(self.directory.close)
        self.auth = Auth(
            self.directory,
            issuer=self.settings.public_url or "",
            system_token_ttl=self.settings.system_token_ttl,
            access_token_ttl=self.settings.salto_token_ttl,
        )
        await self.auth.open(self.clock(), allowed_origins=self.settings.allowed_origins)
        recorded = await self._open_hub(exits)
        self.index = Index(self._index_path, recorded, self.log, self.clock)
        try:
            await self.index.start()
        except sqlite3.Error as error:
            raise StartError(f"{self._index_path} cannot be opened: {error}") from None
        exits.push_async_callback(self.index.stop)
        await self.index.reached(recorded.sequence)  # from here on it knows the ids that were put in before
        self.ingest = Ingest(self.log, self.index, uuid7, self._space_guard())
        for event in await self.index.statuses():
            self._note_status(event)
        self.directory.on_change(self._rights_changed)
        self.directory.start_telling(self._tell)
        self.webhooks = await exits.enter_async_context(open_webhooks(self, recorded))
        engine = self.webhooks.engine
        if self.tracing is not None and engine is not None:
            engine.send = self.tracing.attempting(engine.send)
        await self._open_drivers(exits)

    def listen(self, receive: Callable[[Event], None]) -> None:
        """Have ``receive`` called with every event from now on, once and in order; it must not block nor raise."""
        self._listeners.append(receive)

    async def _open_drivers(self, exits: contextlib.AsyncExitStack) -> None:
        """Open the modules, which run in the first worker."""
        options = Options(
            is_host=self.is_background,
            drivers_dir=self.settings.drivers_dir,
            stuck_file=self.settings.data_dir / "stuck-module.json",
            clock=self.clock,
        )
        drivers = Drivers(self.log_connection, self.directory, self.ingest, self.index, options)
        self.drivers = drivers
        self.listen(drivers.receive)
        exits.push_async_callback(drivers.close)
        await drivers.open()

    async def _tell(self, site_id: str, event: dict[str, Any]) -> None:
        """Put an event of the directory's own in; for a site that is gone nobody is left to be told."""
        site = self.directory.site(site_id)
        if site is not None:
            await self.ingest.put_values(site_id, site, [event])

    def _rights_changed(self, kind: str, *_: object) -> None:
        if kind in _RIGHTS:
            self.presence.recheck_soon()

    @property
    def is_background(self) -> bool:
        """Whether what must run once runs here: webhook deliveries and driver modules."""
        return self.settings.background and self.number == 0

    @property
    def durability(self) -> str:
        """What an acknowledgement means: ``fsync`` (on this machine's disk), ``replicated`` (three copies in a cluster)
        or ``unknown`` (a NATS of somebody else's, which does not tell how it syncs).
        """  # noqa: D205 - a list of values, not a summary
        if self.settings.nats_url is None:
            return "fsync"
        return "replicated" if self.log.replicas >= _COPIES else "unknown"

    def kept(self) -> tuple[int, int]:
        """The first sequence that is kept and the last that was handed out: a client goes on between them."""
        return self._first_kept, self.hub.sequence

    async def _open_hub(self, exits: contextlib.AsyncExitStack) -> Hub:
        """Open ``hub``, which delivers, and return the hub that has everything at once and once.

        They are the same, but for the demo's delivery faults.
        """
        extent = await self.log.extent()
        self._first_kept = extent.first
        start = max(extent.first - 1, extent.last - _WARM)
        recorded = Hub(self.log.epoch, start, before_publish=self.alarms.run_due)
        deliver = self._faulty_delivery(start)
        self.hub = deliver.hub if deliver is not None else recorded

        tracing = self.tracing

        def receive(event: Event) -> None:
            if event.topic in _STATUS:
                self._note_status(event)
            if tracing is not None and self._is_live:
                tracing.delivering(event)
            recorded.publish(event)
            for listener in self._listeners:
                listener(event)
            if deliver is not None:
                deliver(event)

        tail = self.log.tail(receive, tracing.remember if tracing is not None else None)
        await tail.start(start)
        exits.push_async_callback(tail.stop)
        await tail.caught_up()
        self._is_live = True
        if deliver is not None:
            deliver.begin()
        for work in (self._watch_extent(), self._maintain_keys()):
            exits.callback(asyncio.create_task(work).cancel)
        return recorded

    def _note_status(self, event: Event) -> None:
        """Whether a cloud node is online is what its last event says."""
        site = self.directory.site(event.site_id)
        serial = _decode_serial(event.body).serialNumber
        if site is not None and serial is not None:
            site.note_status(serial, connected=event.topic == _CONNECTED, occurred=event.occurred)

    def _faulty_delivery(self, start: int) -> DeliveryFaults | None:
        demo = self.settings.demo
        if demo is None or not (demo.delay or demo.duplicate_rate):
            return None
        hub = Hub(self.log.epoch, start, before_publish=self.alarms.run_due)
        return DeliveryFaults(hub, delay=demo.delay, duplicate_rate=demo.duplicate_rate, seed=demo.seed)

    def _space_guard(self) -> SpaceGuard | None:
        if self.settings.nats_url is not None:
            return None  # somebody else's disk
        path, reserve = self.settings.data_dir, self.settings.min_free
        return SpaceGuard(path, default_reserve(path) if reserve is None else reserve, time.monotonic)

    async def _maintain_keys(self) -> None:
        """Sign with a new key now and then; tokens of the old ones are known for as long as events are kept (D2)."""
        while True:
            await asyncio.sleep(_KEYS_EVERY)
            with contextlib.suppress(LogError):
                await self.auth.keys.maintain(self.clock(), max_age=_KEY_AGE, keep=self.settings.retention.longest)

    async def _watch_extent(self) -> None:
        while True:
            await asyncio.sleep(_EXTENT_EVERY)
            with contextlib.suppress(LogUnavailable):
                self._first_kept = (await self.log.extent()).first
