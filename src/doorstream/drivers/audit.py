"""The log's record of a command: who gave it, to which module, with what, and what came of it.

Each call of a function that its driver marks ``@audited`` is one ``x.command`` event, unless it is part of a command
that is one already. What the command then does to a door are events of their own (``device.input.relay.on`` with
``cause`` ``command`` in its metadata).

Whoever may not do a thing must not be able to fill the log by trying: arguments are cut, a refused command is kept
without them, and of a caller who is refused again and again only the number is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final

import msgspec

from doorstream.drivers.callers import Caller
from doorstream.drivers.errors import BadArguments, DriversError, NotAllowed
from doorstream.drivers.functions import Function
from doorstream.drivers.pacing import Allowance
from doorstream.drivers.plan import ModulePlan

TOPIC: Final = "x.command"
REFUSALS: Final = (NotAllowed, BadArguments)
"""What comes of a command before it reaches the module."""
AUDITED: Final[ContextVar[Caller | None]] = ContextVar("audited", default=None)
"""Whose command is being carried out that is an event already: that very object, which goes along with its calls."""
MOST_OF_ARGUMENT: Final = 256
"""Bytes of JSON that are kept of one argument, and characters of an error."""
REFUSALS_PER_SECOND, REFUSALS_AT_ONCE = 1.0, 10.0
"""Refused commands of one caller at one site that are kept one by one."""
_COUNTED_FOR: Final = 10.0
_MOST_CALLERS: Final = 1000

_encode = msgspec.json.Encoder().encode


def audited_event(
    plan: ModulePlan,
    function: Function,
    args: Sequence[Any] | Mapping[str, Any] | None,
    caller: Caller,
    error: DriversError | None,
) -> dict[str, Any]:
    """The event of one command, without its time. ``outcome``: ``done``, ``denied`` (the level) or ``failed``."""
    module = plan.entity
    outcome = "done" if error is None else "denied" if isinstance(error, NotAllowed) else "failed"
    given: dict[str, Any] = {}
    if not isinstance(error, REFUSALS):
        given = dict(args) if isinstance(args, Mapping) else dict(zip(function.order, args or (), strict=False))
    return {
        "topic": TOPIC,
        "body": {
            "module": module.id,
            "name": module.name,
            "index": plan.index,
            "function": function.name,
            "args": {name: _cut(value) for name, value in given.items()},
            "deviceId": module.device_id,
            "outcome": outcome,
            "error": str(error)[:MOST_OF_ARGUMENT] if error is not None else None,
        },
        "metadata": {"cause": "command", **caller.metadata(), "module": module.id},
    }


def counted_event(caller: Caller, count: int) -> dict[str, Any]:
    """The event of so many refused commands that are none of their own."""
    return {
        "topic": TOPIC,
        "body": {"outcome": "refused", "count": count},
        "metadata": {"cause": "command", **caller.metadata()},
    }


class Refusals:
    """Which refused commands are kept. ``tell`` takes a site, a caller and how many of theirs were not."""

    def __init__(self, tell: Callable[[str, Caller, int], object]) -> None:
        self._tell = tell
        self._allowances: dict[tuple[str, Caller], Allowance] = {}
        self._counted: dict[tuple[str, Caller], int] = {}
        self._timers: dict[tuple[str, Caller], asyncio.TimerHandle] = {}

    def take(self, site_id: str, caller: Caller) -> bool:
        """Whether one more is kept; else it is counted, and the number is told some seconds later."""
        key, loop = (site_id, caller), asyncio.get_running_loop()
        allowance = self._allowances.pop(key, None)
        if allowance is None:
            allowance = Allowance(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE, loop.time)
            if len(self._allowances) >= _MOST_CALLERS:
                del self._allowances[next(iter(self._allowances))]
        self._allowances[key] = allowance  # the one that was refused last is last
        if allowance.take():
            return True
        self._counted[key] = self._counted.get(key, 0) + 1
        if key not in self._timers:
            self._timers[key] = loop.call_later(_COUNTED_FOR, self.flush, key)
        return False

    def flush(self, *keys: tuple[str, Caller]) -> None:
        """Tell now what was counted; of all callers, if none is named."""
        for key in keys or tuple(self._timers):
            self._timers.pop(key).cancel()
            self._tell(*key, self._counted.pop(key))


def is_audited(caller: Caller) -> bool:
    """Whether what that caller asks for now is part of a command that is an event already."""
    return AUDITED.get() is caller


def _cut(value: Any) -> Any:
    """A value as it is, or the beginning of its JSON."""
    data = _encode(value)
    return value if len(data) <= MOST_OF_ARGUMENT else data[:MOST_OF_ARGUMENT].decode(errors="ignore") + "…"
