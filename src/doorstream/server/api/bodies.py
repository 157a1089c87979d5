"""Reading JSON bodies into forms, and changing entities by JSON merge patch (RFC 7396)."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
from fastapi import Request, Response
from pydantic import TypeAdapter, ValidationError

from doorstream.server.api.problems import Problem, invalid, where

MAX_BODY = 1_000_000
"""Bytes of a body of these routes; events have a limit of their own."""

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

F = TypeVar("F", bound="DataclassInstance")

_encode = msgspec.json.Encoder().encode


async def read_json(request: Request) -> Any:
    """The body as JSON; raises Problem when it is none, or too large."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise Problem("too-large", f"at most {MAX_BODY} bytes")
        chunks.append(chunk)
    try:
        return msgspec.json.decode(b"".join(chunks))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid([{"where": "body", "what": f"not valid JSON: {error}"}]) from None


async def read_form(request: Request, form: type[F]) -> F:
    """The body as that form; raises Problem."""
    return convert(await read_json(request), form)


def convert(value: Any, form: type[F]) -> F:
    """A JSON value as that form; raises Problem."""
    try:
        return cast("F", _adapter(form).validate_python(value))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        raise invalid([{"where": where(("body", *each["loc"])), "what": each["msg"]} for each in faults]) from None


async def read_patch(request: Request) -> dict[str, Any]:
    """The body as a merge patch; raises Problem."""
    patch = await read_json(request)
    if not isinstance(patch, dict):
        raise invalid([{"where": "body", "what": "a merge patch is a JSON object (RFC 7396)"}])
    return patch


def patched(current: dict[str, Any], patch: dict[str, Any], form: type[F]) -> F:
    """The form of what an entity becomes. ``current`` is how it is shown.

    Members that only repeat what is shown are no change, so that an object that was read can be sent back whole.
    """
    now = msgspec.to_builtins(current)
    changes = {key: value for key, value in patch.items() if key not in now or now[key] != value}
    if "id" in changes:
        raise invalid([{"where": "body.id", "what": "an id cannot be changed"}])
    known = {each.name for each in fields(form)}
    return convert(_merge({key: value for key, value in now.items() if key in known}, changes), form)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer with a JSON body."""
    return Response(_encode(value), status, headers, "application/json")


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def schema_of(form: type[Any]) -> dict[str, Any]:
    """A form's JSON Schema with everything in place, for the OpenAPI document."""
    schema = _adapter(form).json_schema()
    parts = schema.pop("$defs", {})

    def placed(value: Any) -> Any:
        if isinstance(value, list):
            return [placed(each) for each in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return placed(parts[value["$ref"].rpartition("/")[2]])
        return {key: placed(each) for key, each in value.items()}

    return cast("dict[str, Any]", placed(schema))


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(form: type[Any]) -> TypeAdapter[Any]:
    """Made once for each form: it is expensive."""
    adapter = _ADAPTERS.get(form)
    if adapter is None:
        adapter = _ADAPTERS[form] = TypeAdapter(form)
    return adapter
