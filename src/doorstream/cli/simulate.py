"""``doorstream simulate``: plays the simulated building into a server that runs elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from doorstream.cli.errors import CommandError
from doorstream.cli.remote import Remote, Server, raise_for_problem
from doorstream.directory import uuid7
from doorstream.drivers.simulated import Building, Story, play
from doorstream.events.entities import CloudNode, Connection, Device, Holder, Site
from doorstream.server.demo import building_entities

_DEFAULT = Server()
_UNAVAILABLE = (429, 503, 507)
_CONFLICT = 409
_NOT_OURS = ("site_id", "created", "registered")
_COLLECTIONS = {CloudNode: "cloud-nodes", Connection: "connections", Device: "devices", Holder: "holders"}


class _TryLater(Exception):
    """The server does not take events just now."""


async def simulate(
    url: str,
    server: Annotated[Server, Parameter(name="*")] = _DEFAULT,
    *,
    seed: str = "doorstream",
    rate: Annotated[float, Parameter(validator=Number(gt=0))] = 2.0,
    site: str | None = None,
) -> None:
    """Play a simulated building into a server, until it is interrupted.

    Without --site the building is created there first, which needs an administrator's key.

    Parameters
    ----------
    url:
        The server's address.
    seed:
        The same seed gives the same building and the same story.
    rate:
        The mean number of events per second.
    site:
        Play at this site (id or name) instead of the simulated one.
    """
    building = Building.generate(seed)
    async with replace(server, url=url).open() as remote:
        site_id = await remote.only_site(site) if site is not None else await _create(remote, building)
        story = Story(building, seed, rate, started_ms=int(time.time() * 1000))
        Console(stderr=True).print(f"playing {building.site.name} into {url}; Ctrl-C stops it", style="dim")
        await play(
            story,
            _Sink(remote, f"/api/sites/{site_id}/events"),
            now=time.monotonic,
            sleep=asyncio.sleep,
            try_later=_TryLater,
        )


class _Sink:
    """Puts batches of events in over HTTP."""

    def __init__(self, remote: Remote, path: str) -> None:
        self._remote = remote
        self._url = remote.url + path

    async def __call__(self, events: Sequence[dict[str, Any]]) -> None:
        import aiohttp  # noqa: PLC0415 - it takes a fifth of a second, which --help need not wait for

        for event in events:
            event.setdefault("id", uuid7())  # so that putting it in again is harmless
        try:
            async with self._remote.session.post(self._url, json=list(events)) as response:
                if response.status in _UNAVAILABLE:
                    raise _TryLater
                if not response.ok:
                    raise CommandError(f"{response.status}: {await response.text()}")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _TryLater from error


async def _create(remote: Remote, building: Building) -> str:
    """Create the building over the API, as far as it is not there."""
    site_id = building.site.id
    for entity in building_entities(building, created=""):
        fields = {name: value for name, value in asdict(entity).items() if name not in _NOT_OURS}
        path = "/api/sites" if isinstance(entity, Site) else f"/api/sites/{site_id}/{_COLLECTIONS[type(entity)]}"
        async with remote.session.post(remote.url + path, json=fields) as response:
            if response.status != _CONFLICT:  # it is there already
                await raise_for_problem(response)
    return site_id
