"""The PlaceOS dialect: fan-out of one status variable beside PDK, and executions over the control socket.

``python bench/placeos.py`` prints one JSON object. Fan-out is of the live path alone: gateway, bindings and dialect in
one process, a change of status for each byte on a control port, as ``live_path.py`` does it for PDK; they take turns.
A notification is as long as PDK's frame. Executions are against the real server, of a function that asks no hardware.
"""

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import uvicorn
import uvloop
from measure import Endpoint, compile_generator, run_load, write_event
from servers import PDK, _child, process_tree, start_server

from doorstream.auth import Principal
from doorstream.dialects.placeos.access import Door
from doorstream.dialects.placeos.catalogue import SYSTEM, Catalogue
from doorstream.dialects.placeos.credentials import Asking, Credential
from doorstream.dialects.placeos.messages import Form
from doorstream.dialects.placeos.rights import Access, Identity
from doorstream.dialects.placeos.routes import PATH, Stream
from doorstream.drivers import Drivers
from doorstream.gateway import Gateway, Limits
from doorstream.gateway.serve import gateway_app, raise_file_limit, uvicorn_config
from doorstream.live import Alarms, Presence
from doorstream.protocols.websocket import text_frame
from doorstream.testing.server import running_demo

SYS, MODULE, NAME = f"{SYSTEM}bench", "mod-bench", "last_event"
META = f'"sys":"{SYS}","mod":"Door","index":1,"name":"{NAME}"'
FRAME = 498
SUBSCRIBERS = 1000
SAME, DIFFERENT = "same bind id", "different bind ids"
BINDS = {
    SAME: f'{{"id":7,"cmd":"bind",{META}}}',
    DIFFERENT: f'{{"id":#,"cmd":"bind",{META}}}',
}


class Everybody:
    """Lets everybody in as an administrator."""

    identity = Identity(Principal("bench", "bench", "client", frozenset({"admin"}), None, ""))

    def admit(self, asking: Asking, resource: str, access: Access) -> tuple[Identity, Credential]:
        """Admit."""
        del asking, resource, access
        return self.identity, Credential("api-key", "bench", Form.JSON)


class Places:
    """One system with one module."""

    def site_of(self, system_id: str) -> str | None:
        """The site of the system."""
        return "bench" if system_id == SYS else None

    def module_at(self, system_id: str, name: str, index: int) -> str | None:
        """The module."""
        return MODULE if (system_id, name, index) == (SYS, "Door", 1) else None

    def on_change(self, callback: Callable[..., None]) -> None:
        """Nothing changes."""


class Status:
    """One variable, which has no value until it changes."""

    def __init__(self) -> None:
        self.tell: Callable[[str, str, bytes | None], None] = lambda *_: None

    def value(self, module_id: str, variable: str) -> bytes | None:
        """No value."""
        del module_id, variable

    def on_change(self, callback: Callable[[str, str, bytes | None], None]) -> None:
        """Tell that one."""
        self.tell = callback


class Control(asyncio.Protocol):
    """One change for each byte; those of one read happen within one turn of the loop."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._count = 0

    def data_received(self, data: bytes) -> None:
        """Change."""
        for _ in data:
            self._count += 1
            self._status.tell(MODULE, NAME, value(self._count))


def value(number: int) -> bytes:
    """A value that makes a frame of the wanted length around it."""
    around = len(f'{{"id":7,"type":"notify","value":{{"id":"","at":{0:012}}},"meta":{{{META}}}}}')
    return f'{{"id":"{"x" * (FRAME - around)}","at":{number:012}}}'.encode()


async def serve() -> None:
    """Serve the dialect alone until a signal ends it."""
    gateway, status = Gateway(), Status()
    Stream.build(
        door=cast("Door", Everybody()),
        catalogue=cast("Catalogue", Places()),
        drivers=cast("Drivers", SimpleNamespace(status=status)),
        alarms=Alarms(time.time),
        presence=Presence(),
        limits=Limits(),
        clock=time.time,
    ).mount(gateway)
    server = uvicorn.Server(uvicorn_config(gateway_app(gateway), port=0))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    listener = await asyncio.get_running_loop().create_server(lambda: Control(status), "127.0.0.1", 0)
    ports = (each.getsockname()[1] for each in (server.servers[0].sockets[0], listener.sockets[0]))
    print(json.dumps(dict(zip(("port", "control_port"), ports, strict=True))), flush=True)
    await serving


class Speed(NamedTuple):
    """Deliveries per second, and per second of the server's CPU, which others on the machine disturb less."""

    per_second: float
    per_cpu_second: float


def deliveries(endpoint: Endpoint, pid: int, in_flight: int, seconds: float, **more: str) -> Speed:
    """Deliveries to 1,000 subscribers."""
    result = run_load(
        endpoint,
        process_tree(pid),
        mode="closed",
        connections=SUBSCRIBERS,
        in_flight=in_flight,
        warmup=0.5,
        seconds=seconds,
        control_port=endpoint.control_port or 0,
        **more,
    )
    return Speed(result["deliveries"] / result["seconds"], result["deliveries"] / sum(result["cpu_seconds"].values()))


def fan_out(in_flight: int, seconds: float, kind: str) -> Speed:
    """How fast one kind is, by a fresh server."""
    if kind == PDK:
        with start_server(PDK, "live", 1) as server:
            return deliveries(server.endpoint, server.root_pid, in_flight, seconds)
    with _child([sys.executable, __file__, "--serve"]) as (pid, ready):
        endpoint = Endpoint(ready["port"], [PATH], control_port=ready["control_port"], protocol="placeos")
        return deliveries(endpoint, pid, in_flight, seconds, subscribe=BINDS[kind])


class Executing(asyncio.Protocol):
    """A client that keeps some executions in flight: each answer is followed by the next command."""

    def __init__(self, target: str, command: bytes, in_flight: int) -> None:
        self._target, self._in_flight = target, in_flight
        frame = bytearray(text_frame(command))
        frame[1] |= 0x80
        head = 2 if len(command) < 126 else 4  # noqa: PLR2004 - RFC 6455, 5.2
        self._command = bytes(frame[:head]) + bytes(4) + command  # masked with zeros
        self._is_open = False
        self.answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        head = f"GET {self._target} HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        self._transport.write(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """Count the answers, and ask as often again."""
        if not self._is_open:
            if b" 101 " not in data:
                raise RuntimeError(data)
            self._is_open = True
            self._transport.write(self._command * self._in_flight)
            return
        count = data.count(b'"type":"success"')
        if data.count(b'"type":"error"'):
            raise RuntimeError(data)
        self.answered += count
        self._transport.write(self._command * count)

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()


async def executions(demo: Mapping[str, Any], connections: int, in_flight: int, seconds: float) -> float:
    """Round trips per second over all connections."""
    loop = asyncio.get_running_loop()
    port = int(demo["url"].rpartition(":")[2])
    target = f"{PATH}?api-key={demo['placeos']['api_key']}"
    meta = {"sys": demo["placeos"]["system_id"], "mod": "Door", "index": 1, "name": "door_list", "args": []}
    command = json.dumps({"id": 1, "cmd": "exec"} | meta).encode()
    clients = []
    for _ in range(connections):
        made = await loop.create_connection(lambda: Executing(target, command, in_flight), "127.0.0.1", port)
        clients.append(made[1])
    await asyncio.sleep(0.5)
    before, began = sum(client.answered for client in clients), time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (sum(client.answered for client in clients) - before) / (time.perf_counter() - began)
    for client in clients:
        client.close()
    return rate


async def all_executions(seconds: float) -> dict[str, float]:
    """Round trips per second of the real server, whose limit of commands is lifted."""
    async with running_demo(settings={"messages_per_second": 1_000_000.0}) as demo:
        return {
            name: await executions(demo.credentials, connections, in_flight, seconds)
            for name, connections, in_flight in (
                ("1 connection", 1, 1),
                ("1 connection, 16 in flight", 1, 16),
                ("100 connections", 100, 1),
            )
        }


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Everything; of fan-out the medians of some rounds, each of which begins with another kind."""
    compile_generator()
    write_event()
    kinds: Sequence[str] = (PDK, SAME, DIFFERENT)
    found: dict[str, Any] = {}
    for in_flight in (1, 16):
        samples: dict[str, list[Speed]] = {kind: [] for kind in kinds}
        for number in range(rounds):
            for at in range(len(kinds)):
                kind = kinds[(number + at) % len(kinds)]
                samples[kind].append(fan_out(in_flight, seconds, kind))
        for unit in Speed._fields:
            medians = {kind: round(statistics.median(getattr(each, unit) for each in samples[kind])) for kind in kinds}
            shares = {f"{kind}, PDK = 1": round(medians[kind] / medians[PDK], 3) for kind in kinds[1:]}
            found[f"deliveries {unit}, {in_flight} in flight"] = medians | shares
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rates = runner.run(all_executions(seconds))
    return found | {"exec round trips/s": {name: round(rate) for name, rate in rates.items()}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="be the server that is measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    raise_file_limit()
    if options.serve:
        gc.set_threshold(50_000, 20, 50)  # as in doorstream's worker
        uvloop.run(serve())
    else:
        print(json.dumps(measure(options.rounds, options.seconds), indent=2))
