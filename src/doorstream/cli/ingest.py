"""``doorstream ingest``: puts a file of events in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, BinaryIO

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from doorstream.cli.errors import CommandError
from doorstream.cli.remote import Server

_CHUNK = 256_000
_CHUNKS_AHEAD = 2
_SHOWN = 10
_DEFAULT = Server()


async def ingest(
    file: Annotated[str, Parameter(allow_leading_hyphen=True)],  # a hyphen alone would be taken for an option
    server: Annotated[Server, Parameter(name="*")] = _DEFAULT,
    *,
    site: str | None = None,
) -> None:
    """Put the events of an NDJSON file in; - reads standard input.

    Parameters
    ----------
    file:
        One event as JSON on each line, as ``POST /api/sites/{site_id}/events`` takes it.
    site:
        The site's id or name; not needed when there is only one.
    """
    console = Console(stderr=True)
    source, size = _open(file)
    with source:
        async with server.open() as remote:
            site_id = await remote.only_site(site)
            with _progress(console) as progress:
                task = progress.add_task("ingest", total=size)

                async def body() -> AsyncIterator[bytes]:
                    async for chunk in _chunks(source):
                        progress.advance(task, len(chunk))
                        yield chunk

                report = await remote.call(
                    "POST",
                    f"/api/sites/{site_id}/events",
                    data=body(),
                    headers={"Content-Type": "application/x-ndjson"},
                )
    console.print(
        f"{report['accepted']} accepted, {report['duplicates']} duplicates, {report['rejected_count']} rejected"
    )
    for rejected in report["rejected"][:_SHOWN]:
        text = f"  line {rejected['line']}: {rejected['reason']}"
        console.print(text, style="yellow", markup=False, soft_wrap=True)
    if report["rejected_count"]:
        raise CommandError(f"{report['rejected_count']} lines were rejected")


def _open(file: str) -> tuple[BinaryIO, int | None]:
    if file == "-":
        return sys.stdin.buffer, None
    try:
        path = Path(file)
        return path.open("rb"), path.stat().st_size
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", 2) from None


async def _chunks(source: BinaryIO) -> AsyncIterator[bytes]:
    """What there is to read, as it comes.

    It is read by a thread that nobody waits for: a pipe may be silent for ever, and meanwhile the server may answer or
    somebody may press Ctrl-C.
    """
    loop, descriptor = asyncio.get_running_loop(), source.fileno()
    chunks: asyncio.Queue[bytes | OSError] = asyncio.Queue()
    room = threading.Semaphore(_CHUNKS_AHEAD)

    def read_all() -> None:
        item: bytes | OSError = b" "
        while item and isinstance(item, bytes):
            room.acquire()
            try:
                item = os.read(descriptor, _CHUNK)
            except OSError as error:
                item = error
            loop.call_soon_threadsafe(chunks.put_nowait, item)

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
            read_all()

    threading.Thread(target=read, daemon=True, name="reading the events").start()
    while chunk := await chunks.get():
        if isinstance(chunk, OSError):
            raise CommandError(f"the events cannot be read: {chunk.strerror}", 2)
        room.release()
        yield chunk


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
