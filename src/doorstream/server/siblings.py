"""The workers of one server: whichever answers a request asks the others and answers for all of them.

NATS request and reply, nothing kept. A question goes to ``doorstream.siblings.<server>.<question>``, which every worker
of the server hears, and each answers with its number. A lone worker asks nobody and listens to nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
import structlog

from doorstream.log import Connection, LogUnavailable
from doorstream.log.client import publish_command

_logger = structlog.get_logger(__name__)

PATIENCE: Final = 1.0
"""Seconds that an answer may take; a worker that is just being started, or stands still, is left out then."""

_ROOM: Final = 10_000

Answer = Callable[[bytes], Awaitable[bytes]]
"""Answers a question of another worker. What is larger than ``Siblings.limit`` cannot be sent."""


class _Asked(msgspec.Struct, array_like=True):
    """A question, and a reply: who speaks, and what."""

    number: int
    data: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Asked).decode


class Siblings:
    """What one worker knows of the others."""

    def __init__(self, connection: Connection, *, server: str, number: int, workers: int) -> None:
        """``server`` tells the workers of one parent from those of another on the same NATS."""
        self.number = number
        self._answers: dict[str, Answer] = {}
        self._connection = connection
        self._others = frozenset(range(workers)) - {number}
        self._prefix = f"doorstream.siblings.{server}"
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._numbers = itertools.count(1)
        self._asked: dict[bytes, _Gathering] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._subscriptions: list[Any] = []

    @property
    def limit(self) -> int:
        """How many bytes an answer may have."""
        return self._connection.client.max_payload - _ROOM

    @property
    def workers(self) -> frozenset[int]:
        """The numbers of all workers of the server, this one's too."""
        return self._others | {self.number}

    def missing(self, answers: Mapping[int, bytes]) -> list[int]:
        """Who of the others is not among those who answered."""
        return sorted(self._others - answers.keys())

    def on(self, question: str, answer: Answer) -> None:
        """Answer a question of the others from now on."""
        if question in self._answers:
            raise ValueError(f"{question} is answered already")
        self._answers[question] = answer

    async def open(self) -> None:
        """Begin to listen."""
        if self._others:
            client = self._connection.client
            self._subscriptions.append(await client.listen(f"{self._inbox}.*", self._receive_answer))
            self._subscriptions.append(await client.listen(f"{self._prefix}.*", self._receive_question))

    async def close(self) -> None:
        """Listen no longer."""
        for subscription in self._subscriptions:
            with contextlib.suppress(Exception):  # it may be gone with its connection
                await subscription.unsubscribe()
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    async def ask(self, question: str, data: bytes = b"") -> dict[int, bytes]:
        """What the other workers answer, by their numbers; whoever does not answer in time is not there."""
        if not self._others:
            return {}
        gathering = _Gathering(self._others)
        reply = f"{self._inbox}.{next(self._numbers)}"
        self._asked[reply.encode()] = gathering
        try:
            with contextlib.suppress(TimeoutError, LogUnavailable), self._connection.expecting(gathering.complete):
                asked = _encode(_Asked(self.number, data))
                self._connection.client.send(publish_command(f"{self._prefix}.{question}", asked, reply=reply))
                async with asyncio.timeout(PATIENCE):
                    await gathering.complete
        finally:
            del self._asked[reply.encode()]
        return gathering.answers

    def _receive_question(self, subject: bytes, reply: bytes, data: bytes, _headers: bytes) -> None:
        asked = _decode(data)
        answer = self._answers.get(subject.decode().rpartition(".")[2])
        if asked.number == self.number or answer is None:
            return
        task = asyncio.create_task(self._answer(answer, asked.data, reply.decode()))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _answer(self, answer: Answer, data: bytes, reply: str) -> None:
        try:
            found = await answer(data)
        except Exception:
            _logger.exception("a question of another worker could not be answered")
            return
        if len(found) > self.limit:
            _logger.error("an answer to another worker is too large", bytes=len(found))
            return
        with contextlib.suppress(LogUnavailable):
            self._connection.client.send(publish_command(reply, _encode(_Asked(self.number, found))))

    def _receive_answer(self, subject: bytes, _reply: bytes, data: bytes, _headers: bytes) -> None:
        gathering = self._asked.get(subject)
        if gathering is not None:
            answered = _decode(data)
            gathering.take(answered.number, answered.data)


class _Gathering:
    """The answers to one question."""

    def __init__(self, wanted: frozenset[int]) -> None:
        self.answers: dict[int, bytes] = {}
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wanted = wanted

    def take(self, number: int, data: bytes) -> None:
        """One answer."""
        self.answers[number] = data
        if self.answers.keys() >= self._wanted and not self.complete.done():
            self.complete.set_result(None)
