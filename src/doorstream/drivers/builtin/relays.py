"""How relays on the market speak MQTT: what is sent to them, and what they say. Pure: topics and payloads only.

Tasmota: topics ``cmnd/<device>/…``, ``stat/<device>/…`` and ``tele/<device>/LWT``; ``PulseTime<n>`` has the relay
switch itself off again (1 to 111 are tenths of a second, from 112 on it is seconds plus 100), and ``Backlog`` carries
out several commands in order (Tasmota's documentation, "MQTT" and "Commands").
Shelly of the first generation: ``shellies/<device>/relay/<n>`` and ``…/command``, ``…/input/<n>``, ``…/online``.
Shelly from the second generation on: ``<device>/rpc`` with ``Switch.Set``, whose ``toggle_after`` switches back, and
``<device>/status/switch:<n>``, ``…/status/input:<n>``, ``…/online`` (Shelly's documentation, "MQTT" of both).
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

_TENTHS: Final = 10
_PULSE_TENTHS: Final = 111
_PULSE_OFFSET: Final = 100
_PULSE_MOST: Final = 64_900
_MOST_SAID: Final = 4096

Kind = Literal["tasmota", "shelly", "shelly2"]


class Message(NamedTuple):
    """Something to publish."""

    topic: str
    payload: str


class Said(NamedTuple):
    """What a device said; None where it said nothing of it. ``contact``: whether the door is open."""

    online: bool | None = None
    relay: bool | None = None
    contact: bool | None = None


class Relay(Protocol):
    """One relay of one device. ``switches_back`` tells whether it ends an unlocking by itself."""

    switches_back: bool

    @property
    def topics(self) -> tuple[str, ...]:
        """What to subscribe to, in this order: whether it is there comes last, after all that the broker kept of it."""

    def on(self, seconds: float | None) -> tuple[Message, ...]:
        """Switch it on, for so long or until told otherwise."""

    def off(self) -> tuple[Message, ...]:
        """Switch it off."""

    def ask(self) -> tuple[Message, ...]:
        """Have it say how it stands."""

    def read(self, topic: str, payload: bytes) -> Said | None:
        """What a message says; None for one that says nothing, or is damaged."""


class Tasmota:
    """A relay of a device with Tasmota. ``relay`` and ``contact`` (a switch input) count from 1, as Tasmota does."""

    switches_back = True

    def __init__(self, device: str, relay: int, contact: int | None) -> None:
        self._device, self._relay, self._contact = device, relay, contact

    @property
    def topics(self) -> tuple[str, ...]:
        """Its answers, and its last will."""
        return f"stat/{self._device}/+", f"tele/{self._device}/LWT"

    def on(self, seconds: float | None) -> tuple[Message, ...]:
        """With the pulse time set in the same breath: the device locks again also if nobody tells it to."""
        commands = f"PulseTime{self._relay} {_pulse(seconds)}; POWER{self._relay} ON"
        return (Message(f"cmnd/{self._device}/Backlog", commands),)

    def off(self) -> tuple[Message, ...]:
        """Off."""
        return (Message(f"cmnd/{self._device}/POWER{self._relay}", "OFF"),)

    def ask(self) -> tuple[Message, ...]:
        """An empty payload asks."""
        return (Message(f"cmnd/{self._device}/POWER{self._relay}", ""),)

    def read(self, topic: str, payload: bytes) -> Said | None:
        """``POWER`` of the only relay has no number."""
        name, text = topic.rpartition("/")[2], _text(payload)
        if name == "LWT":
            return Said(online={"Online": True, "Offline": False}.get(text))
        if name == f"POWER{self._relay}" or (name == "POWER" and self._relay == 1):
            return Said(relay=_ON_OFF.get(text.upper()))
        if self._contact is not None and name == f"SWITCH{self._contact}":
            value = _decoded(payload)
            action = value.get("ACTION") if isinstance(value, dict) else text
            return Said(contact=_ON_OFF.get(str(action).upper()))
        return None


class Shelly:
    """A relay of a Shelly of the first generation. ``relay`` and ``contact`` (an input) count from 0."""

    switches_back = False  # its timer is a setting of the device and no part of the command

    def __init__(self, device: str, relay: int, contact: int | None) -> None:
        self._base, self._relay, self._contact = f"shellies/{device}", relay, contact

    @property
    def topics(self) -> tuple[str, ...]:
        """The relay, the input, and its last will."""
        contact = () if self._contact is None else (f"{self._base}/input/{self._contact}",)
        return f"{self._base}/relay/{self._relay}", *contact, f"{self._base}/online"

    def on(self, seconds: float | None) -> tuple[Message, ...]:  # noqa: ARG002 - see switches_back
        """On."""
        return (Message(f"{self._base}/relay/{self._relay}/command", "on"),)

    def off(self) -> tuple[Message, ...]:
        """Off."""
        return (Message(f"{self._base}/relay/{self._relay}/command", "off"),)

    def ask(self) -> tuple[Message, ...]:
        """Have everything published again."""
        return (Message(f"{self._base}/command", "update"),)

    def read(self, topic: str, payload: bytes) -> Said | None:
        """Plain words."""
        text = _text(payload)
        if topic == f"{self._base}/online":
            return Said(online=_BOOLEANS.get(text))
        if topic == f"{self._base}/relay/{self._relay}":
            return Said(relay=_ON_OFF.get(text.upper()))
        if self._contact is not None and topic == f"{self._base}/input/{self._contact}":
            return Said(contact={"1": True, "0": False}.get(text))
        return None


class Shelly2:
    """A relay of a Shelly from the second generation on. ``relay`` and ``contact`` (an input) count from 0."""

    switches_back = True

    def __init__(self, device: str, relay: int, contact: int | None) -> None:
        self._device, self._relay, self._contact = device, relay, contact

    @property
    def topics(self) -> tuple[str, ...]:
        """The relay, the input, the answers to what is asked, and its last will."""
        contact = () if self._contact is None else (f"{self._device}/status/input:{self._contact}",)
        relay = f"{self._device}/status/switch:{self._relay}"
        return relay, f"{self._source}/rpc", *contact, f"{self._device}/online"

    @property
    def _source(self) -> str:
        return f"doorstream/{self._device}/{self._relay}"

    def on(self, seconds: float | None) -> tuple[Message, ...]:
        """On; ``toggle_after`` has it switch back by itself."""
        after = {} if seconds is None else {"toggle_after": seconds}
        return (self._call("Switch.Set", {"id": self._relay, "on": True, **after}),)

    def off(self) -> tuple[Message, ...]:
        """Off."""
        return (self._call("Switch.Set", {"id": self._relay, "on": False}),)

    def ask(self) -> tuple[Message, ...]:
        """Its status; the answer comes to our own topic."""
        return (self._call("Switch.GetStatus", {"id": self._relay}),)

    def read(self, topic: str, payload: bytes) -> Said | None:
        """JSON, but for the last will."""
        if topic == f"{self._device}/online":
            return Said(online=_BOOLEANS.get(_text(payload)))
        value = _decoded(payload)
        if not isinstance(value, dict):
            return None
        if topic == f"{self._source}/rpc":
            value = value.get("result")
        elif topic == f"{self._device}/status/input:{self._contact}":
            return Said(contact=_boolean(value.get("state")))
        elif topic != f"{self._device}/status/switch:{self._relay}":
            return None
        return Said(relay=_boolean(value.get("output"))) if isinstance(value, dict) else None

    def _call(self, method: str, params: dict[str, Any]) -> Message:
        request = {"id": 1, "src": self._source, "method": method, "params": params}
        return Message(f"{self._device}/rpc", json.dumps(request))


RELAYS: Final[dict[Kind, type[Tasmota | Shelly | Shelly2]]] = {
    "tasmota": Tasmota,
    "shelly": Shelly,
    "shelly2": Shelly2,
}
"""The devices by kind."""

_ON_OFF: Final = {"ON": True, "OFF": False}
_BOOLEANS: Final = {"true": True, "false": False}


def _pulse(seconds: float | None) -> int:
    """Tasmota's ``PulseTime``; 0 is for ever."""
    if seconds is None:
        return 0
    tenths = max(round(seconds * _TENTHS), 1)
    return tenths if tenths <= _PULSE_TENTHS else min(round(seconds) + _PULSE_OFFSET, _PULSE_MOST)


def _text(payload: bytes) -> str:
    return payload[:_MOST_SAID].decode(errors="replace").strip()


def _decoded(payload: bytes) -> Any:
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
