"""What a door is, as its events say: pure, one event after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from doorstream.drivers.simulated.door import Alarm, Mode
from doorstream.events import Event

Moment = tuple[int, int]
"""When an event occurred, and its sequence."""
MOST_RECENT: Final = 20
"""How many events ``recent_events`` holds."""

_LOCK, _LEAF = "lock", "leaf"
_MODES: Final = {
    "device.autoopen.on": Mode.AUTO_OPEN,
    "device.forceopen.on": Mode.HELD_OPEN,
    "device.forceclose.on": Mode.DO_NOT_DISTURB,
}
_ENDS: Final = {topic.removesuffix("on") + "off": mode for topic, mode in _MODES.items()}
MODE_NAMES: Final = {
    Mode.NORMAL: "normal",
    Mode.AUTO_OPEN: "auto_open",
    Mode.HELD_OPEN: "held_open",
    Mode.DO_NOT_DISTURB: "do_not_disturb",
}
"""The values of the variable ``mode``."""
_FACTS: Final = {
    "device.input.relay.on": (_LOCK, False),
    "device.input.relay.off": (_LOCK, True),
    "device.input.dps.opened": (_LEAF, True),
    "device.input.dps.closed": (_LEAF, False),
    "device.alarm.forced": ("forced", True),
    "device.alarm.forced.cleared": ("forced", False),
    "device.alarm.propped.on": ("propped", True),
    "device.alarm.propped.off": ("propped", False),
    "device.alarm.propped.alloff": ("propped", False),
    "device.alarm.tamper.on": ("tamper", True),
    "device.alarm.tamper.off": ("tamper", False),
}
"""What a topic says: of the lock whether it is locked, of the leaf whether it is open, of an alarm whether it is on."""
_ACTIONS: Final = {
    "device.request.allowed": "granted",
    "device.request.denied": "denied",
    "device.request.unknown": "denied",
    "device.request.duress": "duress",
    "device.alarm.forced": "forced_door",
    "device.alarm.tamper.on": "tamper",
    "device.input.rex.on": "request_to_exit",
}
"""The actions of the standard DoorSecurity interface (vendor-apis.md 2.5, fact 5) by topic."""


class _Holder(msgspec.Struct):
    id: str | None = None
    name: str | None = None


class _Body(msgspec.Struct):
    holder: _Holder | None = None


_decode_body = msgspec.json.Decoder(_Body).decode
_decode = msgspec.json.Decoder().decode


class DoorState:
    """A door as far as its events told. What no event told of is None."""

    def __init__(self) -> None:
        self.locked: bool | None = None
        self.is_open: bool | None = None
        self.mode = Mode.NORMAL
        self.alarms: set[str] = set()
        self.sequence = 0
        self._at: dict[str | Mode, Moment] = {}
        """When each kind of thing, and each mode, was last said to be otherwise."""
        self._commanded: tuple[Moment, Mode] | None = None
        """The mode that began last."""
        self._recent: dict[str, dict[str, Any]] = {}

    def apply(self, event: Event) -> bool:
        """Take over the next event; one that was taken over before changes nothing. Tells whether it was news.

        Events may come late: what the door is follows from what occurred last, not from what came last.
        """
        if event.sequence <= self.sequence or not event.topic.startswith("device."):
            return False
        self.sequence = event.sequence
        self._switch(event.topic, (event.occurred, event.sequence))
        self._recent[event.id] = shown(event)
        if len(self._recent) > MOST_RECENT:
            del self._recent[next(iter(self._recent))]
        return True

    def variables(self) -> Iterator[tuple[str, Any]]:
        """The status variables, in the order in which they are to change."""
        recent = list(reversed(self._recent.values()))
        yield "locked", self.locked
        yield "door_position", None if self.is_open is None else "open" if self.is_open else "closed"
        yield "mode", MODE_NAMES[self.mode]
        yield "alarms", sorted(self.alarms)
        yield "recent_events", recent
        yield "last_event", recent[0] if recent else None

    @property
    def alarm(self) -> Alarm:
        """The alarm as the simulated door has it."""
        if "forced" in self.alarms:
            return Alarm.FORCED
        return Alarm.PROPPED if "propped" in self.alarms else Alarm.NONE

    def _switch(self, topic: str, moment: Moment) -> None:
        if topic in _FACTS:
            kind, value = _FACTS[topic]
            if self._is_latest(kind, moment):
                self._learn(kind, value=value)
        elif topic in _MODES:
            if self._commanded is None or self._commanded[0] < moment:
                self._commanded = (moment, _MODES[topic])
                self._see_mode()
        elif topic in _ENDS and self._is_latest(_ENDS[topic], moment):
            self._see_mode()

    def _learn(self, kind: str, *, value: bool) -> None:
        if kind == _LOCK:
            self.locked = value
        elif kind == _LEAF:
            self.is_open = value
        elif value:
            self.alarms.add(kind)
        else:
            self.alarms.discard(kind)

    def _is_latest(self, kind: str | Mode, moment: Moment) -> bool:
        if kind in self._at and moment < self._at[kind]:
            return False
        self._at[kind] = moment
        return True

    def _see_mode(self) -> None:
        """The mode that began last counts until it ends; there is none beneath it."""
        if self._commanded is not None:
            began, mode = self._commanded
            ended = self._at.get(mode)
            self.mode = mode if ended is None or ended < began else Mode.NORMAL


def shown(event: Event) -> dict[str, Any]:
    """An event as ``last_event`` shows it. Its ``id`` is unique, so that two alike are two (vendor-apis.md 2.7).

    ``occurred`` is in milliseconds since 1970; ``by`` says whose command it was, where it was one.
    """
    metadata = _decode(event.metadata)
    by = metadata.get("by") if isinstance(metadata, dict) else None
    return {
        "id": event.id,
        "topic": event.topic,
        "action": _ACTIONS.get(event.topic),
        "occurred": event.occurred,
        "holder": _holder(event),
        "by": by,
    }


def _holder(event: Event) -> dict[str, Any] | None:
    try:
        found = _decode_body(event.body).holder
    except msgspec.DecodeError:
        return None  # of a topic that has something else there
    return None if found is None or found.id is None else {"id": found.id, "name": found.name}
