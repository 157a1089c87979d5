"""Errors of our own API: RFC 9457 problem documents, from one table of codes.

A ``type`` is stable: programs may compare it. What is said in ``detail`` is for people and may change.
"""

from __future__ import annotations

import http
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from doorstream.auth import InvalidCredentials, InvalidToken, NotPermitted
from doorstream.directory import AlreadyExists, Conflict, InvalidEntity, NotFound
from doorstream.log import LogUnavailable, PositionGone, StorageFull

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:doorstream:problem:"
"""What every ``type`` begins with."""


class Code(NamedTuple):
    """One kind of problem: its HTTP status, and a title that never changes."""

    status: int
    title: str


CODES: dict[str, Code] = {
    "invalid-request": Code(422, "The request is not valid"),
    "invalid-parameter": Code(422, "A parameter is not valid"),
    "invalid-event": Code(422, "The event cannot be kept"),
    "invalid-events": Code(422, "Some of the events cannot be kept, so none was"),
    "unauthenticated": Code(401, "The credentials are missing or not valid"),
    "forbidden": Code(403, "Not permitted"),
    "not-found": Code(404, "There is no such thing"),
    "method-not-allowed": Code(405, "The method is not allowed here"),
    "already-exists": Code(409, "The id or the name is taken"),
    "key-reused": Code(422, "The Idempotency-Key was used for another request"),
    "handshake-refused": Code(422, "The receiver did not agree to get events"),
    "conflict": Code(409, "Others are changing the same thing"),
    "position-gone": Code(410, "The position is no longer kept"),
    "too-large": Code(413, "The request is too large"),
    "too-many-requests": Code(429, "Too many requests"),
    "internal": Code(500, "The server failed"),
    "log-unavailable": Code(503, "The log is not available at the moment"),
    "storage-full": Code(507, "There is no room for more"),
}
"""Every problem of our own API by the last part of its ``type``."""

_BY_STATUS = {401: "unauthenticated", 403: "forbidden", 404: "not-found", 405: "method-not-allowed", 413: "too-large"}
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="doorstream"'}
_CONFLICT_RETRY = {"Retry-After": "1"}

_encode = msgspec.json.Encoder().encode


class Problem(Exception):
    """Raised by a route: the code of the table, what is wrong and what to do, and further members of the document."""

    def __init__(self, slug: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def response(self) -> Response:
        """The answer."""
        code = CODES[self.slug]
        document = {"type": TYPE + self.slug, "title": code.title, "status": code.status, "detail": self.detail}
        return Response(_encode(document | self.members), code.status, self.headers, MEDIA_TYPE)


def invalid(errors: list[dict[str, str]]) -> Problem:
    """What is wrong in a request, and where: ``{"where": "body.groups[0].id", "what": "…"}`` each."""
    detail = "; ".join(f"{error['where']}: {error['what']}" for error in errors[:3])
    return Problem("invalid-request", detail, errors=errors)


def where(path: tuple[int | str, ...]) -> str:
    """A path into a value as text: ``body.groups[0].id``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _of_entity(error: InvalidEntity) -> Problem:
    return invalid([{"where": where(("body", error.where)), "what": error.what}])


def _of_validation(error: RequestValidationError) -> Problem:
    return invalid([{"where": where(tuple(each["loc"])), "what": each["msg"]} for each in error.errors()])


def _later(slug: str) -> Callable[[Any], Problem]:
    def make(error: LogUnavailable | StorageFull) -> Problem:
        return Problem(slug, str(error), headers={"Retry-After": str(error.retry_after)})

    return make


_FORESEEN: dict[type[Exception], Callable[[Any], Problem]] = {
    Problem: lambda problem: problem,
    InvalidCredentials: lambda error: Problem("unauthenticated", str(error), headers=_CHALLENGE),
    InvalidToken: lambda error: Problem("unauthenticated", str(error), headers=_CHALLENGE),
    NotPermitted: lambda error: Problem("forbidden", str(error)),
    NotFound: lambda error: Problem("not-found", str(error)),
    AlreadyExists: lambda error: Problem("already-exists", str(error)),
    InvalidEntity: _of_entity,
    Conflict: lambda error: Problem("conflict", str(error), headers=_CONFLICT_RETRY),
    PositionGone: lambda error: Problem("position-gone", str(error), first=str(error.first)),
    LogUnavailable: _later("log-unavailable"),
    StorageFull: _later("storage-full"),
    RequestValidationError: _of_validation,
}
"""What the errors of inner layers are here."""


def install(app: FastAPI) -> None:
    """Have every error of the app answered as a problem document."""
    for kind in _FORESEEN:
        app.add_exception_handler(kind, _foreseen)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)


async def _foreseen(_: Request, error: Exception) -> Response:
    return _FORESEEN[type(error)](error).response()


async def _http(_: Request, error: Exception) -> Response:
    """What the framework itself refuses: unknown paths, methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it was registered for these
    headers = dict(error.headers or {})
    slug = _BY_STATUS.get(error.status_code)
    if slug is not None:
        return Problem(slug, str(error.detail), headers=headers).response()
    title = http.HTTPStatus(error.status_code).phrase
    document = {"type": "about:blank", "title": title, "status": error.status_code, "detail": str(error.detail)}
    return Response(_encode(document), error.status_code, headers, MEDIA_TYPE)


async def _unforeseen(_: Request, __: Exception) -> Response:
    return Problem("internal", "the server failed; its log says why").response()
