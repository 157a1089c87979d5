"""Drivers: programs that speak with hardware and services, and the runtime that hosts them.

A *driver* is a Python class; a *module* is one at work for a site, with settings of its own. `driver` has the base
class, `runtime` hosts modules, `builtin` has the drivers that come with doorstream, `simulated` the simulated building.
"""

from doorstream.drivers.callers import Caller, Level
from doorstream.drivers.driver import Driver, Handle, ModuleInfo, Status
from doorstream.drivers.errors import (
    BadArguments,
    DriverFault,
    DriversError,
    ExecutionFailed,
    InvalidSettings,
    ModuleNotFound,
    ModuleUnavailable,
    NotAllowed,
    Refused,
    UnknownFunction,
)
from doorstream.drivers.functions import Function, audited, internal, security
from doorstream.drivers.house import Limits
from doorstream.drivers.runtime import Debugger, Drivers, Options
from doorstream.drivers.status import StatusStore
from doorstream.drivers.views import DriverView, ModuleView

__all__ = [
    "BadArguments",
    "Caller",
    "Debugger",
    "Driver",
    "DriverFault",
    "DriverView",
    "Drivers",
    "DriversError",
    "ExecutionFailed",
    "Function",
    "Handle",
    "InvalidSettings",
    "Level",
    "Limits",
    "ModuleInfo",
    "ModuleNotFound",
    "ModuleUnavailable",
    "ModuleView",
    "NotAllowed",
    "Options",
    "Refused",
    "Status",
    "StatusStore",
    "UnknownFunction",
    "audited",
    "internal",
    "security",
]
