"""``doorstream check``: whether a server could run here, before it has to."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zoneinfo
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

from cryptography import x509
from cyclopts import Parameter
from rich.console import Console

from doorstream.cli.errors import CommandError
from doorstream.cli.serve import SERVE_DIRECTORY, Listen
from doorstream.gateway.tls import Certificate, CertificateError
from doorstream.ingest.space import default_reserve
from doorstream.log import Connection, StartError
from doorstream.log.embedded import find_binary, lock_data_directory
from doorstream.server import logs
from doorstream.server.settings import Settings
from doorstream.server.supervisor import listen as open_listener

_SYNCS = 20
_SLOW_SYNC = 0.02
_FEW_FILES = 4096
_MEGABYTE = 1_000_000
_OLDEST_CLOCK = 1_760_000_000  # October 2025: a clock that is right shows no earlier time
_SOON = 14 * 86_400  # seconds before a certificate's end: a program that renews it has done so by then
_STA_UNSYNC = 0x40
_TIMEX_SIZE, _TIMEX_STATUS = 512, 40  # bytes, of Linux' struct timex on 64-bit machines; generous

Level = Literal["ok", "warning", "error"]
_MARKS: dict[Level, str] = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "error": "[red]error[/]  "}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: about what, and in one sentence."""

    level: Level
    subject: str
    text: str


_DEFAULTS = Listen()


async def check(listen: Annotated[Listen, Parameter(name="*")] = _DEFAULTS) -> None:
    """Look whether ``serve`` with the same options could run here: address, directory, disk, NATS, clock and limits.

    Takes ``--config`` as ``serve`` does. Ends with status 1 if a server could not run.
    """
    logs.configure(json=False)
    console = Console(highlight=False, soft_wrap=True)
    is_bad = False
    for look in (_address, _certificate, _directory, _disk, _nats, _clock, _limits):
        for finding in await look(listen):
            console.print(f"{_MARKS[finding.level]} {finding.subject}: {finding.text}")
            is_bad = is_bad or finding.level == "error"
    if is_bad:
        raise CommandError("a server could not run like this")


Look = Callable[[Listen], Awaitable[list[Finding]]]


def _directory_of(options: Listen) -> Path:
    return (options.data_dir or SERVE_DIRECTORY).absolute()


async def _address(options: Listen) -> list[Finding]:
    try:
        open_listener(Settings(host=options.host, port=options.port)).close()
    except StartError as error:
        return [Finding("error", "address", str(error))]
    found = [Finding("ok", "address", f"{options.host} port {options.port} is free")]
    is_open = options.host not in ("127.0.0.1", "::1", "localhost")
    if is_open and options.tls_cert is None and not (options.public_url or "").startswith("https:"):
        found.append(
            Finding(
                "warning",
                "address",
                "other machines can connect without TLS: give --tls-cert, or use a proxy and --public-url https:…",
            )
        )
    return found


async def _certificate(options: Listen) -> list[Finding]:
    if options.tls_cert is None and options.tls_key is None:
        return []
    if options.tls_cert is None or options.tls_key is None:
        return [Finding("error", "TLS", "--tls-cert and --tls-key belong together")]
    try:
        Certificate(options.tls_cert, options.tls_key)
    except CertificateError as error:
        return [Finding("error", "TLS", str(error))]
    end = x509.load_pem_x509_certificates(options.tls_cert.read_bytes())[0].not_valid_after_utc
    left = end.timestamp() - time.time()
    level: Level = "error" if left < 0 else "warning" if left < _SOON else "ok"
    return [Finding(level, "TLS", f"the certificate is good until {end:%Y-%m-%d %H:%M} UTC")]


async def _directory(options: Listen) -> list[Finding]:
    directory = _directory_of(options)
    is_new = not directory.exists()
    try:
        lock = await lock_data_directory(directory, patience=0)
    except StartError as error:
        return [Finding("error", "data directory", str(error))]
    try:
        if is_new:
            (directory / "lock").unlink()
            with contextlib.suppress(OSError):  # somebody has put something there
                directory.rmdir()
    finally:
        os.close(lock)
    if not is_new and directory.stat().st_mode & 0o077:
        return [Finding("warning", "data directory", f"{directory} can be read by other users: chmod 700 it")]
    return [Finding("ok", "data directory", f"{directory} can be used")]


async def _disk(options: Listen) -> list[Finding]:
    place = _directory_of(options)
    while not place.is_dir():
        place = place.parent
    free, reserve = shutil.disk_usage(place).free, default_reserve(place)
    size = f"{free // _MEGABYTE:,} MB are free, {reserve // _MEGABYTE:,} MB of which stay in reserve"
    found = [Finding("ok" if free > 4 * reserve else "error" if free < reserve else "warning", "disk", size)]
    if options.nats_url is None:
        try:
            seconds = await asyncio.to_thread(_sync_time, place)
        except OSError as error:
            return [*found, Finding("error", "disk", f"{place} cannot be written: {error.strerror}")]
        text = f"an fsync takes {seconds * 1000:.1f} ms"
        if seconds > _SLOW_SYNC:
            text += ": every event waits for one"
        found.append(Finding("warning" if seconds > _SLOW_SYNC else "ok", "disk", text))
    return found


def _sync_time(place: Path) -> float:
    """Seconds that a small write takes until it is durable."""
    times = []
    with tempfile.TemporaryFile(dir=place) as file:
        for _ in range(_SYNCS):
            began = time.monotonic()
            file.write(b"0" * 500)
            file.flush()
            os.fsync(file.fileno())
            times.append(time.monotonic() - began)
    return median(times)


async def _nats(options: Listen) -> list[Finding]:
    if options.nats_url is None:
        try:
            binary = find_binary()
            answer = await asyncio.to_thread(
                subprocess.run, [binary, "--version"], capture_output=True, text=True, check=True
            )
        except (StartError, OSError, subprocess.CalledProcessError) as error:
            return [Finding("error", "nats-server", str(error))]
        return [Finding("ok", "nats-server", f"{answer.stdout.strip()} ({binary})")]
    connection = Connection()
    try:
        await connection.open(options.nats_url)
    except StartError as error:
        return [Finding("error", "NATS", str(error))]
    try:
        await connection.api("INFO")
        version = connection.client.connected_server_version
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return [Finding("error", "NATS", f"JetStream is not available: {error}")]
    finally:
        await connection.close()
    return [
        Finding("ok", "NATS", f"version {version}, JetStream is available"),
        Finding("warning", "NATS", "whether it syncs each message to disk cannot be seen: set sync_interval: always"),
    ]


async def _clock(_: Listen) -> list[Finding]:
    found = []
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now))
    if now < _OLDEST_CLOCK:
        found.append(Finding("error", "clock", f"it shows {shown} UTC, which is long ago: tokens would not be valid"))
    elif _is_synchronised() is False:
        found.append(Finding("warning", "clock", f"it shows {shown} UTC and nothing keeps it right: use NTP"))
    else:
        found.append(Finding("ok", "clock", f"it shows {shown} UTC"))
    try:
        zoneinfo.ZoneInfo("Europe/Amsterdam")
    except zoneinfo.ZoneInfoNotFoundError:
        found.append(Finding("warning", "clock", "no time zone data: install tzdata, or local times will be UTC"))
    return found


def _is_synchronised() -> bool | None:
    """Whether the kernel says that something keeps the clock right; None where it does not say."""
    if not sys.platform.startswith("linux") or sys.maxsize < 2**32:
        return None
    state = (ctypes.c_char * _TIMEX_SIZE)()
    if ctypes.CDLL(None).adjtimex(state) < 0:
        return None
    status = int.from_bytes(state.raw[_TIMEX_STATUS : _TIMEX_STATUS + 4], sys.byteorder)
    return not status & _STA_UNSYNC


async def _limits(_: Listen) -> list[Finding]:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if files != resource.RLIM_INFINITY and files < _FEW_FILES:
        return [Finding("warning", "open files", f"at most {files}, and each client is one: raise the limit")]
    return [Finding("ok", "open files", "no limit" if files == resource.RLIM_INFINITY else f"up to {files:,}")]
