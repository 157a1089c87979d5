"""From a driver's methods to its functions: what can be called, with what, and by whom.

Every public ``async def`` method is a function. Its parameters' annotations say what it takes: arguments are converted
by msgspec and refused with a message that names the argument. A leading underscore or ``@internal`` keeps a method out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar, get_type_hints

import msgspec

from doorstream.drivers.errors import BadArguments, DriverFault

Method = TypeVar("Method", bound=Callable[..., Any])

_LEVEL = "_doorstream_level"
_INTERNAL = "_doorstream_internal"
_AUDITED = "_doorstream_audited"
HOOKS: Final = ("on_load", "on_update", "on_unload")
"""The methods that the runtime calls, and nobody else."""

_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def security(level: Literal["support", "administrator"]) -> Callable[[Method], Method]:
    """Let only callers of this level, or a higher one, call the method (vendor-apis.md 2.2, "exec rights")."""
    if level not in ("support", "administrator"):
        raise DriverFault(f"@security takes 'support' or 'administrator', not {level!r}")

    def mark(method: Method) -> Method:
        setattr(method, _LEVEL, level)
        return method

    return mark


def internal(method: Method) -> Method:
    """Keep a public method from being callable."""
    setattr(method, _INTERNAL, True)
    return method


def audited(method: Method) -> Method:
    """Have each call kept in the log as an ``x.command`` event: who, what, with what, and what came of it.

    The event is durable before the caller is answered; what is part of an audited command is in that one's event.
    Arguments are kept, long ones in part: no place for secrets.
    """
    setattr(method, _AUDITED, True)
    return method


@dataclass(frozen=True, slots=True)
class Function:
    """One function of a driver.

    ``params`` has a JSON schema for each parameter, ``order`` their names, ``required`` those without a default;
    ``level`` is who may call it (None: everybody who may use the module).
    """

    name: str
    params: Mapping[str, Any]
    order: tuple[str, ...]
    required: tuple[str, ...]
    doc: str
    level: Literal["support", "administrator"] | None = None
    is_audited: bool = False
    model: type[Any] = field(default=msgspec.Struct, repr=False, compare=False)

    @property
    def arity(self) -> int:
        """How many parameters there are."""
        return len(self.order)

    def arguments(self, given: Sequence[Any] | Mapping[str, Any] | None) -> dict[str, Any]:
        """The arguments by name, converted; raises BadArguments that names the one that does not fit."""
        if isinstance(given, Mapping):
            for name in given:
                if name not in self.order:
                    raise BadArguments(f"{self.name} has no argument {name!r}; it takes {self._takes()}")
            named = dict(given)
        else:
            values = list(given or ())
            if len(values) > len(self.order):
                raise BadArguments(f"{self.name} takes {self._takes()}, not {len(values)} arguments")
            named = dict(zip(self.order, values, strict=False))
        for name in self.required:
            if name not in named:
                raise BadArguments(f"{name}: is missing; {self.name} takes {self._takes()}")
        try:
            model = msgspec.convert(named, self.model)
        except msgspec.ValidationError as error:
            what, _, path = str(error).partition(" - at `$.")
            raise BadArguments(f"{path.rstrip('`')}: {_lowered(what)}") from None
        return {name: getattr(model, name) for name in self.order}

    def _takes(self) -> str:
        if not self.order:
            return "no arguments"
        return ", ".join(name if name in self.required else f"{name} (optional)" for name in self.order)


def functions_of(driver: type) -> dict[str, Function]:
    """The functions of a driver class by name, in the order of their names; raises DriverFault."""
    found = {}
    for name in sorted(dir(driver)):
        method = inspect.getattr_static(driver, name)
        if name.startswith("_") or name in HOOKS or not inspect.iscoroutinefunction(method):
            continue
        if getattr(method, _INTERNAL, False):
            continue
        found[name] = _function(driver, name, method)
    return found


def _function(driver: type, name: str, method: Callable[..., Any]) -> Function:
    where = f"{driver.__name__}.{name}"
    try:
        hints = get_type_hints(method, include_extras=True)
    except Exception as error:
        raise DriverFault(f"{where}: an annotation cannot be read: {error}") from error
    fields: list[Any] = []
    schemas: dict[str, Any] = {}
    required = []
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        if parameter.kind in _VARIADIC:
            raise DriverFault(f"{where}: *{parameter.name} cannot be described; name each argument")
        if parameter.name.startswith("_"):
            raise DriverFault(f"{where}: an argument's name cannot begin with an underscore: {parameter.name}")
        kind = hints.get(parameter.name, Any)
        schema = _schema(where, parameter.name, kind)
        if parameter.default is parameter.empty:
            fields.append((parameter.name, kind))
            required.append(parameter.name)
        else:
            fields.append((parameter.name, kind, _default(where, parameter)))
            schema = schema | _shown_default(parameter.default)
        schemas[parameter.name] = schema
    return Function(
        name=name,
        params=schemas,
        order=tuple(schemas),
        required=tuple(required),
        doc=inspect.cleandoc(method.__doc__ or ""),
        level=getattr(method, _LEVEL, None),
        is_audited=getattr(method, _AUDITED, False),
        model=msgspec.defstruct(f"{name}_arguments", fields, kw_only=True),
    )


def _schema(where: str, name: str, kind: Any) -> dict[str, Any]:
    try:
        return msgspec.json.schema(kind)
    except TypeError as error:
        why = str(error).rpartition("\n")[2]
        raise DriverFault(f"{where}: {name} has a type that JSON does not have: {why}") from None


def _default(where: str, parameter: inspect.Parameter) -> Any:
    if isinstance(parameter.default, (list, dict, set)) and parameter.default:
        raise DriverFault(f"{where}: {parameter.name} has a default that could be changed; use a tuple or None")
    return parameter.default


def _shown_default(default: Any) -> dict[str, Any]:
    try:
        return {"default": msgspec.to_builtins(default)}
    except TypeError:
        return {}


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
