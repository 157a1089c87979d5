"""A kit to test drivers with, without a server: time is moved by hand, and what a driver does can be looked at.

::

    async def test_the_lamp_polls() -> None:
        async with driver_host(Lamp, settings={"host": "lamp.example"}) as host:
            assert await host.exec("switch", True) is True
            assert host.status["on"] is True
            await host.advance(30)
            assert host.emitted[-1]["topic"] == "x.lamp.polled"
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from doorstream.drivers.callers import Caller
from doorstream.drivers.driver import CALLER, Driver, Handle, ModuleInfo
from doorstream.drivers.errors import ModuleNotFound
from doorstream.drivers.functions import Function
from doorstream.drivers.instance import Instance, described
from doorstream.drivers.levels import RANK, LogLevel
from doorstream.drivers.loader import name_of
from doorstream.events.draft import Draft, accept
from doorstream.testing.events import SITE, KnownNames

TESTER = Caller("tester", "Tester", "administrator", "test")
"""Who calls unless somebody else is given."""

_START = 1_769_853_600.0
_TURNS = 20
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Called:
    """A call of another module: which, what, with what, and in whose name."""

    name: str
    index: int
    function: str
    args: Any
    caller: Caller


class Line(NamedTuple):
    """A log line."""

    level: str
    message: str


class _Following:
    def __init__(self, leave: Callable[[], None]) -> None:
        self.cancel = leave


class DriverHost:
    """One driver at work, and the world around it.

    ``emitted`` are the events that it put in, as they would be kept; ``calls`` its calls of other modules; ``lines``
    its log; ``errors`` what failed that nobody waited for (also raised at the end, unless the test has cleared it).
    """

    def __init__(self, driver: type[Driver], module: ModuleInfo, status: Mapping[str, Any], names: KnownNames) -> None:
        self.emitted: list[dict[str, Any]] = []
        self.calls: list[Called] = []
        self.lines: list[Line] = []
        self.errors: list[str] = []
        self.changes: list[tuple[str, Any]] = []
        """The changes of status variables, in order; None stands for one that is gone."""
        self.module = module
        self._names = names
        self._now = _START
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, bool, asyncio.Future[None]]] = []
        self._answers: dict[tuple[str, int, str], Any] = {}
        self._others: dict[tuple[str, int, str], bytes] = {}
        self._followers: list[tuple[tuple[str, int, str], Callable[[bytes | None], object]]] = []
        encoded = {variable: _encode(value) for variable, value in status.items()}
        self._instance = Instance(driver, module, encoded, self)
        self._instance.logger.threshold = RANK["trace"]

    @property
    def status(self) -> dict[str, Any]:
        """The status variables as they are now."""
        return dict(self._instance.status)

    @property
    def functions(self) -> Mapping[str, Function]:
        """What clients can call."""
        return self._instance.functions

    async def load(self, settings: Mapping[str, Any]) -> None:
        """Begin; ``driver_host`` does it. Raises InvalidSettings or ExecutionFailed."""
        await self._through(self._instance.load(settings))

    async def exec(self, function: str, *args: Any, caller: Caller = TESTER, **named: Any) -> Any:
        """Call a function as a client does; returns its answer. Raises a DriversError.

        What it sleeps by ``self.sleep`` passes at once, and the clock with it.
        """
        given = named or list(args)
        return _decode(await self._through(self._instance.execute(function, _decode(_encode(given)), caller)))

    async def update(self, settings: Mapping[str, Any]) -> None:
        """Give it other settings."""
        await self._through(self._instance.update(settings))

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due until then."""
        until = self._now + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            await self._wake_next()
        self._now = until
        await self._settle()

    async def tell(self, name: str, index: int, variable: str, value: Any) -> None:
        """Have another module's variable have that value."""
        place, data = (name, index, variable), _encode(value)
        if self._others.get(place) != data:
            self._others[place] = data
            for followed, receive in tuple(self._followers):
                if followed == place:
                    receive(data)
        await self._settle()

    def answer(self, name: str, index: int, function: str, answer: Any) -> None:
        """Say how another module answers: a value, an exception to be raised, or a function of the arguments."""
        self._answers[name, index, function] = answer

    async def unload(self) -> None:
        """Come to an end; ``driver_host`` does it."""
        await self._instance.unload()

    # The driver's ``Outside``.

    def now(self) -> float:
        """The time, which is moved by hand."""
        return self._now

    def sleep(self, seconds: float) -> Awaitable[object]:
        """Wait until the clock has been moved."""
        wakes: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        is_command = CALLER.get() is not None
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), is_command, wakes))
        return wakes

    def subscribe(self, name: str, index: int, variable: str, receive: Callable[[bytes | None], object]) -> Handle:
        """Follow a variable that ``tell`` sets."""
        entry = ((name, index, variable), receive)
        self._followers.append(entry)
        if entry[0] in self._others:
            receive(self._others[entry[0]])

        def leave() -> None:
            if entry in self._followers:
                self._followers.remove(entry)

        return _Following(leave)

    async def call(self, name: str, index: int, function: str, args: Any, caller: Caller) -> bytes:
        """Answer as ``answer`` said."""
        self.calls.append(Called(name, index, function, args, caller))
        if (name, index, function) not in self._answers:
            raise ModuleNotFound(f"{name} {index}")
        answer = self._answers[name, index, function]
        if isinstance(answer, BaseException):
            raise answer
        if callable(answer):
            answer = answer(**args) if isinstance(args, Mapping) else answer(*args)
        return _encode(answer)

    async def emit(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Judge events as the server does; raises InvalidEvent."""
        kept: list[dict[str, Any]] = []
        for event in events:
            draft = msgspec.convert(event, Draft)
            new_id = f"event-{len(self.emitted) + len(kept) + 1}"
            accepted = accept(draft, site_id=self.module.site_id, names=self._names, new_id=new_id)
            kept.append(_decode(accepted.json))
        self.emitted += kept

    def changed(self, variable: str, value: bytes | None) -> None:
        """Note it."""
        self.changes.append((variable, None if value is None else _decode(value)))

    def wrote(self, level: LogLevel, message: str) -> None:
        """Note it."""
        self.lines.append(Line(level, message))

    def failed(self, what: str, error: BaseException) -> None:
        """Note it."""
        self.errors.append(f"{what}: {described(error)}")

    def watched(self, _what: str, work: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        """Nobody else waits here."""
        return work

    async def _through(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await something; where it only waits for the clock, the clock is moved."""
        task = asyncio.create_task(work)
        while not task.done():
            await self._settle(task)
            if not task.done() and any(is_command for _, _, is_command, wakes in self._sleepers if not wakes.done()):
                await self._wake_next()
            elif not task.done():
                await asyncio.wait((task,), timeout=0.001)  # for something outside of the kit
        return task.result()

    async def _wake_next(self) -> None:
        when, _, _, wakes = heapq.heappop(self._sleepers)
        self._now = max(self._now, when)
        if not wakes.done():
            wakes.set_result(None)
        await self._settle()

    async def _settle(self, task: asyncio.Task[Any] | None = None) -> None:
        """Let everything go on that can."""
        for _ in range(_TURNS):
            if task is not None and task.done():
                return
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def driver_host(  # noqa: PLR0913 - what a module is made of, each by name
    driver: type[Driver],
    *,
    settings: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    name: str | None = None,
    index: int = 1,
    device_id: str | None = None,
    names: KnownNames | None = None,
    prepare: Callable[[DriverHost], None] = lambda _: None,
) -> AsyncIterator[DriverHost]:
    """Host one module of a driver.

    ``status`` is what an earlier run left; ``names`` what the directory knows. ``prepare`` is called before the driver
    begins, for a driver that calls other modules from ``on_load``. Raises AssertionError in the end for failures in
    timers, tasks and subscriptions that the test has not taken out of ``errors``.
    """
    driver_name = name_of(driver)
    module = ModuleInfo(
        f"mod-{driver_name}", SITE, name or driver.module_name or driver.__name__, index, driver_name, device_id
    )
    host = DriverHost(driver, module, status or {}, names or KnownNames())
    prepare(host)
    try:
        await host.load(settings or {})
        yield host
    finally:
        await host.unload()
    if host.errors:
        raise AssertionError(f"the driver failed where nobody waited: {'; '.join(host.errors)}")
