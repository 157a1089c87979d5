"""A real nats-server for tests that kill, stop or restart one."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from doorstream.events import Retention
from doorstream.log import Connection, EventLog
from doorstream.log.embedded import EmbeddedServer, lock_data_directory
from doorstream.testing.waiting import until


class NatsServer:
    """One embedded nats-server with a store of its own, and what can happen to it."""

    def __init__(self, directory: Path, server: EmbeddedServer) -> None:
        self.directory = directory
        self.embedded = server

    @property
    def url(self) -> str:
        """Where it listens, also while it is away."""
        return self.embedded.url

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, which must be running."""
        pid = self.embedded.pid
        assert pid is not None, "nats-server is not running"  # noqa: S101 - a contract
        os.kill(pid, number)

    async def kill(self) -> None:
        """End it at once, without a chance to save anything."""
        self.signal(signal.SIGKILL)
        await self.embedded.wait()

    async def terminate(self) -> None:
        """End it as an operator would."""
        await self.embedded.stop()

    async def start(self) -> None:
        """Start it again, with the same address, credentials and store."""
        await self.embedded.start()

    async def pause(self) -> None:
        """Stop it in the middle of what it does; its sockets stay open. Returns when all its threads stand still."""
        self.signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.embedded.pid}/task")
        await until(lambda: all(_state(thread) == "T" for thread in threads.iterdir()))

    def resume(self) -> None:
        """Go on after ``pause``."""
        self.signal(signal.SIGCONT)


def _state(thread: Path) -> str:
    return (thread / "stat").read_text().rsplit(")", 1)[1].split()[0]


@contextlib.asynccontextmanager
async def nats_server() -> AsyncIterator[NatsServer]:
    """A nats-server that runs; it and its store are gone in the end."""
    with tempfile.TemporaryDirectory(prefix="doorstream-nats-") as name:
        directory = Path(name)
        lock = await lock_data_directory(directory)
        server = NatsServer(directory, EmbeddedServer(directory, lock))
        try:
            await server.start()
            yield server
        finally:
            if server.embedded.pid is not None:
                with contextlib.suppress(ProcessLookupError):  # it may have just died
                    server.resume()
            await server.terminate()
            os.close(lock)


async def removed(server: EmbeddedServer, stream: str = "*") -> None:
    """Wait until nothing is left of a stream, or of all, that were deleted.

    nats-server removes what a stream kept after it has answered. A stream of the same name that is created or deleted
    meanwhile is now and then refused ("error creating store for stream", 10049), or has what the first one had.
    """
    kept = server._directory / "store" / "jetstream"  # noqa: SLF001 - tests' own look behind it
    await until(lambda: not any(kept.glob(f"*/streams/{stream}")), 60)


@contextlib.asynccontextmanager
async def empty_log(connection: Connection) -> AsyncIterator[EventLog]:
    """A log without events, open.

    nats-server 2.15.1 sometimes (once in 2,000 times) finds in a new stream the messages of one of the same name that
    was deleted just before: then it is made again.
    """
    while True:
        log = EventLog(connection, Retention(86_400))
        await log.open()
        if (await log.extent()).last == 0:
            break
        await log.close()
        await connection.api("STREAM.DELETE.EVENTS")
    try:
        yield log
    finally:
        await log.close()
