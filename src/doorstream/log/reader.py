"""Reading what is already stored, a range at a time. Leaves nothing behind on the server."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from datetime import datetime
from typing import Any

import msgspec
from nats.aio.msg import Msg

from doorstream.log.connection import REQUEST_TIMEOUT, Connection
from doorstream.log.errors import LogUnavailable
from doorstream.log.tail import Record

MAX_RANGE = 1000
_MAX_BYTES = 4_000_000
_END_OF_BATCH = "204"
_NOT_FOUND = "404"

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
        subscription = await client.subscribe(inbox, cb=answer.receive, pending_msgs_limit=0, pending_bytes_limit=0)
        try:
            ask: dict[str, Any] = {
                "seq": after + 1,
                "next_by_subj": subject,
                "batch": min(limit, MAX_RANGE),
                "max_bytes": _MAX_BYTES,
            }
            await self._connection.publish(self._subject, _encode(ask), None, inbox)
            await asyncio.wait_for(answer.complete, REQUEST_TIMEOUT)
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

    async def receive(self, message: Msg) -> None:
        headers = message.headers or {}
        status = headers.get("Status")
        if status is None and "Nats-Sequence" in headers:
            self.records.append(
                Record(
                    headers["Nats-Subject"],
                    message.data,
                    headers,
                    int(headers["Nats-Sequence"]),
                    int(datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp() * 1000),
                )
            )
        elif not self.complete.done():
            if status in (_END_OF_BATCH, _NOT_FOUND):
                self.complete.set_result(None)
            else:
                self.complete.set_exception(LogUnavailable(headers.get("Description", "no answer")))
