"""The runtime of modules on a real nats-server, with a site or two: for tests of whatever talks to modules."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from doorstream.directory import SYSTEM, Directory, uuid7
from doorstream.drivers import Caller, Driver, Drivers, Limits, Options
from doorstream.events import Event
from doorstream.events.entities import CloudNode, Device, Holder, Module, Site
from doorstream.events.retention import Retention
from doorstream.history import Index
from doorstream.ingest import Ingest
from doorstream.live import Hub
from doorstream.log import Connection, EventLog, LogUnavailable
from doorstream.testing.events import SITE

ADMINISTRATOR = Caller("ada", "Ada", "administrator", "test")
USER = Caller("una", "Una", "user", "test")


@dataclass
class House:
    """A worker's parts as far as modules need them. ``events`` are all that were kept, in order."""

    directory: Directory
    log: EventLog
    hub: Hub
    index: Index
    ingest: Ingest
    drivers: Drivers
    events: list[Event] = field(default_factory=list)

    def status(self, module_id: str, variable: str) -> Any:
        """A status variable, decoded; None where there is none."""
        data = self.drivers.status.value(module_id, variable)
        return None if data is None else msgspec.json.decode(data)

    async def call(self, module_id: str, name: str, *args: Any, caller: Caller = ADMINISTRATOR) -> Any:
        """Call a function; gives its answer, decoded; ``events`` has what was kept until then. Raises DriversError."""
        try:
            return msgspec.json.decode(await self.drivers.execute(module_id, name, list(args), caller))
        finally:
            with contextlib.suppress(LogUnavailable):
                await self.hub.reached((await self.log.extent()).last)

    async def add_module(self, driver: str, name: str = "Thing", site_id: str = SITE, **more: Any) -> str:
        """Store a module and wait until it runs, or cannot; returns its id."""
        module_id = f"mod-{uuid7()}"
        now = self.directory.now()
        module = Module(id=module_id, site_id=site_id, name=name, driver=driver, created=now, updated=now, **more)
        await self.directory.create(module, SYSTEM)
        await self.drivers.settled()
        return module_id

    def doors(self, site_id: str = SITE) -> list[str]:
        """The ids of a site's door modules in the order of their index."""
        return [module.id for module in self.drivers.modules(site_id) if module.name == "Door"]

    def topics(self) -> list[str]:
        """The topics of all events."""
        return [event.topic for event in self.events]


@contextlib.asynccontextmanager
async def running_drivers(  # noqa: PLR0913 - what a test may want otherwise, each by name
    connection: Connection,
    *,
    drivers: Sequence[type[Driver]] = (),
    drivers_dir: Path | None = None,
    stuck_file: Path | None = None,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.time,
    sites: Mapping[str, bool] | None = None,
    doors: int = 2,
    is_host: bool = True,
) -> AsyncIterator[House]:
    """Open everything on a nats-server; what is there already stays.

    ``sites`` are the ids of sites, and whether they are simulated; by default one that is. Each has ``doors`` doors
    (``door-1``…) at one cloud node (serial number ``NODE1``) and one holder (``holder-1``).
    """
    with tempfile.TemporaryDirectory(prefix="doorstream-modules-") as name:
        async with contextlib.AsyncExitStack() as exits:
            directory = Directory(connection, clock=clock)
            await directory.open()
            exits.push_async_callback(directory.close)
            await directory.put_all(_entities({SITE: True} if sites is None else sites, doors, directory.now()))
            log = EventLog(connection, Retention(86_400))
            await log.open()
            exits.push_async_callback(log.close)
            house = await _house(exits, directory, log, Path(name))
            options = Options(
                is_host=is_host,
                drivers_dir=drivers_dir,
                stuck_file=stuck_file,
                clock=clock,
                drivers=drivers,
                limits=limits if limits is not None else Limits(),
            )
            house.drivers = Drivers(connection, directory, house.ingest, house.index, options)
            exits.push_async_callback(house.drivers.close)
            await house.drivers.open()
            if is_host:
                await house.drivers.settled()
            yield house


async def _house(exits: contextlib.AsyncExitStack, directory: Directory, log: EventLog, path: Path) -> House:
    start = (await log.extent()).first - 1
    hub = Hub(log.epoch, start)
    index = Index(path / "index.sqlite", hub, log)
    house = House(directory, log, hub, index, Ingest(log, index, uuid7, None), _NotYet())  # type: ignore[arg-type]

    def receive(event: Event) -> None:
        hub.publish(event)
        house.events.append(event)
        house.drivers.receive(event)

    tail = log.tail(receive)
    await tail.start(start)
    exits.push_async_callback(tail.stop)
    await tail.caught_up()
    await index.start()
    exits.push_async_callback(index.stop)
    return house


class _NotYet:
    """The modules before they are there."""

    def receive(self, event: Event) -> None:
        """Nothing."""


def _entities(sites: Mapping[str, bool], doors: int, now: str) -> list[Any]:
    made: list[Any] = []
    for site_id, simulated in sites.items():
        made.append(Site(id=site_id, name=f"Site {site_id[-4:]}", simulated=simulated, created=now))
        made.append(CloudNode(id="node-1", site_id=site_id, name="North wing", serial_number="NODE1", created=now))
        made += [
            Device(
                id=f"door-{number}",
                site_id=site_id,
                name=f"Door {number}",
                cloud_node_id="node-1",
                port=number,
                dwell=2,
                prop_delay=2,
                created=f"{now[:-1]}{number:04d}Z",
            )
            for number in range(1, doors + 1)
        ]
        made.append(Holder(id="holder-1", site_id=site_id, first_name="Hanna", last_name="Holt", created=now))
    return made
