"""An MQTT broker, and relays as they stand on the market: for tests of drivers that speak MQTT.

The broker is the real nats-server's own MQTT listener. The relays are simulated, as far as their makers document what
they say: see ``doorstream.drivers.builtin.relays`` for where that is from.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiomqtt

from doorstream.drivers.builtin.relays import Kind
from doorstream.log.embedded import find_binary
from doorstream.testing.server import free_port

_PATIENCE = 60.0
_PULSE_TENTHS = 111
_CONFIGURATION = """
server_name: broker
listen: "127.0.0.1:-1"
jetstream {{ store_dir: {store} }}
mqtt {{ listen: "127.0.0.1:{port}" }}
"""


class Broker:
    """A broker on loopback. It may be stopped and started again; its address stays."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it listens."""
        path = self._directory / "nats-server.conf"
        path.write_text(_CONFIGURATION.format(store=json.dumps(str(self._directory / "store")), port=self.port))
        with (self._directory / "nats-server.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(find_binary(), "-c", str(path), stdout=log, stderr=log)
        async with asyncio.timeout(_PATIENCE):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


@contextlib.asynccontextmanager
async def mqtt_broker() -> AsyncIterator[Broker]:
    """A broker that runs."""
    with tempfile.TemporaryDirectory(prefix="doorstream-mqtt-") as name:
        broker = Broker(Path(name))
        try:
            await broker.start()
            yield broker
        finally:
            await broker.stop()


class SimulatedRelay:
    """One relay and one contact of a device of that kind. ``is_deaf``: it hears no commands.

    ``on`` and ``contact`` are how it stands; ``timer`` is the seconds after which its last command has it switch off.
    """

    def __init__(self, kind: Kind, device: str) -> None:
        self.kind, self.device = kind, device
        self.on = False
        self.contact = False
        self.is_deaf = False
        self.timer: float | None = None
        self.commands: list[str] = []
        self._client: aiomqtt.Client | None = None

    @contextlib.asynccontextmanager
    async def plugged_in(self, broker: Broker) -> AsyncIterator[SimulatedRelay]:
        """Connect it, for as long as that lasts; it leaves without a word, so that its last will is spoken."""
        topic, online, offline = {
            "tasmota": (f"tele/{self.device}/LWT", "Online", "Offline"),
            "shelly": (f"shellies/{self.device}/online", "true", "false"),
            "shelly2": (f"{self.device}/online", "true", "false"),
        }[self.kind]
        will = aiomqtt.Will(topic, offline, qos=1, retain=True)
        # Another name each time: the broker keeps one that comes back at once waiting, or refuses it.
        client = aiomqtt.Client("127.0.0.1", broker.port, identifier=f"{self.kind}-{uuid4().hex}", will=will)
        async with client:
            self._client = client
            for each in self._listens_to():
                await client.subscribe(each, qos=1)
            await client.publish(topic, online, qos=1, retain=True)
            listening = asyncio.create_task(self._listen(client))
            try:
                yield self
            finally:
                while not listening.done():  # an answer that arrives just now can swallow a cancellation
                    listening.cancel()
                    await asyncio.wait([listening], timeout=0.1)
                with contextlib.suppress(aiomqtt.MqttError):
                    await client.publish(topic, offline, qos=1, retain=True)
                self._client = None

    async def switch(self, *, on: bool) -> None:
        """Somebody presses the device's own button, or its timer is over."""
        self.on = on
        await self._say_relay()

    async def open_contact(self, *, is_open: bool) -> None:
        """The door is opened or closed."""
        self.contact = is_open
        text = "ON" if is_open else "OFF"
        if self.kind == "tasmota":
            await self._say(f"stat/{self.device}/SWITCH1", json.dumps({"ACTION": text}))
        elif self.kind == "shelly":
            await self._say(f"shellies/{self.device}/input/0", str(int(is_open)))
        else:
            await self._say(f"{self.device}/status/input:0", json.dumps({"id": 0, "state": is_open}))

    async def say(self, topic: str, payload: bytes) -> None:
        """Publish anything."""
        assert self._client is not None, "plug it in first"  # noqa: S101 - a contract
        await self._client.publish(topic, payload, qos=1)

    async def _say(self, topic: str, text: str) -> None:
        await self.say(topic, text.encode())

    def _listens_to(self) -> tuple[str, ...]:
        return {
            "tasmota": (f"cmnd/{self.device}/+",),
            "shelly": (f"shellies/{self.device}/relay/0/command", f"shellies/{self.device}/command"),
            "shelly2": (f"{self.device}/rpc",),
        }[self.kind]

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = bytes(message.payload).decode() if isinstance(message.payload, bytes | bytearray) else ""
            if self.is_deaf:
                continue
            self.commands.append(f"{message.topic} {payload}")
            if self.kind == "tasmota":
                await self._tasmota(str(message.topic).rpartition("/")[2], payload)
            elif self.kind == "shelly":
                await self._shelly(payload)
            else:
                await self._shelly2(json.loads(payload))

    async def _tasmota(self, name: str, payload: str) -> None:
        commands = [each.strip() for each in payload.split(";")] if name == "Backlog" else [f"{name} {payload}"]
        for command in commands:
            word, _, value = command.partition(" ")
            if word.startswith("PulseTime"):
                pulse = int(value)
                self.timer = (pulse / 10 if pulse <= _PULSE_TENTHS else float(pulse - 100)) if pulse else None
            elif re.fullmatch(r"POWER1?", word):
                self.on = {"ON": True, "OFF": False}.get(value, self.on)
                await self._say_relay()

    async def _shelly(self, payload: str) -> None:
        self.on = {"on": True, "off": False}.get(payload, self.on)
        await self._say_relay()

    async def _shelly2(self, request: dict[str, Any]) -> None:
        params = request["params"]
        if request["method"] == "Switch.Set":
            was_on, self.on = self.on, params["on"]
            self.timer = params.get("toggle_after")
            result: dict[str, Any] = {"was_on": was_on}
            await self._say_relay()
        else:
            result = {"id": 0, "output": self.on}
        answer = {"id": request["id"], "src": self.device, "dst": request["src"], "result": result}
        await self._say(f"{request['src']}/rpc", json.dumps(answer))

    async def _say_relay(self) -> None:
        if self.kind == "tasmota":
            await self._say(f"stat/{self.device}/RESULT", json.dumps({"POWER": "ON" if self.on else "OFF"}))
            await self._say(f"stat/{self.device}/POWER", "ON" if self.on else "OFF")
        elif self.kind == "shelly":
            await self._say(f"shellies/{self.device}/relay/0", "on" if self.on else "off")
        else:
            status = {"id": 0, "source": "MQTT", "output": self.on}
            await self._say(f"{self.device}/status/switch:0", json.dumps(status))
