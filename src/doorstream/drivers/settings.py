"""A driver's settings: from the dictionary that is stored to the typed model that the driver declares.

The model is the driver's inner class ``Settings``: a ``msgspec.Struct`` or a dataclass. Keys that it does not have are
refused, so that a misspelt one is not silently ignored.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import msgspec

from doorstream.drivers.errors import DriverFault, InvalidSettings


def settings_model(driver: type) -> type[Any] | None:
    """The model that a driver class declares, or None; raises DriverFault for one that cannot be used."""
    model = getattr(driver, "Settings", None)
    if model is None:
        return None
    is_struct = inspect.isclass(model) and issubclass(model, msgspec.Struct)
    if not (is_struct or (inspect.isclass(model) and dataclasses.is_dataclass(model))):
        raise DriverFault(f"{driver.__name__}.Settings must be a msgspec.Struct or a dataclass")
    try:
        msgspec.json.schema(model)
    except (TypeError, NameError) as error:
        raise DriverFault(f"{driver.__name__}.Settings: {_last_line(error)}") from None
    assert isinstance(model, type)  # noqa: S101 - looked at above
    return model


def read_settings(driver: type, given: Mapping[str, Any]) -> Any:
    """The settings as the driver's model; raises InvalidSettings with the path of what does not fit."""
    model = settings_model(driver)
    if model is None:
        if given:
            raise InvalidSettings(next(iter(given)), f"{driver.__name__} has no settings")
        return None
    _refuse_unknown(model, given)
    try:
        return msgspec.convert(dict(given), model)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        what = what[:1].lower() + what[1:]
        if what.startswith("object missing required field `"):
            path, what = f"{path.rstrip('`')}.{what.split('`')[1]}", "is missing"
        raise InvalidSettings(path.rstrip("`").lstrip("."), what) from None


def settings_schema(driver: type) -> dict[str, Any]:
    """The JSON schema of the settings; an empty object where there are none."""
    model = settings_model(driver)
    if model is None:
        return {"type": "object", "properties": {}}
    return msgspec.json.schema(model)


def _refuse_unknown(model: type[Any], given: Mapping[str, Any]) -> None:
    if issubclass(model, msgspec.Struct):
        known = list(model.__struct_encode_fields__)
    else:
        known = [each.name for each in dataclasses.fields(model)]
    for key in given:
        if key not in known:
            raise InvalidSettings(str(key), f"unknown setting; known are {', '.join(known) or 'none'}")


def _last_line(error: Exception) -> str:
    """Of msgspec's longer messages the part that names the type."""
    return str(error).rpartition("\n")[2]
