"""Reading what is already stored, a range at a time. Leaves nothing behind on the server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
from datetime import datetime
from typing import Any

import msgspec

from doorstream.log.client import parse_headers, publish_command, status_of
from doorstream.log.connection import REQUEST_TIMEOUT, Connection
from doorstream.log.errors import ApiError, LogUnavailable
from doorstream.log.tail import Record

MAX_RANGE = 1000
_MAX_BYTES = 4_000_000
_END_OF_BATCH = b"204"
_NOT_FOUND = b"404"
_NO_MESSAGE = 10037

_encode = msgspec.json.Encoder().encode


class Reader:
    """Direct reads from one stream."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._stream = stream
        self._subject = f"$JS.API.DIRECT.GET.{stream}"

    async def read(self, after: int, subject: str, limit: int = MAX_RANGE) -> list[Record]:
        """Up to ``limit`` messages of ``subject`` (wildcards allowed) after a sequence, oldest first.

        Fewer may be returned when they are large; none means that there are no more. Raises LogUnavailable.
        """
        inbox = f"_INBOX.{secrets.token_hex(11)}"
        answer = _Answer()
        client = self._connection.client
        ask: dict[str, Any] = {
            "seq": after + 1,
            "next_by_subj": subject,
            "batch": min(limit, MAX_RANGE),
            "max_bytes": _MAX_BYTES,
        }
        subscription = await client.listen(inbox, answer.receive)
        try:
            with self._connection.expecting(answer.complete):
                client.send(publish_command(self._subject, _encode(ask), reply=inbox))
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    await answer.complete
        except TimeoutError:
            raise LogUnavailable("NATS did not answer") from None
        finally:
            with contextlib.suppress(Exception):  # it may be gone with its connection
                await subscription.unsubscribe()
        return answer.records

    async def read_next(self, after: int, subject: str) -> list[Record]:
        """The next message, if there is one, as the stream's leader knows it; raises LogUnavailable.

        In a cluster ``read`` is answered by any of the servers that keep the stream. One that is a moment behind does
        not know the last messages yet: when it has no more, the leader has the last word.
        """
        try:
            answer = await self._connection.api(
                f"STREAM.MSG.GET.{self._stream}", {"seq": after + 1, "next_by_subj": subject}
            )
        except ApiError as error:
            if error.code == _NO_MESSAGE:
                return []
            raise LogUnavailable(f"the log cannot be read: {error}") from None
        message = answer["message"]
        headers = parse_headers(base64.b64decode(message.get("hdrs", "")))
        data = base64.b64decode(message.get("data", ""))
        return [Record(message["subject"], data, headers, message["seq"], _milliseconds(message["time"]))]


def _milliseconds(text: str) -> int:
    """Since 1970, of a time as NATS writes it."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


class _Answer:
    """Collects the messages of one answer until its end."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def receive(self, _subject: bytes, _reply: bytes, data: bytes, block: bytes) -> None:
        status = status_of(block)
        if not status:
            headers = parse_headers(block)
            self.records.append(
                Record(
                    headers["Nats-Subject"],
                    data,
                    headers,
                    int(headers["Nats-Sequence"]),
                    _milliseconds(headers["Nats-Time-Stamp"]),
                )
            )
        elif not self.complete.done():
            if status in (_END_OF_BATCH, _NOT_FOUND):
                self.complete.set_result(None)
            else:
                reason = block.partition(b"\r\n")[0].decode(errors="replace")
                self.complete.set_exception(LogUnavailable(f"the log cannot be read: {reason}"))
