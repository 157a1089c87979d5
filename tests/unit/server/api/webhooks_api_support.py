"""A worker's services with the routes of webhooks, and a receiver on a real socket beside it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from asgi_client import AsgiClient
from doorstream.auth import api_key, hash_secret
from doorstream.directory import SYSTEM
from doorstream.events.entities import Client, Site
from doorstream.gateway import Gateway
from doorstream.server.app import compose
from doorstream.server.services import Services
from doorstream.server.settings import Settings
from doorstream.testing.receiver import Receiver
from world import OTHER, SECRET, SITE

_CLIENTS: dict[str, dict[str, Any]] = {
    "ops": {"scopes": ("admin",), "sites": "all"},
    "hooks": {"scopes": ("webhooks:read", "webhooks:write"), "sites": (SITE,)},
    "reader": {"scopes": ("webhooks:read", "events:read"), "sites": (SITE,)},
    "panel": {"scopes": ("pdk",), "sites": (SITE,)},
}
HOOKS = f"/api/sites/{SITE}/webhooks"


class Worker:
    """A worker with a receiver beside it."""

    def __init__(self, services: Services, receiver: Receiver) -> None:
        self.services = services
        self.receiver = receiver
        self.app = compose(services)

    def client(self, name: str = "hooks", **headers: str) -> AsgiClient:
        """A client with one of the keys."""
        return AsgiClient(self.app, {"x-api-key": api_key(name, SECRET)} | headers)

    async def create(self, **fields: Any) -> Any:
        """A webhook to the receiver."""
        answer = await self.client().post(HOOKS, {"url": self.receiver.url} | fields)
        assert answer.status == 201, answer.body
        return answer.json()

    async def happen(self, event_id: str, topic: str = "x.test", site_id: str = SITE) -> None:
        """Put an event in."""
        view = self.services.directory.site(site_id)
        assert view is not None
        await self.services.ingest.put_values(
            site_id, view, [{"id": event_id, "topic": topic, "occurred": 1_780_000_000_000, "body": {}}]
        )

    async def deliveries(self, webhook: Any, state: str, number: int) -> list[Any]:
        """A webhook's deliveries of one state, as soon as there are so many."""
        path = f"{HOOKS}/{webhook['id']}/deliveries?state={state}"
        found: list[Any]
        async with asyncio.timeout(60):
            while len(found := (await self.client().get(path)).json()["items"]) < number:  # noqa: ASYNC110 - untold
                await asyncio.sleep(0.01)
        return found


@contextlib.asynccontextmanager
async def open_worker(nats_url: str, tmp_path: Path) -> AsyncIterator[Worker]:
    """A worker with two sites and some clients; its webhooks may go to loopback."""
    settings = Settings(data_dir=tmp_path, webhook_allow=("127.0.0.0/8",), webhook_require_https=False)
    async with Receiver() as receiver, Services.open(settings, nats_url, Gateway()) as services:
        for site_id in (SITE, OTHER):
            await services.directory.create(Site(id=site_id, name="House", created=services.directory.now()), SYSTEM)
        for name, rights in _CLIENTS.items():
            created = services.directory.now()
            client = Client(
                id=name, name=name, created=created, generation="g", secret_hash=hash_secret(SECRET), **rights
            )
            await services.directory.create(client, SYSTEM)
        yield Worker(services, receiver)
