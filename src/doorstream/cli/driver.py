"""``doorstream driver``: begin, check and try a driver of one's own."""

from __future__ import annotations

import inspect
import json
import keyword
import re
import string
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter
from cyclopts.validators import Number

from doorstream.cli.errors import CommandError
from doorstream.drivers import DriverFault
from doorstream.drivers.driver import Driver
from doorstream.drivers.loader import Loaded, Origin, classes_in, examine, import_path

driver = cyclopts.App(name="driver", help="Drivers of your own: begin one, check it, try it.")

_SNAKE = re.compile(r"[a-z][a-z0-9_]{0,40}")
_TEMPLATES = files(__package__).joinpath("templates")


@driver.command(name="new")
async def driver_new(name: str, *, directory: Path = Path()) -> None:
    """Write a commented driver and a test of it, to begin with.

    Parameters
    ----------
    name:
        The driver's name, as in gate_lamp.
    directory:
        Where to write it.
    """
    if not _SNAKE.fullmatch(name) or keyword.iskeyword(name):
        raise CommandError(f"{name!r} is no name: small letters, digits and underscores, as in gate_lamp", status=2)
    klass = "".join(word.capitalize() for word in name.split("_"))
    paths = {"driver.txt": directory / f"{name}.py", "test.txt": directory / f"test_{name}.py"}
    for path in paths.values():
        if path.exists():
            raise CommandError(f"{path} is there already")
    directory.mkdir(parents=True, exist_ok=True)
    for template, path in paths.items():
        text = string.Template(_TEMPLATES.joinpath(template).read_text()).substitute(name=name, klass=klass)
        path.write_text(text)
        print(f"wrote {path}")
    print(f"next: doorstream driver check {paths['driver.txt']}; pytest {paths['test.txt']}")
    print(f"      doorstream driver run {paths['driver.txt']} --exec 'greet [\"you\"]'")


@driver.command(name="check")
async def driver_check(path: Path) -> None:
    """Say what a driver's file offers, and what is wrong with it; ends with 1 if something is.

    Parameters
    ----------
    path:
        The file, or the folder of a driver with several.
    """
    faults = 0
    for klass, found in _examined(path):
        if isinstance(found, DriverFault):
            faults += 1
            print(f"{klass.__name__}: {found}")
        else:
            _describe(klass, found)
    if faults:
        raise CommandError(f"{faults} of the drivers cannot be used")


@driver.command(name="run")
async def driver_run(  # noqa: PLR0913 - one parameter for each option
    path: Path,
    *,
    driver: str | None = None,
    execute: Annotated[list[str] | None, Parameter(name="--exec", negative="")] = None,
    set: Annotated[list[str] | None, Parameter(negative="")] = None,  # noqa: A002 - the option's name
    door: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    rate: Annotated[float, Parameter(validator=Number(gte=0))] = 2.0,
    seconds: Annotated[float | None, Parameter(validator=Number(gte=0))] = None,
) -> None:
    """Run one driver in the simulated building and show what it does, until it is interrupted.

    The file may be edited meanwhile: it is loaded anew. Ends with 1 if the driver does not begin or a call fails.

    Parameters
    ----------
    path:
        The driver's file.
    driver:
        Which driver, where the file has several.
    execute:
        Call a function, as in --exec unlock or --exec 'greet ["you"]'. May be repeated; without --seconds the run
        then ends.
    set:
        A setting, as in --set host=lamp.local or --set every=5. May be repeated.
    door:
        Stand for this door of the building, counted from 1.
    rate:
        How much happens in the building, in events per second.
    seconds:
        End after so many seconds.
    """
    from doorstream.cli.driver_run import Run, run  # noqa: PLC0415 - a whole server, which the others need not wait for

    found = _chosen(path, driver)
    settings = dict(_setting(text) for text in set or ())
    calls = [_call(text) for text in execute or ()]
    await run(Run(_file(path), found, settings, calls, door, rate, seconds))


def _file(path: Path) -> Path:
    file = path / "__init__.py" if path.is_dir() else path
    if not file.is_file():
        raise CommandError(f"there is no file {file}", status=2)
    return file.absolute()


def _examined(path: Path) -> list[tuple[type[Driver], Loaded | DriverFault]]:
    """The driver classes of a file, each with what it offers or what is wrong with it; raises CommandError."""
    file = _file(path)
    try:
        classes = classes_in(import_path(file))
    except DriverFault as error:
        raise CommandError(str(error)) from None
    if not classes:
        raise CommandError(f"{file} has no class that derives from doorstream.drivers.Driver")
    found: list[tuple[type[Driver], Loaded | DriverFault]] = []
    for klass in classes:
        try:
            found.append((klass, examine(klass, Origin(klass.__name__, file=str(file)))))
        except DriverFault as error:
            found.append((klass, error))
    return found


def _chosen(path: Path, name: str | None) -> Loaded:
    examined = _examined(path)
    for klass, found in examined:
        if isinstance(found, DriverFault):
            raise CommandError(f"{klass.__name__}: {found}")
    usable = [found for _, found in examined if isinstance(found, Loaded) and name in (None, found.name)]
    if len(usable) != 1:
        names = ", ".join(found.name for _, found in examined if isinstance(found, Loaded))
        raise CommandError(f"which driver? give --driver with one of: {names}", status=2)
    return usable[0]


def _describe(klass: type[Driver], found: Loaded) -> None:
    view = found.view()
    print(f"{found.name}: {view.description or '(no docstring)'}")
    print(f"  modules are named {view.module_name}; isolation: {view.isolation}")
    if view.implements:
        print(f"  implements {', '.join(view.implements)}")
    properties = _properties(view.settings_schema)
    print(f"  settings: {json.dumps(properties) if properties else 'none'}")
    for function in found.functions.values():
        level = f" (level {function.level})" if function.level else ""
        arguments = ", ".join(name if name in function.required else f"{name}?" for name in function.order)
        print(f"  {function.name}({arguments}){level}: {function.doc.partition(chr(10))[0] or '(no docstring)'}")
        for name, schema in function.params.items():
            print(f"    {name}: {json.dumps(schema)}")
    for remark in _remarks(klass, found):
        print(f"  note: {remark}")


def _properties(schema: Any) -> dict[str, Any]:
    """The settings of a schema that msgspec made, which has them behind a reference."""
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    found: dict[str, Any] = schema.get("$defs", {}).get(name, schema).get("properties", {})
    return found


def _remarks(klass: type[Driver], found: Loaded) -> list[str]:
    """What works and is perhaps not meant."""
    remarks = []
    for name, function in found.functions.items():
        untyped = [each for each in function.order if each not in inspect.get_annotations(getattr(klass, name))]
        remarks += [f"{name}: {each} has no annotation, so it takes anything" for each in untyped]
    plain = [
        name
        for name, value in vars(klass).items()
        if inspect.isfunction(value) and not name.startswith("_") and not inspect.iscoroutinefunction(value)
    ]
    remarks += [f"{name} is not async, so clients cannot call it" for name in plain]
    return remarks


def _setting(text: str) -> tuple[str, Any]:
    """A setting as ``name=value``; the value is JSON, or else a text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--set {text}: give it as name=value", status=2)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _call(text: str) -> tuple[str, Any]:
    """A call as a function's name, and after a space its arguments as a JSON array or object."""
    name, _, arguments = text.strip().partition(" ")
    try:
        given = json.loads(arguments) if arguments.strip() else []
    except ValueError as error:
        raise CommandError(f"--exec {text}: its arguments are no JSON: {error}", status=2) from None
    return name, given if isinstance(given, list | dict) else [given]
