"""A driver's own process: ``python -m doorstream.drivers.child <descriptor> <lifeline>``.

It ends when the server hangs up; a thread sees to that while the driver's code blocks.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from doorstream.drivers import wire
from doorstream.drivers.audit import AUDITED, is_audited
from doorstream.drivers.callers import Caller
from doorstream.drivers.driver import Handle
from doorstream.drivers.errors import DriverFault, DriversError, ExecutionFailed, Failure
from doorstream.drivers.instance import Instance, described
from doorstream.drivers.levels import LogLevel
from doorstream.drivers.loader import find
from doorstream.drivers.pacing import LogPacer, StatusPacer

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class _Following:
    """A subscription of the driver's."""

    def __init__(self, number: int, leave: Callable[[int], None]) -> None:
        self._number = number
        self._leave = leave

    def cancel(self) -> None:
        self._leave(self._number)


class Process:
    """The process's half of the conversation: the driver's ``Outside``."""

    def __init__(self, pipe: wire.Pipe) -> None:
        self._pipe = pipe
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[bytes | None]] = {}
        self._followed: dict[int, Callable[[bytes | None], object]] = {}
        self._status = StatusPacer(lambda name, value: pipe.send(wire.Changed(name, value)), self._on_flood)
        self._lines = LogPacer(lambda level, message: pipe.send(wire.Wrote(level, message)))
        self._instance: Instance | None = None
        self._work: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Do as the server says until it hangs up or says that this is the end."""
        await self._listen()
        listening = asyncio.create_task(self._listen())  # for the answers to what ``on_unload`` asks for
        if self._instance is not None:
            await self._instance.unload()
        listening.cancel()
        self._status.close()
        self._lines.close()
        await self._pipe.drain()

    async def _listen(self) -> None:
        """Do as the server says until this is the end."""
        while not isinstance(word := await self._pipe.receive(), wire.Unload | None):
            match word:
                case wire.Ping():
                    self._pipe.send(wire.Pong())
                case wire.Done():
                    self._answered(word)
                case wire.Told():
                    receive = self._followed.get(word.id)
                    if receive is not None:
                        receive(word.value)
                case wire.Listen():
                    if self._instance is not None:
                        self._instance.logger.threshold = word.threshold
                case _:
                    task = asyncio.create_task(self._answer(word))
                    self._work.add(task)
                    task.add_done_callback(self._work.discard)

    async def _answer(self, word: Any) -> None:
        number = getattr(word, "id", 0)
        try:
            value = await self._do(word)
        except (DriversError, DriverFault) as error:
            self._pipe.send(wire.Done(number, failure=Failure.of(error)))
        else:
            self._pipe.send(wire.Done(number, value))

    async def _do(self, word: Any) -> bytes | None:
        if isinstance(word, wire.Load):
            self._instance = Instance(
                find(word.origin), word.module, word.status, self, execute_limit=word.execute_limit
            )
            self._instance.logger.threshold = word.threshold
            await self._instance.load(_decode(word.settings))
        elif self._instance is None:
            raise ExecutionFailed("nothing is loaded")
        elif isinstance(word, wire.Update):
            await self._instance.update(_decode(word.settings))
        elif isinstance(word, wire.Execute):
            if word.is_audited:
                AUDITED.set(word.caller)  # for the task of this command
            return await self._instance.execute(word.name, _decode(word.args), word.caller)
        return None

    def _answered(self, word: wire.Done) -> None:
        answer = self._answers.pop(word.id, None)
        if answer is None or answer.done():
            return
        if word.failure is not None:
            answer.set_exception(word.failure.error())
        else:
            answer.set_result(word.value)

    async def _ask(self, word: wire.Call | wire.Emit) -> bytes | None:
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._answers[word.id] = answer
        self._pipe.send(word)
        try:
            return await answer
        finally:
            self._answers.pop(word.id, None)

    def _on_flood(self) -> None:
        self.wrote("debug", "its status changes faster than it is passed on")

    # The driver's ``Outside``.

    def now(self) -> float:
        """The time."""
        return time.time()

    def sleep(self, seconds: float) -> Awaitable[object]:
        """Wait."""
        return asyncio.sleep(seconds)

    def subscribe(self, name: str, index: int, variable: str, receive: Callable[[bytes | None], object]) -> Handle:
        """Follow another module's variable."""
        number = next(self._numbers)
        self._followed[number] = receive
        self._pipe.send(wire.Follow(number, name, index, variable))

        def leave(number: int) -> None:
            if self._followed.pop(number, None) is not None:
                self._pipe.send(wire.Leave(number))

        return _Following(number, leave)

    async def call(self, name: str, index: int, function: str, args: Any, caller: Caller) -> bytes:
        """Call another module."""
        number = next(self._numbers)
        word = wire.Call(number, name, index, function, _encode(args), caller, is_audited(caller))
        return await self._ask(word) or b"null"

    async def emit(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Keep events."""
        await self._ask(wire.Emit(next(self._numbers), _encode(list(events))))

    def changed(self, variable: str, value: bytes | None) -> None:
        """A status variable changed."""
        self._status.change(variable, value)

    def wrote(self, level: LogLevel, message: str) -> None:
        """A log line."""
        self._lines.write(level, message)

    def failed(self, what: str, error: BaseException) -> None:
        """Something failed."""
        self._pipe.send(wire.Failed(what, described(error)))

    def watched(self, _what: str, work: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        """Here the driver may block."""
        return work


async def _main(end: socket.socket) -> None:
    pipe = await wire.Pipe.open(end, wire.ToProcess)
    await Process(pipe).run()
    pipe.close()


def _end_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(0)


def main() -> None:
    """Run until the server hangs up."""
    threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    asyncio.run(_main(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
