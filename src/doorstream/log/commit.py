"""Group commit: many appends become few fsyncs, and stay in the order in which they arrived.

A lone message is published by itself: one fsync, and nothing to wait for. When more than ``PIPELINED`` wait, they go
as one atomic batch, which costs about four fsyncs whatever its size. The break-even was measured at some 15 messages.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import structlog

from doorstream.log.client import publish_command, status_of
from doorstream.log.connection import REQUEST_TIMEOUT, Connection
from doorstream.log.errors import ApiError, DuplicateId, LogError, LogUnavailable, StorageFull

_logger = structlog.get_logger(__name__)

PIPELINED = 15
GROUPED = 256
MAX_BATCH = 1000
"""JetStream refuses larger atomic batches (err_code 10199)."""

_DUPLICATE_IN_BATCH = 10201
_TOO_LARGE = 10054
_NOT_NOW = 503
_REPEATABLE = (10176, 10210)  # a batch that got lost on the way, as on a disk that is full, and too many open batches
_NO_ROOM = (10002, 10023, 10047, 10077)
_SWEEP = 0.5


class Message(NamedTuple):
    """Something to append: its subject, its payload, and its headers (``Nats-Msg-Id`` deduplicates)."""

    subject: str
    payload: bytes
    headers: dict[str, str]


class Stored(NamedTuple):
    """Where a message stands. ``duplicate``: it stood there before, and was not stored again."""

    sequence: int
    duplicate: bool


class _Refusal(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Ack(msgspec.Struct):
    """JetStream's answer to a publish."""

    seq: int = 0
    duplicate: bool = False
    error: _Refusal | None = None


_decode = msgspec.json.Decoder(_Ack).decode


class _Encoded(NamedTuple):
    """A message on its way: its headers are lines already."""

    subject: str
    payload: bytes
    headers: str


class _Waiting(NamedTuple):
    messages: Sequence[_Encoded]
    atomic: bool
    done: asyncio.Future[list[Stored]]
    since: float


class GroupCommit:
    """The only writer to one stream from this process.

    Every append is answered once it is durable. One that gets no answer within REQUEST_TIMEOUT of being asked for,
    however it spent that time, fails with LogUnavailable: it may be stored. StorageFull means that the server has no
    room for it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[_Waiting] = deque()
        self._unanswered: deque[_Waiting] = deque()  # in the order of their time; answered ones leave at each sweep
        self._writing: Sequence[_Waiting] = ()
        self._wake = asyncio.Event()
        self._singles_in_flight = 0
        self._acks: dict[bytes, tuple[asyncio.Future[_Ack], float]] = {}
        self._name = secrets.token_hex(6)
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._counter = 0
        self._writer: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to accept appends."""
        await self._connection.client.listen(f"{self._inbox}.*", self._acknowledged)
        self._connection.on_disconnect(self._fail_sent)
        self._writer = asyncio.create_task(self._write(), name="group commit")
        self._sweeper = asyncio.create_task(self._sweep(), name="group commit time-outs")

    async def stop(self) -> None:
        """Stop; whatever still waits fails with LogUnavailable."""
        for task in (self._writer, self._sweeper):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._fail_sent()
        for item in (*self._writing, *self._waiting):
            _fail(item, LogUnavailable("shutting down"))
        self._waiting.clear()

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
        limit = self._connection.client.max_payload
        encoded = [_encoded(message, limit) for message in messages]
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[Stored]] = loop.create_future()
        item = _Waiting(encoded, atomic, done, loop.time())
        self._waiting.append(item)
        self._unanswered.append(item)
        self._wake.set()
        return done

    async def _write(self) -> None:
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            pipelined = self._singles_waiting() + self._singles_in_flight <= PIPELINED
            self._writing = self._take(1 if pipelined else GROUPED)
            try:
                if self._writing and not self._writing[0].atomic and pipelined:
                    self._write_single(self._writing[0])
                elif self._writing:
                    await self._write_together(self._writing)
            except Exception as error:  # whoever waits must be told, and the others go on
                _logger.exception("an append failed")
                for item in self._writing:
                    _fail(item, LogUnavailable(str(error)))
            self._writing = ()

    def _singles_waiting(self) -> int:
        count = 0
        for item in self._waiting:
            if item.atomic or count > PIPELINED:
                break
            count += 1
        return count

    def _take(self, singles: int) -> list[_Waiting]:
        """What goes together: some singles, or whole batches that fit into one and share its fsyncs."""
        taken: list[_Waiting] = []
        size = 0
        while self._waiting:
            item = self._waiting[0]
            size += len(item.messages)
            if taken and (item.atomic is not taken[0].atomic or size > (MAX_BATCH if item.atomic else singles)):
                break
            self._waiting.popleft()
            if item.done.done():  # nobody waits for it any more
                size -= len(item.messages)
            else:
                taken.append(item)
        return taken

    def _write_single(self, item: _Waiting) -> None:
        """Publish without waiting for the answer: answers come back in order."""
        message = item.messages[0]
        try:
            reply, ack = self._expect()
            self._send(publish_command(message.subject, message.payload, message.headers, reply), reply)
        except LogUnavailable as error:
            _fail(item, error)
            return
        self._singles_in_flight += 1
        ack.add_done_callback(lambda answered: self._single_done(item, answered))

    def _single_done(self, item: _Waiting, answered: asyncio.Future[_Ack]) -> None:
        self._singles_in_flight -= 1
        try:
            answer = answered.result()
        except LogError as error:
            _fail(item, error)
        else:
            _succeed(item, [Stored(answer.seq, answer.duplicate)])

    async def _write_together(self, items: Sequence[_Waiting]) -> None:
        try:
            first = await self._commit([message for item in items for message in item.messages])
        except (DuplicateId, ApiError) as error:
            await self._write_apart(items, error)
        except LogError as error:
            for item in items:
                _fail(item, error)
        else:
            for item in items:
                following = first + len(item.messages)
                _succeed(item, [Stored(sequence, duplicate=False) for sequence in range(first, following)])
                first = following

    async def _write_apart(self, items: Sequence[_Waiting], error: DuplicateId | ApiError) -> None:
        """One of them holds an id that the log has, or is refused for what it expects: that must not harm the others.

        Nothing of a batch that was refused is stored.
        """
        for item in items:
            if not item.atomic:
                self._write_single(item)
            elif len(items) == 1:
                _fail(item, error)
            else:
                await self._write_together([item])

    async def _commit(self, messages: Sequence[_Encoded]) -> int:
        """Publish one atomic batch; returns the sequence of its first message.

        Only the last message asks for an answer, which is the answer for all.
        """
        reply, ack = self._expect()
        batch = f"Nats-Batch-Id: {self._name}{self._counter}\r\nNats-Batch-Sequence: "
        commands = [
            publish_command(message.subject, message.payload, f"{message.headers}{batch}{number}\r\n")
            for number, message in enumerate(messages[:-1], 1)
        ]
        last = messages[-1]
        headers = f"{last.headers}{batch}{len(messages)}\r\nNats-Batch-Commit: 1\r\n"
        commands.append(publish_command(last.subject, last.payload, headers, reply))
        self._send(b"".join(commands), reply)
        try:
            return (await ack).seq - len(messages) + 1
        except ApiError as error:
            if error.code == _DUPLICATE_IN_BATCH:
                raise DuplicateId(str(error)) from None
            raise

    def _expect(self) -> tuple[str, asyncio.Future[_Ack]]:
        """A subject for an answer, and the answer."""
        loop = asyncio.get_running_loop()
        ack: asyncio.Future[_Ack] = loop.create_future()
        self._counter += 1
        reply = f"{self._inbox}.{self._counter}"
        self._acks[reply.encode()] = (ack, loop.time() + REQUEST_TIMEOUT)
        return reply, ack

    def _send(self, commands: bytes, reply: str) -> None:
        try:
            self._connection.client.send(commands)
        except LogUnavailable:
            del self._acks[reply.encode()]
            raise

    def _acknowledged(self, subject: bytes, _reply: bytes, data: bytes, headers: bytes) -> None:
        waiting = self._acks.pop(subject, None)
        if waiting is None or waiting[0].done():
            return
        try:
            answer = _decode(data) if not status_of(headers) else _NOBODY
        except msgspec.DecodeError as error:
            answer = _Ack(error=_Refusal(_NOT_NOW, description=str(error)))
        refusal = answer.error
        if refusal is None:
            waiting[0].set_result(answer)
        else:
            waiting[0].set_exception(_error_of(refusal))

    def _fail_sent(self) -> None:
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
            while self._unanswered:
                item = self._unanswered[0]
                if not item.done.done():
                    if item.since > now - REQUEST_TIMEOUT:
                        break
                    _fail(item, LogUnavailable("NATS did not answer in time"))
                self._unanswered.popleft()


def _error_of(refusal: _Refusal) -> LogError:
    if refusal.err_code in _NO_ROOM:
        return StorageFull(refusal.description)
    if refusal.code == _NOT_NOW or refusal.err_code in _REPEATABLE:
        return LogUnavailable(refusal.description)
    return ApiError(refusal.err_code, refusal.description)


_NOBODY = _Ack(error=_Refusal(_NOT_NOW, description="JetStream does not answer"))


def _encoded(message: Message, max_payload: int) -> _Encoded:
    """Judge a message here, where whoever appends it is told: a broken command would break the connection."""
    subject, payload, headers = message
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if not (subject.isascii() and subject.isprintable() and " " not in subject):
        raise ValueError(f"no subject: {subject!r}")
    if not lines.isascii() or lines.count("\n") + lines.count("\r") != 2 * len(headers):
        raise ValueError(f"no headers: {headers!r}")
    if len(payload) + len(lines) > max_payload - _ROOM:
        raise ApiError(_TOO_LARGE, f"{len(payload)} bytes in one message; at most {max_payload - _ROOM} can be kept")
    return _Encoded(subject, payload, lines)


_ROOM = 1000  # for the headers of a batch


def _succeed(item: _Waiting, stored: list[Stored]) -> None:
    if not item.done.done():
        item.done.set_result(stored)


def _fail(item: _Waiting, error: Exception) -> None:
    if not item.done.done():
        item.done.set_exception(error)
