"""Following a stream: every message once and in order, whatever happens to the server.

nats-py's own ordered consumer needs 16 to 20 s to notice that the server was restarted. This one asks for a new
consumer as soon as the connection is back, after two and a half missed heartbeats, and on any hole in the delivery
count; with that it goes on within milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog
from nats.aio.subscription import Subscription as NatsSubscription

from doorstream.log.client import parse_headers, publish_command, status_of
from doorstream.log.connection import Connection
from doorstream.log.errors import ApiError, LogUnavailable

_logger = structlog.get_logger(__name__)

_HEARTBEAT = 0.5
_PATIENCE = 2.5 * _HEARTBEAT
_RETRY = 0.1
_INACTIVE = 5.0
_NANO = 1_000_000_000
_CONTROL = b"100"
_ACK_TOKENS = 9  # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>


class Record(NamedTuple):
    """A stored message: ``sequence`` in its stream, ``time`` in milliseconds since 1970 UTC."""

    subject: str
    data: bytes
    headers: dict[str, str] | None
    sequence: int
    time: int


class Tail:
    """Hands every message after a sequence to ``receive``, in order, once, until stopped.

    ``receive`` is called from the event loop and must not block; messages that arrive together are handed over within
    one turn of the loop. With ``latest_only`` the first read gives the last message of each subject instead of all;
    without ``headers`` the records have none, which is faster.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        receive: Callable[[Record], None],
        *,
        latest_only: bool = False,
        headers: bool = True,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._receive = receive
        self._latest_only = latest_only
        self._with_headers = headers
        self._last = 0
        self._delivered = 0
        self._seen = 0.0
        self._subscription: NatsSubscription | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._needed = asyncio.Event()
        self._caught_up = asyncio.Event()

    @property
    def last(self) -> int:
        """The sequence of the last message handed over."""
        return self._last

    async def start(self, after: int) -> None:
        """Begin after that sequence; raises ApiError or LogUnavailable."""
        self._last = after
        try:
            await self._ask()
        except BaseException:
            await self._unsubscribe()
            raise
        self._latest_only = False
        self._connection.on_reconnect(self._reconnected)
        self._keeper = asyncio.create_task(self._keep(), name=f"tail of {self._stream}")

    async def caught_up(self) -> None:
        """Wait until everything that was stored at the start has been handed over."""
        await self._caught_up.wait()

    async def stop(self) -> None:
        """Stop handing over messages."""
        self._connection.off_reconnect(self._reconnected)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._unsubscribe()

    async def _reconnected(self) -> None:
        self._needed.set()

    async def _keep(self) -> None:
        """Ask for a new consumer whenever one is needed, until there is one."""
        loop = asyncio.get_running_loop()
        told = ""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEARTBEAT / 2):
                    await self._needed.wait()
            if not self._connection.client.is_connected:
                self._needed.clear()  # the reconnect sets it
                continue
            if not self._needed.is_set() and loop.time() - self._seen < _PATIENCE:
                continue
            self._needed.clear()
            try:
                await self._ask()
            except (ApiError, LogUnavailable) as error:
                if str(error) != told:
                    told = str(error)
                    _logger.warning("the tail cannot go on yet", stream=self._stream, reason=told)
            except Exception:
                _logger.exception("the tail cannot go on yet", stream=self._stream)
            else:
                told = ""
                continue
            await asyncio.sleep(_RETRY)
            self._needed.set()

    async def _ask(self) -> None:
        """Ask for a new consumer right after the last message that was handed over."""
        await self._unsubscribe()
        self._delivered = 0
        self._seen = asyncio.get_running_loop().time()
        inbox = f"_INBOX.{secrets.token_hex(11)}"
        # Messages of an earlier consumer cannot arrive here: each has an inbox of its own.
        self._subscription = await self._connection.client.listen(inbox, self._message)
        name = secrets.token_hex(8)
        config = {**self._start_policy(), **_CONSUMER, "name": name, "deliver_subject": inbox}
        answer = await self._connection.api(
            f"CONSUMER.CREATE.{self._stream}.{name}", {"stream_name": self._stream, "config": config}
        )
        if answer.get("num_pending", 0) == 0 and self._delivered == 0:
            self._caught_up.set()

    def _start_policy(self) -> dict[str, Any]:
        if self._latest_only:
            return {"deliver_policy": "last_per_subject", "filter_subject": ">"}
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": self._last + 1}

    async def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with contextlib.suppress(Exception):  # it may be gone with its connection
                await subscription.unsubscribe()

    def _message(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        self._seen = asyncio.get_running_loop().time()
        status = status_of(headers)
        if status:
            self._status(status, reply, headers)
            return
        tokens = reply.split(b".")
        at = 5 if len(tokens) == _ACK_TOKENS else 7  # the longer form begins with the domain and the account
        if int(tokens[at + 1]) != self._delivered + 1:  # a hole: go on from the last one that was handed over
            self._needed.set()
            return
        self._delivered += 1
        self._last = sequence = int(tokens[at])
        time = int(tokens[at + 2]) // 1_000_000
        parsed = parse_headers(headers) if headers and self._with_headers else None
        try:
            self._receive(Record(subject.decode(), data, parsed, sequence, time))
        finally:
            if tokens[at + 3] == b"0":
                self._caught_up.set()

    def _status(self, status: bytes, reply: bytes, block: bytes) -> None:
        """Heartbeats and flow control (status 100); anything else means that the consumer is gone."""
        if status != _CONTROL:
            self._needed.set()
            return
        headers = parse_headers(block)
        answer_to = reply.decode() or headers.get("Nats-Consumer-Stalled", "")
        if answer_to:
            with contextlib.suppress(LogUnavailable):
                self._connection.client.send(publish_command(answer_to, b""))
        if int(headers.get("Nats-Last-Consumer", self._delivered)) != self._delivered:
            self._needed.set()


_CONSUMER: dict[str, Any] = {
    "ack_policy": "none",
    "replay_policy": "instant",
    "flow_control": True,
    "idle_heartbeat": int(_HEARTBEAT * _NANO),
    "inactive_threshold": int(_INACTIVE * _NANO),
    "mem_storage": True,
    "num_replicas": 1,
}
