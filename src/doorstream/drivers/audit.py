"""The log's record of a command: who gave it, to which module, with what, and what came of it.

Each call from outside of a function that its driver marks ``@audited`` is one ``x.command`` event. What the command
then does to a door are events of their own (``device.input.relay.on`` with ``cause`` ``command`` in its metadata).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from doorstream.drivers.callers import Caller
from doorstream.drivers.errors import DriversError, NotAllowed
from doorstream.drivers.functions import Function
from doorstream.drivers.plan import ModulePlan

TOPIC: Final = "x.command"


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
    given = dict(args) if isinstance(args, Mapping) else dict(zip(function.order, args or (), strict=False))
    return {
        "topic": TOPIC,
        "body": {
            "module": module.id,
            "name": module.name,
            "index": plan.index,
            "function": function.name,
            "args": given,
            "deviceId": module.device_id,
            "outcome": outcome,
            "error": str(error) if error is not None else None,
        },
        "metadata": {"cause": "command", **caller.metadata(), "module": module.id},
    }
