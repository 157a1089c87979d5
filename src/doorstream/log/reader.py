"""Reading what is already stored, a range at a time. Leaves nothing behind on the server."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from datetime import datetime
from typing import Any

import msgspec

from doorstream.log.client import parse_headers, publish_command, status_of
from doorstream.log.connection import REQUEST_TIMEOUT, Connection
from doorstream.log.errors import LogUnavailable
from doorstream.log.tail import Record

MAX_RANGE = 1000
_MAX_BYTES = 4_000_000
_END_OF_BATCH = b"204"
_NOT_FOUND = b"404"

_encode = msgspec.json.Encoder().encode


class Reader:
    """Direct reads from one stream."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
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
                    int(datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp() * 1000),
                )
            )
        elif not self.complete.done():
            if status in (_END_OF_BATCH, _NOT_FOUND):
                self.complete.set_result(None)
            else:
                reason = block.partition(b"\r\n")[0].decode(errors="replace")
                self.complete.set_exception(LogUnavailable(f"the log cannot be read: {reason}"))
