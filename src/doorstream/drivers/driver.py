"""The base class of drivers: what an author writes against.

::

    class Lamp(Driver):
        \"\"\"A lamp that can be switched.\"\"\"

        class Settings(msgspec.Struct):
            host: str
            every: float = 30.0

        async def on_load(self) -> None:
            self.every(self.settings.every, self.poll)

        async def switch(self, on: bool) -> bool:
            \"\"\"Switch the lamp.\"\"\"
            self.status["on"] = on
            return on

All of it runs in one event loop with everything else: a method must not block. A driver whose code does says
``isolation = "process"`` and gets a process of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from typing import Any, ClassVar, Final, Literal, Protocol

import msgspec

from doorstream.drivers.callers import Caller
from doorstream.drivers.functions import internal
from doorstream.drivers.levels import ModuleLogger

CALLER: Final[ContextVar[Caller | None]] = ContextVar("caller", default=None)
"""Who gave the command that is being carried out, if one is."""

MAX_VARIABLES = 1000
"""Status variables that one module may have."""
MAX_VALUE = 256_000
"""Bytes of JSON in one status variable."""
_MAX_NAME = 128

_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder().decode


class ModuleInfo(msgspec.Struct, frozen=True):
    """Which module a driver object is: ``index`` is its place (from 1) among those of its name at the site."""

    id: str
    site_id: str
    name: str
    index: int
    driver: str
    device_id: str | None = None


class Handle(Protocol):
    """Something that goes on until it is cancelled."""

    def cancel(self) -> object:
        """End it; may be called at any time."""


class Surroundings(Protocol):
    """What a driver object stands on. The runtime, the child process and the test kit each have one."""

    def now(self) -> float:
        """Seconds since 1970."""

    def sleep(self, seconds: float) -> Awaitable[object]:
        """Wait."""

    def run_soon(self, work: Coroutine[Any, Any, object], what: str) -> Handle:
        """Have something done beside everything else, until the module is unloaded; its failure is the module's."""

    def repeat(self, seconds: float, callback: Callable[[], object], what: str) -> Handle:
        """Have something done again and again."""

    def subscribe(self, name: str, index: int, variable: str, receive: Callable[[bytes | None], object]) -> Handle:
        """Follow a variable of another module of the site."""

    async def call(self, name: str, index: int, function: str, args: Any, caller: Caller) -> bytes:
        """Call a function of another module of the site; raises DriversError."""

    async def emit(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Keep events, all or none; they are durable when it returns. Raises InvalidEvent or LogError."""

    def changed(self, variable: str, value: bytes | None) -> None:
        """A status variable has another value, or is gone."""


class Status(MutableMapping[str, Any]):
    """``self.status``: variables by name, with values that JSON has. Setting an equal value changes nothing.

    What is read is a copy: set a variable anew to change it. Values outlive restarts of the module and the server.
    """

    __slots__ = ("_changed", "_compared", "_values")

    def __init__(self, values: Mapping[str, bytes], changed: Callable[[str, bytes | None], None]) -> None:
        self._values = dict(values)
        self._compared: dict[str, bytes] = {}
        self._changed = changed

    def __getitem__(self, variable: str) -> Any:
        return _decode(self._values[variable])

    def __setitem__(self, variable: str, value: Any) -> None:
        try:
            data, compared = _encode(value), _encode_sorted(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise TypeError(f"status[{variable!r}]: not a value that JSON has: {error}") from None
        known = self._compared.get(variable)
        if known is None and variable in self._values:  # of an earlier run
            known = _encode_sorted(_decode(self._values[variable]))
        self._compared[variable] = compared
        if known == compared:
            return
        if variable not in self._values:
            self._check_new(variable)
        if len(data) > MAX_VALUE:
            raise ValueError(f"status[{variable!r}]: {len(data)} bytes of JSON; at most {MAX_VALUE}")
        self._values[variable] = data
        self._changed(variable, data)

    def __delitem__(self, variable: str) -> None:
        del self._values[variable]
        self._compared.pop(variable, None)
        self._changed(variable, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def was_set(self, variable: str) -> bool:
        """Whether the driver has set the variable in this run."""
        return variable in self._compared

    def _check_new(self, variable: str) -> None:
        if not isinstance(variable, str) or not 0 < len(variable) <= _MAX_NAME or not variable.isprintable():
            raise ValueError(f"status: a variable's name is a text of 1 to {_MAX_NAME} printable characters")
        if len(self._values) >= MAX_VARIABLES:
            raise ValueError(f"status[{variable!r}]: a module has at most {MAX_VARIABLES} variables")


class Driver:
    """The base class of drivers.

    ``name`` is what modules are made by (the class's name in snake case if not given), ``module_name`` the name that
    its modules have unless they are given another (the class's name). ``implements`` names standard interfaces.
    ``isolation``: ``"process"`` gives each module of the driver a process of its own.

    Public ``async def`` methods are the functions that clients can call. An inner class ``Settings`` (a
    ``msgspec.Struct`` or a dataclass) is the model of ``self.settings``.
    """

    name: ClassVar[str] = ""
    module_name: ClassVar[str] = ""
    implements: ClassVar[tuple[str, ...]] = ()
    isolation: ClassVar[Literal["none", "process"]] = "none"

    module: ModuleInfo
    """Which module this is."""
    settings: Any
    """The settings, as the model says; None without a model."""
    status: Status
    """The status variables."""
    logger: ModuleLogger
    """Where log lines go."""
    _surroundings: Surroundings

    async def on_load(self) -> None:
        """Called once before everything else; ``self.settings`` and the status of the last run are there."""

    async def on_update(self) -> None:
        """Called when the settings have changed; ``self.settings`` are the new ones."""

    async def on_unload(self) -> None:
        """Called at last; timers and subscriptions have ended."""

    @property
    def caller(self) -> Caller | None:
        """Who gave the command that is being carried out; None outside of one."""
        return CALLER.get()

    def now(self) -> float:
        """The time in seconds since 1970; in the test kit it stands still until it is moved."""
        return self._surroundings.now()

    @internal
    async def sleep(self, seconds: float) -> None:
        """Wait. Unlike ``asyncio.sleep`` it takes no time in the test kit."""
        await self._surroundings.sleep(seconds)

    def every(self, seconds: float, callback: Callable[[], object]) -> Handle:
        """Call ``callback`` (async or not) every so many seconds until the module is unloaded or the handle cancelled.

        The next pause begins when the call is over. A failure is reported on the module; the next call comes.
        """
        if not seconds > 0:
            raise ValueError(f"every: more than 0 seconds, not {seconds}")
        return self._surroundings.repeat(seconds, callback, f"the timer {_named(callback)}")

    def spawn(self, work: Coroutine[Any, Any, object]) -> Handle:
        """Do something beside everything else, until the module is unloaded; a failure is reported on the module."""
        return self._surroundings.run_soon(work, f"the task {_named(work)}")

    def subscribe(self, name: str, index: int, variable: str, callback: Callable[[Any], object]) -> Handle:
        """Call ``callback`` (async or not) with a variable of another module of this site: now, and when it changes.

        The module need not exist yet. A variable that is gone is None. Of values that follow each other quickly only
        the last may be seen.
        """

        def receive(data: bytes | None) -> object:
            return callback(None if data is None else _decode(data))

        return self._surroundings.subscribe(name, index, variable, receive)

    @internal
    async def call(self, name: str, index: int, function: str, *args: Any, **named: Any) -> Any:
        """Call a function of another module of this site, with arguments by position or by name.

        It is called in the name of who called this one. Raises a DriversError.
        """
        if args and named:
            raise TypeError("call: arguments by position or by name, not both")
        caller = CALLER.get() or Caller(self.module.id, f"{self.module.name} {self.module.index}", "administrator")
        given = msgspec.to_builtins(named or list(args))
        return _decode(await self._surroundings.call(name, index, function, given, caller))

    @internal
    async def emit(  # noqa: PLR0913 - the keys of an event, by name
        self,
        topic: str,
        body: Mapping[str, Any] | None = None,
        *,
        occurred: float | str | None = None,
        metadata: Mapping[str, Any] | None = None,
        cloud_node: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002 - the wire's name
    ) -> None:
        """Append an access event to the log; it is durable when this returns.

        ``topic`` is one of the catalogue, or ``x.<name>`` with a free body. ``occurred`` is in milliseconds since 1970
        or an RFC 3339 time, now if left out. The body of a ``device.`` topic names this module's device unless it
        names another. ``id`` makes repeating harmless. Raises InvalidEvent, LogUnavailable or StorageFull.
        """
        more = {"occurred": occurred, "metadata": metadata, "cloudNode": cloud_node, "id": id}
        given = {key: value for key, value in more.items() if value is not None}
        await self.emit_all([{"topic": topic, "body": dict(body or {}), **given}])

    @internal
    async def emit_all(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Append several events (``topic``, ``body``, ``occurred``…) in order, all or none; as ``emit``."""
        await self._surroundings.emit([self._completed(event) for event in events])

    def _completed(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The event with what it leaves out: the time, the door, the module and who caused it."""
        body = dict(event.get("body") or {})
        if self.module.device_id is not None and str(event.get("topic")).startswith("device."):
            body.setdefault("deviceId", self.module.device_id)
        caller = CALLER.get()
        origin = {} if caller is None else {"cause": "command", **caller.metadata()}
        metadata = {**origin, **(event.get("metadata") or {}), "module": self.module.id}
        occurred = event.get("occurred", int(self.now() * 1000))
        return {**event, "body": body, "occurred": occurred, "metadata": metadata}


def _named(callback: object) -> str:
    return getattr(callback, "__qualname__", None) or repr(callback)
