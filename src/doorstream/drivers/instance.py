"""One driver object at work: its lifecycle, its commands, its timers, and whose fault a failure is.

The same in the server's own process, in a driver's process and in the test kit; what differs is ``Outside``.
Whatever a driver's code raises ends here: it is told to ``Outside.failed`` or to who called, and to nobody else.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from doorstream.drivers.callers import Caller
from doorstream.drivers.driver import CALLER, Driver, Handle, ModuleInfo, Status
from doorstream.drivers.errors import (
    DriversError,
    ExecutionFailed,
    ModuleUnavailable,
    NotAllowed,
    UnknownFunction,
)
from doorstream.drivers.functions import Function, functions_of
from doorstream.drivers.levels import LogLevel, ModuleLogger
from doorstream.drivers.settings import read_settings
from doorstream.log import LogError

EXECUTE_LIMIT: Final = 10.0
"""Seconds after which a function that has not answered has failed; ts-client gives up then (vendor-apis.md 2.3)."""
LOAD_LIMIT: Final = 10.0
"""Seconds for ``on_load`` and ``on_update``."""
UNLOAD_LIMIT: Final = 3.0
"""Seconds for ``on_unload``, and for what is cancelled before it."""
MAX_EXECUTING: Final = 1000
"""Commands that one module carries out at the same time."""
CONNECTED: Final = "connected"
"""The variable that every module has (vendor-apis.md 2.5): true while it runs, unless its driver says otherwise."""
_TIMED_OUT: Final = 504
_UNAVAILABLE: Final = 503
_SHOWN = 200

_encode = msgspec.json.Encoder().encode


class Outside(Protocol):
    """What an instance needs of where it is."""

    def now(self) -> float:
        """Seconds since 1970."""

    def sleep(self, seconds: float) -> Awaitable[object]:
        """Wait."""

    def subscribe(self, name: str, index: int, variable: str, receive: Callable[[bytes | None], object]) -> Handle:
        """Call ``receive`` with the variable's JSON now, if it has any, and at each change; it does not block."""

    async def call(self, name: str, index: int, function: str, args: Any, caller: Caller) -> bytes:
        """Call another module of the site; raises DriversError."""

    async def emit(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Keep events."""

    def changed(self, variable: str, value: bytes | None) -> None:
        """A status variable changed."""

    def wrote(self, level: LogLevel, message: str) -> None:
        """The module wrote a log line."""

    def failed(self, what: str, error: BaseException) -> None:
        """Something of the module failed that nobody waits for, or in a way that its author did not mean."""

    def watched(self, what: str, work: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        """The same work, watched for whether it blocks."""


class Instance:
    """A driver object and what goes on in it."""

    def __init__(  # noqa: PLR0913 - what an instance is made of, most of it by name
        self,
        driver: type[Driver],
        module: ModuleInfo,
        status: Mapping[str, bytes],
        outside: Outside,
        *,
        functions: Mapping[str, Function] | None = None,
        execute_limit: float = EXECUTE_LIMIT,
    ) -> None:
        """``status`` is that of the last run; ``functions`` are those of the driver, where they are known already.

        Raises DriverFault for a driver that cannot be used.
        """
        self.functions = functions_of(driver) if functions is None else functions
        self.driver = driver
        self.status = Status(status, outside.changed)
        self.logger = ModuleLogger(outside.wrote)
        self._module = module
        self._outside = outside
        self._execute_limit = execute_limit
        self._object: Driver | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._handles: list[Handle] = []
        self._executing = 0

    async def load(self, settings: Mapping[str, Any]) -> None:
        """Make the object and let it begin; raises InvalidSettings, or ExecutionFailed when ``on_load`` failed."""
        model = read_settings(self.driver, settings)
        await self._within(self._begin(model), LOAD_LIMIT, "on_load")
        if not self.status.was_set(CONNECTED):
            self.status[CONNECTED] = True

    async def update(self, settings: Mapping[str, Any]) -> None:
        """Give it other settings; raises as ``load``."""
        model = read_settings(self.driver, settings)
        loaded = self._loaded()
        loaded.settings = model
        await self._within(loaded.on_update(), LOAD_LIMIT, "on_update")

    async def unload(self) -> None:
        """End everything that goes on in it. Does not raise; what does not end in time is left alone."""
        loaded, self._object = self._object, None
        ending = self._cancel()
        if ending:
            _, stubborn = await asyncio.wait(ending, timeout=UNLOAD_LIMIT)
            if stubborn:
                self._outside.wrote("warn", f"{len(stubborn)} of its tasks do not end")
        if loaded is not None:
            try:
                await self._within(loaded.on_unload(), UNLOAD_LIMIT, "on_unload")
            except DriversError as error:
                self._outside.wrote("error", str(error))
            self._cancel()  # what it has begun at the end

    def listen(self, threshold: int) -> None:
        """Which log lines are wanted: those from this rank on."""
        self.logger.threshold = threshold

    async def execute(self, name: str, args: Sequence[Any] | Mapping[str, Any] | None, caller: Caller) -> bytes:
        """Call a function; returns the JSON of its answer. Raises a DriversError.

        Whoever gives up waiting does not stop the function.
        """
        function = self.functions.get(name)
        if function is None:
            raise UnknownFunction(f"{self._module.name} has no function {name!r}")
        if not caller.may(function.level):
            raise NotAllowed(f"{name} needs the level {function.level}")
        arguments = function.arguments(args)
        loaded = self._loaded()
        if self._executing >= MAX_EXECUTING:
            raise ModuleUnavailable(f"{self._module.name} is carrying out {MAX_EXECUTING} commands already")
        answer = self._start(self._outcome(loaded, function, arguments, caller))
        self._executing += 1
        answer.add_done_callback(self._executed)
        try:
            done, _ = await asyncio.wait((answer,), timeout=self._execute_limit)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(self._execute_limit, answer.cancel)
            raise
        if not done:
            answer.cancel()
            late = ExecutionFailed(f"{name} did not answer within {self._execute_limit:g} s", _TIMED_OUT)
            self._outside.failed(name, late)
            raise late
        if answer.cancelled():
            raise ModuleUnavailable(f"{self._module.name} was stopped")
        outcome: bytes | DriversError = answer.result()
        if isinstance(outcome, DriversError):
            raise outcome
        return outcome

    # What the driver object stands on: ``driver.Surroundings``.

    def now(self) -> float:
        """The time."""
        return self._outside.now()

    def sleep(self, seconds: float) -> Awaitable[object]:
        """Wait."""
        return self._outside.sleep(seconds)

    def run_soon(self, work: Coroutine[Any, Any, object], what: str) -> Handle:
        """Do something beside everything else; its failure is reported."""
        return self._start(self._reported(what, work))

    def repeat(self, seconds: float, callback: Callable[[], object], what: str) -> Handle:
        """Do something again and again."""

        async def go_on() -> None:
            CALLER.set(None)  # whoever's command began this does not cause what it does from now on
            while True:
                await self._outside.sleep(seconds)
                await self._reported(what, _called(callback))

        return self._start(go_on())

    def subscribe(self, name: str, index: int, variable: str, receive: Callable[[bytes | None], object]) -> Handle:
        """Follow another module's variable; of values that come while one is being dealt with the last counts."""
        newest: list[bytes | None] = []
        what = f"the subscription to {name} {index} {variable}"

        async def deal() -> None:
            CALLER.set(None)
            while newest:
                value = newest.pop()
                newest.clear()
                await self._reported(what, _called(receive, value))

        def arrived(value: bytes | None) -> None:
            if not newest:
                newest.append(value)
                if state["dealing"] is None or state["dealing"].done():
                    state["dealing"] = self._start(deal())
            else:
                newest[:] = [value]

        state: dict[str, asyncio.Task[Any] | None] = {"dealing": None}
        handle = self._outside.subscribe(name, index, variable, arrived)
        self._handles.append(handle)
        return handle

    async def call(self, name: str, index: int, function: str, args: Any, caller: Caller) -> bytes:
        """Call another module."""
        return await self._outside.call(name, index, function, args, caller)

    async def emit(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Keep events."""
        await self._outside.emit(events)

    def changed(self, variable: str, value: bytes | None) -> None:
        """A status variable changed."""
        self._outside.changed(variable, value)

    async def _begin(self, settings: Any) -> None:
        made = self.driver()
        made.module, made.settings, made.status, made.logger = self._module, settings, self.status, self.logger
        made._surroundings = self  # noqa: SLF001 - the other half of the driver
        self._object = made
        await made.on_load()

    def _loaded(self) -> Driver:
        if self._object is None:
            raise ModuleUnavailable(f"{self._module.name} {self._module.index} does not run")
        return self._object

    def _cancel(self) -> tuple[asyncio.Task[Any], ...]:
        """Tell everything that goes on to end; returns what then has to be waited for."""
        for handle in self._handles:
            handle.cancel()
        self._handles.clear()
        ending = tuple(self._tasks)
        for task in ending:
            task.cancel()
        return ending

    def _executed(self, _: object) -> None:
        self._executing -= 1

    async def _outcome(
        self, loaded: Driver, function: Function, arguments: dict[str, Any], caller: Caller
    ) -> bytes | DriversError:
        """Carry a command out; what goes wrong is returned, so that it is never an unseen exception of a task."""
        CALLER.set(caller)
        if self.logger.threshold <= _DEBUG:
            shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
            self.logger.debug(f"{function.name}({shown[:_SHOWN]}) by {caller.name}")  # noqa: G004 - looked at above
        try:
            return _encode(await self._outside.watched(function.name, _method(loaded, function, arguments)))
        except asyncio.CancelledError:
            raise
        except ExecutionFailed as error:
            return error
        except DriversError as error:
            return ExecutionFailed(str(error))
        except LogError as error:
            return ExecutionFailed(str(error), _UNAVAILABLE)
        except BaseException as error:  # noqa: BLE001 - a driver may raise anything, and sys.exit() is no order to us
            self._outside.failed(function.name, error)
            return ExecutionFailed(f"{function.name}: {described(error)}")

    async def _reported(self, what: str, work: Coroutine[Any, Any, object]) -> None:
        try:
            await self._outside.watched(what, work)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            self._outside.failed(what, error)

    async def _within(self, work: Coroutine[Any, Any, Any], limit: float, what: str) -> None:
        """Do something of the lifecycle in that time; raises ExecutionFailed."""
        task = self._start(self._kept(what, work))
        done, _ = await asyncio.wait((task,), timeout=limit)
        if not done:
            task.cancel()
            raise ExecutionFailed(f"{what} is not over after {limit:g} s", _TIMED_OUT)
        error = asyncio.CancelledError() if task.cancelled() else task.result()
        if error is not None:
            raise ExecutionFailed(f"{what}: {described(error)}") from error

    async def _kept(self, what: str, work: Coroutine[Any, Any, Any]) -> BaseException | None:
        """Do something; returns what it raised, which must not end the event loop (``SystemExit`` would)."""
        try:
            await self._outside.watched(what, work)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            return error
        return None

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


_DEBUG: Final = 1


def described(error: BaseException) -> str:
    """An exception in one line: its own words, and what kind it is unless the driver meant it."""
    if isinstance(error, DriversError):
        return str(error)
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0]}" if words else type(error).__name__


async def _method(loaded: Driver, function: Function, arguments: dict[str, Any]) -> Any:
    return await getattr(loaded, function.name)(**arguments)


async def _called(callback: Callable[..., object], *values: Any) -> None:
    result = callback(*values)
    if inspect.isawaitable(result):
        await result
