"""Webhook deliveries per second: of the engine, or of a bare aiohttp client loop. The rows of webhooks run this.

The engine or the bare loop runs in this process, on uvloop; receivers are processes of their own, nats-server as well.
A delivery is a signed POST whose attempt is durable in the ledger; the bare loop sends the same bytes with as many
requests under way and keeps nothing. ``deliver`` prints ``{"per_second", "per_cpu_second"}``, the speed by the clock
and by the CPU time of this process: on a machine with few cores nats-server and the receiver compete with it. Dead
webhooks are those whose receivers take every request and never answer.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import aiohttp
import uvloop
from servers import ALONE, BARE_CLIENT, BESIDE_DEAD, WEBHOOK

from doorstream.directory import SYSTEM, Directory
from doorstream.events.entities import Site, Webhook
from doorstream.events.event import encode_kept
from doorstream.gateway.serve import collect_rarely, spare_what_is_there
from doorstream.ingest import Ingest
from doorstream.live import Alarms, Hub
from doorstream.log import Connection, EventLog
from doorstream.testing import SITE, empty_log, nats_server
from doorstream.testing.receiver import Hang, Receiver
from doorstream.webhooks import Service, make_secret
from doorstream.webhooks.forms import native
from doorstream.webhooks.guard import Policy
from doorstream.webhooks.questions import Wanted

CONCURRENCY = 10
DEAD = 100
LIVING = 10
_BATCH = 500


class Rig(NamedTuple):
    """An engine at work on an empty log."""

    service: Service
    directory: Directory
    log: EventLog

    async def fill(self, first: int, count: int) -> None:
        """Put events into the log."""
        for start in range(first, first + count, _BATCH):
            numbers = range(start, min(start + _BATCH, first + count))
            await self.log.append_batch([(SITE, "device.request.allowed", f"e{n}", _event(n)) for n in numbers])

    async def create(self, name: str, url: str, start: str | None = None) -> None:
        """A webhook that begins here, or there."""
        secret = make_secret("v1", "")
        webhook = Webhook(
            id=name,
            name=name,
            url=url,
            site_id=SITE,
            created="",
            start=start if start is not None else await self.service.here(),
            secrets=(secret,),
            concurrency=CONCURRENCY,
        )
        await self.directory.create(webhook, SYSTEM)

    async def delivered(self, name: str) -> None:
        """Wait until everything in the log is delivered to a webhook, and the ledger file has it."""
        last = (await self.log.extent()).last
        assert self.service.engine is not None  # noqa: S101 - it delivers
        while name not in self.service.engine.couriers:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)
        courier = self.service.engine.couriers[name]
        while (await courier.cursor()).sequence < last:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
        await self.service.ledger.current()

    async def check(self, name: str, count: int) -> None:
        """That so many deliveries of a webhook are in the ledger, and none beside."""
        found = await self.service.deliveries(Wanted(webhook=name, state="delivered"), count + 1)
        assert len(found) == count, f"{len(found)} of {count} were delivered"  # noqa: S101 - the figure would be wrong


def _event(number: int) -> bytes:
    """An event as it is kept, about 500 bytes."""
    door = {"id": f"door-{number % 50}", "name": "Front door", "connection": "panel", "port": 1}
    holder = {"id": "ada", "name": "Ada Lovelace", "enabled": True, "activeDate": None, "expireDate": None}
    body = {"deviceId": door["id"], "device": door, "facilityCode": "12", "cardNumber": "345", "holderId": "ada"}
    return encode_kept(
        id=f"e{number}",
        topic="device.request.allowed",
        site_id=SITE,
        occurred=1_780_000_000_000,
        body=body | {"credentialId": "card", "requestFactor": "CARD_ONLY", "holder": holder},
        cloud_node={"id": "north", "serialNumber": "1234ABC", "name": "North"},
        metadata=None,
    )


@asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    """A nats-server, a log, a site, and the engine."""
    async with nats_server() as nats:
        connection = Connection()
        await connection.open(nats.url)
        directory = Directory(connection)
        await directory.open()
        await directory.create(Site(id=SITE, name="Bench", created=directory.now()), SYSTEM)
        async with empty_log(connection) as log:
            hub = Hub(log.epoch, 0)
            tail = log.tail(hub.publish)
            await tail.start(0)
            with tempfile.TemporaryDirectory() as folder:
                async with Service.open(
                    path=Path(folder) / "webhooks.sqlite",
                    connection=connection,
                    directory=directory,
                    log=log,
                    hub=hub,
                    alarms=Alarms(time.time),
                    ingest=cast("Ingest", None),  # no event of our own is expected
                    forms={"native": native(log.epoch)},
                    policy=Policy.of(["127.0.0.0/8"], require_https=False),
                    delivers=True,
                    clock=time.time,
                ) as service:
                    yield Rig(service, directory, log)
            await tail.stop()
            await directory.close()
        await connection.close()


@contextmanager
def receiver(kind: str) -> Iterator[str]:
    """A receiver in a process of its own; gives its address."""
    command = [sys.executable, __file__, "receive", kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        finally:
            process.kill()


async def receive(kind: str) -> None:
    """Receive until killed."""
    async with Receiver(answer=Hang() if kind == "dead" else None) as there:
        print(json.dumps({"port": urlsplit(there.origin).port}), flush=True)
        while True:
            await asyncio.sleep(1)
            there.requests.clear()


class Speed(NamedTuple):
    """How fast something went: by the clock, and by the CPU time that this process spent on it (user and system)."""

    per_second: float
    per_cpu_second: float


class Stopwatch:
    """Measures from its making on."""

    def __init__(self) -> None:
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def speed(self, count: int) -> Speed:
        """The speed of so many deliveries."""
        return Speed(count / (time.perf_counter() - self._began), count / (time.process_time() - self._cpu))


async def bare(url: str, count: int) -> Speed:
    """A plain aiohttp client: its requests."""
    body = _event(1)
    headers = {"Content-Type": "application/json", "webhook-id": "e1", "webhook-timestamp": "1780000000"}
    headers["webhook-signature"] = "v1," + "a" * 44
    numbers = iter(range(count))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def loop() -> None:
            for _ in numbers:
                async with session.post(url, data=body, headers=headers) as response:
                    await response.read()

        spare_what_is_there()
        watch = Stopwatch()
        await asyncio.gather(*(loop() for _ in range(CONCURRENCY)))
        return watch.speed(count)


async def one_webhook(url: str, count: int) -> Speed:
    """One webhook that finds the events in the log: its deliveries, all of them in the ledger."""
    async with rig() as running:
        await running.create("warm", f"{url}/warm")
        await running.fill(0, 200)
        await running.delivered("warm")
        await running.directory.delete(_found(running, "warm"), SYSTEM)
        start = await running.service.here()
        await running.fill(200, count)
        spare_what_is_there()
        watch = Stopwatch()
        await running.create("one", f"{url}/one", start)
        await running.delivered("one")
        speed = watch.speed(count)
        await running.check("one", count)
        return speed


def _found(running: Rig, name: str) -> Webhook:
    return next(each for each in running.directory.webhooks if each.id == name)


async def beside_dead(living: str, dead: str, count: int, how_many: int) -> Speed:
    """Ten living webhooks, beside so many dead ones: the deliveries of the ten together."""
    async with rig() as running:
        for number in range(how_many):
            await running.create(f"dead-{number}", f"{dead}/{number}")
        await running.fill(0, 500)  # the dead have their queues full
        await asyncio.sleep(2.0)
        for number in range(LIVING):
            await running.create(f"living-{number}", f"{living}/{number}")
        spare_what_is_there()
        watch = Stopwatch()
        await running.fill(500, count)
        for number in range(LIVING):
            await running.delivered(f"living-{number}")
        speed = watch.speed(count * LIVING)
        for number in range(LIVING):
            await running.check(f"living-{number}", count)
        return speed


async def deliver(kind: str, url: str, deliveries: int) -> Speed:
    """Measure one kind."""
    if kind == BARE_CLIENT:
        await bare(f"{url}/warm", 200)
        return await bare(f"{url}/bare", deliveries)
    if kind == WEBHOOK:
        return await one_webhook(url, deliveries)
    with receiver("dead") as dead:
        return await beside_dead(url, dead, deliveries // LIVING, 0 if kind == ALONE else DEAD)


def main() -> None:
    """Deliver, or receive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    delivering = commands.add_parser("deliver", help="measure deliveries to a receiver")
    delivering.add_argument("kind", choices=(WEBHOOK, BARE_CLIENT, ALONE, BESIDE_DEAD))
    delivering.add_argument("url", help="the receiver's address")
    delivering.add_argument("deliveries", type=int)
    receiving = commands.add_parser("receive", help="be a receiver until killed")
    receiving.add_argument("kind", choices=("living", "dead"))
    arguments = parser.parse_args()
    if arguments.command == "receive":
        uvloop.run(receive(arguments.kind))
        return
    collect_rarely()
    speed = uvloop.run(deliver(arguments.kind, arguments.url, arguments.deliveries))
    print(json.dumps(speed._asdict()))


if __name__ == "__main__":
    main()
