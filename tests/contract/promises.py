"""What a client of one document relies on and another no longer has. Additions are no difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from schemas import found

Document = Mapping[str, Any]

_REQUIRED = "is required now"


def newest(folder: Path) -> Path | None:
    """The folder of the newest release; None before the first."""
    releases = [each for each in folder.iterdir() if each.is_dir()]
    return max(releases, key=lambda each: version(each.name), default=None)


def version(text: str) -> tuple[int, int, int]:
    """A version without anything behind its three numbers; raises ValueError."""
    major, minor, patch = map(int, text.split("."))
    return major, minor, patch


def may_break(before: str, now: str) -> bool:
    """Whether the later version may take something away: its leading number, or behind 0 the second, is another."""
    old, new = version(before), version(now)
    return old[: 1 if old[0] else 2] != new[: 1 if old[0] else 2]


def broken(before: Document, now: Document) -> list[str]:
    """What is gone, or newly required, each with where it is; nothing if all that was promised is kept."""
    if "asyncapi" in before:
        return list(_streams(before, now))
    return list(_routes(before, now))


def _routes(before: Document, now: Document) -> Iterator[str]:
    for path, item in before["paths"].items():
        if path not in now["paths"]:
            yield path
            continue
        for method, operation in item.items():
            where = f"{method.upper()} {path}"
            other = now["paths"][path].get(method)
            if other is None:
                yield where
                continue
            yield from _parameters(where, operation, other)
            yield from _body(where, (before, operation), (now, other))
            yield from _answers(where, (before, operation), (now, other))


def _parameters(where: str, before: Document, now: Document) -> Iterator[str]:
    old = {(each["in"], each["name"]): each for each in before.get("parameters", ())}
    new = {(each["in"], each["name"]): each for each in now.get("parameters", ())}
    yield from (f"{where}: parameter {name}" for place, name in old.keys() - new.keys())
    for key, parameter in new.items():
        if parameter.get("required") and not old.get(key, {}).get("required"):
            yield f"{where}: parameter {key[1]} {_REQUIRED}"


def _body(where: str, before: tuple[Document, Document], now: tuple[Document, Document]) -> Iterator[str]:
    old, new = (operation.get("requestBody", {}) for _, operation in (before, now))
    yield from _contents(f"{where}: body", (before[0], old), (now[0], new))
    if new.get("required") and not old.get("required"):
        yield f"{where}: body {_REQUIRED}"
    for media in old.get("content", {}).keys() & new.get("content", {}).keys():
        shapes = [
            _required(document, body["content"][media].get("schema", {}))
            for document, body in ((before[0], old), (now[0], new))
        ]
        yield from (f"{where}: body {media}: {name} {_REQUIRED}" for name in sorted(shapes[1] - shapes[0]))


def _answers(where: str, before: tuple[Document, Document], now: tuple[Document, Document]) -> Iterator[str]:
    for status, answer in before[1]["responses"].items():
        other = now[1]["responses"].get(status)
        if other is None:
            yield f"{where}: {status}"
        else:
            old, new = _meant(before[0], answer), _meant(now[0], other)
            yield from _contents(f"{where}: {status}", (before[0], old), (now[0], new))


def _contents(where: str, before: tuple[Document, Document], now: tuple[Document, Document]) -> Iterator[str]:
    for media, content in before[1].get("content", {}).items():
        other = now[1].get("content", {}).get(media)
        if other is None:
            yield f"{where} {media}"
        else:
            old, new = _members(before[0], content.get("schema", {})), _members(now[0], other.get("schema", {}))
            yield from (f"{where} {media}: {name}" for name in sorted(old - new))


def _streams(before: Document, now: Document) -> Iterator[str]:
    for kind in ("channels", "operations"):
        yield from (f"{kind}: {name}" for name in before[kind] if name not in now[kind])
    for name, channel in before["channels"].items():
        other = now["channels"].get(name)
        if other is None:
            continue
        if other["address"] != channel["address"]:
            yield f"channels: {name}: address {channel['address']}"
        for message, reference in channel["messages"].items():
            if message not in other["messages"]:
                yield f"channels: {name}: {message}"
                continue
            old = _members(before, _meant(before, reference).get("payload", {}))
            new = _members(now, _meant(now, other["messages"][message]).get("payload", {}))
            yield from (f"channels: {name}: {message}: {member}" for member in sorted(old - new))


def _meant(document: Document, part: Document) -> Document:
    """What stands there, or what it refers to."""
    seen: Document = part
    while "$ref" in seen:
        seen = found(dict(document), seen["$ref"])
    return seen


def _members(document: Document, schema: Any, *, above: str = "", seen: frozenset[str] = frozenset()) -> set[str]:
    """The members of a schema by their paths: ``items[].id``. A schema within itself is looked at once."""
    if not isinstance(schema, Mapping):
        return set()
    if "$ref" in schema:
        reference = schema["$ref"]
        if reference in seen:
            return set()
        return _members(document, found(dict(document), reference), above=above, seen=seen | {reference})
    members = set()
    for name, inner in schema.get("properties", {}).items():
        path = f"{above}.{name}" if above else name
        members |= {path} | _members(document, inner, above=path, seen=seen)
    parts = [each for kind in ("allOf", "anyOf", "oneOf", "prefixItems") for each in schema.get(kind, ())]
    for part in parts:
        members |= _members(document, part, above=above, seen=seen)
    for kind, mark in (("items", "[]"), ("additionalProperties", ".*")):
        members |= _members(document, schema.get(kind), above=above + mark, seen=seen)
    return members


def _required(document: Document, schema: Any) -> set[str]:
    """The members that the outermost object needs."""
    meant = _meant(document, schema)
    needed = set(meant.get("required", ()))
    for part in meant.get("allOf", ()):
        needed |= _required(document, part)
    return needed
