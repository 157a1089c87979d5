"""Modules without a runtime: what they are, say and answer is what a test tells them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from doorstream.directory import Actor
from doorstream.drivers.callers import Caller
from doorstream.drivers.errors import ExecutionFailed, ModuleNotFound, NotAllowed, UnknownFunction
from doorstream.drivers.functions import Function, functions_of, security
from doorstream.drivers.levels import Sink
from doorstream.drivers.runtime import Debugger, Drivers
from doorstream.drivers.status import StatusStore
from doorstream.drivers.views import DriverView, ModuleView
from doorstream.events.entities import Module

CREATED = "2026-01-31T10:00:00.123Z"


class _Bookings:
    async def make_booking(self, at: int) -> dict[str, Any]:
        """Book from that time on."""

    async def nothing(self) -> None:
        """Do nothing."""

    async def broken(self) -> None:
        """Fail."""

    @security("support")
    async def clear(self) -> None:
        """Forget all bookings."""

    @security("administrator")
    async def destroy(self) -> None:
        """Forget everything."""


class FakeStatus(StatusStore):
    """Status variables that a test sets."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, bytes]] = {}
        self.callbacks: list[Callable[[str, str, bytes | None], None]] = []

    def value(self, module_id: str, variable: str) -> bytes | None:
        return self.values.get(module_id, {}).get(variable)

    def all(self, module_id: str) -> Mapping[str, bytes]:
        return self.values.get(module_id, {})

    def on_change(self, callback: Callable[[str, str, bytes | None], None]) -> None:
        self.callbacks.append(callback)

    def set(self, module_id: str, variable: str, value: Any) -> None:
        """Give a variable a value; as the real one, only another value is told."""
        encoded = json.dumps(value, separators=(",", ":")).encode()
        if self.value(module_id, variable) != encoded:
            self.values.setdefault(module_id, {})[variable] = encoded
            for callback in self.callbacks:
                callback(module_id, variable, encoded)

    def forget(self, module_id: str, variable: str) -> None:
        """Take a variable's value away."""
        del self.values[module_id][variable]
        for callback in self.callbacks:
            callback(module_id, variable, None)


class FakeDebugger(Debugger):
    """Counts who follows."""

    def __init__(self, drivers: FakeDrivers, module_id: str, sink: Sink) -> None:
        self._drivers, self._module_id, self._sink = drivers, module_id, sink
        drivers.sinks.setdefault(module_id, []).append(sink)

    def close(self) -> None:
        self._drivers.sinks[self._module_id].remove(self._sink)


class FakeDrivers(Drivers):
    """Modules in a list."""

    def __init__(self) -> None:
        self.status = FakeStatus()
        self.all: dict[str, ModuleView] = {}
        self.callbacks: list[Callable[[str], None]] = []
        self.sinks: dict[str, list[Sink]] = {}
        self.calls: list[tuple[str, str, list[Any], Caller]] = []
        self.answers: dict[str, Any] = {"make_booking": {}, "nothing": None, "clear": None, "destroy": None}
        self.restarted: list[str] = []
        self.looked_at: list[str] = []

    def add(self, site_id: str, module_id: str, name: str = "Bookings", **more: Any) -> ModuleView:
        """Have a module appear."""
        index = 1 + sum(each.name == name for each in self.modules(site_id))
        view = ModuleView(
            id=module_id,
            site_id=site_id,
            name=name,
            index=index,
            driver=name.lower(),
            klass=f"Simulated{name}",
            description=f"A {name}",
            device_id=None,
            wanted=True,
            running=True,
            connected=True,
            settings={},
            notes="",
            error=None,
            error_at=None,
            implicit=True,
            created=CREATED,
            updated=CREATED,
        )
        return self.put(replace(view, **more))

    def put(self, view: ModuleView) -> ModuleView:
        """Have a module be as that."""
        self.all[view.id] = view
        for callback in self.callbacks:
            callback(view.id)
        return view

    def remove(self, module_id: str) -> None:
        """Have a module go."""
        del self.all[module_id]
        for callback in self.callbacks:
            callback(module_id)

    def say(self, module_id: str, level: str, message: str) -> None:
        """Have a module write to its log."""
        for sink in list(self.sinks.get(module_id, [])):
            sink(level, message, self.all[module_id].klass)

    def modules(self, site_id: str) -> Sequence[ModuleView]:
        return sorted((each for each in self.all.values() if each.site_id == site_id), key=lambda each: each.name)

    def entities(self, site_id: str) -> Sequence[Module]:
        found = (self.entity(view.id) for view in self.modules(site_id))
        return [entity for entity in found if entity is not None]

    def module(self, module_id: str) -> ModuleView | None:
        self.looked_at.append(module_id)
        return self.all.get(module_id)

    def entity(self, module_id: str) -> Module | None:
        view = self.all.get(module_id)
        if view is None:
            return None
        fields = ("id", "site_id", "name", "driver", "device_id", "notes", "created", "updated")
        named = {name: getattr(view, name) for name in fields}
        return Module(**named, settings=dict(view.settings), running=view.wanted)

    async def change(self, module_id: str, update: Callable[[Module], Module], by: Actor) -> Module:  # noqa: ARG002 - as the real one
        entity = self.entity(module_id)
        if entity is None:
            raise ModuleNotFound(module_id)
        new = update(entity)
        changed = {"name": new.name, "notes": new.notes, "settings": new.settings}
        self.put(replace(self.all[module_id], wanted=new.running, running=new.running, implicit=False, **changed))
        return new

    async def restart(self, module_id: str) -> None:
        self.restarted.append(module_id)

    def drivers(self) -> Sequence[DriverView]:
        views = []
        for name in ("Bookings", "Door"):
            view = DriverView(
                name=name.lower(),
                klass=f"Simulated{name}",
                description=f"A {name}",
                module_name=name,
                origin="built-in",
                isolation="loop",
                implements=(),
                settings_schema={"type": "object", "properties": {}},
            )
            views.append(view)
        return views

    def on_change(self, callback: Callable[[str], None]) -> None:
        self.callbacks.append(callback)

    def functions(self, module_id: str) -> Mapping[str, Function]:
        return functions_of(_Bookings) if module_id in self.all else {}

    async def execute(
        self, module_id: str, name: str, args: Sequence[Any] | Mapping[str, Any] | None, caller: Caller
    ) -> bytes:
        if module_id not in self.all:
            raise ModuleNotFound(module_id)
        function = self.functions(module_id).get(name)
        if function is None:
            raise UnknownFunction(f"there is no function {name}")
        function.arguments(args)
        if not caller.may(function.level):
            raise NotAllowed(f"{name} needs the level {function.level}")
        self.calls.append((module_id, name, list(args or ()), caller))
        if name == "broken":
            raise ExecutionFailed("it is broken")
        answer = self.answers[name]
        if callable(answer):
            answer = await answer(*(args or ()))
        return json.dumps(answer).encode()

    def debug(self, module_id: str, sink: Sink) -> Debugger:
        return FakeDebugger(self, module_id, sink)
