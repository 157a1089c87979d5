"""Errors of PlaceOS: the eight codes of the socket, and the bodies of REST (vendor-apis.md 2.4, fact 5).

::

    SocketError     answered on the socket with one of the codes (seed 001, "Errors")
    RestError       answered by REST as ``{"error", …}``, a 403 with nothing
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from doorstream.drivers import (
    BadArguments,
    DriversError,
    ExecutionFailed,
    ModuleNotFound,
    ModuleUnavailable,
    NotAllowed,
    UnknownFunction,
)

_FORBIDDEN = 403


class Code(enum.IntEnum):
    """The numbers of the seed's table."""

    PARSE_ERROR = 0
    BAD_REQUEST = 1
    ACCESS_DENIED = 2
    REQUEST_FAILED = 3
    UNKNOWN_COMMAND = 4
    SYSTEM_NOT_FOUND = 5
    MODULE_NOT_FOUND = 6
    UNEXPECTED_FAILURE = 7


class SocketError(Exception):
    """A command that is answered with an error."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


class RestError(Exception):
    """A request that is refused. ``more`` are further members of the body, such as ``failures``."""

    def __init__(self, status: int, message: str = "", more: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.more = more or {}

    def response(self) -> Response:
        """The answer."""
        if self.status == _FORBIDDEN:
            return Response(status_code=self.status)
        return Response(error_body(str(self), self.more), self.status, media_type="application/json")


_CODES: Mapping[type[DriversError], tuple[Code, int]] = {
    ModuleNotFound: (Code.MODULE_NOT_FOUND, 404),
    UnknownFunction: (Code.BAD_REQUEST, 400),
    BadArguments: (Code.BAD_REQUEST, 400),
    NotAllowed: (Code.ACCESS_DENIED, 403),
    ExecutionFailed: (Code.REQUEST_FAILED, 500),
    ModuleUnavailable: (Code.UNEXPECTED_FAILURE, 503),
}
"""What an execution that fails becomes: the code on the socket and the status of REST."""


def socket_error(error: DriversError) -> SocketError:
    """An execution that failed, as the socket says it."""
    return SocketError(_known(error)[0], str(error))


def rest_error(error: DriversError) -> RestError:
    """The same for REST; a driver may have said the status itself."""
    status = error.code if isinstance(error, ExecutionFailed) else _known(error)[1]
    return RestError(status, str(error))


def invalid(failures: Mapping[str, str]) -> RestError:
    """Values that cannot be kept: what is wrong with each field."""
    listed = [{"field": field, "reason": reason} for field, reason in failures.items()]
    return RestError(422, "validation failed", {"failures": listed})


def bad_parameter(name: str, restriction: str) -> RestError:
    """A parameter of the query that cannot be read."""
    return RestError(422, f"invalid value of parameter {name}", {"parameter": name, "restriction": restriction})


def error_body(message: str, more: Mapping[str, Any] | None = None) -> bytes:
    """``{"error"}`` and what else belongs to it."""
    return msgspec.json.encode({"error": message, **(more or {})})


def _known(error: DriversError) -> tuple[Code, int]:
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    return (Code.UNEXPECTED_FAILURE, 500)
