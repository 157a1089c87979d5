"""The runtime: which modules there are, where they run, and how to reach them.

Modules run in the first worker. There ``execute`` is a call of the driver's method; in the others it is a question to
the first. What modules there are follows from the directory, and their status from the bucket, in every worker alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import structlog

from doorstream.directory import Actor, Directory
from doorstream.drivers.audit import AUDITED, REFUSALS, Refusals, audited_event, counted_event, is_audited
from doorstream.drivers.builtin import BUILT_IN, DoorModule, Doors, Premises, furnished
from doorstream.drivers.callers import Caller
from doorstream.drivers.driver import Driver, Handle
from doorstream.drivers.errors import (
    DriversError,
    ExecutionFailed,
    ModuleNotFound,
    NotAllowed,
    UnknownFunction,
)
from doorstream.drivers.follow import Followers, Place
from doorstream.drivers.functions import Function
from doorstream.drivers.house import Limits
from doorstream.drivers.instance import CONNECTED
from doorstream.drivers.levels import Sink
from doorstream.drivers.loader import Catalogue
from doorstream.drivers.plan import ModulePlan
from doorstream.drivers.plans import Plans
from doorstream.drivers.remote import Branch, Desk, Order
from doorstream.drivers.running import Running
from doorstream.drivers.settings import read_settings
from doorstream.drivers.simulated import Story
from doorstream.drivers.status import StatusStore
from doorstream.drivers.stuck import end_because_of, take_note
from doorstream.drivers.views import DriverView, ModuleView
from doorstream.drivers.watch import Watch
from doorstream.events import Event, InvalidEvent
from doorstream.events.entities import Module
from doorstream.events.event import iso_utc
from doorstream.history import Index
from doorstream.ingest import Ingest
from doorstream.log import Connection, LogError

_logger = structlog.get_logger(__name__)

_LOOK_EVERY = 1.0
_BEGINNING = 100
_UNAVAILABLE = 503


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How modules are hosted. ``drivers_dir`` is the folder of the operator's own drivers."""

    is_host: bool = True
    drivers_dir: Path | None = None
    limits: Limits = field(default_factory=Limits)
    stuck_file: Path | None = None
    """Where a note is left when a module never lets go of the event loop and the process is ended; None: it is not."""
    clock: Callable[[], float] = time.time
    drivers: Sequence[type[Driver]] = ()
    """Classes that are drivers beside those that are found."""


class Debugger:
    """Somebody who follows a module's log lines."""

    def __init__(self, detach: Callable[[], None]) -> None:
        self._detach: Callable[[], None] | None = detach

    def close(self) -> None:
        """Follow no longer; may be called again."""
        detach, self._detach = self._detach, None
        if detach is not None:
            detach()


class Drivers:
    """All modules of all sites. All methods are called from one event loop."""

    def __init__(
        self, connection: Connection, directory: Directory, ingest: Ingest, index: Index, options: Options
    ) -> None:
        self.limits = options.limits
        self.beginning = asyncio.Semaphore(_BEGINNING)
        self._furnished: dict[type[Driver], type[Driver]] = {}
        self.catalogue = Catalogue(BUILT_IN, options.drivers_dir, options.drivers)
        self.status = StatusStore(connection, is_writer=options.is_host)
        self.watch = self._make_watch(options)
        self.doors = Doors(directory, index, options.clock)
        self.stories: dict[str, Story] = {}
        """The stories that are played in this process, by site: commands to their doors go by way of them."""
        self._premises = Premises(self.doors, self.stories, self._door_modules)
        self._is_host = options.is_host
        self._clock = options.clock
        self._directory = directory
        self._ingest = ingest
        self._desk = Desk(connection, self) if options.is_host else None
        self._branch = None if options.is_host else Branch(connection)
        self._plans = Plans(directory, self._planned)
        self._running: dict[str, Running] = {}
        self._sinks: dict[str, list[Sink]] = {}
        """Of the debuggers of each module, also while there is no such module."""
        self._followers = Followers(self._plans.at, self._plans.place_of, self.status.value)
        self._callbacks: list[Callable[[str], None]] = []
        self._going: set[asyncio.Task[None]] = set()
        self._refusals = Refusals(self._tell_refused)
        self._looker: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the status, find the drivers and, in the first worker, start the modules; raises LogError.

        It returns before they have all begun.
        """
        await self.status.open()
        self.catalogue.refresh()
        self.status.on_change(self._status_changed)
        self.status.on_state(self._state_changed)
        if self._is_host:
            self.watch.start()
        self._plans.open()
        if self._is_host:
            self._tidy()
        if self._desk is not None:
            await self._desk.open()
        if self._branch is not None:
            await self._branch.open()
        self._looker = asyncio.create_task(self._look(), name="changed drivers")

    def _make_watch(self, options: Options) -> Watch:
        self._stuck_file = file = options.stuck_file
        if file is None:
            return Watch(options.limits.blocking, self._blocked)
        return Watch(
            options.limits.blocking,
            self._blocked,
            stuck_after=options.limits.stuck,
            on_stuck=lambda module_id, what: end_because_of(file, module_id, what),
        )

    def _tidy(self) -> None:
        """Forget modules that went while nobody looked, and do not start the one that ended the process before."""
        for module_id in self.status.modules():
            if self._plans.get(module_id) is None:
                self.status.forget(module_id)
        stuck = take_note(self._stuck_file)
        if stuck is not None and (running := self._running.get(stuck.module)) is not None:
            running.give_up(stuck.reason)

    async def close(self) -> None:
        """Stop everything."""
        self._plans.close()
        told = set(self._going)
        self._refusals.flush()
        await asyncio.gather(*(self._going - told))
        for task in (self._looker, *self._going):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        for side in (self._desk, self._branch):
            if side is not None:
                await side.close()
        await asyncio.gather(*(running.close() for running in self._running.values()))
        self.watch.stop()
        await self.status.close()

    async def settled(self) -> None:
        """Wait until every module has begun, waits to be tried again, was given up, or is gone; in the first worker."""
        self._plans.look()
        await asyncio.gather(*(running.settled() for running in self._running.values()))

    # What there is.

    def modules(self, site_id: str) -> Sequence[ModuleView]:
        """The modules of a site, grouped by name and in the order of their index; none where there is no site."""
        self._plans.look()
        return [self._view(plan) for plan in self._plans.of(site_id)]

    def entities(self, site_id: str) -> Sequence[Module]:
        """The modules of a site as ``entity`` gives them, in the order of ``modules``; cheap, for who wants a few."""
        self._plans.look()
        return [plan.entity for plan in self._plans.of(site_id)]

    def module(self, module_id: str) -> ModuleView | None:
        """One module, or None."""
        self._plans.look()
        plan = self._plans.get(module_id)
        return None if plan is None else self._view(plan)

    def entity(self, module_id: str) -> Module | None:
        """The module as the directory keeps it, or would keep it (implicit ones are stored when they are changed)."""
        self._plans.look()
        plan = self._plans.get(module_id)
        return None if plan is None else plan.entity

    async def change(self, module_id: str, update: Callable[[Module], Module], by: Actor) -> Module:
        """Change a module, an implicit one too; raises ModuleNotFound, InvalidSettings and what the directory raises.

        ``update`` may be called again when somebody else was faster.
        """
        self._plans.look()
        plan = self._plans.get(module_id)
        if plan is None:
            raise ModuleNotFound(module_id)

        def changed(old: Module) -> Module:
            new = update(old)
            loaded = self.catalogue.get(new.driver)
            if loaded is not None and loaded.klass is not None:
                read_settings(loaded.klass, new.settings)
            return replace(new, updated=iso_utc(int(self._clock() * 1000)))

        if plan.implicit:
            return await self._directory.create(changed(plan.entity), by)
        return await self._directory.change(plan.entity, changed, by)

    async def restart(self, module_id: str) -> None:
        """Stop it if it runs and start it anew, also after it was given up; raises ModuleNotFound."""
        if self._branch is not None:
            await self._branch.restart(module_id)
            return
        self._refresh_drivers()
        running = self._running.get(module_id)
        if running is None or running.info is None:
            raise ModuleNotFound(module_id)
        running.restart()
        await running.settled()
        if running.info is None:  # it went meanwhile
            raise ModuleNotFound(module_id)

    def drivers(self) -> Sequence[DriverView]:
        """The drivers that modules can be made of, by name; also those with a fault."""
        return self.catalogue.views()

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Have ``callback(module id)`` called when a module appeared, changed or went."""
        self._callbacks.append(callback)

    # What can be done with it.

    def functions(self, module_id: str) -> Mapping[str, Function]:
        """The functions of a module by name; none where there is no such module or its driver has a fault."""
        self._plans.look()
        plan = self._plans.get(module_id)
        loaded = self.catalogue.get(plan.entity.driver) if plan is not None else None
        return loaded.functions if loaded is not None else {}

    async def execute(
        self, module_id: str, name: str, args: Sequence[Any] | Mapping[str, Any] | None, caller: Caller
    ) -> bytes:
        """Call a function; returns the JSON of its answer. Raises a DriversError."""
        self._plans.look()
        plan = self._plans.get(module_id)
        if plan is None:
            raise ModuleNotFound(module_id)
        function = self.functions(module_id).get(name)
        if function is None:
            raise UnknownFunction(f"{plan.entity.name} has no function {name!r}")
        if self._branch is not None:
            return await self._branch.execute(module_id, name, args, caller)
        return await self._audited(plan, function, args, caller)

    def debug(self, module_id: str, sink: Sink) -> Debugger:
        """Have ``sink(level, message, klass)`` called with a module's log lines, debug ones included, until closed."""
        return Debugger((self._branch or self).attach(module_id, sink))

    # What the parts inside need: ``house.House`` and ``remote.Host``.

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock()

    def furnish(self, driver: type[Driver]) -> type[Driver]:
        """Built-in drivers know the doors, the stories and the directory."""
        known = self._furnished.get(driver)
        if known is None:
            known = self._furnished[driver] = furnished(driver, self._premises)
        return known

    def _door_modules(self, site_id: str) -> list[DoorModule]:
        return [
            DoorModule(plan.entity.name, plan.index, plan.entity.device_id, plan.title)
            for plan in self._plans.of(site_id)
            if plan.entity.device_id is not None
        ]

    def follow(self, place: Place, variable: str, receive: Callable[[bytes | None], object]) -> Handle:
        """Follow a variable of whichever module has that place."""
        return self._followers.follow(place, variable, receive)

    async def call_at(self, place: Place, function: str, args: Any, caller: Caller) -> bytes:
        """Call the module that has that place for another one; part of an audited command is not audited again."""
        self._plans.look()
        module_id = self._plans.at(place)
        plan = self._plans.get(module_id) if module_id is not None else None
        if plan is None:
            raise ModuleNotFound(f"{place.name} {place.index}")
        found = self.functions(plan.entity.id).get(function)
        if found is None:
            raise UnknownFunction(f"{place.name} has no function {function!r}")
        return await self._audited(plan, found, args, caller)

    async def keep(self, site_id: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Append events to the log; raises InvalidEvent or LogError."""
        site = self._directory.site(site_id)
        if site is None:
            raise InvalidEvent("the site is gone")
        try:
            await self._ingest.put_values(site_id, site, events)
        except msgspec.ValidationError as error:
            raise InvalidEvent(str(error)) from None

    async def obey(self, order: Order) -> bytes:
        """Do what another worker asks for."""
        if order.name is None or order.caller is None:
            await self.restart(order.module)
            return b"null"
        return await self.execute(order.module, order.name, msgspec.json.decode(order.args), order.caller)

    def attach(self, module_id: str, sink: Sink) -> Callable[[], None]:
        """Have log lines given to the sink until what is returned is called."""
        self._sinks.setdefault(module_id, []).append(sink)
        if (running := self._running.get(module_id)) is not None:
            running.attach(sink)
        return lambda: self._detach(module_id, sink)

    def _detach(self, module_id: str, sink: Sink) -> None:
        sinks = self._sinks.get(module_id, [])
        if sink in sinks:
            sinks.remove(sink)
            if not sinks:
                del self._sinks[module_id]
        if (running := self._running.get(module_id)) is not None:
            running.detach(sink)

    def receive(self, event: Event) -> None:
        """An event of the log, in order: doors are what their events say."""
        self.doors.receive(event)

    async def _execute(
        self, module_id: str, function: Function, args: Sequence[Any] | Mapping[str, Any] | None, caller: Caller
    ) -> bytes:
        if not caller.may(function.level):
            raise NotAllowed(f"{function.name} needs the level {function.level}")
        function.arguments(args)  # to say what is wrong even where the module does not run
        running = self._running.get(module_id)
        if running is None:
            raise ModuleNotFound(module_id)
        return await running.execute(function.name, args, caller)

    async def _audited(
        self, plan: ModulePlan, function: Function, args: Sequence[Any] | Mapping[str, Any] | None, caller: Caller
    ) -> bytes:
        """Call a function and, where it is audited, keep who called it and what came of it."""
        if not function.is_audited or is_audited(caller):
            return await self._execute(plan.entity.id, function, args, caller)
        began = int(self._clock() * 1000)
        error: DriversError | None = None
        value = b"null"
        outer = AUDITED.set(caller)
        try:
            value = await self._execute(plan.entity.id, function, args, caller)
        except DriversError as failure:
            error = failure
        finally:
            AUDITED.reset(outer)
        if isinstance(error, REFUSALS) and not self._refusals.take(plan.entity.site_id, caller):
            raise error
        event = audited_event(plan, function, args, caller, error) | {"occurred": began}
        try:
            await self.keep(plan.entity.site_id, [event])
        except (InvalidEvent, LogError) as failure:
            if error is None:
                raise ExecutionFailed(f"done, but not kept in the log: {failure}", _UNAVAILABLE) from failure
        if error is not None:
            raise error
        return value

    def _tell_refused(self, site_id: str, caller: Caller, count: int) -> None:
        async def keep() -> None:
            with contextlib.suppress(InvalidEvent, LogError):
                await self.keep(site_id, [counted_event(caller, count) | {"occurred": int(self._clock() * 1000)}])

        self._keep_going(asyncio.create_task(keep()))

    def _keep_going(self, task: asyncio.Task[None]) -> None:
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    # How it keeps up with what there is.

    def _view(self, plan: ModulePlan) -> ModuleView:
        module = plan.entity
        state = self.status.state(module.id)
        loaded = self.catalogue.get(module.driver)
        return ModuleView(
            id=module.id,
            site_id=module.site_id,
            name=module.name,
            index=plan.index,
            driver=module.driver,
            klass=loaded.origin.klass if loaded is not None else "",
            description=plan.title,
            device_id=module.device_id,
            wanted=module.running,
            running=state.running,
            connected=state.running and self.status.value(module.id, CONNECTED) != b"false",
            settings=module.settings,
            notes=module.notes,
            error=state.error,
            error_at=state.error_at,
            implicit=plan.implicit,
            created=module.created,
            updated=module.updated,
        )

    def _planned(self, site_id: str, changed: Mapping[str, ModulePlan | None]) -> None:
        """A site was planned anew: what is other than before, None for what went."""
        self.doors.look_again(site_id)
        if self._is_host:
            for module_id, plan in changed.items():
                self._want(module_id, plan)
        if changed:
            self._followers.moved(site_id)
        for module_id in changed:
            self._notify(module_id)

    def _want(self, module_id: str, plan: ModulePlan | None) -> None:
        running = self._running.get(module_id)
        if running is not None and not running.is_over:  # one that is still ending begins again after its end
            running.want(plan)
            if plan is None:
                self._keep_going(asyncio.create_task(self._let_go(module_id, running)))
        elif plan is not None:
            self._running[module_id] = running = Running(self, plan)
            for sink in self._sinks.get(module_id, ()):
                running.attach(sink)

    async def _let_go(self, module_id: str, running: Running) -> None:
        """Forget one that is going as soon as it is gone."""
        await running.ended()
        if self._running.get(module_id) is running:
            del self._running[module_id]

    def _notify(self, module_id: str) -> None:
        for callback in self._callbacks:
            try:
                callback(module_id)
            except Exception:  # one listener's mistake must not keep the others from it
                _logger.exception("a listener of modules failed", module=module_id)

    def _status_changed(self, module_id: str, variable: str, value: bytes | None) -> None:
        self._followers.changed(module_id, variable, value)
        if variable == CONNECTED:
            self._notify(module_id)

    def _state_changed(self, module_id: str) -> None:
        if self._plans.get(module_id) is not None:
            self._notify(module_id)

    def _blocked(self, module_id: str, what: str, seconds: float) -> None:
        running = self._running.get(module_id)
        if running is not None and running.info is not None:
            running.blocked(what, seconds)

    def _refresh_drivers(self) -> None:
        """Look at the folder of drivers; modules whose driver changed are started anew."""
        changed = self.catalogue.refresh()
        if not changed:
            return
        _logger.info("drivers changed", names=sorted(changed))
        for plan in self._plans.everything():
            if plan.entity.driver in changed:
                if (running := self._running.get(plan.entity.id)) is not None:
                    running.nudge()
                self._notify(plan.entity.id)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            with contextlib.suppress(OSError):  # a folder that is just being replaced
                self._refresh_drivers()
