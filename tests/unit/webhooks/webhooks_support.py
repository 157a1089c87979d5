"""A log, a hub, a directory and an engine of webhooks on a real nats-server; a receiver that is told what to say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from doorstream.directory import SYSTEM, Directory
from doorstream.events import Event
from doorstream.events.draft import Draft, accept
from doorstream.events.entities import Site, Webhook
from doorstream.ingest import Ingest
from doorstream.live import Alarms, Hub
from doorstream.log import Connection, EventLog
from doorstream.testing import SITE, KnownNames, empty_log, until
from doorstream.webhooks import Service
from doorstream.webhooks.forms import Form, Payload, native
from doorstream.webhooks.guard import Policy
from doorstream.webhooks.sender import Outcome, Request, Sender

OK = Outcome(200, None, 0.01)
FAILED = Outcome(500, None, 0.01, b"out of order")
URL = "http://127.0.0.1:9/hook"


class Clock:
    """A clock that is moved by hand; unix seconds. It starts at the true time, by which nats-server schedules."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


Say = Callable[[Request], Outcome]


class Receivers:
    """Stands in for the sender: ``says`` gives what the receiver of a URL answers; what was sent is in ``got``."""

    def __init__(self) -> None:
        self.got: dict[str, list[Request]] = {}
        self.says: dict[str, Say] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.under_way: dict[str, int] = {}
        self.most: dict[str, int] = {}

    async def send(self, request: Request) -> Outcome:
        """One attempt."""
        url = request.url
        self.got.setdefault(url, []).append(request)
        self.under_way[url] = self.under_way.get(url, 0) + 1
        self.most[url] = max(self.most.get(url, 0), self.under_way[url])
        try:
            if url in self.gates:
                await self.gates[url].wait()
            else:
                await asyncio.sleep(0)
            return self.says.get(url, lambda _: OK)(request)
        finally:
            self.under_way[url] -= 1

    async def close(self) -> None:
        """As the sender."""

    def ids(self, url: str = URL) -> list[str]:
        """The message ids that a receiver got, in their order."""
        return [request.headers["webhook-id"] for request in self.got.get(url, [])]


class PutIn:
    """Stands in for ingest: keeps in the log, and remembers."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.events: list[Mapping[str, Any]] = []
        self._count = 0

    async def put_values(self, site_id: str, _names: object, values: list[Mapping[str, Any]]) -> None:
        """Keep events; one with an id that was there before is no other."""
        for value in values:
            if any(value.get("id") == each.get("id") for each in self.events):
                continue
            self.events.append(value)
            self._count += 1
            draft = Draft(**dict(value))
            event = accept(draft, site_id=site_id, names=KnownNames(), new_id=f"event-{self._count}")
            await self._log.append((site_id, event.topic, event.id, event.json))


@dataclass
class World:
    """Everything that a test of the engine needs."""

    connection: Connection
    directory: Directory
    log: EventLog
    clock: Clock
    receivers: Receivers
    path: Path
    put_in: PutIn
    hub: Hub
    alarms: Alarms
    service: Service = field(init=False)
    forms: dict[str, Form] = field(default_factory=dict)
    ledger_name: str = "webhooks.sqlite"

    def native(self, event: Event, _: object) -> Payload | None:
        """The form that webhooks have unless told otherwise."""
        return native(self.log.epoch)(event, None)

    async def webhook(self, webhook_id: str = "hook", **fields: Any) -> Webhook:
        """A webhook that begins here."""
        webhook = Webhook(
            **{"name": webhook_id, "url": URL, "site_id": SITE, "created": "2026-01-31T10:00:00.000Z"}
            | {"start": await self.service.here(), "id": webhook_id}
            | fields
        )
        created = await self.directory.create(webhook, SYSTEM)
        engine = self.service.engine
        if engine is not None:
            await until(lambda: webhook_id in engine.couriers or not webhook.enabled)
        return created

    async def happen(self, *ids: str, topic: str = "x.test", device: str | None = None, **more: Any) -> None:
        """Events that happen, in this order."""
        body = {"deviceId": device} if device is not None else {}
        batch = []
        for each in ids:
            value = {"id": each, "topic": topic, "occurred": int(self.clock() * 1000), "body": body} | more
            event = accept(Draft(**value), site_id=SITE, names=KnownNames(), new_id=each)
            batch.append((SITE, event.topic, event.id, event.json))
        for start in range(0, len(batch), 1000):
            await self.log.append_batch(batch[start : start + 1000])

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, and ring what is due."""
        self.clock.now += seconds
        self.alarms.run_due()

    @contextlib.asynccontextmanager
    async def serving(self, *, delivers: bool = True) -> AsyncIterator[Service]:
        """The service, opened anew on what is there."""
        async with Service.open(
            path=self.path / self.ledger_name,
            connection=self.connection,
            directory=self.directory,
            log=self.log,
            hub=self.hub,
            alarms=self.alarms,
            ingest=cast("Ingest", self.put_in),
            forms=self.forms,
            policy=Policy.of(["127.0.0.0/8"], require_https=False),
            delivers=delivers,
            clock=self.clock,
            chance=lambda: 0.5,
            sender=cast("Sender", self.receivers),
        ) as service:
            self.service = service
            yield service


@contextlib.asynccontextmanager
async def open_world(connection: Connection, path: Path, now: float) -> AsyncIterator[World]:
    """Open it, without the service."""
    clock = Clock(now)
    directory = Directory(connection, clock=clock)
    await directory.open()
    await directory.create(Site(id=SITE, name="Harbour House", created=directory.now()), SYSTEM)
    async with empty_log(connection) as log:
        hub = Hub(log.epoch, 0)
        tail = log.tail(hub.publish)
        await tail.start(0)
        try:
            world = World(connection, directory, log, clock, Receivers(), path, PutIn(log), hub, Alarms(clock))
            world.forms["native"] = world.native
            yield world
        finally:
            await tail.stop()
            await directory.close()
