"""``doorstream ingest``: puts a file of events in."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, BinaryIO

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from doorstream.cli.errors import CommandError
from doorstream.cli.remote import Server

_CHUNK = 256_000
_SHOWN = 10
_DEFAULT = Server()


async def ingest(
    file: str, server: Annotated[Server, Parameter(name="*")] = _DEFAULT, *, site: str | None = None
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
                    while chunk := source.read(_CHUNK):
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
        console.print(f"  line {rejected['line']}: {rejected['reason']}", style="yellow", markup=False)
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
