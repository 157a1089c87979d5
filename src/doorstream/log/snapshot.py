"""Copies of streams: taken while they are in use, and put back where there is none of that name.

JetStream itself makes the copy, as of one moment, and checks it when it is put back (ADR-2 and the snapshot requests of
the JetStream API). What comes out is opaque: chunks of bytes, to be given back in the same order.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import IO, Any, NamedTuple

from doorstream.log.client import publish_command, status_of
from doorstream.log.connection import REQUEST_TIMEOUT, Connection, api_answer
from doorstream.log.errors import LogUnavailable

_CHUNK = 128 * 1024
_COMPLETE = (b"204", b"")  # of an empty stream the end has no status

EPOCH_KEY = "doorstream-epoch"
"""The stream's metadata that names the log; whoever puts a log back gives it another one."""

EARLIER_KEY = "doorstream-earlier"
"""The metadata that tells of which logs this one is a copy: ``<epoch>.<last sequence>`` each, the oldest first."""


async def stream_names(connection: Connection) -> list[str]:
    """The streams there are; raises LogUnavailable."""
    names = (await connection.api("STREAM.NAMES")).get("streams")
    return sorted(names or [])


class Snapshot:
    """A copy of one stream that is being taken: its configuration and state, and then its bytes."""

    def __init__(self, config: dict[str, Any], state: dict[str, Any], chunks: Iterator[bytes]) -> None:
        self.config = config
        self.state = state
        self.chunks = chunks


@contextlib.asynccontextmanager
async def snapshot(connection: Connection, stream: str) -> AsyncIterator[Snapshot]:
    """Take a copy of a stream; raises ApiError or LogUnavailable.

    It is in a temporary file before the first chunk is given: NATS breaks a copy off that is not read for some seconds,
    and whoever takes the chunks may be slow.
    """
    inbox = f"_INBOX.{secrets.token_hex(11)}"
    arrived: asyncio.Queue[_Piece] = asyncio.Queue()
    subscription = await connection.client.listen(
        inbox, lambda _s, reply, data, headers: arrived.put_nowait(_Piece(reply, data, headers))
    )
    asked = {"deliver_subject": inbox, "no_consumers": True, "chunk_size": _CHUNK}
    with tempfile.TemporaryFile(prefix="doorstream-") as spool:
        try:
            answer = await connection.api(f"STREAM.SNAPSHOT.{stream}", asked)
            await _receive(connection, arrived, spool)
        finally:
            with contextlib.suppress(Exception):  # the connection may be gone, and the subscription with it
                await subscription.unsubscribe()
        spool.seek(0)
        yield Snapshot(answer["config"], answer["state"], iter(lambda: spool.read(_CHUNK), b""))


class _Piece(NamedTuple):
    reply: bytes
    data: bytes
    headers: bytes


async def _receive(connection: Connection, arrived: asyncio.Queue[_Piece], spool: IO[bytes]) -> None:
    while True:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                piece = await arrived.get()
        except TimeoutError:
            raise LogUnavailable("NATS stopped sending its copy") from None
        if not piece.data:
            if status_of(piece.headers) not in _COMPLETE:
                raise LogUnavailable("NATS broke its copy off")
            return
        spool.write(piece.data)
        if piece.reply:  # only what was taken is followed by more
            connection.client.send(publish_command(piece.reply.decode(), b""))


async def restore(
    connection: Connection, config: dict[str, Any], state: dict[str, Any], chunks: AsyncIterable[bytes]
) -> None:
    """Put a stream back from its copy; raises ApiError where there is one of that name, or the copy is damaged."""
    answer = await connection.api(f"STREAM.RESTORE.{config['name']}", {"config": config, "state": state})
    target = answer["deliver_subject"]
    async for chunk in chunks:
        await connection.request(target, chunk)
    api_answer(await connection.request(target))
