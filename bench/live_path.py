"""doorstream's live path alone: gateway, hub, and the dialects PDK and Salto, events given to the hub without the log.

Like every server of this benchmark it has a control port: each byte that arrives there is one event, given to the hub
as the tail of the log gives it. The first line of standard output is ``{"port", "control_port", "targets", "hubs"}``,
where ``hubs`` are the targets of Salto's clients.
"""

import asyncio
import json
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import uvicorn
import uvloop

from doorstream.auth import FULL_ACCESS, AccessToken, Auth, Signer, SystemToken
from doorstream.dialects.pdk.recovery import Recovery
from doorstream.dialects.pdk.routes import Stream
from doorstream.dialects.salto.messages import Shapes
from doorstream.dialects.salto.rights import SITE_ADMIN
from doorstream.dialects.salto.routes import PATHS
from doorstream.dialects.salto.routes import Stream as SaltoStream
from doorstream.directory import Directory, SiteView
from doorstream.events import Event
from doorstream.events.entities import Site, User
from doorstream.gateway import Gateway
from doorstream.gateway.engineio import EngineOptions
from doorstream.gateway.serve import collect_rarely, gateway_app, raise_file_limit, uvicorn_config
from doorstream.gateway.signalr import HubOptions
from doorstream.history import Index
from doorstream.live import Alarms, Hub, Presence
from doorstream.log import EventLog

EPOCH = "bench"
SITE = str(uuid.UUID(int=7))
DAY = 86_400.0
CONNECT_TIMEOUT = 45.0


class Tokens:
    """Everybody may connect: credentials are looked at when a client connects, not for each event."""

    def check_system_token(self, text: str, now: float) -> SystemToken:
        """Grant the one site for a day."""
        del text
        return SystemToken(SITE, client_id="bench", generation="", expires_at=now + DAY, expired=False)

    def stands(self, token: SystemToken) -> bool:
        """Revoke nobody."""
        return bool(token)


class SaltoTokens:
    """The same for Salto's clients."""

    async def check(self, token: str, now: float) -> AccessToken:
        """Grant an administrator a day."""
        del token
        return AccessToken("admin", "", None, "", frozenset({FULL_ACCESS}), now + DAY)


def salto_directory() -> Directory:
    """One site with an administrator."""
    view = SiteView()
    view.site = Site(id=SITE, name="Bench", created="", timezone="Europe/Amsterdam")
    admin = User(id="admin", username="admin", name="Admin", roles={SITE: SITE_ADMIN}, created="", generation="")
    return cast("Directory", SimpleNamespace(users={admin.id: admin}, clients={}, site={SITE: view}.get))


def build(gateway: Gateway) -> Hub:
    """Put the parts together as a worker does, less the log, which only clients that come back read."""
    alarms = Alarms(time.time)
    hub = Hub(EPOCH, 0, before_publish=alarms.run_due)
    stream = Stream(
        hub=hub,
        log=cast("EventLog", None),
        auth=cast("Auth", SimpleNamespace(tokens=Tokens())),
        alarms=alarms,
        presence=Presence(),
        recovery=Recovery(Signer(b"bench", "recovery"), EPOCH, lambda: (1, hub.sequence)),
        clock=time.time,
    )
    stream.mount(gateway, EngineOptions(), CONNECT_TIMEOUT)
    directory = salto_directory()
    salto = SaltoStream(
        hub=hub,
        log=stream.log,
        index=cast("Index", None),
        directory=directory,
        tokens=SaltoTokens(),
        alarms=alarms,
        presence=stream.presence,
        shapes=Shapes(directory.site),
        clock=time.time,
    )
    salto.mount(gateway, HubOptions(), Signer(b"bench", "signalr"))
    return hub


class Control(asyncio.Protocol):
    """One event for each byte; those of one read are published within one turn of the loop, as the tail does it."""

    def __init__(self, hub: Hub, kept: bytes) -> None:
        self._hub = hub
        self._kept = kept

    def data_received(self, data: bytes) -> None:
        """Publish."""
        for _ in data:
            self._hub.publish(Event(self._kept, self._hub.sequence + 1, int(time.time() * 1000)))


def kept_form(sample: dict[str, Any]) -> bytes:
    """Give the event as the log keeps it."""
    keys = ("id", "topic", "occurred", "body", "cloudNode")
    kept = {key: sample[key] for key in keys} | {"siteId": SITE, "metadata": None}
    return json.dumps(kept, separators=(",", ":")).encode()


async def main(sample: dict[str, Any]) -> None:
    """Serve until a signal ends it."""
    gateway = Gateway()
    hub = build(gateway)
    server = uvicorn.Server(uvicorn_config(gateway_app(gateway), port=0))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    kept = kept_form(sample)
    listener = await asyncio.get_running_loop().create_server(lambda: Control(hub, kept), "127.0.0.1", 0)
    target = f"/socket.io/?systemId={SITE}&token=bench&EIO=4&transport=websocket"
    control_port = listener.sockets[0].getsockname()[1]
    hub_target = f"{PATHS['entries']}?site_id={SITE}&access_token=bench"
    ready = {"port": port, "control_port": control_port, "targets": [target], "hubs": [hub_target]}
    print(json.dumps(ready), flush=True)
    await serving


if __name__ == "__main__":
    raise_file_limit()
    collect_rarely()
    uvloop.run(main(json.loads(Path(sys.argv[1]).read_text())))
