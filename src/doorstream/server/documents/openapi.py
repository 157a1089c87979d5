"""The OpenAPI document: what the framework knows of the routes, completed with the tables of this package."""

from __future__ import annotations

import copy
import http
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from doorstream.server.api.problems import CODES, MEDIA_TYPE, TYPE
from doorstream.server.documents import own
from doorstream.server.documents.events import body_schemas, event_in, kept_event
from doorstream.server.documents.identity import IDENTITY
from doorstream.server.documents.notation import INTEGER, TEXT, Group, Operation, Parameter, Schema, record, ref
from doorstream.server.documents.parakey import PARAKEY
from doorstream.server.documents.pdk import PDK, SOCKET_IO
from doorstream.server.documents.placeos import PAGES, PLACEOS, SIGNIN
from doorstream.server.documents.salto import SALTO

GROUPS: Final = (IDENTITY, PDK, SOCKET_IO, SALTO, PARAKEY, PLACEOS, PAGES, SIGNIN)
"""What belongs to dialects, or to none alone."""

INTRODUCTION: Final = """\
Events of buildings, put in once and taken out in order and without loss, in the languages of four vendors' clients.

Routes of our own answer errors as problem documents (RFC 9457) whose `type` is stable; routes of a dialect answer as
that vendor does. The streams (Socket.IO, SignalR, WebSockets, server-sent events, webhooks) are in the AsyncAPI
document at `/asyncapi.json`, which `/docs/streams` shows."""

SECURITY: Final[dict[str, Schema]] = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key of ours"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of ours, or a token of the dialect"},
    "clientBasic": {
        "type": "http",
        "scheme": "basic",
        "description": "A client's id and secret; they may also stand in the form",
    },
    "pdkIdToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "PDK's id token, from `/oauth2/token`",
    },
    "pdkSystemToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "PDK's system token, from `/api/systems/{system_id}/token`",
    },
    "saltoToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Salto KS's access token with the scope `user_api.full_access`, from `/connect/token`",
    },
    "parakeyToken": {
        "type": "apiKey",
        "in": "header",
        "name": "access-token",
        "description": "An API key of ours with the scopes that are needed",
    },
}
"""How callers say who they are."""

_TAGS: Final[dict[str, str]] = {
    "events": "Putting events in, reading them, following them.",
    "directory": "Sites and what is in them.",
    "tokens": "Tokens to try with, and tickets for browsers.",
    "users": "People who sign in.",
    "clients": "Programs that call.",
    "modules": "The drivers at work for a site.",
    "webhooks": "Where events are posted to, and what became of each delivery.",
    "session": "Signing in to the dashboard.",
    "operations": "What those who run a server need.",
}
_OWN_SECURITY: Final = ("key", "bearer")

_SPELLINGS: Final[dict[str, str]] = {
    "/event-logs": "/eventLogs",
    "/event-logs/{id}": "/eventLogs/{id}",
    "/accessKeys": "/access-keys",
    "/accessKeys/{id}": "/access-keys/{id}",
}
_NODE_LIBRARY: Final = "/{system_id}"  # below it for everybody, below /api for PDK's Node library


def alias_of(path: str, documented: Iterable[str]) -> str | None:
    """The documented path that is meant by one that is there for some clients only; None if there is none."""
    if path in _SPELLINGS:
        return _SPELLINGS[path]
    if path == "/api" or path.startswith("/api/"):
        meant = _NODE_LIBRARY + path.removeprefix("/api")
        return meant if meant in set(documented) else None
    return None


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The document of the framework with everything that its routes do not say themselves."""
    document = _without_titles(copy.deepcopy(document))
    document["info"] |= {"description": INTRODUCTION}
    document["tags"] = [{"name": name, "description": text} for name, text in _tags()]
    components = document.setdefault("components", {})
    components["schemas"] = dict(sorted((_kept(components) | _schemas()).items()))
    components["securitySchemes"] = SECURITY
    document["security"] = [{name: []} for name in _OWN_SECURITY]
    paths = document.setdefault("paths", {})
    groups = {key: group for group in GROUPS for key in group.operations}
    for (method, path), group in groups.items():
        if group.operations[method, path].summary:  # a route that the framework knows nothing of
            paths.setdefault(path, {})[method.lower()] = {"tags": [group.tag], "responses": {}}
    for method, path, operation in operations(document):
        group_of = groups.get((method, path))
        if group_of is None:
            _complete_own(path, operation, own.OPERATIONS.get((method, path), Operation()))
        else:
            _complete_dialect(operation, group_of.operations[method, path], group_of)
        _complete_any(method, path, operation, paths)
    components["responses"] = _shared_answers(document, groups)
    return document


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation of a document: its method, its path, and what is said of it."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def problem_response(*slugs: str) -> dict[str, Any]:
    """An answer of ours that is one of these problems, which have one status."""
    titles = {slug: CODES[slug].title for slug in slugs}
    text = "; ".join(f"`{slug}`: {title}" for slug, title in titles.items())
    types = {"properties": {"type": {"enum": [TYPE + slug for slug in titles]}}}
    return {"description": text, "content": {MEDIA_TYPE: {"schema": {"allOf": [ref("Problem"), types]}}}}


def _tags() -> Iterator[tuple[str, str]]:
    yield from _TAGS.items()
    for group in GROUPS:
        if group.text:
            yield group.tag, group.text


def _kept(components: Mapping[str, Any]) -> dict[str, Schema]:
    """The framework's schemas, without that of errors that we answer in our own way."""
    schemas: dict[str, Schema] = dict(components.get("schemas", {}))
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return schemas


def _schemas() -> dict[str, Schema]:
    problem = record(
        {
            "type": TEXT | {"description": "Stable: programs may compare it", "examples": [TYPE + "not-found"]},
            "title": TEXT,
            "status": INTEGER,
            "detail": TEXT | {"description": "For people; it may change"},
        },
        description="What went wrong (RFC 9457). Some have further members.",
    )
    found = {"Problem": problem, "Event": kept_event(), "EventIn": event_in(), **body_schemas(), **own.SCHEMAS}
    for group in GROUPS:
        found |= group.schemas
    return found


def _complete_own(path: str, operation: dict[str, Any], more: Operation) -> None:
    guards = more.security if more.security is not None else _OWN_SECURITY
    slugs = {slug for answer in operation["responses"].values() for slug in _slugs_of(answer)}
    slugs |= set(more.problems or ())
    if guards:
        slugs |= {"unauthenticated", "forbidden"}
    if any(parameter["in"] == "query" for parameter in operation.get("parameters", ())):
        slugs.add("invalid-request")
    answers = {
        status: answer for status, answer in operation["responses"].items() if status.startswith(("1", "2", "3"))
    }
    by_status: dict[int, list[str]] = {}
    for slug in CODES:  # in the order of the table
        if slug in slugs:
            by_status.setdefault(CODES[slug].status, []).append(slug)
    answers |= {str(status): problem_response(*by_status[status]) for status in sorted(by_status)}
    whatever = {MEDIA_TYPE: {"schema": ref("Problem")}}
    answers |= {str(status): {"description": text, "content": whatever} for status, text in more.errors.items()}
    if not path.startswith(("/healthz", "/metrics")):
        answers["default"] = {"description": "Whatever else went wrong", "content": whatever}
    operation["responses"] = answers
    operation["security"] = [{name: []} for name in guards]
    _apply(operation, more)


def _slugs_of(answer: Mapping[str, Any]) -> list[str]:
    """The problems that an answer was said to be."""
    schema = answer.get("content", {}).get(MEDIA_TYPE, {}).get("schema", {})
    parts = schema.get("allOf", ({}, {}))
    return [kind.removeprefix(TYPE) for kind in parts[1].get("properties", {}).get("type", {}).get("enum", ())]


def _complete_dialect(operation: dict[str, Any], more: Operation, group: Group) -> None:
    guards = more.security if more.security is not None else group.security
    content = {group.error_media: {"schema": group.error}} if group.error is not None else None
    answers: dict[str, Any] = {}
    for status, text in sorted((dict(group.errors) | dict(more.errors)).items()):
        has_body = content is not None and status >= http.HTTPStatus.BAD_REQUEST and "with nothing" not in text
        answers[str(status)] = {"description": text} | ({"content": content} if has_body else {})
    success = str(more.status or http.HTTPStatus.OK.value)
    operation["responses"] = {success: {}} | answers | {success: {"description": "OK"}}
    operation["security"] = [{name: []} if name else {} for name in guards]
    _apply(operation, more)


def _apply(operation: dict[str, Any], more: Operation) -> None:
    """Everything that a table says of an operation."""
    successes = [status for status in operation["responses"] if status.startswith("2")]
    status = str(more.status) if more.status is not None else next(iter(successes), "200")
    answer = operation["responses"].setdefault(status, {"description": "OK"})
    if more.what:
        answer["description"] = more.what
    if more.answer is not None:
        answer["content"] = {more.media: {"schema": more.answer}}
    if more.headers:
        answer["headers"] = {name: {"description": text, "schema": TEXT} for name, text in sorted(more.headers.items())}
    parameters = operation.setdefault("parameters", [])
    for place, wanted in (("query", more.query), ("header", more.request_headers)):
        parameters.extend(_parameter(place, name, parameter) for name, parameter in wanted.items())
    if more.body is not None:
        operation["requestBody"] = {
            "required": more.body_required,
            "content": {more.body_media: {"schema": more.body}},
        }
    texts = {"summary": more.summary, "description": more.description}
    operation.update({name: text for name, text in texts.items() if text})


def _parameter(place: str, name: str, parameter: Parameter) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": parameter.required,
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _complete_any(method: str, path: str, operation: dict[str, Any], documented: Iterable[str]) -> None:
    """What all operations have: an id, described parameters, and other places where they are found."""
    operation["operationId"] = method.lower() + "".join(
        word[:1].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9]+", path)
    )
    parameters = operation.setdefault("parameters", [])
    known = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
    for name in re.findall(r"{([^}]*)}", path):
        if name not in known:
            parameters.append({"name": name, "in": "path", "required": True, "schema": TEXT})
    for parameter in parameters:
        texts = own.PATH_PARAMETERS if parameter["in"] == "path" else own.OTHER_PARAMETERS
        if not parameter.get("description") and parameter["name"] in texts:
            parameter["description"] = texts[parameter["name"]]
    parameters.sort(key=lambda parameter: ("path", "query", "header").index(parameter["in"]))
    if not parameters:
        del operation["parameters"]
    for answer in operation["responses"].values():
        if answer["description"] == "Successful Response":
            answer["description"] = "OK"
    others = [other for other in (*_SPELLINGS, *_below_api(path)) if alias_of(other, documented) == path]
    if others:
        text = f"{operation.get('description', '')}\n\nAlso at `{'`, `'.join(others)}`."
        operation["description"] = text.strip()


def _shared_answers(document: Mapping[str, Any], groups: Mapping[tuple[str, str], Group]) -> dict[str, Any]:
    """Have errors that many operations share stand in the components, each once; returns these."""
    shared: dict[str, Any] = {}
    for method, path, operation in operations(document):
        group = groups.get((method, path))
        answers = operation["responses"]
        for status, answer in answers.items():
            name = _name_of(status, answer, group)
            if name is not None:
                shared[name] = answer
                answers[status] = {"$ref": f"#/components/responses/{name}"}
    return dict(sorted(shared.items()))


def _name_of(status: str, answer: Mapping[str, Any], group: Group | None) -> str | None:
    """What an answer that others have too is called; None for one that belongs to its operation."""
    if group is not None:
        is_shared = status.isdigit() and group.errors.get(int(status)) == answer["description"]
        return f"{group.tag}-{status}" if is_shared else None
    if status == "default":
        return "problem"
    return ".".join(_slugs_of(answer)) or None


def _below_api(path: str) -> Iterator[str]:
    if path == _NODE_LIBRARY or path.startswith(f"{_NODE_LIBRARY}/"):
        yield "/api" + path.removeprefix(_NODE_LIBRARY)


def _without_titles(value: Any) -> Any:
    """Without the titles that the framework makes of names; members that are called so are no texts and stay."""
    if isinstance(value, list):
        return [_without_titles(each) for each in value]
    if not isinstance(value, dict):
        return value
    is_info = "version" in value
    return {
        key: _without_titles(each)
        for key, each in value.items()
        if is_info or key != "title" or not isinstance(each, str)
    }
