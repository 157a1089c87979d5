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
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription

from doorstream.log.connection import Connection
from doorstream.log.errors import ApiError, LogUnavailable

_logger = structlog.get_logger(__name__)

_HEARTBEAT = 0.5
_PATIENCE = 2.5 * _HEARTBEAT
_INACTIVE = 5.0
_NANO = 1_000_000_000
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
    one turn of the loop. With ``latest_only`` the first read gives the last message of each subject instead of all.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        receive: Callable[[Record], None],
        *,
        latest_only: bool = False,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._receive = receive
        self._latest_only = latest_only
        self._last = 0
        self._delivered = 0
        self._seen = 0.0
        self._subscription: NatsSubscription | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._resetting = asyncio.Lock()
        self._caught_up = asyncio.Event()

    @property
    def last(self) -> int:
        """The sequence of the last message handed over."""
        return self._last

    async def start(self, after: int) -> None:
        """Begin after that sequence; raises ApiError or LogUnavailable."""
        self._last = after
        await self._reset()
        self._latest_only = False
        self._connection.on_reconnect(self._reconnected)
        self._watchdog = asyncio.create_task(self._watch(), name=f"tail of {self._stream}")

    async def caught_up(self) -> None:
        """Wait until everything that was stored at the start has been handed over."""
        await self._caught_up.wait()

    async def stop(self) -> None:
        """Stop handing over messages."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            await asyncio.gather(self._watchdog, return_exceptions=True)
        await self._unsubscribe()

    async def _reconnected(self) -> None:
        with contextlib.suppress(ApiError, LogUnavailable):  # the watchdog tries again
            await self._reset()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_HEARTBEAT / 2)
            if not self._connection.client.is_connected or loop.time() - self._seen < _PATIENCE:
                continue
            try:
                await self._reset()
            except (ApiError, LogUnavailable) as error:
                _logger.warning("the tail cannot go on yet", stream=self._stream, reason=str(error))

    async def _reset(self) -> None:
        """Ask for a new consumer right after the last message that was handed over."""
        async with self._resetting:
            await self._unsubscribe()
            self._delivered = 0
            self._seen = asyncio.get_running_loop().time()
            inbox = f"_INBOX.{secrets.token_hex(11)}"
            # Messages of an earlier consumer cannot arrive here: each has an inbox of its own.
            self._subscription = await self._connection.client.subscribe(
                inbox, cb=self._message, pending_msgs_limit=0, pending_bytes_limit=0
            )
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

    async def _message(self, message: Msg) -> None:
        self._seen = asyncio.get_running_loop().time()
        headers = message.headers
        if headers is not None and "Status" in headers:
            await self._status(message, headers)
            return
        record, delivered, pending = parse_delivery(message)
        if delivered != self._delivered + 1:
            self._seen = 0.0  # a hole: the watchdog asks again from the last one we have
            await self._reconnected()
            return
        self._delivered = delivered
        self._last = record.sequence
        self._receive(record)
        if pending == 0:
            self._caught_up.set()

    async def _status(self, message: Msg, headers: dict[str, str]) -> None:
        """Heartbeats and flow control (status 100); anything else means that the consumer is gone."""
        if headers["Status"] != "100":
            self._seen = 0.0
            return
        reply = message.reply or headers.get("Nats-Consumer-Stalled", "")
        if reply:
            with contextlib.suppress(LogUnavailable):
                await self._connection.publish(reply, b"", None, "")
        if int(headers.get("Nats-Last-Consumer", self._delivered)) != self._delivered:
            await self._reconnected()


_CONSUMER: dict[str, Any] = {
    "ack_policy": "none",
    "replay_policy": "instant",
    "flow_control": True,
    "idle_heartbeat": int(_HEARTBEAT * _NANO),
    "inactive_threshold": int(_INACTIVE * _NANO),
    "mem_storage": True,
    "num_replicas": 1,
}


def parse_delivery(message: Msg) -> tuple[Record, int, int]:
    """A delivered message, its number among the consumer's deliveries, and how many wait behind it."""
    tokens = message.reply.split(".")
    at = 5 if len(tokens) == _ACK_TOKENS else 7  # the longer form begins with the domain and the account
    record = Record(message.subject, message.data, message.headers, int(tokens[at]), int(tokens[at + 2]) // 1_000_000)
    return record, int(tokens[at + 1]), int(tokens[at + 3])
