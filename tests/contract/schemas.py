"""Judging values by the schemas of a document, more strictly than the document: nothing may be there that it omits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

_DOCUMENT, _OPEN = "urn:document", "urn:open"

_FORMATS = FormatChecker(("uuid",))


@_FORMATS.checks("date-time", raises=ValueError)
def _is_moment(value: object) -> bool:
    """RFC 3339: with a zone."""
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


class Judge:
    """Judges values by the schemas of one document."""

    def __init__(self, document: dict[str, Any]) -> None:
        there = ((_DOCUMENT, _closed(document)), (_OPEN, document))
        self._registry = Registry().with_resources(
            (name, Resource.from_contents(each, default_specification=DRAFT202012)) for name, each in there
        )

    def faults(self, schema: dict[str, Any], value: Any) -> list[str]:
        """What is wrong with a value; nothing if it fits."""
        placed = _absolute(_closed(schema))
        validator = Draft202012Validator(placed, registry=self._registry, format_checker=_FORMATS)
        errors = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
        return [f"{error.json_path}: {error.message[:300]}" for error in errors]


def _absolute(value: Any) -> Any:
    """The schema with references that do not depend on where it stands."""
    if isinstance(value, list):
        return [_absolute(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _DOCUMENT + each if key == "$ref" and each.startswith("#") else _absolute(each)
        for key, each in value.items()
    }


def _closed(value: Any, *, is_part: bool = False) -> Any:
    """The schema with no members allowed in objects but those that it names.

    What only adds to another schema (in ``allOf``, ``if``, ``then``) has to leave others alone: the whole is closed.
    """
    if isinstance(value, list):
        return [_closed(each, is_part=is_part) for each in value]
    if not isinstance(value, dict):
        return value
    if is_part and "$ref" in value:
        return {"$ref": _OPEN + value["$ref"]}
    closed = {key: _closed(each, is_part=key in ("allOf", "if", "then")) for key, each in value.items()}
    names = isinstance(value.get("properties"), dict) and "additionalProperties" not in value
    if not is_part and (names or "allOf" in value) and value.get("type", "object") == "object":
        closed["unevaluatedProperties"] = False
    return closed


def schemas_in(document: Any) -> Iterator[dict[str, Any]]:
    """Every schema that stands in a document where one may stand: media types, parameters, headers, components."""
    for name, schema in document["components"]["schemas"].items():
        assert isinstance(schema, dict), name
        yield schema
    yield from _placed(document)


def _placed(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for each in value:
            yield from _placed(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key in ("schema", "payload"):
                yield each
            elif key != "schemas":
                yield from _placed(each)


def references_in(value: Any) -> Iterator[str]:
    """Every reference."""
    if isinstance(value, list):
        for each in value:
            yield from references_in(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key == "$ref" and isinstance(each, str):
                yield each
            else:
                yield from references_in(each)


def found(document: dict[str, Any], reference: str) -> Any:
    """What a reference refers to; raises KeyError."""
    value: Any = document
    for part in reference.removeprefix("#/").split("/"):
        value = value[part.replace("~1", "/").replace("~0", "~")]
    return value
