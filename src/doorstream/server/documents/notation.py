"""A short way of writing JSON Schemas and operations, so that the tables of the documents can be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

Schema = dict[str, Any]

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
HTML: Final = "text/html"
TEXT_PLAIN: Final = "text/plain"

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
INTEGER: Final[Schema] = {"type": "integer"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
FLAG: Final[Schema] = {"type": "boolean"}
NULL: Final[Schema] = {"type": "null"}
ANY: Final[Schema] = {}
OBJECT: Final[Schema] = {"type": "object"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
MILLISECONDS: Final[Schema] = {"type": "integer", "description": "Milliseconds since 1970 UTC"}
UUID: Final[Schema] = {"type": "string", "format": "uuid"}


def ref(name: str) -> Schema:
    """A schema of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def maybe(schema: Schema) -> Schema:
    """The schema, or null."""
    return {"anyOf": [schema, NULL]}


def listed(schema: Schema) -> Schema:
    """An array of it."""
    return {"type": "array", "items": schema}


def mapped(schema: Schema) -> Schema:
    """An object with any keys, whose values are of it."""
    return {"type": "object", "additionalProperties": schema}


def one_of(values: Iterable[Any]) -> Schema:
    """One of these values."""
    return {"enum": list(values)}


def just(value: Any) -> Schema:
    """This value."""
    return {"const": value}


def record(*parts: Mapping[str, Schema], optional: Iterable[str] = (), description: str = "") -> Schema:
    """An object with these members, all of them there but the optional ones."""
    members = {name: schema for part in parts for name, schema in part.items()}
    left_out = set(optional)
    required = [name for name in members if name not in left_out]
    schema: Schema = {"type": "object", "properties": members}
    if required:
        schema["required"] = required
    return schema | ({"description": description} if description else {})


def structs(*types: type[Any], complete: bool = True) -> dict[str, Schema]:
    """The schemas of msgspec structs, and of those inside them, by their names.

    With ``complete`` no member is optional: so are structs when they are encoded, whatever may be left out of input.
    """
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    found: dict[str, Schema] = {}
    for name, schema in components.items():
        shown = {key: value for key, value in schema.items() if key != "title"}
        if not shown.get("required"):
            shown.pop("required", None)
        if complete and "properties" in shown:
            members = {
                member: {key: value for key, value in of.items() if key != "default"}
                for member, of in shown["properties"].items()
            }
            shown |= {"properties": members, "required": list(members)}
        found[name] = shown
    return found


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a query or a header that a route reads itself."""

    description: str
    schema: Schema = field(default_factory=lambda: TEXT)
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What the document says of a route beside what its code says.

    ``status`` is that of the answer that is described (None: of the success that the code names, else 200), ``answer``
    the schema of its body, None for none or for what the code says, and ``media`` its media type. ``problems`` are
    slugs of our own errors, ``errors`` other answers by status, and ``security`` the schemes one of which is needed
    (empty: none; None: that of the group).
    """

    answer: Schema | None = None
    status: int | None = None
    media: str = JSON
    what: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Parameter] = field(default_factory=dict)
    request_headers: Mapping[str, Parameter] = field(default_factory=dict)
    body: Schema | None = None
    body_media: str = JSON
    body_required: bool = True
    problems: tuple[str, ...] | None = None
    errors: Mapping[int, str] = field(default_factory=dict)
    security: tuple[str, ...] | None = None
    summary: str = ""
    description: str = ""


Operations = dict[tuple[str, str], Operation]
"""By method and path, as the document names them: ``("GET", "/api/sites/{site_id}")``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The routes of one tag of a dialect: how they are guarded, and what their errors look like.

    ``errors`` are the statuses that each of them can answer with, ``error`` is the schema of their bodies (None: any).
    """

    tag: str
    text: str
    security: tuple[str, ...]
    error: Schema | None
    errors: Mapping[int, str]
    operations: Operations
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    error_media: str = JSON
