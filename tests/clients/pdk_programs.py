"""The kinds of PDK programs that there are, and what tests do with them."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from node_client import PLAIN, SOCKET_IO_2, SOCKET_IO_4, NodeClient, node_client

from doorstream.testing.server import Demo

SAMPLES: dict[str, dict[str, Any]] = {
    entry["event"]: entry["sample"]
    for entry in json.loads((Path(__file__).parents[1] / "data/pdk-stream-events.json").read_text())
}
ALLOWED, DENIED, OPENED = "device.request.allowed", "device.request.denied", "device.input.dps.opened"

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "4": (SOCKET_IO_4, {}),
    "4-websocket": (SOCKET_IO_4, {"transports": ["websocket"]}),
    "4-polling": (SOCKET_IO_4, {"transports": ["polling"]}),
    "2": (SOCKET_IO_2, {}),
    "2-websocket": (SOCKET_IO_2, {"transports": ["websocket"]}),
    "2-polling": (SOCKET_IO_2, {"transports": ["polling"]}),
    "ws": (PLAIN, {}),
}
RECOVERING = ("4", "4-websocket", "4-polling")
UPGRADING = ("4", "2")


def program(
    demo: Demo, kind: str, token: str | None, *, options: dict[str, Any] | None = None, **more: Any
) -> AbstractAsyncContextManager[NodeClient]:
    """One program of a kind."""
    library, of_kind = KINDS[kind]
    return node_client(library, demo.url, token=token, options=of_kind | (options or {}), **more)


@contextlib.asynccontextmanager
async def programs(
    demo: Demo, kinds: Iterable[str], token: str, *topics: str, **more: Any
) -> AsyncIterator[dict[str, NodeClient]]:
    """Programs of some kinds side by side, that have subscribed these topics."""
    async with contextlib.AsyncExitStack() as exits:
        running = {
            kind: await exits.enter_async_context(program(demo, kind, token, topics=topics, **more)) for kind in kinds
        }
        for kind, client in running.items():
            await client.tells("connect")
            await subscribed(client, kind)
        yield running


async def subscribed(client: NodeClient, kind: str) -> None:
    """Wait until the server has taken the subscription, and the transport has settled: events could be earlier."""
    if kind == "ws":
        client.do("send", packet='420["subscribeIsolated",{"topics":[]}]')
        await client.until(lambda: any(item["packet"] == '430[{"ok":true}]' for item in client.all("packet")))
    else:
        if kind in UPGRADING:
            await client.tells("upgrade", len(client.all("connect")))
        before = len(client.all("ack"))
        client.do("ask", name="subscribeIsolated", args=[{"topics": []}])
        assert (await client.tells("ack", before + 1))["answer"] == [{"ok": True}]


def event(event_id: str, topic: str = ALLOWED) -> dict[str, Any]:
    """An event as it is put in."""
    return {"id": event_id, "topic": topic, "occurred": int(time.time() * 1000), "body": {"deviceId": "d1"}}


async def put(demo: Demo, *ids: str, topic: str = ALLOWED) -> list[str]:
    """Put events in, each by itself; returns their ids."""
    for event_id in ids:
        await demo.api.ingest(demo.site_id, event(event_id, topic))
    return list(ids)


def seconds_left(token: str) -> float:
    """How long a token is still valid."""
    claims = token.split(".")[1]
    expires: float = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
    return max(0.0, expires - time.time())


def assert_calm(demo: Demo) -> None:
    """Nothing surprised the server, and no token is in its log."""
    errors = demo.errors
    assert "Traceback" not in errors, errors[-5000:]
    assert "eyJ" not in errors, "what every token begins with is in the log"
