"""Programs on the real JavaScript clients, started and watched by tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

FOLDER = Path(__file__).with_name("node")
PATIENCE = 60.0

NAMES = [
    *(entry["event"] for entry in json.loads((FOLDER.parents[1] / "data/pdk-stream-events.json").read_text())),
    "invalidToken",
]
"""Every event name that PDK documents."""

SOCKET_IO_4 = "socket.io-client"
SOCKET_IO_2 = "socket.io-client-2"
PLAIN = "ws"


class NodeClient:
    """A running program: what it told so far is in ``told``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._changed = asyncio.Event()
        self._has_ended = False
        self.told: list[dict[str, Any]] = []

    async def watch(self) -> None:
        """Read what the program tells until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.told.append(json.loads(line))
            self._changed.set()
        self._has_ended = True
        self._changed.set()

    def do(self, command: str, **arguments: Any) -> None:
        """Have the program do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")

    def emit(self, name: str, *arguments: Any) -> None:
        """Have the program emit an event."""
        self.do("emit", name=name, args=arguments)

    async def until(self, condition: Callable[[], Any], patience: float = PATIENCE) -> None:
        """Wait until something that was told makes a condition true."""
        try:
            async with asyncio.timeout(patience):
                while not condition():
                    assert not self._has_ended, "the program has ended; its standard error says why"
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"it did not happen; told so far: {self.told[-20:]}") from None

    async def tells(self, what: str, number: int = 1, patience: float = PATIENCE) -> dict[str, Any]:
        """Wait until something was told for the n-th time, and give what was told then."""
        await self.until(lambda: len(self.all(what)) >= number, patience)
        return self.all(what)[number - 1]

    async def receives(self, number: int, patience: float = PATIENCE) -> list[str]:
        """Wait until so many events of the building have come, and give the ids of all that came."""
        await self.until(lambda: len(self.ids) >= number, patience)
        return self.ids

    def all(self, what: str) -> list[dict[str, Any]]:
        """Everything of a kind that was told."""
        return [item for item in self.told if item["what"] == what]

    @property
    def events(self) -> list[tuple[str, Any]]:
        """The events that came: names and first arguments."""
        return [(item["name"], item["args"][0]) for item in self.all("event")]

    @property
    def ids(self) -> list[str]:
        """The ids of the building's events that came, in order."""
        return [argument["id"] for _, argument in self.events if "id" in argument]

    @property
    def names(self) -> list[str]:
        """The names of the events that came, in order."""
        return [name for name, _ in self.events]


@contextlib.asynccontextmanager
async def node_client(
    library: str,
    url: str,
    *,
    token: str | None,
    system_id: str | None = None,
    topics: Sequence[str] = (),
    subscriptions: Sequence[Sequence[str]] | None = None,
    query: dict[str, str] | None = None,
    renew: dict[str, str] | None = None,
    **more: Any,
) -> AsyncIterator[NodeClient]:
    """Run a program; ``topics`` are subscribed in its ``connect`` handler, ``subscriptions`` in several calls.

    ``renew`` are credentials with which it answers ``invalidToken`` by itself; ``options`` go to the library.
    """
    named = {"systemId": system_id, "token": token} | (query or {})
    text = urlencode({name: value for name, value in named.items() if value is not None})
    address = f"{url}?{text}"
    if library == PLAIN:
        address = f"{url.replace('http', 'ws', 1)}/socket.io/?{text}&transport=websocket"
    config = {
        "library": library,
        "address": address,
        "names": NAMES,
        "subscriptions": subscriptions if subscriptions is not None else ([topics] if topics else []),
        "renew": renew,
        "options": {},
    }
    program = "pdk_ws.cjs" if library == PLAIN else "pdk_client.cjs"
    async with node_program(program, config | more) as client:
        yield client


@contextlib.asynccontextmanager
async def node_program(name: str, config: dict[str, Any]) -> AsyncIterator[NodeClient]:
    """Run a program of the folder ``node``; it ends with the test."""
    process = await asyncio.create_subprocess_exec(
        "node",
        FOLDER / name,
        json.dumps(config),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=10_000_000,
    )
    client = NodeClient(process)
    watching = asyncio.create_task(client.watch())
    try:
        yield client
    finally:
        if process.returncode is None:
            process.kill()
        await watching
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # its pipes, before the loop is closed
