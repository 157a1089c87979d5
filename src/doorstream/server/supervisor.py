"""The parent: owns the listening socket, the embedded nats-server and the workers, and does nothing else.

A worker that dies is replaced while the socket stays open, so that a client that dials again at once waits in the
backlog instead of being refused. When the parent dies, however it dies, its children end with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable

import msgspec
import structlog

from doorstream.gateway.tls import Certificate, CertificateError
from doorstream.log import StartError
from doorstream.log.connection import REQUEST_TIMEOUT
from doorstream.log.embedded import EmbeddedServer, end_with_parent, lock_data_directory
from doorstream.server.control import Control, Failed, LogStuck, Orders, RenewCertificate, Started
from doorstream.server.settings import Settings

_logger = structlog.get_logger(__name__)

_BACKLOG = 4096
_STOP_PATIENCE = 8.0
_SHORT_LIFE = 5.0
_LONGEST_PAUSE = 5.0

OnStarted = Callable[[str, Started], None]


def public_url(settings: Settings, port: int) -> str:
    """The address under which clients find the server."""
    if settings.public_url is not None:
        return settings.public_url.rstrip("/")
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - compared, not bound
    return f"{'http' if settings.tls_cert is None else 'https'}://{host}:{port}"


class Supervisor:
    """Runs a server until it is told to stop.

    ``on_started(url, started)`` is called when it answers, and again whenever a worker has found a new directory and
    made an administrator: the key is shown at no other time.
    """

    def __init__(self, settings: Settings, on_started: OnStarted) -> None:
        self._settings = settings
        self._on_started = on_started
        self._name = secrets.token_hex(8)
        self._has_started = False
        self._stop = asyncio.Event()
        self._failure: StartError | None = None
        self._nats: EmbeddedServer | None = None
        self._nats_since = 0.0
        self._lock = -1
        self._url = ""
        self._controls: set[Control] = set()

    async def run(self) -> None:
        """Serve until SIGINT or SIGTERM; raises StartError."""
        os.umask(0o077)  # what is kept is about people, also in a data directory that others may enter
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        if not os.isatty(0):  # a terminal sends it when it goes away
            loop.add_signal_handler(signal.SIGHUP, self._renew_certificate)
        serving = asyncio.create_task(self._serve(), name="serving")
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        serving.cancel()  # wherever it is: whoever presses Ctrl-C during a long start need not wait for its end
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        if self._failure is not None:
            raise self._failure

    async def _serve(self) -> None:
        """Serve until cancelled; raises StartError."""
        _check_certificate(self._settings)
        self._lock = await lock_data_directory(self._settings.data_dir)
        try:
            listener = listen(self._settings)
            with listener:
                self._url = public_url(self._settings, listener.getsockname()[1])
                await self._keep_all(listener)
        finally:
            os.close(self._lock)

    async def _keep_all(self, listener: socket.socket) -> None:
        tasks: list[asyncio.Task[None]] = []
        try:
            nats_url = await self._start_nats()
            if self._nats is not None:
                tasks.append(asyncio.create_task(self._keep_nats(self._nats), name="nats-server"))
            tasks += [
                asyncio.create_task(self._keep_worker(number, nats_url, listener), name=f"worker {number}")
                for number in range(self._settings.workers)
            ]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # raises: these end by themselves only when something is wrong
        finally:
            await _end(tasks)  # the workers first: they still write
            if self._nats is not None:
                await self._nats.stop()

    async def _start_nats(self) -> str:
        if self._settings.nats_url is not None:
            return self._settings.nats_url
        self._nats = EmbeddedServer(self._settings.data_dir, self._lock)
        await self._nats.start()
        self._nats_since = time.monotonic()
        return self._nats.url

    async def _keep_nats(self, nats: EmbeddedServer) -> None:
        """Start nats-server again whenever it ends."""
        pause = _Pause()
        while True:
            status = await nats.wait()
            _logger.warning("nats-server ended and is started again", status=status)
            await pause.before_next()
            try:
                await nats.start()
                self._nats_since = time.monotonic()
            except StartError as error:
                _logger.error("nats-server does not start", reason=str(error))  # noqa: TRY400 - it is for operators

    async def _keep_worker(self, number: int, nats_url: str, listener: socket.socket) -> None:
        pause = _Pause()
        while True:
            status = await self._run_worker(number, nats_url, listener)
            if self._failure is not None:
                self._stop.set()
                return
            _logger.warning("a worker ended and is replaced", worker=number, status=status)
            await pause.before_next()

    async def _run_worker(self, number: int, nats_url: str, listener: socket.socket) -> int:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "doorstream.server.worker",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(theirs.fileno(), listener.fileno(), self._lock),
                preexec_fn=end_with_parent(signal.SIGKILL),  # it holds nothing that would have to be saved
            )
        control = await Control.open(ours)
        self._controls.add(control)
        try:
            control.say(Orders(self._worker_settings(), number, self._name, nats_url, listener.fileno()))
            listening = asyncio.create_task(self._listen_to(control))
            try:
                return await process.wait()
            finally:
                await _terminate(process)
                await listening
        finally:
            self._controls.discard(control)
            control.close()

    def _worker_settings(self) -> Settings:
        """The settings for a worker. A worker that replaces another does not import the file once more."""
        settings = msgspec.structs.replace(self._settings, public_url=self._url)
        return msgspec.structs.replace(settings, import_file=None) if self._has_started else settings

    async def _listen_to(self, control: Control) -> None:
        while (word := await control.hear()) is not None:
            if isinstance(word, Started):
                if not self._has_started or word.admin_key is not None:
                    self._has_started = True
                    self._on_started(self._url, word)
            elif isinstance(word, Failed):
                self._failed(word.reason)
            elif isinstance(word, LogStuck) and self._nats is not None:
                await self._restart_nats(self._nats)

    def _renew_certificate(self) -> None:
        for control in self._controls:
            control.say(RenewCertificate())

    def _failed(self, reason: str) -> None:
        """At the first start that is the end; later there are clients to serve, and it is tried again."""
        if not self._has_started:
            self._failure = StartError(reason)
        else:
            _logger.warning("a worker cannot start yet", reason=reason)

    async def _restart_nats(self, nats: EmbeddedServer) -> None:
        if time.monotonic() - self._nats_since < REQUEST_TIMEOUT:
            return  # it takes longer to leave a request unanswered: this is about the one before
        _logger.warning("nats-server does not answer and is restarted")
        await nats.stop()  # its keeper starts it again
        self._nats_since = time.monotonic()


class _Pause:
    """Waits before a restart: not at all after a good run, ever longer after short ones."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._length = 0.0

    async def before_next(self) -> None:
        lived = time.monotonic() - self._since
        self._length = 0.0 if lived > _SHORT_LIFE else min(max(self._length * 2, 0.1), _LONGEST_PAUSE)
        await asyncio.sleep(self._length)
        self._since = time.monotonic()


def _check_certificate(settings: Settings) -> None:
    """Raise StartError in one line unless the certificate can be used, if there is to be one."""
    if settings.tls_cert is not None and settings.tls_key is not None:
        try:
            Certificate(settings.tls_cert, settings.tls_key)
        except CertificateError as error:
            raise StartError(f"TLS: {error}") from None


def listen(settings: Settings) -> socket.socket:
    """The listening socket; raises StartError in one line."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(
            f"cannot listen on {settings.host} port {settings.port}: {os.strerror(error.errno or 0)}"
        ) from None
    return listener


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _terminate(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, so that it closes its connections; SIGKILL when it takes too long."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_PATIENCE)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
