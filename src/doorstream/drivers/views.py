"""What is known of a module, for who lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec


class ModuleState(msgspec.Struct, frozen=True):
    """How a module is doing, as every worker knows it. ``error`` is None unless the last thing it did went wrong.

    ``running``: it takes commands now. ``error_at`` is in seconds since 1970.
    """

    running: bool = False
    error: str | None = None
    error_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleView:
    """One module as it is now.

    ``index`` is its place (from 1) among the modules of that ``name`` at its site. ``driver`` is the registered name of
    its driver, ``klass`` what stands in its log lines. ``wanted`` is whether it is meant to run, ``running`` whether it
    does. ``implicit`` modules exist without being stored. ``created`` and ``updated`` are RFC 3339 times in UTC.
    """

    id: str
    site_id: str
    name: str
    index: int
    driver: str
    klass: str
    description: str
    device_id: str | None
    wanted: bool
    running: bool
    connected: bool
    settings: Mapping[str, Any]
    notes: str
    error: str | None
    error_at: int | None
    implicit: bool
    created: str
    updated: str

    @property
    def has_runtime_error(self) -> bool:
        """Whether the last thing it did went wrong."""
        return self.error is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverView:
    """One driver as it can be used for modules. ``fault`` says why it cannot, then the rest is what is known of it.

    ``module_name`` is the name that its modules have unless they are given another; ``origin`` is ``built-in``, an
    entry point, or the path of a file. ``implements`` names standard interfaces.
    """

    name: str
    klass: str
    description: str
    module_name: str
    origin: str
    isolation: str
    implements: tuple[str, ...]
    settings_schema: Mapping[str, Any]
    fault: str | None = None
