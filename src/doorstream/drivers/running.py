"""One module in the worker that runs the modules: started, kept running, and kept from harming others.

A module that cannot begin, or whose process ends, is started again after a pause that grows; after several failures in
a row it is given up until somebody changes or restarts it. One that blocks the event loop is told so, and given up
when it goes on doing it. Whatever happens is its ``state`` and a line of its log.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

import structlog

from doorstream.drivers.callers import Caller
from doorstream.drivers.driver import Driver, Handle, ModuleInfo
from doorstream.drivers.errors import DriverFault, DriversError, InvalidSettings, ModuleUnavailable
from doorstream.drivers.follow import Place
from doorstream.drivers.house import House
from doorstream.drivers.instance import CONNECTED, Instance, described
from doorstream.drivers.levels import RANK, LogLevel, Sink
from doorstream.drivers.loader import Loaded
from doorstream.drivers.pacing import Allowance, LogPacer, StatusPacer
from doorstream.drivers.plan import ModulePlan
from doorstream.drivers.process import ProcessInstance
from doorstream.drivers.settings import read_settings
from doorstream.drivers.views import ModuleState
from doorstream.drivers.watch import watched

_logger = structlog.get_logger(__name__)

_SERVER_LEVELS = {"trace": "debug", "notice": "info", "warn": "warning", "fatal": "critical"}
_REPORTS_PER_SECOND = 10.0
_MOST_DOUBLED = 20


class Running:
    """One module. It follows what is wanted of it by itself; ``execute`` works while it runs."""

    def __init__(self, house: House, plan: ModulePlan) -> None:
        self.id = plan.entity.id
        self._house = house
        self._wanted: ModulePlan | None = plan
        self._current: tuple[ModuleInfo, Loaded] | None = None
        self._is_simulated = False
        self._settings: Mapping[str, Any] = {}
        self._instance: Instance | ProcessInstance | None = None
        self._outside: _Here | None = None
        self._sinks: list[Sink] = []
        self._trouble: str | None = None
        self._failures = 0
        self._given_up: tuple[ModulePlan, Loaded | None] | None = None
        self._because = ""
        self._started_at = 0.0
        self._retry_at: float | None = None
        self._restart = False
        self._blocks: deque[float] = deque()
        self._reports = Allowance(_REPORTS_PER_SECOND, 2 * _REPORTS_PER_SECOND, time.monotonic)
        self._wake = asyncio.Event()
        self._wake.set()
        self._settled = asyncio.Event()
        self._task = asyncio.create_task(self._live(), name=f"module {self.id}")

    @property
    def info(self) -> ModuleInfo | None:
        """What it is, None while it is going."""
        return self._wanted.info if self._wanted is not None else None

    def want(self, plan: ModulePlan | None) -> None:
        """What is to be from now on; None: it is to go."""
        self._wanted = plan
        self._nudge()

    def restart(self) -> None:
        """Start it anew, also after it was given up."""
        self._restart = True
        self._nudge()

    def nudge(self) -> None:
        """Look whether its driver is another one now."""
        self._nudge()

    async def settled(self) -> None:
        """Wait until it is as wanted, waits for its next try, or is gone."""
        await self._settled.wait()

    async def close(self) -> None:
        """Stop it with the server: what it was doing goes on at the next start."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._instance is not None:
            await self._instance.unload()
        if self._outside is not None:
            self._outside.close()

    @property
    def is_over(self) -> bool:
        """Whether it is gone; until then it can be wanted again."""
        return self._task.done()

    async def ended(self) -> None:
        """Wait until it is gone."""
        await asyncio.wait((self._task,))

    async def execute(self, name: str, args: Sequence[Any] | Mapping[str, Any] | None, caller: Caller) -> bytes:
        """Call a function; raises a DriversError."""
        if self._instance is None:
            error = self._house.status.state(self.id).error
            raise ModuleUnavailable("the module does not run" + (f": {error}" if error else ""))
        return await self._instance.execute(name, args, caller)

    def attach(self, sink: Sink) -> None:
        """Give a debugger its log lines, debug ones included."""
        self._sinks.append(sink)
        self._listen()

    def detach(self, sink: Sink) -> None:
        """Give that debugger no more; the last one that goes restores the level."""
        with contextlib.suppress(ValueError):
            self._sinks.remove(sink)
        self._listen()

    def write(self, level: LogLevel, message: str) -> None:
        """Hand a log line to the debuggers and, if it is worth it, to the server's own log."""
        wanted = self._wanted
        klass = self._current[1].origin.klass if self._current is not None else ""
        for sink in tuple(self._sinks):
            try:
                sink(level, message, klass)
            except Exception:  # one debugger's mistake must not keep the others from it
                _logger.exception("a debugger failed", module=self.id)
        if RANK[level] >= RANK["info"] and wanted is not None:
            write = getattr(_logger, _SERVER_LEVELS.get(level, level))
            write(message, module=self.id, name=f"{wanted.entity.name} {wanted.index}")

    def report(self, what: str, error: BaseException) -> None:
        """Something failed, and the module goes on."""
        self.write("error", f"{what}: {described(error)}")
        if self._reports.take():
            self._trouble = f"{what}: {described(error)}"
            self._tell(running=self._instance is not None, error=self._trouble)

    def crashed(self, reason: str, outside: _Here | None = None) -> None:
        """It cannot go on: start it again after a while, or give it up."""
        if outside is not None and outside is not self._outside:
            return  # of an earlier run
        now = time.monotonic()
        if self._started_at and now - self._started_at > self._house.limits.stable_after:
            self._failures = 0
        self._failures += 1
        self._forget_instance()
        limits = self._house.limits
        if self._failures >= limits.most_failures and not self._is_ours:
            self.give_up(f"given up after {self._failures} failures in a row: {reason}")
            return
        pause = min(limits.first_pause * 2 ** min(self._failures - 1, _MOST_DOUBLED), limits.longest_pause)
        self._retry_at = now + pause
        self.write("error", f"{reason}; it is started again in {pause:g} s")
        self._tell(running=False, error=reason)
        self._nudge()

    def blocked(self, what: str, seconds: float) -> None:
        """Its code kept the event loop from everybody for that long."""
        limits, now = self._house.limits, time.monotonic()
        self._blocks.append(now)
        while self._blocks and self._blocks[0] < now - limits.blocked_window:
            self._blocks.popleft()
        words = f"{what} blocked the event loop for {seconds:.1f} s"
        if len(self._blocks) >= limits.most_blocked and not self._is_ours:
            self._blocks.clear()
            self.give_up(f'{words}, not for the first time: its driver needs isolation = "process"')
            return
        self.write("error", words)
        self._tell(running=self._instance is not None, error=words)

    @property
    def _is_ours(self) -> bool:
        """Whether its driver is built in. Such a one is not to blame for what it waits for, and is never given up."""
        return self._current is not None and self._current[1].is_built_in

    async def _live(self) -> None:
        try:
            while self._wanted is not None or self._instance is not None:
                await self._wait()
                try:
                    await self._step()
                except Exception:
                    _logger.exception("a module cannot be looked after", module=self.id)
            self._house.status.forget(self.id)
        finally:
            self._settled.set()  # nothing more will become of it

    async def _wait(self) -> None:
        """Wait until something is to be done."""
        if not self._wake.is_set():
            self._settled.set()
        if self._retry_at is None:
            await self._wake.wait()
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(self._retry_at - time.monotonic(), 0)):
                    await self._wake.wait()
        self._settled.clear()
        self._wake.clear()

    async def _step(self) -> None:
        wanted = self._wanted
        loaded = self._house.catalogue.get(wanted.entity.driver) if wanted is not None else None
        restart, self._restart = self._restart, False
        is_same = (
            wanted is not None
            and loaded is not None
            and self._current == (wanted.info, loaded)
            and self._is_simulated is wanted.simulated
        )
        is_news = self._given_up is not None and self._given_up != (wanted, loaded)
        if restart or is_news or (self._current is not None and not is_same):
            self._failures, self._given_up, self._retry_at = 0, None, None
        if self._instance is not None and (
            wanted is None or restart or not is_same or not wanted.entity.running or self._given_up is not None
        ):
            await self._stop()
        if wanted is None:
            self._failures, self._given_up, self._retry_at = 0, None, None
            self._house.status.forget(self.id)  # now: it may be wanted again meanwhile, and begins without
            return
        if not wanted.entity.running:
            self._tell(running=False, error=None)
        elif self._instance is not None:
            if wanted.entity.settings != self._settings:
                await self._update(wanted)
        elif self._given_up is None and (self._retry_at is None or time.monotonic() >= self._retry_at):
            self._retry_at = None
            await self._begin(wanted, loaded)

    async def _begin(self, wanted: ModulePlan, loaded: Loaded | None) -> None:
        if loaded is None or loaded.klass is None:
            fault = loaded.fault if loaded is not None else f"there is no driver {wanted.entity.driver!r}"
            self._current = None
            self._given_up, self._because = (wanted, loaded), fault or ""
            self._tell(running=False, error=fault)
            return
        self._current, self._is_simulated = (wanted.info, loaded), wanted.simulated
        self._settings, self._trouble = wanted.entity.settings, None
        self._outside = outside = _Here(self, self._house, wanted.info)
        try:
            read_settings(loaded.klass, wanted.entity.settings)
            instance = self._make(loaded, loaded.klass, wanted.info, outside)
            self._started_at = 0.0
            async with self._house.beginning:
                await instance.load(wanted.entity.settings)
        except DriverFault as error:
            self._forget_instance()
            self.give_up(f"settings: {error}" if isinstance(error, InvalidSettings) else str(error))
            return
        except DriversError as error:
            if outside is self._outside:  # else what crashed was told already
                await instance.unload()
                self.crashed(str(error))
            return
        except asyncio.CancelledError:  # the server stops
            await instance.unload()
            raise
        if outside is not self._outside:
            await instance.unload()  # it was given up while it began
            return
        self._instance = instance
        self._started_at = time.monotonic()
        self._listen()
        self._tell(running=True, error=self._trouble)  # something may have failed while it began
        self.write("debug", "it runs")

    def _make(
        self, loaded: Loaded, klass: type[Driver], info: ModuleInfo, outside: _Here
    ) -> Instance | ProcessInstance:
        status, limits = self._house.status.all(self.id), self._house.limits
        if klass.isolation == "process":
            return ProcessInstance(
                loaded.origin,
                info,
                status,
                outside,
                execute_limit=limits.execute,
                block_limit=limits.process_blocking,
            )
        return Instance(
            self._house.furnish(klass),
            info,
            status,
            outside,
            functions=loaded.functions,
            execute_limit=limits.execute,
        )

    async def _update(self, wanted: ModulePlan) -> None:
        assert self._instance is not None and self._current is not None  # noqa: S101, PT018 - looked at before
        self._settings = wanted.entity.settings
        try:
            if self._current[1].klass is not None:
                read_settings(self._current[1].klass, self._settings)
            await self._instance.update(self._settings)
        except InvalidSettings as error:
            await self._stop()
            self.give_up(f"settings: {error}")
        except DriversError as error:
            self.report("on_update", error)
        else:
            self._tell(running=True, error=None)

    async def _stop(self) -> None:
        instance, outside = self._instance, self._outside
        self._instance = self._outside = None
        if instance is not None:
            await instance.unload()
        if outside is not None:
            outside.close()
        self._tell(running=False, error=None if self._given_up is None else self._because)
        self._disconnected()

    def _forget_instance(self) -> None:
        """A process that is gone, or an object that never began: nothing is left to be stopped."""
        outside = self._outside
        self._instance = self._outside = None
        if outside is not None:
            outside.close()
        self._disconnected()

    def give_up(self, reason: str) -> None:
        """Run it no more until somebody changes or restarts it."""
        loaded = self._house.catalogue.get(self._wanted.entity.driver) if self._wanted is not None else None
        if self._wanted is not None:
            self._given_up = (self._wanted, loaded)
        self._because = reason
        self.write("fatal", reason)
        self._tell(running=False, error=reason)
        self._nudge()

    def _disconnected(self) -> None:
        if self._house.status.value(self.id, CONNECTED) is not None:
            self._house.status.change(self.id, CONNECTED, b"false")

    def _listen(self) -> None:
        if self._instance is not None:
            self._instance.listen(RANK["debug"] if self._sinks else RANK["info"])

    def _tell(self, *, running: bool, error: str | None) -> None:
        at = int(self._house.now()) if error is not None else None
        known = self._house.status.state(self.id)
        if error is not None and (known.running, known.error) == (running, error):
            at = known.error_at
        self._house.status.change_state(self.id, ModuleState(running, error, at))

    def _nudge(self) -> None:
        self._settled.clear()
        self._wake.set()


class _Here:
    """Where an instance is: ``Outside`` for one run of a module."""

    def __init__(self, running: Running, house: House, info: ModuleInfo) -> None:
        self._running = running
        self._house = house
        self._info = info
        self._status = StatusPacer(lambda name, value: house.status.change(info.id, name, value), self._on_flood)
        self._lines = LogPacer(running.write)
        self._is_open = True

    def close(self) -> None:
        """The run is over: what still comes of it is not heard."""
        if self._is_open:
            self._is_open = False
            self._status.close()
            self._lines.close()

    def now(self) -> float:
        return self._house.now()

    def sleep(self, seconds: float) -> Awaitable[object]:
        return asyncio.sleep(seconds)

    def subscribe(self, name: str, index: int, variable: str, receive: Callable[[bytes | None], object]) -> Handle:
        return self._house.follow(Place(self._info.site_id, name, index), variable, receive)

    async def call(self, name: str, index: int, function: str, args: Any, caller: Caller) -> bytes:
        return await self._house.call_at(Place(self._info.site_id, name, index), function, args, caller)

    async def emit(self, events: Sequence[Mapping[str, Any]]) -> None:
        await self._house.keep(self._info.site_id, events)

    def changed(self, variable: str, value: bytes | None) -> None:
        if self._is_open:
            self._status.change(variable, value)

    def wrote(self, level: LogLevel, message: str) -> None:
        if self._is_open:
            self._lines.write(level, message)

    def failed(self, what: str, error: BaseException) -> None:
        if self._is_open:
            self._running.report(what, error)

    def watched(self, what: str, work: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        return watched(self._house.watch, self._info.id, what, work)

    def gone(self, reason: str) -> None:
        if self._is_open:
            self._running.crashed(reason, self)

    def _on_flood(self) -> None:
        self.wrote("debug", "its status changes faster than it is passed on")
