"""How the other workers reach the modules, which all run in the first: NATS request and reply, nothing kept.

``doorstream.drivers.do`` takes an order and answers it. Who follows a module's log says so on
``doorstream.drivers.follow`` every few seconds, and gets its lines on ``doorstream.drivers.lines.<module>``; when
nobody has said so for a while the module's level is restored, so a worker that dies leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from doorstream.directory.keys import escape
from doorstream.drivers.callers import Caller
from doorstream.drivers.errors import DriversError, Failure, ModuleUnavailable
from doorstream.drivers.instance import EXECUTE_LIMIT
from doorstream.drivers.levels import Sink
from doorstream.log import Connection, LogUnavailable
from doorstream.log.client import publish_command, status_of

_DO: Final = "doorstream.drivers.do"
_FOLLOW: Final = "doorstream.drivers.follow"
_LINES: Final = "doorstream.drivers.lines"
_SAY_AGAIN: Final = 2.0
_BELIEVED: Final = 3 * _SAY_AGAIN
_GRACE: Final = 2.0
_ROOM: Final = 10_000


class Order(msgspec.Struct):
    """What is to be done: call ``name`` with ``args`` (JSON), or start the module anew where there is no name."""

    module: str
    name: str | None = None
    args: bytes = b"null"
    caller: Caller | None = None


class _Answer(msgspec.Struct):
    value: bytes = b"null"
    failure: Failure | None = None


class _Follow(msgspec.Struct):
    worker: str
    modules: list[str]


class _Line(msgspec.Struct):
    level: str
    message: str
    klass: str


_encode = msgspec.msgpack.Encoder().encode
_decode_order = msgspec.msgpack.Decoder(Order).decode
_decode_answer = msgspec.msgpack.Decoder(_Answer).decode
_decode_follow = msgspec.msgpack.Decoder(_Follow).decode
_decode_line = msgspec.msgpack.Decoder(_Line).decode
_encode_json = msgspec.json.Encoder().encode


class Host(Protocol):
    """What the first worker does for the others."""

    async def obey(self, order: Order) -> bytes:
        """Do it; raises DriversError."""

    def attach(self, module_id: str, sink: Sink) -> Callable[[], None]:
        """Have log lines given to the sink until what is returned is called."""


class Desk:
    """In the first worker: takes the orders of the others."""

    def __init__(self, connection: Connection, host: Host) -> None:
        self._connection = connection
        self._host = host
        self._work: set[asyncio.Task[None]] = set()
        self._followers: dict[str, dict[str, float]] = {}
        self._attached: dict[str, Callable[[], None]] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._subscriptions: list[Any] = []

    async def open(self) -> None:
        """Begin to listen."""
        client = self._connection.client
        self._subscriptions = [await client.listen(_DO, self._asked), await client.listen(_FOLLOW, self._followed)]
        self._sweeper = asyncio.create_task(self._sweep(), name="debuggers of other workers")

    async def close(self) -> None:
        """Listen no longer."""
        tasks = [*self._work, *([self._sweeper] if self._sweeper is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _unsubscribe(self._subscriptions)
        for detach in self._attached.values():
            detach()

    def _asked(self, _subject: bytes, reply: bytes, data: bytes, _headers: bytes) -> None:
        task = asyncio.create_task(self._answer(reply.decode(), _decode_order(data)))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _answer(self, reply: str, order: Order) -> None:
        try:
            answer = _Answer(await self._host.obey(order))
        except DriversError as error:
            answer = _Answer(failure=Failure.of(error))
        data = _encode(answer)
        if len(data) > self._connection.client.max_payload - _ROOM:
            data = _encode(_Answer(failure=Failure("ExecutionFailed", f"an answer of {len(data)} bytes is too large")))
        with contextlib.suppress(LogUnavailable):
            self._connection.client.send(publish_command(reply, data))

    def _followed(self, _subject: bytes, _reply: bytes, data: bytes, _headers: bytes) -> None:
        word = _decode_follow(data)
        until = asyncio.get_running_loop().time() + _BELIEVED
        for followers in self._followers.values():
            followers.pop(word.worker, None)
        for module_id in word.modules:
            self._followers.setdefault(module_id, {})[word.worker] = until
            if module_id not in self._attached:
                self._attached[module_id] = self._host.attach(module_id, self._sink(module_id))
        self._detach()

    def _sink(self, module_id: str) -> Sink:
        subject = f"{_LINES}.{escape(module_id)}"

        def send(level: str, message: str, klass: str) -> None:
            with contextlib.suppress(LogUnavailable):
                self._connection.client.send(publish_command(subject, _encode(_Line(level, message, klass))))

        return send

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SAY_AGAIN)
            for followers in self._followers.values():
                for worker in [worker for worker, until in followers.items() if until < loop.time()]:
                    del followers[worker]
            self._detach()

    def _detach(self) -> None:
        for module_id in [module_id for module_id, followers in self._followers.items() if not followers]:
            del self._followers[module_id]
            self._attached.pop(module_id)()


class Branch:
    """In any other worker: gives the orders."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._name = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._answers: dict[bytes, asyncio.Future[bytes]] = {}
        self._sinks: dict[str, list[Sink]] = {}
        self._listening: dict[str, Any] = {}
        self._speaker: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._subscriptions: list[Any] = []

    async def open(self) -> None:
        """Begin."""
        self._subscriptions = [await self._connection.client.listen(f"{self._inbox}.*", self._answered)]
        self._speaker = asyncio.create_task(self._speak(), name="debuggers of this worker")

    async def close(self) -> None:
        """End."""
        if self._speaker is not None:
            self._speaker.cancel()
            await asyncio.gather(self._speaker, return_exceptions=True)
        await _unsubscribe([*self._subscriptions, *self._listening.values()])

    async def execute(
        self, module_id: str, name: str, args: Sequence[Any] | Mapping[str, Any] | None, caller: Caller
    ) -> bytes:
        """Call a function; raises DriversError."""
        return await self._ask(Order(module_id, name, _encode_json(args), caller))

    async def restart(self, module_id: str) -> None:
        """Have a module started anew; raises DriversError."""
        await self._ask(Order(module_id))

    def attach(self, module_id: str, sink: Sink) -> Callable[[], None]:
        """Have log lines given to the sink until what is returned is called."""
        self._sinks.setdefault(module_id, []).append(sink)
        self._changed.set()

        def detach() -> None:
            sinks = self._sinks.get(module_id, [])
            if sink in sinks:
                sinks.remove(sink)
                self._changed.set()

        return detach

    async def _ask(self, order: Order) -> bytes:
        data = _encode(order)
        if len(data) > self._connection.client.max_payload - _ROOM:
            raise ModuleUnavailable(f"a command of {len(data)} bytes is too large")
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        reply = f"{self._inbox}.{next(self._numbers)}"
        self._answers[reply.encode()] = answer
        try:
            with self._connection.expecting(answer):
                self._connection.client.send(publish_command(_DO, data, reply=reply))
                async with asyncio.timeout(EXECUTE_LIMIT + _GRACE):
                    found = _decode_answer(await answer)
        except (LogUnavailable, TimeoutError):
            raise ModuleUnavailable("the worker that runs the modules does not answer") from None
        finally:
            self._answers.pop(reply.encode(), None)
        if found.failure is not None:
            raise found.failure.error()
        return found.value

    def _answered(self, subject: bytes, _reply: bytes, data: bytes, headers: bytes) -> None:
        answer = self._answers.get(subject)
        if answer is None or answer.done():
            return
        if status_of(headers):
            answer.set_exception(LogUnavailable("nobody runs the modules"))
        else:
            answer.set_result(data)

    async def _speak(self) -> None:
        """Say which modules are followed here, at once when that changes and every now and then."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SAY_AGAIN if self._sinks else None):
                    await self._changed.wait()
            self._changed.clear()
            for module_id in [module_id for module_id, sinks in self._sinks.items() if not sinks]:
                if not self._sinks[module_id]:  # nobody has come while another was left
                    del self._sinks[module_id]
                    await _unsubscribe([self._listening.pop(module_id, None)])
            for module_id in tuple(self._sinks):  # somebody may come meanwhile
                if module_id not in self._listening:
                    await self._listen(module_id)
            with contextlib.suppress(LogUnavailable):
                word = _encode(_Follow(self._name, list(self._sinks)))
                self._connection.client.send(publish_command(_FOLLOW, word))

    async def _listen(self, module_id: str) -> None:
        def heard(_subject: bytes, _reply: bytes, data: bytes, _headers: bytes) -> None:
            line = _decode_line(data)
            for sink in tuple(self._sinks.get(module_id, ())):
                sink(line.level, line.message, line.klass)

        subject = f"{_LINES}.{escape(module_id)}"
        self._listening[module_id] = await self._connection.client.listen(subject, heard)


async def _unsubscribe(subscriptions: Sequence[Any]) -> None:
    for subscription in subscriptions:
        with contextlib.suppress(Exception):  # it may be gone with its connection
            if subscription is not None:
                await subscription.unsubscribe()
