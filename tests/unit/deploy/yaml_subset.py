"""As much YAML as our own files use: mappings by indentation, lists, flow style, quotes, anchors and merge keys."""

from __future__ import annotations

import json
import re
from typing import Any

_KEY = re.compile(r"^([A-Za-z0-9_<-]+):(?: +(.*))?$")


def load(text: str) -> dict[str, Any]:
    """Read a document; raises ValueError for what is not of the subset."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    value, rest = _block(lines, 0, {})
    if rest:
        raise ValueError(f"not understood: {rest[0]!r}")
    assert isinstance(value, dict)
    return value


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _block(lines: list[str], indent: int, anchors: dict[str, Any]) -> tuple[Any, list[str]]:
    if lines[0].lstrip().startswith("- "):
        return _list(lines, indent, anchors)
    found: dict[str, Any] = {}
    written = set()
    while lines and _indent(lines[0]) == indent:
        match = _KEY.match(lines[0].strip())
        if match is None:
            raise ValueError(f"not understood: {lines[0]!r}")
        key, text = match[1], (match[2] or "").strip()
        lines = lines[1:]
        anchor = text[1:] if text.startswith("&") else None
        if text and anchor is None:
            value = anchors[text[1:]] if text.startswith("*") else _scalar(text)
        else:
            if not lines or _indent(lines[0]) <= indent:
                raise ValueError(f"{key} has no value")
            value, lines = _block(lines, _indent(lines[0]), anchors)
        if anchor is not None:
            anchors[anchor] = value
        if key == "<<":
            found = value | found
        elif key in written:
            raise ValueError(f"{key} is there twice")
        else:
            written.add(key)
            found[key] = value
    return found, lines


def _list(lines: list[str], indent: int, anchors: dict[str, Any]) -> tuple[list[Any], list[str]]:
    found = []
    while lines and _indent(lines[0]) == indent and lines[0].lstrip().startswith("- "):
        item = lines[0].strip()[2:]
        if _KEY.match(item):
            value, lines = _block([" " * (indent + 2) + item, *lines[1:]], indent + 2, anchors)
        else:
            value, lines = _scalar(item), lines[1:]
        found.append(value)
    return found, lines


def _scalar(text: str) -> Any:
    """A plain value, a quoted one, or flow style, which is JSON but for unquoted words."""
    if text[0] in "[{":
        words = r'("(?:[^"\\]|\\.)*")|([A-Za-z_][A-Za-z0-9_.-]*)'
        return json.loads(re.sub(words, lambda match: match[1] or json.dumps(match[2]), text))
    if text[0] == '"':
        return json.loads(text)
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdigit() else text
