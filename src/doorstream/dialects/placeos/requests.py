"""One request of REST: who asks, what may go wrong, and the headers of every answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from doorstream.dialects.placeos.access import Door, Sight, asking_http
from doorstream.dialects.placeos.catalogue import MODULE, Catalogue
from doorstream.dialects.placeos.errors import RestError, SocketError, invalid, rest_error
from doorstream.dialects.placeos.request_ids import HEADER, request_id_of
from doorstream.dialects.placeos.rights import Access
from doorstream.directory import Actor, AlreadyExists, Conflict, Directory, InvalidEntity, NotFound, Wanted
from doorstream.directory.keys import key_of
from doorstream.drivers import Drivers, DriversError, InvalidSettings, Level, ModuleView
from doorstream.events.entities import Entity, System, Zone
from doorstream.log import LogUnavailable, StorageFull

MAX_BODY = 1_000_000

_P = TypeVar("_P", System, Zone)

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class PlaceOS:
    """What the routes stand on."""

    door: Door
    catalogue: Catalogue
    directory: Directory
    drivers: Drivers


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose caller is known."""

    request: Request
    sight: Sight
    placeos: PlaceOS

    @property
    def query(self) -> dict[str, str]:
        """The query; of repeated names the last."""
        return dict(self.request.query_params)

    def part(self, name: str) -> str:
        """A part of the path, by the name that the route gives it."""
        return str(self.request.path_params[name])

    @property
    def actor(self) -> Actor:
        """The caller as changes name who made them."""
        return self.sight.identity.principal.actor

    def system(self, system_id: str | None = None, needed: Level = "user") -> System:
        """A system that the caller sees, that of the path unless another; raises RestError 404 or 403."""
        system_id = self.part("system_id") if system_id is None else system_id
        return self._place(self.placeos.catalogue.system(system_id), f"there is no system {system_id}", needed)

    def zone(self, needed: Level = "user") -> Zone:
        """The zone of the path, if the caller sees it; raises RestError 404 or 403."""
        zone_id = self.part("zone_id")
        return self._place(self.placeos.catalogue.zone(zone_id), f"there is no zone {zone_id}", needed)

    def module(self, needed: Level) -> ModuleView:
        """The module of the path, of a site where the caller has that level; raises RestError 404 or 403."""
        module_id = self.part("module_id")
        found = self.placeos.drivers.module(module_id) if module_id.startswith(MODULE) else None
        if found is None:
            raise RestError(404, f"there is no module {module_id}")
        self.need(found.site_id, needed)
        return found

    def need(self, site_id: str, needed: Level) -> None:
        """Raise RestError 403 unless the caller has that level at a site."""
        if not self.sight.reaches(site_id, needed):
            raise RestError(403)

    async def body(self) -> Any:
        """The body as JSON; raises RestError."""
        media_type = self.request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if media_type not in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
            raise RestError(415, "the body must be JSON", {"accepts": ["application/json"]})
        content = b""
        async for chunk in self.request.stream():
            content += chunk
            if len(content) > MAX_BODY:
                raise RestError(413, f"at most {MAX_BODY} bytes")
        try:
            return msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RestError(400, "the body is not valid JSON") from None

    async def arguments(self) -> list[Any]:
        """The body as arguments of a function; raises RestError."""
        given = await self.body()
        if not isinstance(given, list):
            raise RestError(400, "the body must be an array of arguments")
        return given

    async def store(self, found: _P, update: Callable[[_P], _P], *, check_version: bool = True) -> None:
        """Change a system or zone, which may not be stored yet.

        Raises RestError 409 unless the query names the version that is there (vendor-apis.md 2.4, fact 4).
        """
        asked = self.query.get("version")

        def step(old: Entity | None) -> Entity:
            current: Any = old if old is not None else replace(found, version=0)
            if check_version and asked != str(current.version):
                message = f"the version is {current.version}; send it as ?version= with what you change"
                raise RestError(409, message)
            return update(current)

        await self.placeos.directory.put_all([Wanted(key_of(found), step)], self.actor)

    def _place(self, found: _P | None, missing: str, needed: Level) -> _P:
        if found is None or not self.sight.sees(found):
            raise RestError(404, missing)
        self.need(found.site_id, needed)
        return found


class Work(Protocol):
    """What a route does."""

    @property
    def __name__(self) -> str:
        """Its name."""

    def __call__(self, call: Call, /) -> Awaitable[Response]:
        """Answer."""


async def answer(placeos: PlaceOS, request: Request, resource: str, access: Access, work: Work) -> Response:
    """The answer of ``work`` to an authenticated caller, or the error."""
    try:
        identity, _ = placeos.door.admit(asking_http(request), resource, access)
        response = await work(Call(request, Sight(identity, placeos.catalogue), placeos))
    except RestError as error:
        response = error.response()
    except Exception as error:
        known = _known(error)
        if known is None:
            raise
        response = known.response()
        if isinstance(error, LogUnavailable):
            response.headers["Retry-After"] = str(error.retry_after)
    response.headers[HEADER] = request_id_of(request.headers)
    return response


_STATUS: Mapping[type[Exception], int] = {
    NotFound: 404,
    SocketError: 404,
    AlreadyExists: 409,
    Conflict: 409,
    LogUnavailable: 503,
    StorageFull: 503,
}


def _known(error: Exception) -> RestError | None:
    match error:
        case DriversError():
            return rest_error(error)
        case InvalidSettings():
            return invalid({f"settings.{error.where}".rstrip("."): error.what})
        case InvalidEntity():
            return invalid({error.where: error.what})
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), None)
    return RestError(status, str(error)) if status is not None else None


class Routes:
    """The routes below one path. ``resource`` is what a token's scope must name."""

    def __init__(self, placeos: PlaceOS, prefix: str, resource: str) -> None:
        self.router = APIRouter(prefix=prefix, tags=["placeos"])
        self._placeos = placeos
        self._resource = resource

    def add(self, method: str, path: str, work: Work, *, resource: str | None = None) -> None:
        """One route; the first line of the work's docstring is its summary. All but GET needs the right to write."""
        access: Access = "read" if method == "GET" else "write"
        wanted = resource or self._resource

        async def endpoint(request: Request) -> Response:
            return await answer(self._placeos, request, wanted, access, work)

        summary = (work.__doc__ or "").partition("\n")[0].rstrip(".")
        self.router.add_api_route(path, endpoint, methods=[method], summary=summary, name=f"placeos_{work.__name__}")


def json_answer(value: Any, status: int = 200) -> Response:
    """An answer with a JSON body."""
    return Response(_encode(value), status, media_type="application/json")


def raw_answer(json: bytes, status: int = 200) -> Response:
    """The same with JSON that is encoded already."""
    return Response(json, status, media_type="application/json")


def empty(status: int = 200) -> Response:
    """An answer with nothing in it."""
    return Response(status_code=status)
