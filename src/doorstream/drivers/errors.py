"""What can go wrong between who asks something of a module and the module.

::

    DriversError
    ├── ModuleNotFound       there is no such module
    ├── UnknownFunction      its driver has no such function
    ├── BadArguments         the function takes other arguments
    ├── NotAllowed           the caller's level is too low for the function
    ├── ExecutionFailed      the function failed (``code``, as HTTP has them)
    │   └── Refused          the same, said by the driver on purpose: the text is for the caller
    └── ModuleUnavailable    the module does not run now: it was stopped, has failed, or its process is gone
    DriverFault              a driver that cannot be used; the message is for who wrote it
    └── InvalidSettings      settings that the driver's model does not take
"""

from __future__ import annotations

import msgspec


class DriversError(Exception):
    """What was asked of a module was not done."""


class ModuleNotFound(DriversError):
    """There is no such module."""

    def __init__(self, module_id: str) -> None:
        super().__init__(f"there is no module {module_id}")
        self.module_id = module_id


class UnknownFunction(DriversError):
    """The module's driver has no such function."""


class BadArguments(DriversError):
    """The function takes other arguments; the message names the one."""


class NotAllowed(DriversError):
    """The caller's level is too low for the function."""


class ExecutionFailed(DriversError):
    """The function failed. ``code`` is as HTTP has them: 500 unless the driver said another, 504 for a time-out."""

    def __init__(self, message: str, code: int = 500) -> None:
        super().__init__(message)
        self.code = code


class Refused(ExecutionFailed):
    """Raised by a driver's function: it cannot do what it was asked, and the text tells the caller why."""

    def __init__(self, message: str, code: int = 409) -> None:
        super().__init__(message, code)


class ModuleUnavailable(DriversError):
    """The module does not run now."""


class DriverFault(Exception):
    """A driver that cannot be used: it does not import, or one of its signatures says too little."""


class InvalidSettings(DriverFault):
    """Settings that the driver's model does not take; ``where`` is the path of the setting."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.where = where
        self.what = what


KINDS: dict[str, type[DriversError]] = {
    error.__name__: error
    for error in (
        ModuleNotFound,
        UnknownFunction,
        BadArguments,
        NotAllowed,
        ExecutionFailed,
        ModuleUnavailable,
    )
}
"""The errors that cross from one process to another, by name."""


class Failure(msgspec.Struct, frozen=True):
    """An error on its way between two processes."""

    kind: str
    message: str
    code: int = 500

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """An error to be sent; what is none of ours becomes ``ExecutionFailed``."""
        if isinstance(error, ExecutionFailed):
            return cls("ExecutionFailed", str(error), error.code)
        if isinstance(error, DriversError) and type(error).__name__ in KINDS:
            return cls(type(error).__name__, error.module_id if isinstance(error, ModuleNotFound) else str(error))
        return cls("ExecutionFailed", str(error) or type(error).__name__)

    def error(self) -> DriversError:
        """The error that was sent."""
        if self.kind == "ExecutionFailed":
            return ExecutionFailed(self.message, self.code)
        return KINDS.get(self.kind, ModuleUnavailable)(self.message)
