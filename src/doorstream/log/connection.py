"""A connection to NATS with the settings that the log needs, and requests to the JetStream API."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec
import nats.errors
import structlog

from doorstream.log.client import LogClient, publish_command, status_of
from doorstream.log.errors import ApiError, LogUnavailable, StartError

_logger = structlog.get_logger(__name__)
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

REQUEST_TIMEOUT = 5.0
_CONNECT_PATIENCE = 10.0
_CLUSTER_PATIENCE = 20.0
_CLUSTER_PAUSE = 0.2
_CLUSTER_REPLICAS = 3
_MINIMUM_VERSION = (2, 12)
_RECOMMENDED_VERSION = (2, 15)

Callback = Callable[[], Awaitable[None]]


def _words(error: BaseException) -> str:
    """What went wrong, for operators."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return (str(error) or type(error).__name__).removeprefix("nats: ")


def api_answer(data: bytes) -> dict[str, Any]:
    """What the JetStream API answers; raises ApiError for a refusal."""
    content: dict[str, Any] = _decode(data)
    error = content.get("error")
    if error is not None:
        raise ApiError(error.get("err_code", 0), error.get("description", "refused"))
    return content


class Connection:
    """One connection to NATS that comes back by itself.

    While it is away nothing is buffered: nats-py would otherwise send, after the reconnect, what a caller was told
    had failed. ``on_disconnect`` and ``on_reconnect`` are called in the order in which they were added.
    """

    def __init__(self, *, replicas: int | None = None) -> None:
        """``replicas``: on how many servers every stream is to be kept; None: see ``new_replicas``."""
        self.client = LogClient()
        self.replicas = replicas
        self._on_disconnect: list[Callable[[], None]] = []
        self._on_reconnect: list[Callback] = []
        self._on_stuck: list[Callable[[], None]] = []
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._requests = 0
        self._answers: dict[bytes, asyncio.Future[bytes]] = {}
        self._expected: set[asyncio.Future[Any]] = set()
        self._last_error = ""

    async def open(self, url: str) -> None:
        """Connect; raises StartError when the server cannot be reached or refuses us."""
        try:
            async with asyncio.timeout(_CONNECT_PATIENCE):
                await self._connect(url)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            with contextlib.suppress(Exception):
                await self.client.close()
            reason = self._last_error if isinstance(error, TimeoutError) and self._last_error else _words(error)
            raise StartError(f"NATS cannot be reached: {reason}") from None
        version = self.client.connected_server_version
        if (version.major, version.minor) < _MINIMUM_VERSION:
            await self.client.close()
            raise StartError(f"NATS {version} is too old: doorstream needs 2.12, and 2.15 or newer to be fast")
        if (version.major, version.minor) < _RECOMMENDED_VERSION:
            _logger.warning("nats is old", version=str(version), recommended="2.15")
        await self.client.listen(f"{self._inbox}.*", self._answered)
        if self.is_clustered:
            await self._cluster_ready()

    @property
    def is_clustered(self) -> bool:
        """Whether the server belongs to a cluster."""
        return bool(self.client.server_info.get("cluster"))

    @property
    def new_replicas(self) -> int:
        """On how many servers a stream is to be kept that does not exist yet: on three of a cluster."""
        if self.replicas is not None:
            return self.replicas
        return _CLUSTER_REPLICAS if self.is_clustered else 1

    async def close(self) -> None:
        """Close without waiting for anything."""
        self._on_disconnect.clear()
        self._on_reconnect.clear()
        await self.client.close()

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called whenever the connection is lost."""
        self._on_disconnect.append(callback)

    def on_reconnect(self, callback: Callback) -> None:
        """Have ``callback`` awaited whenever the connection is back."""
        self._on_reconnect.append(callback)

    def on_stuck(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when the server is there but leaves a publish without an answer.

        A stream whose disk was full stays like that until nats-server is restarted.
        """
        self._on_stuck.append(callback)

    def report_stuck(self) -> None:
        """A publish was not answered in time."""
        if self.client.is_connected:
            for callback in self._on_stuck:
                callback()

    def off_reconnect(self, callback: Callback) -> None:
        """Have ``callback`` no longer awaited; it need not have been added."""
        with contextlib.suppress(ValueError):
            self._on_reconnect.remove(callback)

    @contextlib.contextmanager
    def expecting(self, answer: asyncio.Future[Any]) -> Iterator[None]:
        """Meanwhile have ``answer`` fail with LogUnavailable as soon as the connection is lost: nobody will answer."""
        self._expected.add(answer)
        try:
            yield
        finally:
            self._expected.discard(answer)

    async def request(self, subject: str, payload: bytes = b"") -> bytes:
        """One question, one answer; raises LogUnavailable."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._requests += 1
        reply = f"{self._inbox}.{self._requests}"
        self._answers[reply.encode()] = answer
        try:
            with self.expecting(answer):
                self.client.send(publish_command(subject, payload, reply=reply))
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    return await answer
        except TimeoutError:
            raise LogUnavailable("NATS did not answer") from None
        finally:
            del self._answers[reply.encode()]

    async def api(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the JetStream API (``verb`` without ``$JS.API.``); raises ApiError or LogUnavailable."""
        return api_answer(await self.request(f"$JS.API.{verb}", _encode(body) if body else b""))

    async def _cluster_ready(self) -> None:
        """A cluster that was just started elects who answers first; raises StartError when that takes too long."""
        reason = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLUSTER_PATIENCE):
                while True:
                    try:
                        await self.api("INFO")
                    except (ApiError, LogUnavailable) as error:
                        reason = str(error)
                    else:
                        return
                    await asyncio.sleep(_CLUSTER_PAUSE)
        await self.client.close()
        raise StartError(f"the NATS cluster is not ready: {reason or 'it does not answer'}")

    async def _connect(self, url: str) -> None:
        servers = [part.strip() for part in url.split(",")]
        first = urlsplit(servers[0])
        await self.client.connect(
            servers,
            user=first.username if first.password is not None else None,  # also for servers that the cluster names
            password=first.password,
            name="doorstream",
            pending_size=0,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.05,  # type: ignore[arg-type]  # it is slept: fractions work
            connect_timeout=2,
            ping_interval=5,
            max_outstanding_pings=2,
            error_cb=self._error,
            disconnected_cb=self._disconnected,
            reconnected_cb=self._reconnected,
        )

    def _answered(self, subject: bytes, _reply: bytes, data: bytes, headers: bytes) -> None:
        answer = self._answers.get(subject)
        if answer is None or answer.done():
            return
        if status_of(headers):  # 503: nobody listens, JetStream is not there (yet)
            answer.set_exception(LogUnavailable("JetStream is not available"))
        else:
            answer.set_result(data)

    async def _error(self, error: Exception) -> None:
        if not (isinstance(error, OSError) and self._last_error):  # a refusal says more than the hang-up after it
            self._last_error = _words(error)
        _logger.debug("nats", error=_words(error))

    async def _disconnected(self) -> None:
        if not self.client.is_closed:
            _logger.warning("nats is away")
        for answer in self._expected:
            if not answer.done():
                answer.set_exception(LogUnavailable("NATS went away before it answered"))
        for callback in self._on_disconnect:
            callback()

    async def _reconnected(self) -> None:
        _logger.info("nats is back")
        for callback in self._on_reconnect:
            await callback()
