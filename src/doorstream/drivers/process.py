"""The server's half of a driver's own process: an ``Instance`` that runs elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from doorstream.drivers import wire
from doorstream.drivers.audit import AUDITED, is_audited
from doorstream.drivers.callers import Caller
from doorstream.drivers.driver import Handle, ModuleInfo
from doorstream.drivers.errors import DriversError, ExecutionFailed, Failure, ModuleUnavailable
from doorstream.drivers.instance import LOAD_LIMIT, MAX_EXECUTING, UNLOAD_LIMIT, Outside
from doorstream.drivers.loader import Origin
from doorstream.events import InvalidEvent
from doorstream.log import LogError

START_LIMIT: Final = 20.0
"""Seconds for the process to be there, on a busy machine too."""
_GRACE: Final = 1.0
_MAX_UNSENT: Final = 4_000_000
_TIMED_OUT: Final = 504
_UNAVAILABLE: Final = 503

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class ProcessOutside(Outside, Protocol):
    """``Outside``, and who is told that a process is gone by itself."""

    def gone(self, reason: str) -> None:
        """The process ended, or was ended because its loop stood still."""


class ProcessInstance:
    """A driver object in a process of its own. It has the methods of ``Instance`` that the runtime uses."""

    def __init__(  # noqa: PLR0913 - what an instance has, and one more limit
        self,
        origin: Origin,
        module: ModuleInfo,
        status: Mapping[str, bytes],
        outside: ProcessOutside,
        *,
        execute_limit: float,
        block_limit: float,
    ) -> None:
        """``block_limit`` is how long its code may block, in seconds, before the process is ended."""
        self._origin = origin
        self._module = module
        self._status = status
        self._outside = outside
        self._execute_limit = execute_limit
        self._block_limit = block_limit
        self._threshold = 0
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[bytes | None]] = {}
        self._followed: dict[int, Handle] = {}
        self._work: set[asyncio.Task[Any]] = set()
        self._process: asyncio.subprocess.Process | None = None
        self._pipe: wire.Pipe | None = None
        self._lifeline: int | None = None
        self._heard = asyncio.Event()
        self._is_ending = False

    @property
    def pid(self) -> int | None:
        """The process."""
        return self._process.pid if self._process is not None else None

    def listen(self, threshold: int) -> None:
        """Which log lines are wanted."""
        self._threshold = threshold
        if self._pipe is not None:
            self._pipe.send(wire.Listen(threshold))

    async def load(self, settings: Mapping[str, Any]) -> None:
        """Start the process and let the driver begin; raises ExecutionFailed."""
        await self._start()
        word = wire.Load(
            self._origin, self._module, _encode(settings), dict(self._status), self._threshold, self._execute_limit
        )
        try:
            await self._ask(0, word, LOAD_LIMIT + START_LIMIT, "on_load")
        except BaseException:
            await self.unload()
            raise
        self._keep(self._watch())

    async def update(self, settings: Mapping[str, Any]) -> None:
        """Give it other settings; raises ExecutionFailed."""
        number = next(self._numbers)
        await self._ask(number, wire.Update(number, _encode(settings)), LOAD_LIMIT + _GRACE, "on_update")

    async def execute(self, name: str, args: Sequence[Any] | Mapping[str, Any] | None, caller: Caller) -> bytes:
        """Call a function; as ``Instance.execute``."""
        if len(self._answers) >= MAX_EXECUTING:
            raise ModuleUnavailable(f"{self._module.name} is carrying out {MAX_EXECUTING} commands already")
        number = next(self._numbers)
        word = wire.Execute(number, name, _encode(args), caller, is_audited(caller))
        return await self._ask(number, word, self._execute_limit + _GRACE, name) or b"null"

    async def unload(self) -> None:
        """End the process: politely, then not."""
        self._is_ending = True
        process = self._process
        if process is not None and process.returncode is None and self._pipe is not None:
            self._pipe.send(wire.Unload())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UNLOAD_LIMIT + _GRACE):  # it says itself what did not end in time
                    await process.wait()
        await self._end()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ended, self._lifeline = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "doorstream.drivers.child",
                str(theirs.fileno()),
                str(ended),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,  # what a driver prints is for people; our standard output may be read by programs
                pass_fds=(theirs.fileno(), ended),
            )
        except OSError as error:
            ours.close()
            raise ExecutionFailed(f"its process cannot be started: {error}") from error
        finally:
            theirs.close()
            os.close(ended)
        self._pipe = await wire.Pipe.open(ours, wire.ToServer)
        self._keep(self._read())

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._pipe is not None:
            self._pipe.close()
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        for handle in self._followed.values():
            handle.cancel()
        self._followed.clear()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ModuleUnavailable(f"{self._module.name} was stopped"))
        self._answers.clear()
        for task in self._work:
            if task is not asyncio.current_task():
                task.cancel()

    async def _ask(self, number: int, word: wire.ToProcess, limit: float, what: str) -> bytes | None:
        if self._pipe is None or self._process is None:
            raise ModuleUnavailable(f"{self._module.name} does not run")
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._pipe.send(word)
        try:
            async with asyncio.timeout(limit):
                return await answer
        except TimeoutError:
            raise ExecutionFailed(f"{what} did not answer within {limit:g} s: it blocks", _TIMED_OUT) from None
        finally:
            self._answers.pop(number, None)

    async def _read(self) -> None:
        """Deal with what the process says; when it says no more, it is gone."""
        assert self._pipe is not None  # noqa: S101 - it was opened before
        while (word := await self._pipe.receive()) is not None:
            self._heard.set()
            self._deal_with(word)
        if not self._is_ending:
            self._is_ending = True
            process = self._process
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GRACE):
                    if process is not None:
                        await process.wait()
            status = process.returncode if process is not None else None
            await self._end()
            self._outside.gone(f"its process ended{'' if status is None else f' with status {status}'}")

    async def _watch(self) -> None:
        """See to it that the loop of the process goes round; its code may block for a while."""
        while not self._is_ending and self._pipe is not None:
            self._heard.clear()
            self._pipe.send(wire.Ping())
            try:
                async with asyncio.timeout(self._block_limit):
                    await self._heard.wait()
            except TimeoutError:
                break
            await asyncio.sleep(self._block_limit / 4)
            if self._pipe.unsent > _MAX_UNSENT:
                break
        if not self._is_ending:
            self._is_ending = True
            await self._end()
            self._outside.gone(f"it blocked for more than {self._block_limit:g} s and its process was ended")

    def _deal_with(self, word: wire.ToServer) -> None:
        match word:
            case wire.Done():
                self._answered(word)
            case wire.Changed():
                self._outside.changed(word.variable, word.value)
            case wire.Wrote():
                self._outside.wrote(word.level, word.message)
            case wire.Failed():
                self._outside.failed(word.what, ExecutionFailed(word.message))
            case wire.Call() | wire.Emit():
                self._keep(self._answer(word))
            case wire.Follow():
                self._follow(word)
            case wire.Leave() if word.id in self._followed:
                self._followed.pop(word.id).cancel()

    def _answered(self, word: wire.Done) -> None:
        answer = self._answers.get(word.id)
        if answer is None or answer.done():
            return
        if word.failure is not None:
            answer.set_exception(word.failure.error())
        else:
            answer.set_result(word.value)

    def _follow(self, word: wire.Follow) -> None:
        number = word.id

        def receive(value: bytes | None) -> None:
            if self._pipe is not None:
                self._pipe.send(wire.Told(number, value))

        self._followed[number] = self._outside.subscribe(word.name, word.index, word.variable, receive)

    async def _answer(self, word: wire.Call | wire.Emit) -> None:
        """Do for the process what it cannot do itself."""
        assert self._pipe is not None  # noqa: S101 - it spoke through it
        value: bytes | None = None
        failure: Failure | None = None
        try:
            if isinstance(word, wire.Call):
                if word.is_audited:
                    AUDITED.set(word.caller)  # for this task, which does nothing else
                value = await self._outside.call(word.name, word.index, word.function, _decode(word.args), word.caller)
            else:
                await self._outside.emit(_decode(word.events))
        except DriversError as error:
            failure = Failure.of(error)
        except InvalidEvent as error:
            failure = Failure("BadArguments", str(error))
        except LogError as error:
            failure = Failure("ExecutionFailed", str(error), _UNAVAILABLE)
        self._pipe.send(wire.Done(word.id, value, failure))

    def _keep(self, work: Any) -> None:
        task: asyncio.Task[Any] = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
