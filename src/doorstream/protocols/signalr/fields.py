"""Checks of decoded fields that both encodings share; all raise MessageError."""

from __future__ import annotations

from typing import Any

from doorstream.protocols.signalr.errors import MessageError

_MAX_SEQUENCE = 2**63 - 1


def text(value: Any, name: str) -> str:
    """The value, which must be a text."""
    if isinstance(value, str):
        return value
    raise MessageError(f"{name} must be a string")


def optional_text(value: Any, name: str) -> str | None:
    """The value, which must be a text or null."""
    return None if value is None else text(value, name)


def items(value: Any, name: str) -> list[Any]:
    """The value, which must be an array."""
    if isinstance(value, list):
        return value
    raise MessageError(f"{name} must be an array")


def texts(value: Any, name: str) -> tuple[str, ...]:
    """The value, which must be an array of texts or null."""
    return () if value is None else tuple(text(item, name) for item in items(value, name))


def headers(value: Any) -> dict[str, str]:
    """The headers of a message; null and absent mean none."""
    if value is None:
        return {}
    if isinstance(value, dict) and all(isinstance(each, str) for pair in value.items() for each in pair):
        return value
    raise MessageError("headers must be an object of strings")


def flag(value: Any, name: str) -> bool:
    """The value, which must be a boolean or null."""
    if value is None or isinstance(value, bool):
        return bool(value)
    raise MessageError(f"{name} must be a boolean")


def sequence_id(value: Any) -> int:
    """The number of a message."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_SEQUENCE:
        return value
    raise MessageError("sequenceId must be a whole number")
