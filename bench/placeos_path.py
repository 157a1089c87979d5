"""The PlaceOS dialect's live path alone: gateway, bindings and dialect in one process, without drivers.

Each byte on the control port is a change of one status variable, as ``live_path.py`` has it for events; a notification
is as long as PDK's frame. The first line of standard output is ``{"port", "control_port", "targets", "binds"}``, where
``binds`` are the commands of a subscriber: with the same bind id for all, or (``#``) with one of his own.
"""

import asyncio
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import uvicorn
import uvloop

from doorstream.auth import Principal
from doorstream.dialects.placeos.access import Door
from doorstream.dialects.placeos.catalogue import SYSTEM, Catalogue
from doorstream.dialects.placeos.credentials import Asking, Credential
from doorstream.dialects.placeos.messages import Form
from doorstream.dialects.placeos.rights import Access, Identity
from doorstream.dialects.placeos.routes import PATH, Stream
from doorstream.drivers import Drivers
from doorstream.gateway import Gateway, Limits
from doorstream.gateway.serve import collect_rarely, gateway_app, raise_file_limit, uvicorn_config
from doorstream.live import Alarms, Presence

SYS, MODULE, NAME = f"{SYSTEM}bench", "mod-bench", "last_event"
META = f'"sys":"{SYS}","mod":"Door","index":1,"name":"{NAME}"'
FRAME = 498


class Everybody:
    """Lets everybody in as an administrator."""

    identity = Identity(Principal("bench", "bench", "client", frozenset({"admin"}), None, ""))

    def admit(self, asking: Asking, resource: str, access: Access) -> tuple[Identity, Credential]:
        """Admit."""
        del asking, resource, access
        return self.identity, Credential("api-key", "bench", Form.JSON)

    def stands(self, identity: Identity) -> bool:
        """They stay."""
        del identity
        return True


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
        return None

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
    port, control_port = (each.getsockname()[1] for each in (server.servers[0].sockets[0], listener.sockets[0]))
    binds = {"same": f'{{"id":7,"cmd":"bind",{META}}}', "different": f'{{"id":#,"cmd":"bind",{META}}}'}
    ready = {"port": port, "control_port": control_port, "targets": [PATH], "binds": binds}
    print(json.dumps(ready), flush=True)
    await serving


if __name__ == "__main__":
    raise_file_limit()
    collect_rarely()
    uvloop.run(serve())
