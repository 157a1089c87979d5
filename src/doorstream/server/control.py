"""What the parent and a worker say to each other: JSON lines over a socket pair.

The pair is also the worker's lifeline: when the parent is gone the worker reads the end of it, and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import msgspec

from doorstream.server.settings import Settings

_LIMIT = 1_000_000


class Orders(msgspec.Struct, tag="orders"):
    """From the parent, first: how to run. ``listener`` is the descriptor of the listening socket.

    ``server`` is the same for all workers of one parent, and no other's.
    """

    settings: Settings
    number: int
    server: str
    nats_url: str
    listener: int


class Started(msgspec.Struct, tag="started"):
    """From the worker: it answers. ``admin_key`` is there once in the life of a directory."""

    admin_key: str | None = None


class Failed(msgspec.Struct, tag="failed"):
    """From the worker: it cannot start; ``reason`` is one line for the operator."""

    reason: str


class LogStuck(msgspec.Struct, tag="log-stuck"):
    """From the worker: the embedded nats-server is there but does not answer; restart it."""


class RenewCertificate(msgspec.Struct, tag="renew-certificate"):
    """From the parent: the files of the certificate were replaced; use them for connections from now on."""


Word = Orders | Started | Failed | LogStuck | RenewCertificate

_encode = msgspec.json.Encoder(enc_hook=str).encode


def _from_text(wanted: type, value: Any) -> Any:
    return wanted(value)


_decode = msgspec.json.Decoder(Word, dec_hook=_from_text).decode


class Control:
    """One end of the pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Control:
        """Take one end of a socket pair."""
        return cls(*await asyncio.open_unix_connection(sock=end, limit=_LIMIT))

    def say(self, word: Word) -> None:
        """Send; what the other end no longer reads is lost, and that is fine."""
        if not self._writer.is_closing():
            self._writer.write(_encode(word) + b"\n")

    async def hear(self) -> Word | None:
        """The next word; None when the other end is gone."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            return None
        return _decode(line) if line else None

    async def finish(self) -> None:
        """Hang up when what was said has been sent."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
