"""The drivers that come with doorstream."""

from __future__ import annotations

from typing import Final

from doorstream.drivers.builtin.access_control import AccessControl
from doorstream.drivers.builtin.bookings import Bookings
from doorstream.drivers.builtin.door import BuiltInDriver, Door
from doorstream.drivers.builtin.doors import DoorModule, Doors, Premises
from doorstream.drivers.builtin.mqtt_relay import MqttRelay
from doorstream.drivers.builtin.simulated_door import SimulatedDoor
from doorstream.drivers.driver import Driver

BUILT_IN: Final[tuple[type[Driver], ...]] = (Door, SimulatedDoor, MqttRelay, AccessControl, Bookings)
"""Every driver that is there without being installed."""


def furnished(driver: type[Driver], premises: Premises) -> type[Driver]:
    """The class with the premises that a built-in driver needs; others are as they were."""
    if not issubclass(driver, BuiltInDriver):
        return driver
    return type(driver.__name__, (driver,), {"premises": premises, "__module__": driver.__module__})


__all__ = [
    "BUILT_IN",
    "AccessControl",
    "Bookings",
    "BuiltInDriver",
    "Door",
    "DoorModule",
    "Doors",
    "MqttRelay",
    "Premises",
    "SimulatedDoor",
    "furnished",
]
