"""What the server and a driver's own process say to each other: MessagePack, each message after its length.

JSON values (arguments, answers, status) travel as they are, as bytes: nobody in between looks into them.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

import msgspec

from doorstream.drivers.callers import Caller
from doorstream.drivers.driver import ModuleInfo
from doorstream.drivers.errors import Failure
from doorstream.drivers.levels import LogLevel
from doorstream.drivers.loader import Origin

_LENGTH: Final = 4
_LARGEST: Final = 16_000_000


class Load(msgspec.Struct, tag=True):
    """To the process, first: which driver, as which module, with what."""

    origin: Origin
    module: ModuleInfo
    settings: bytes
    status: dict[str, bytes]
    threshold: int
    execute_limit: float


class Update(msgspec.Struct, tag=True):
    """To the process: other settings. Answered by ``Done``."""

    id: int
    settings: bytes


class Unload(msgspec.Struct, tag=True):
    """To the process: come to an end."""


class Execute(msgspec.Struct, tag=True):
    """To the process: call a function. Answered by ``Done``. ``is_audited``: the command is an event already."""

    id: int
    name: str
    args: bytes
    caller: Caller
    is_audited: bool


class Listen(msgspec.Struct, tag=True):
    """To the process: which log lines are wanted."""

    threshold: int


class Ping(msgspec.Struct, tag=True):
    """To the process: does your loop run? Answered by ``Pong``."""


class Pong(msgspec.Struct, tag=True):
    """From the process: it does."""


class Done(msgspec.Struct, tag=True):
    """From either: the answer to what had that id (0: to ``Load``), or why there is none."""

    id: int
    value: bytes | None = None
    failure: Failure | None = None


class Changed(msgspec.Struct, tag=True):
    """From the process: a status variable's new value, None where it is gone."""

    variable: str
    value: bytes | None


class Wrote(msgspec.Struct, tag=True):
    """From the process: a log line."""

    level: LogLevel
    message: str


class Failed(msgspec.Struct, tag=True):
    """From the process: something failed that nobody waits for."""

    what: str
    message: str


class Call(msgspec.Struct, tag=True):
    """From the process: call another module. Answered by ``Done``. ``is_audited``: as part of such a command."""

    id: int
    name: str
    index: int
    function: str
    args: bytes
    caller: Caller
    is_audited: bool


class Emit(msgspec.Struct, tag=True):
    """From the process: keep events (JSON). Answered by ``Done``."""

    id: int
    events: bytes


class Follow(msgspec.Struct, tag=True):
    """From the process: tell me of another module's variable, by ``Told``; until ``Leave``."""

    id: int
    name: str
    index: int
    variable: str


class Leave(msgspec.Struct, tag=True):
    """From the process: no longer tell me of what has that id."""

    id: int


class Told(msgspec.Struct, tag=True):
    """To the process: the value of a variable that it follows."""

    id: int
    value: bytes | None


ToProcess = Load | Update | Unload | Execute | Listen | Ping | Told | Done
ToServer = Done | Changed | Wrote | Failed | Call | Emit | Follow | Leave | Pong

_encode = msgspec.msgpack.Encoder().encode


class Pipe:
    """One end of the connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, words: Any) -> None:
        """``words`` are the messages that may come in."""
        self._reader = reader
        self._writer = writer
        self._decode = msgspec.msgpack.Decoder(words).decode

    @classmethod
    async def open(cls, end: socket.socket, words: Any) -> Pipe:
        """Take one end of a socket pair."""
        reader, writer = await asyncio.open_unix_connection(sock=end)
        return cls(reader, writer, words)

    @property
    def unsent(self) -> int:
        """Bytes that the other end has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    def send(self, message: ToProcess | ToServer) -> None:
        """Send a message; one to an end that is gone is lost."""
        data = _encode(message)
        if not self._writer.is_closing():
            self._writer.write(len(data).to_bytes(_LENGTH, "big") + data)

    async def receive(self) -> Any:
        """The next message; None when the other end is gone or says what cannot be understood."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH), "big")
            if length > _LARGEST:
                return None
            return self._decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
            return None

    async def drain(self) -> None:
        """Wait until the other end has taken most of it."""
        await self._writer.drain()

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
