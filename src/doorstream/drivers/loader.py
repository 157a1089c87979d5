"""Where driver classes come from: built in, entry points ``doorstream.drivers``, and the files of a folder.

A file that cannot be imported, or a class that cannot be used, harms no other driver: it is kept with its fault, and
modules of it say so. Files are looked at again by ``refresh``; one that changed is imported anew, with what was
imported from the same package.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Final

import msgspec
import structlog

from doorstream.drivers.driver import Driver
from doorstream.drivers.errors import DriverFault
from doorstream.drivers.functions import Function, functions_of
from doorstream.drivers.settings import settings_model, settings_schema
from doorstream.drivers.views import DriverView

_logger = structlog.get_logger(__name__)

GROUP: Final = "doorstream.drivers"
"""The group of entry points; the name of one is not used, its value is a driver class."""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PACKAGE: Final = "doorstream_drivers"


class Origin(msgspec.Struct, frozen=True):
    """Where a class is found again, from another process too: in a file or an importable module."""

    klass: str
    file: str | None = None
    module: str | None = None

    @property
    def text(self) -> str:
        """For people."""
        return self.file or f"{self.module}:{self.klass}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """One driver as far as it could be loaded. Without ``klass`` there is a ``fault``."""

    name: str
    origin: Origin
    klass: type[Driver] | None
    functions: dict[str, Function]
    fault: str | None = None
    is_built_in: bool = False

    @property
    def module_name(self) -> str:
        """The name of its modules unless they are given another."""
        return (self.klass.module_name or self.klass.__name__) if self.klass is not None else self.origin.klass

    def view(self) -> DriverView:
        """What is shown of it."""
        klass = self.klass
        return DriverView(
            name=self.name,
            klass=self.origin.klass,
            description=description_of(klass) if klass is not None else "",
            module_name=self.module_name,
            origin="built-in" if self.is_built_in else self.origin.text,
            isolation=klass.isolation if klass is not None else "none",
            implements=tuple(klass.implements) if klass is not None else (),
            settings_schema=settings_schema(klass) if klass is not None else {},
            fault=self.fault,
        )


def description_of(klass: type[Driver]) -> str:
    """The first line of a driver's own docstring."""
    doc = klass.__dict__.get("__doc__")
    return inspect.cleandoc(doc).partition("\n")[0] if doc else ""


def name_of(klass: type[Driver]) -> str:
    """The name under which a driver class is known."""
    return klass.__dict__.get("name") or _WORDS.sub("_", klass.__name__).lower()


def examine(klass: type[Driver], origin: Origin, *, is_built_in: bool = False) -> Loaded:
    """What a class offers; raises DriverFault for one that cannot be used."""
    name = name_of(klass)
    if not _NAME.fullmatch(name):
        raise DriverFault(f"{klass.__name__}.name: small letters, digits, dashes and underscores, not {name!r}")
    if klass.isolation not in ("none", "process"):
        raise DriverFault(f"{klass.__name__}.isolation: 'none' or 'process', not {klass.isolation!r}")
    settings_model(klass)
    return Loaded(name, origin, klass, functions_of(klass), is_built_in=is_built_in)


def classes_in(module: ModuleType) -> list[type[Driver]]:
    """The driver classes that a module defines itself."""
    return [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, Driver)
        and not name.startswith("_")
        and f"{value.__module__}.".startswith(f"{module.__name__}.")
    ]


def import_path(path: Path) -> ModuleType:
    """Import a driver's file, or the ``__init__.py`` of its folder, anew; raises DriverFault."""
    name = f"{_PACKAGE}_{path.parent.name if path.name == '__init__.py' else path.stem}"
    folder = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=folder)
    if spec is None or spec.loader is None:
        raise DriverFault(f"{path} is no Python file")
    for known in [known for known in sys.modules if known == name or known.startswith(f"{name}.")]:
        del sys.modules[known]
    importlib.invalidate_caches()
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        source = path.read_bytes()  # not by way of the cache, which may not see a change within the same second
        exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 - the operator's own folder of drivers
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise DriverFault(f"{path} cannot be imported: {_told(error, path)}") from error
    return module


def find(origin: Origin) -> type[Driver]:
    """The class at an origin, for another process; raises DriverFault."""
    module = import_path(Path(origin.file)) if origin.file is not None else importlib.import_module(origin.module or "")
    klass = getattr(module, origin.klass, None)
    if not (inspect.isclass(klass) and issubclass(klass, Driver)):
        raise DriverFault(f"{origin.text} has no driver {origin.klass}")
    return klass


class Catalogue:
    """All drivers by name. Where two have the same name the first stays: built in, entry points, then the folder."""

    def __init__(
        self, built_in: Iterable[type[Driver]], folder: Path | None = None, given: Iterable[type[Driver]] = ()
    ) -> None:
        """``given`` are classes that whoever starts the runtime has at hand."""
        self._fixed: dict[str, Loaded] = {}
        self._told: set[tuple[Origin, Origin]] = set()
        self._folder = folder
        self._files: dict[Path, tuple[float, list[Loaded]]] = {}
        for klass in built_in:
            found = examine(klass, Origin(klass.__name__, module=klass.__module__), is_built_in=True)
            self._fixed[found.name] = found
        given_ones = (examine(klass, Origin(klass.__name__, module=klass.__module__)) for klass in given)
        for found in (*given_ones, *_installed()):
            self._keep(self._fixed, found)
        self._all = dict(self._fixed)

    def get(self, name: str) -> Loaded | None:
        """The driver of that name."""
        return self._all.get(name)

    def views(self) -> list[DriverView]:
        """All drivers, by name."""
        return [self._all[name].view() for name in sorted(self._all)]

    def refresh(self) -> set[str]:
        """Look at the folder again; returns the names of the drivers that are new, changed or gone."""
        if self._folder is None:
            return set()
        present = dict(_stamps(self._folder))
        for path in set(self._files) - set(present):
            del self._files[path]
        for path, stamp in present.items():
            if path not in self._files or self._files[path][0] != stamp:
                self._files[path] = (stamp, _load_file(path))
        fresh = dict(self._fixed)
        for path in sorted(self._files):
            for found in self._files[path][1]:
                self._keep(fresh, found)
        changed = {name for name in {**fresh, **self._all} if fresh.get(name) is not self._all.get(name)}
        self._all = fresh
        return changed

    def _keep(self, into: dict[str, Loaded], found: Loaded) -> None:
        first = into.setdefault(found.name, found)
        pair = (first.origin, found.origin)
        if first is not found and pair not in self._told:
            self._told.add(pair)
            _logger.warning("two drivers have one name", name=found.name, used=pair[0].text, not_used=pair[1].text)


def _installed() -> Iterator[Loaded]:
    for entry in entry_points(group=GROUP):
        module, _, klass = entry.value.partition(":")
        origin = Origin(klass, module=module)
        try:
            yield examine(find(origin), origin)
        except Exception as error:  # somebody else's package  # noqa: BLE001 - its import may raise anything
            yield Loaded(entry.name, origin, None, {}, fault=str(error))


def _load_file(path: Path) -> list[Loaded]:
    """The drivers of a file; one with a fault has the name of the class, or of the file if it does not import."""
    stem = path.parent.name if path.name == "__init__.py" else path.stem
    try:
        classes = classes_in(import_path(path))
    except DriverFault as error:
        _logger.warning("a driver cannot be loaded", reason=str(error))
        return [Loaded(stem.lower(), Origin(stem, file=str(path)), None, {}, fault=str(error))]
    found = []
    for klass in classes:
        origin = Origin(klass.__name__, file=str(path))
        try:
            found.append(examine(klass, origin))
        except DriverFault as error:
            _logger.warning("a driver cannot be used", reason=str(error))
            found.append(Loaded(name_of(klass), origin, None, {}, fault=str(error)))
    return found


def _stamps(folder: Path) -> Iterator[tuple[Path, float]]:
    """The driver files of a folder and when they, or what stands beside them in their own folder, last changed."""
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith((".", "_", "test_")):
            continue
        if entry.suffix == ".py":
            yield entry, entry.stat().st_mtime_ns
        elif (init := entry / "__init__.py").is_file():
            yield init, max(part.stat().st_mtime_ns for part in entry.rglob("*.py"))


def _told(error: BaseException, path: Path) -> str:
    """What went wrong and in which line of the file."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    where = f" (line {line})" if line is not None else ""
    return f"{type(error).__name__}: {error}{where}"
