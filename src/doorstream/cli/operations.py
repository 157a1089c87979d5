"""``doorstream backup``, ``restore`` and ``index``: what administrators do with a server as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from doorstream.cli.errors import CommandError
from doorstream.cli.remote import Remote, Server, raise_for_problem
from doorstream.log import ApiError, Connection, LogUnavailable, StartError
from doorstream.log.embedded import EmbeddedServer, lock_data_directory
from doorstream.server import logs
from doorstream.server.backup import BackupError, check_backup, put_back
from doorstream.server.services import index_file

_DEFAULT = Server()
_At = Annotated[Server, Parameter(name="*")]
_POLL = 0.5
_CHUNK = 1 << 20
_INDEX_FILES = 64

index = cyclopts.App(name="index", help="The history's index, which is derived from the log.")


async def backup(file: Path, server: _At = _DEFAULT) -> None:
    """Copy everything that a running server keeps into one file. It contains all secrets: keep it safe.

    Parameters
    ----------
    file:
        Where to; it must not exist.
    """
    if file.exists():
        raise CommandError(f"{file} exists already", 2)
    part = file.with_name(f"{file.name}.part")
    async with server.open() as remote:
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise CommandError(f"{part} cannot be written: {error.strerror}", 2) from None
        try:
            with os.fdopen(descriptor, "wb") as target, _progress(DownloadColumn()) as progress:
                task = progress.add_task("copied", total=None)
                async for chunk in _download(remote):
                    target.write(chunk)
                    progress.advance(task, len(chunk))
                target.flush()
                os.fsync(target.fileno())
            manifest = await asyncio.to_thread(check_backup, part)
            part.rename(file)
        except BackupError as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{part} cannot be written: {error.strerror}", 2) from None
        finally:
            part.unlink(missing_ok=True)
    print(f"{file}: {file.stat().st_size} bytes, {', '.join(manifest['streams'])}")


async def _download(remote: Remote) -> AsyncIterator[bytes]:
    async with remote.session.get(f"{remote.url}/api/backup") as response:
        await raise_for_problem(response)
        async for chunk in response.content.iter_chunked(_CHUNK):
            yield chunk


async def restore(
    file: Path,
    *,
    data_dir: Path = Path("doorstream-data"),
    nats_url: Annotated[str | None, Parameter(env_var="DOORSTREAM_NATS_URL")] = None,
) -> None:
    """Put a backup back, into a data directory or a NATS where doorstream has kept nothing yet.

    The server must not run on that data directory. Clients that have seen events after the backup was made are told of
    a gap when they come back.

    Parameters
    ----------
    file:
        The backup.
    data_dir:
        Where ``doorstream serve`` will keep its data.
    nats_url:
        Restore into this NATS instead.
    """
    logs.configure(json=False)
    try:
        await asyncio.to_thread(check_backup, file)
        async with _nats(data_dir.absolute(), nats_url) as url:
            connection = Connection()
            await connection.open(url)
            try:
                with _progress(DownloadColumn()) as progress:
                    tasks: dict[str, TaskID] = {}

                    def show(stream: str, size: int) -> None:
                        task = tasks.setdefault(stream, progress.add_task(stream, total=None, visible=False))
                        progress.update(task, completed=size, visible=True)

                    extent = await put_back(connection, file, show)
            finally:
                await connection.close()
    except BackupError as error:
        raise CommandError(str(error), 2) from None
    except StartError as error:
        raise CommandError(str(error), 2) from None
    except (ApiError, LogUnavailable) as error:
        raise CommandError(f"the backup could not be put back: {error}") from None
    count = max(extent.last - extent.first + 1, 0)
    print(f"restored: {count} events; doorstream serve makes the index anew")


@contextlib.asynccontextmanager
async def _nats(data_dir: Path, url: str | None) -> AsyncIterator[str]:
    """The NATS to restore into: that of the url, or one that is started in the data directory."""
    if url is not None:
        yield url
        return
    lock = await lock_data_directory(data_dir)
    server = EmbeddedServer(data_dir, lock)
    try:
        await server.start()
        yield server.url
    finally:
        await server.stop()
        os.close(lock)


@index.command(name="rebuild")
async def index_rebuild(server: _At = _DEFAULT, *, offline: Path | None = None) -> None:
    """Have a running server make its index anew from the log, and wait until it is complete.

    Parameters
    ----------
    offline:
        Instead delete the index in the data directory of a server that does not run; its next start makes it anew.
    """
    if offline is not None:
        await _delete_index(offline.absolute())
        return
    async with server.open() as remote:
        begun = await remote.call("POST", "/api/index/rebuild")
        if begun["missing"]:
            workers = ", ".join(map(str, begun["missing"]))
            raise CommandError(f"worker {workers} did not answer and keeps its index; repeat this when it is back")
        last = begun["last"]
        with _progress(BarColumn(), MofNCompleteColumn()) as progress:
            task = progress.add_task("events", total=last)
            is_complete = False
            while not is_complete:
                await asyncio.sleep(_POLL)
                index = await remote.call("GET", "/api/index")
                progress.update(task, completed=min(index["applied"], last))
                is_complete = index["applied"] >= last and not index["missing"]
    print(f"the index is complete: {last} events")


async def _delete_index(data_dir: Path) -> None:
    if not data_dir.is_dir():
        raise CommandError(f"there is no directory {data_dir}", 2)
    try:
        lock = await lock_data_directory(data_dir, patience=0)
    except StartError as error:
        raise CommandError(f"{error}: without --offline a running server can be asked", 2) from None
    found = 0
    for number in range(_INDEX_FILES):
        for suffix in ("", "-wal", "-shm"):
            path = data_dir / (index_file(number) + suffix)
            found += path.exists()
            path.unlink(missing_ok=True)
    os.close(lock)
    print(f"{found} files deleted; the next start makes the index anew")


def _progress(*columns: BarColumn | DownloadColumn | MofNCompleteColumn) -> Progress:
    """Shown to people only, and gone afterwards."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), *columns, console=console, transient=True, disable=not sys.stderr.isatty()
    )
