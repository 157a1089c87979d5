"""Group commit: many appends become few fsyncs, and stay in the order in which they arrived.

A lone message is published by itself: one fsync, and nothing to wait for. When more than ``PIPELINED`` wait, they go
as one atomic batch, which costs about four fsyncs whatever its size. The break-even was measured at some 15 messages.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from nats.aio.msg import Msg

from doorstream.log.connection import REQUEST_TIMEOUT, Connection
from doorstream.log.errors import ApiError, DuplicateId, LogUnavailable

PIPELINED = 15
GROUPED = 256
MAX_BATCH = 1000
"""JetStream refuses larger atomic batches (err_code 10199)."""

_DUPLICATE_IN_BATCH = 10201
_SWEEP = 0.5

_decode = msgspec.json.Decoder().decode


class Message(NamedTuple):
    """Something to append: its subject, its payload, and its headers (``Nats-Msg-Id`` deduplicates)."""

    subject: str
    payload: bytes
    headers: dict[str, str]


class Stored(NamedTuple):
    """Where a message stands. ``duplicate``: it stood there before, and was not stored again."""

    sequence: int
    duplicate: bool


class _Waiting(NamedTuple):
    messages: Sequence[Message]
    atomic: bool
    done: asyncio.Future[list[Stored]]


class GroupCommit:
    """The only writer to one stream from this process.

    Every append is answered once it is durable. One that gets no answer fails with LogUnavailable: it may be stored.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._singles_in_flight = 0
        self._acks: dict[str, tuple[asyncio.Future[dict[str, Any]], float]] = {}
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._counter = 0
        self._writer: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to accept appends."""
        await self._connection.client.subscribe(f"{self._inbox}.*", cb=self._acknowledged, pending_bytes_limit=0)
        self._connection.on_disconnect(self._fail_all)
        self._writer = asyncio.create_task(self._write(), name="group commit")
        self._sweeper = asyncio.create_task(self._sweep(), name="group commit time-outs")

    async def stop(self) -> None:
        """Stop; whatever still waits fails with LogUnavailable."""
        for task in (self._writer, self._sweeper):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._fail_all()
        while self._waiting:
            _fail(self._waiting.popleft(), LogUnavailable("shutting down"))

    async def append(self, message: Message) -> Stored:
        """Append one message, together with others that happen to wait."""
        return (await self._submit([message], atomic=False))[0]

    async def append_batch(self, messages: Sequence[Message]) -> list[Stored]:
        """Append up to 1,000 messages, all or none; raises DuplicateId when the log has one of the ids."""
        if not messages:
            return []
        if len(messages) > MAX_BATCH:
            raise ValueError(f"at most {MAX_BATCH} messages in one atomic batch")
        return await self._submit(messages, atomic=len(messages) > 1)

    def _submit(self, messages: Sequence[Message], *, atomic: bool) -> asyncio.Future[list[Stored]]:
        done: asyncio.Future[list[Stored]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(messages, atomic, done))
        self._wake.set()
        return done

    async def _write(self) -> None:
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            if self._waiting[0].atomic:
                await self._write_batches(self._take_batches())
            elif self._singles_waiting() + self._singles_in_flight <= PIPELINED:
                await self._write_single(self._waiting.popleft())
            else:
                await self._write_group(self._take_singles())

    def _singles_waiting(self) -> int:
        count = 0
        for item in self._waiting:
            if item.atomic or count > PIPELINED:
                break
            count += 1
        return count

    def _take_singles(self) -> list[_Waiting]:
        taken: list[_Waiting] = []
        while self._waiting and not self._waiting[0].atomic and len(taken) < GROUPED:
            taken.append(self._waiting.popleft())
        return taken

    def _take_batches(self) -> list[_Waiting]:
        """Whole batches that fit into one: they share its fsyncs."""
        taken = [self._waiting.popleft()]
        size = len(taken[0].messages)
        while self._waiting and self._waiting[0].atomic and size + len(self._waiting[0].messages) <= MAX_BATCH:
            taken.append(self._waiting.popleft())
            size += len(taken[-1].messages)
        return taken

    async def _write_single(self, item: _Waiting) -> None:
        """Publish without waiting for the answer: answers come back in order."""
        try:
            ack = await self._publish(item.messages[0], acknowledge=True)
        except LogUnavailable as error:
            _fail(item, error)
            return
        assert ack is not None  # noqa: S101 - asked for
        self._singles_in_flight += 1
        ack.add_done_callback(lambda answered: self._single_done(item, answered))

    def _single_done(self, item: _Waiting, answered: asyncio.Future[dict[str, Any]]) -> None:
        self._singles_in_flight -= 1
        try:
            _succeed(item, [_stored(answered.result())])
        except (ApiError, LogUnavailable) as error:
            _fail(item, error)

    async def _write_group(self, items: list[_Waiting]) -> None:
        """Singles that happen to wait together; a known id among them must not harm the others."""
        try:
            stored = await self._commit([item.messages[0] for item in items])
        except DuplicateId:
            for item in items:
                await self._write_single(item)
        except (ApiError, LogUnavailable) as error:
            for item in items:
                _fail(item, error)
        else:
            for item, place in zip(items, stored, strict=True):
                _succeed(item, [place])

    async def _write_batches(self, items: list[_Waiting]) -> None:
        try:
            stored = await self._commit([message for item in items for message in item.messages])
        except DuplicateId as error:
            if len(items) == 1:
                _fail(items[0], error)
            else:
                for item in items:
                    await self._write_batches([item])
        except (ApiError, LogUnavailable) as error:
            for item in items:
                _fail(item, error)
        else:
            at = 0
            for item in items:
                _succeed(item, stored[at : at + len(item.messages)])
                at += len(item.messages)

    async def _commit(self, messages: Sequence[Message]) -> list[Stored]:
        """Publish one atomic batch; the last message's answer is the answer for all."""
        batch = secrets.token_hex(12)
        last = len(messages)
        ack: asyncio.Future[dict[str, Any]] | None = None
        for number, message in enumerate(messages, 1):
            headers = {**message.headers, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            if number == last:
                headers["Nats-Batch-Commit"] = "1"
            ack = await self._publish(Message(message.subject, message.payload, headers), acknowledge=number == last)
        assert ack is not None  # noqa: S101 - a batch has a last message
        try:
            sequence = (await ack)["seq"]
        except ApiError as error:
            if error.code == _DUPLICATE_IN_BATCH:
                raise DuplicateId(str(error)) from None
            raise
        return [Stored(sequence - last + number, duplicate=False) for number in range(1, last + 1)]

    async def _publish(self, message: Message, *, acknowledge: bool) -> asyncio.Future[dict[str, Any]] | None:
        reply = ""
        ack: asyncio.Future[dict[str, Any]] | None = None
        if acknowledge:
            self._counter += 1
            reply = f"{self._inbox}.{self._counter}"
            loop = asyncio.get_running_loop()
            ack = loop.create_future()
            self._acks[reply] = (ack, loop.time() + REQUEST_TIMEOUT)
        try:
            await self._connection.publish(message.subject, message.payload, message.headers, reply)
        except LogUnavailable:
            self._acks.pop(reply, None)
            raise
        return ack

    async def _acknowledged(self, message: Msg) -> None:
        waiting = self._acks.pop(message.subject, None)
        if waiting is None or waiting[0].done():
            return
        if not message.data:
            waiting[0].set_exception(LogUnavailable("JetStream does not answer"))
            return
        answer = _decode(message.data)
        error = answer.get("error")
        if error is None:
            waiting[0].set_result(answer)
        elif error.get("code") == 503:  # noqa: PLR2004 - JetStream's code for "not now"
            waiting[0].set_exception(LogUnavailable(error.get("description", "")))
        else:
            waiting[0].set_exception(ApiError(error.get("err_code", 0), error.get("description", "")))

    def _fail_all(self) -> None:
        """The connection is gone: nobody will answer what was sent over it."""
        acks, self._acks = self._acks, {}
        for ack, _ in acks.values():
            if not ack.done():
                ack.set_exception(LogUnavailable("NATS went away before it answered"))

    async def _sweep(self) -> None:
        """Fail what was not answered in time; answers come in order, so the oldest are first."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP)
            now = loop.time()
            for reply, (ack, deadline) in list(self._acks.items()):
                if deadline > now:
                    break
                del self._acks[reply]
                if not ack.done():
                    ack.set_exception(LogUnavailable("NATS did not answer"))
                    self._connection.report_stuck()


def _stored(answer: dict[str, Any]) -> Stored:
    return Stored(answer["seq"], answer.get("duplicate", False))


def _succeed(item: _Waiting, stored: list[Stored]) -> None:
    if not item.done.done():
        item.done.set_result(stored)


def _fail(item: _Waiting, error: Exception) -> None:
    if not item.done.done():
        item.done.set_exception(error)
