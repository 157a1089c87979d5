"""Backups: everything that doorstream keeps, as one tar file that is made while it is in use.

The file holds ``manifest.json``, then for each stream ``<stream>/stream.json`` (its configuration and state) and
``<stream>/<number>`` (its bytes, in order), and at the end ``complete``: without it the file is a part of a backup.
It contains the signing keys and every secret of the installation.

The log is copied last. What refers to it, such as how far webhooks have come, is then never ahead of it; after a
restore webhooks deliver what happened in between once more, with the same ids.
"""

from __future__ import annotations

import contextlib
import io
import json
import secrets
import tarfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO, Any

from doorstream import __version__
from doorstream.log import ApiError, Connection, Extent, LogUnavailable
from doorstream.log.snapshot import EARLIER_KEY, EPOCH_KEY, restore, snapshot, stream_names

STREAMS = ("KV_doorstream", "KV_doorstream_status", "WEBHOOKS", "EVENTS")
"""What is copied, in this order."""

_LAST = STREAMS[-1]
_MANIFEST, _DESCRIPTION, _COMPLETE = "manifest.json", "stream.json", "complete"
_FORMAT = 1


class BackupError(Exception):
    """The file is no backup, or not a whole one; or there is something already where it should go."""


async def back_up(connection: Connection, clock: Callable[[], float] = time.time) -> AsyncGenerator[bytes, None]:
    """The bytes of a backup; raises LogUnavailable, and then what was given is not complete."""
    names = [name for name in STREAMS if name in await stream_names(connection)]
    now = clock()
    manifest = {"format": _FORMAT, "doorstream": __version__, "created": now, "streams": names}
    yield _member(_MANIFEST, _json(manifest), now)
    for name in names:
        async with snapshot(connection, name) as copy:
            yield _member(f"{name}/{_DESCRIPTION}", _json({"config": copy.config, "state": copy.state}), now)
            for number, chunk in enumerate(copy.chunks):
                yield _member(f"{name}/{number:08d}", chunk, now)
    yield _member(_COMPLETE, b"", now)
    yield bytes(tarfile.BLOCKSIZE * 2)


def check_backup(path: Path) -> dict[str, Any]:
    """Read a backup through and return its manifest; raises BackupError."""
    try:
        with tarfile.open(path, "r:") as file:
            first = file.next()
            if first is None or first.name != _MANIFEST:
                raise BackupError(f"{path} is no backup")
            manifest: dict[str, Any] = json.loads(_content(file, first))
            if manifest["format"] != _FORMAT:
                raise BackupError(f"{path} is of another version of doorstream ({manifest['doorstream']})")
            last = None
            for member in file:
                last = member
    except (tarfile.TarError, ValueError, KeyError, EOFError) as error:
        raise BackupError(f"{path} is no backup: {error}") from None
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror or error}") from None
    if last is None or last.name != _COMPLETE:
        raise BackupError(f"{path} is not complete: it was cut off while it was made or copied")
    return manifest


async def put_back(connection: Connection, path: Path, progress: Callable[[str, int], None]) -> Extent:
    """Restore a checked backup where doorstream has kept nothing yet; returns what the log holds.

    The log gets another epoch: what clients have seen after the backup was made happened in another log, and they are
    told so instead of being given other events under the same positions. ``progress`` is called with the stream and
    the number of bytes that were put back. Raises BackupError, ApiError or LogUnavailable.
    """
    there = [name for name in await stream_names(connection) if name in STREAMS]
    if there:
        raise BackupError(f"there is something already: {', '.join(there)}")
    try:
        with tarfile.open(path, "r:") as file:
            return await _put_back(connection, file, progress)
    except BaseException:  # half of it would look like an installation with an empty log
        for name in STREAMS:
            with contextlib.suppress(ApiError, LogUnavailable):
                await connection.api(f"STREAM.DELETE.{name}")
        raise


async def _put_back(connection: Connection, file: tarfile.TarFile, progress: Callable[[str, int], None]) -> Extent:
    extent = Extent(1, 0)
    members = iter(file)
    member = _skip(members)
    while member is not None and member.name != _COMPLETE:
        name = member.name.partition("/")[0]
        description = json.loads(_content(file, member))
        config, state = description["config"], description["state"]
        config["num_replicas"] = connection.new_replicas  # the backup may come from another kind of NATS
        config["metadata"] = _another_epoch(config.get("metadata") or {}, state["last_seq"])
        if name == _LAST:
            extent = Extent(max(state["first_seq"], 1), state["last_seq"])
        chunks = _Chunks(file, members, name, progress)
        await restore(connection, config, state, chunks)
        member = chunks.behind
    return extent


def _another_epoch(metadata: dict[str, str], last: int) -> dict[str, str]:
    """The metadata of a stream that is a copy: it has an epoch of its own, and remembers whose copy it is."""
    epoch = metadata.get(EPOCH_KEY)
    if epoch is None:
        return metadata
    earlier = f"{metadata.get(EARLIER_KEY, '')} {epoch}.{last}".strip()
    return metadata | {EPOCH_KEY: secrets.token_hex(4), EARLIER_KEY: earlier}


class _Chunks:
    """The bytes of one stream; ``behind`` is the member that follows them."""

    def __init__(
        self, file: tarfile.TarFile, members: Iterator[tarfile.TarInfo], name: str, progress: Callable[[str, int], None]
    ) -> None:
        self.behind: tarfile.TarInfo | None = None
        self._file, self._members, self._name, self._progress = file, members, name, progress

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        for member in self._members:
            if not member.name.startswith(f"{self._name}/"):
                self.behind = member
                return
            chunk = _content(self._file, member)
            yield chunk
            size += len(chunk)
            self._progress(self._name, size)


def _skip(members: Iterator[tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """The first member behind the manifest."""
    next(members)
    return next(members, None)


def _content(file: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content: IO[bytes] | None = file.extractfile(member)
    if content is None:
        raise BackupError(f"{member.name} is no file")
    return content.read()


def _member(name: str, content: bytes, now: float) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(content), int(now), 0o600
    buffer = io.BytesIO()
    buffer.write(entry.tobuf(tarfile.PAX_FORMAT))
    buffer.write(content)
    buffer.write(bytes(-len(content) % tarfile.BLOCKSIZE))
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
