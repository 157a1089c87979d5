"""Copies of streams: taken while they are in use, and put back where there is none of that name.

JetStream itself makes the copy, as of one moment, and checks it when it is put back (ADR-2 and the snapshot requests of
the JetStream API). What comes out is opaque: chunks of bytes, to be given back in the same order.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from doorstream.log.client import publish_command
from doorstream.log.connection import REQUEST_TIMEOUT, Connection, api_answer
from doorstream.log.errors import LogUnavailable

_CHUNK = 128 * 1024

EPOCH_KEY = "doorstream-epoch"
"""The stream's metadata that names the log; whoever puts a log back gives it another one."""


async def stream_names(connection: Connection) -> list[str]:
    """The streams there are; raises LogUnavailable."""
    names = (await connection.api("STREAM.NAMES")).get("streams")
    return sorted(names or [])


class Snapshot:
    """A copy of one stream that is being taken: its configuration and state, and then its bytes."""

    def __init__(self, config: dict[str, Any], state: dict[str, Any], chunks: AsyncIterator[bytes]) -> None:
        self.config = config
        self.state = state
        self.chunks = chunks


@contextlib.asynccontextmanager
async def snapshot(connection: Connection, stream: str) -> AsyncIterator[Snapshot]:
    """Take a copy of a stream; raises ApiError, or LogUnavailable also while the chunks are read."""
    inbox = f"_INBOX.{secrets.token_hex(11)}"
    arrived: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()
    subscription = await connection.client.listen(inbox, lambda _s, reply, data, _h: arrived.put_nowait((reply, data)))

    async def chunks() -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    reply, data = await arrived.get()
            except TimeoutError:
                raise LogUnavailable("NATS stopped sending its copy") from None
            if not data:
                return
            yield data
            if reply:  # only what was taken is followed by more
                connection.client.send(publish_command(reply.decode(), b""))

    asked = {"deliver_subject": inbox, "no_consumers": True, "chunk_size": _CHUNK}
    try:
        answer = await connection.api(f"STREAM.SNAPSHOT.{stream}", asked)
        yield Snapshot(answer["config"], answer["state"], chunks())
    finally:
        with contextlib.suppress(Exception):  # the connection may be gone, and the subscription with it
            await subscription.unsubscribe()


async def restore(
    connection: Connection, config: dict[str, Any], state: dict[str, Any], chunks: AsyncIterable[bytes]
) -> None:
    """Put a stream back from its copy; raises ApiError where there is one of that name, or the copy is damaged."""
    answer = await connection.api(f"STREAM.RESTORE.{config['name']}", {"config": config, "state": state})
    target = answer["deliver_subject"]
    async for chunk in chunks:
        await connection.request(target, chunk)
    api_answer(await connection.request(target))
