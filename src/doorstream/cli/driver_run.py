"""What ``doorstream driver run`` does: a server's parts in this process, the simulated building, one more module."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doorstream.cli.errors import CommandError
from doorstream.directory import SYSTEM
from doorstream.drivers import Caller, DriversError
from doorstream.drivers.loader import Loaded
from doorstream.drivers.simulated import Building
from doorstream.events import Event
from doorstream.events.entities import Module
from doorstream.gateway import Gateway
from doorstream.log import StartError
from doorstream.log.embedded import EmbeddedServer, lock_data_directory
from doorstream.server import demo, logs
from doorstream.server.services import Services
from doorstream.server.settings import DemoSettings, Settings

_ID = "mod-tried"
_CALLER = Caller(None, "doorstream driver run", "administrator", "command line")
_AFTERWARDS = 0.5


@dataclass(frozen=True, slots=True)
class Run:
    """What is wanted: the options of the command."""

    file: Path
    driver: Loaded
    settings: dict[str, Any]
    calls: Sequence[tuple[str, Any]]
    door: int | None
    rate: float
    seconds: float | None


async def run(wanted: Run) -> None:
    """Run the driver; raises CommandError when it does not begin or a call fails."""
    logs.configure(json=False)
    async with _server(wanted) as (services, building):
        drivers = services.drivers
        module = _module(wanted, services, building)
        _show(services, module)
        await services.directory.create(module, SYSTEM)
        await drivers.settled()
        debugger = drivers.debug(module.id, lambda level, message, _: print(f"log     {level}: {message}", flush=True))
        view = drivers.module(module.id)
        if view is None or not view.running:
            raise CommandError(f"{wanted.driver.name} does not run: {view.error if view is not None else 'it is gone'}")
        print(f"running {module.name} 1 of the driver {wanted.driver.name}", flush=True)
        failed = 0
        for name, arguments in wanted.calls:
            failed += not await _call(services, module.id, name, arguments)
        await _wait(wanted)
        debugger.close()
    if failed:
        raise CommandError(f"{failed} of {len(wanted.calls)} calls failed")


async def _call(services: Services, module_id: str, name: str, arguments: Any) -> bool:
    """Call one function and say what came of it."""
    shown = f"exec    {name} {json.dumps(arguments)}"
    try:
        answer = await services.drivers.execute(module_id, name, arguments, _CALLER)
    except DriversError as error:
        print(f"{shown} failed: {error}", flush=True)
        return False
    print(f"{shown} -> {answer.decode()}", flush=True)
    return True


async def _wait(wanted: Run) -> None:
    if wanted.seconds is not None:
        await asyncio.sleep(wanted.seconds)
    elif wanted.calls:
        await asyncio.sleep(_AFTERWARDS)  # for what the calls cause
    else:
        print("Ctrl-C stops it", file=sys.stderr)
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def _server(wanted: Run) -> AsyncIterator[tuple[Services, Building]]:
    """Everything that a worker has, in an empty directory, and the story under way."""
    folder = wanted.file.parent.parent if wanted.file.name == "__init__.py" else wanted.file.parent
    with tempfile.TemporaryDirectory(prefix="doorstream-driver-") as name:
        directory = Path(name)
        lock = await lock_data_directory(directory)
        nats = EmbeddedServer(directory, lock)
        try:
            await nats.start()
            chosen = DemoSettings(rate=wanted.rate)
            settings = Settings(data_dir=directory, drivers_dir=folder, demo=chosen)
            async with Services.open(settings, nats.url, Gateway(handshake_timeout=1.0)) as services:
                building = Building.generate(chosen.seed)
                await services.directory.put_all(demo.building_entities(building, services.directory.now()))
                story = demo.make_story(chosen, building)
                services.drivers.stories[building.site.id] = story
                playing = asyncio.create_task(
                    demo.play_story(story, building, services.directory, services.ingest), name="simulated building"
                )
                try:
                    yield services, building
                finally:
                    playing.cancel()
                    await asyncio.gather(playing, return_exceptions=True)
        except StartError as error:
            raise CommandError(str(error), status=2) from None
        finally:
            await nats.stop()
            os.close(lock)


def _module(wanted: Run, services: Services, building: Building) -> Module:
    if wanted.door is not None and wanted.door > len(building.devices):
        raise CommandError(f"--door {wanted.door}: the building has {len(building.devices)} doors", status=2)
    now = services.directory.now()
    return Module(
        id=_ID,
        site_id=building.site.id,
        name=wanted.driver.module_name,
        driver=wanted.driver.name,
        settings=wanted.settings,
        device_id=building.devices[wanted.door - 1].id if wanted.door is not None else None,
        created=now,
        updated=now,
    )


def _show(services: Services, module: Module) -> None:
    """Print what the module does from here on: its status, its state, and its events."""
    told: list[str | None] = [None]

    def status(module_id: str, variable: str, value: bytes | None) -> None:
        if module_id == module.id:
            print(f"status  {variable} = {'(gone)' if value is None else value.decode()}", flush=True)

    def state(module_id: str) -> None:
        view = services.drivers.module(module_id) if module_id == module.id else None
        if view is not None and view.error != told[0]:
            told[0] = view.error
            print(f"state   {view.error or 'no error any more'}", flush=True)

    def event(happened: Event) -> None:
        if f'"module":"{module.id}"'.encode() in happened.metadata:
            print(f"event   {happened.topic} {happened.body.decode()}", flush=True)

    services.drivers.status.on_change(status)
    services.drivers.on_change(state)
    services.listen(event)
