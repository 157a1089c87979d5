"""PDK's REST and token routes, read only (PDK-3, PDK-16, PDK-17).

The vendor has two hosts. *Accounts* hands out system tokens and lists systems; its bearer is the id token. *Systems*
shows one system; its bearer is the system token. Here both live on one host: the systems' routes are below
``/{system uuid}``, and below ``/api`` as the vendor's Node library asks for them (vendor-apis.md 1.4).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from doorstream.auth import Auth, InvalidToken, of_client
from doorstream.dialects.pdk import entities as shapes
from doorstream.dialects.pdk.errors import PdkError
from doorstream.dialects.pdk.limits import Limits, RateLimiter
from doorstream.dialects.pdk.pages import Wanted, page_of_list, page_of_table
from doorstream.directory import Directory, SiteView, Table
from doorstream.events.entities import Client, CloudNode, Holder, Site

_C = TypeVar("_C")

_BEARER = "bearer "
_SEARCHED = {"firstName": "first_name", "lastName": "last_name", "email": "email"}


@dataclass(frozen=True, slots=True)
class Pdk:
    """What the routes stand on. ``clock`` gives unix seconds."""

    directory: Directory
    auth: Auth
    clock: Callable[[], float]
    limits: Limits


@dataclass(frozen=True, slots=True)
class Host(Generic[_C]):
    """One of the vendor's hosts: who calls, within which limits."""

    limiter: RateLimiter | None
    authenticate: Callable[[Request], tuple[str, _C]]

    def answer(self, request: Request, work: Callable[[_C], Response]) -> Response:
        """The answer of ``work`` to an authenticated caller within its limits, or the error."""
        try:
            key, caller = self.authenticate(request)
        except InvalidToken:
            address = f"address {request.client.host if request.client is not None else ''}"
            return self._within(address, request, PdkError(401, "the token is missing, invalid or expired").response)
        return self._within(key, request, lambda: _outcome(work, caller))

    async def answer_async(self, request: Request, work: Callable[[_C], Awaitable[Response]]) -> Response:
        """As ``answer``, for work that takes time."""
        admitted: list[_C] = []

        def admit(caller: _C) -> Response:
            admitted.append(caller)
            return Response()

        response = self.answer(request, admit)
        if not admitted:
            return response
        try:
            answer = await work(admitted[0])
        except PdkError as error:
            answer = error.response()
        limits = {name: value for name, value in response.headers.items() if name != "content-length"}
        answer.headers.update(limits)
        return answer

    def _within(self, key: str, request: Request, respond: Callable[[], Response]) -> Response:
        """The answer, unless it is one too many."""
        if self.limiter is None:
            return respond()
        verdict = self.limiter.take(key, write=request.method != "GET")
        response = respond() if verdict.allowed else _TOO_MANY.response()
        response.headers.update(verdict.headers)
        return response


_TOO_MANY = PdkError(429, "too many requests: wait, and wait longer each time")


def _outcome(work: Callable[[_C], Response], caller: _C) -> Response:
    try:
        return work(caller)
    except PdkError as error:
        return error.response()


def pdk_router(pdk: Pdk) -> APIRouter:
    """All routes of this module."""
    router = APIRouter(tags=["pdk"])
    _add_accounts(router, pdk)
    _add_systems(router, pdk)
    return router


def accounts_host(pdk: Pdk) -> Host[Client]:
    """The host whose bearer is the id token."""

    def authenticate(request: Request) -> tuple[str, Client]:
        client = pdk.auth.tokens.check_id_token(_bearer(request), pdk.clock())
        return client.id, client

    return Host(pdk.limits.accounts, authenticate)


def _add_accounts(router: APIRouter, pdk: Pdk) -> None:
    host = accounts_host(pdk)

    @router.post("/api/systems/{system_id}/token", summary="Get a system token")
    async def token(system_id: str, request: Request) -> Response:
        """Bearer: the id token. The body is ignored, whatever it is."""

        def work(client: Client) -> Response:
            site = permitted_site(pdk, client, system_id)
            return _json({"token": pdk.auth.tokens.issue_system_token(client, site.id, pdk.clock())})

        return host.answer(request, work)

    @router.get("/api/systems", summary="List the systems")
    async def get_systems(request: Request) -> Response:
        def work(client: Client) -> Response:
            wanted = Wanted.of(request.query_params)
            principal = of_client(client)
            sites = [site for site in pdk.directory.sites if principal.may("pdk", site.id)]
            return page_of_list(
                sites,
                lambda site: shapes.account_system(site, pdk.auth.issuer),
                wanted,
                _url(pdk, request),
                request.query_params,
            )

        return host.answer(request, work)

    @router.get("/api/systems/{system_id}", summary="Where a system lives")
    async def get_system(system_id: str, request: Request) -> Response:
        def work(client: Client) -> Response:
            return _json(shapes.account_system(permitted_site(pdk, client, system_id), pdk.auth.issuer))

        return host.answer(request, work)


def _add_systems(router: APIRouter, pdk: Pdk) -> None:
    def authenticate(request: Request) -> tuple[str, str]:
        token = pdk.auth.tokens.check_system_token(_bearer(request), pdk.clock())
        if token.expired:
            raise InvalidToken
        return token.client_id, token.site_id

    host = Host(pdk.limits.systems, authenticate)

    def route(path: str, summary: str, show: Callable[[SiteView, Request], Response]) -> None:
        """One route, at both places."""

        async def get(request: Request) -> Response:
            return host.answer(request, lambda site_id: show(_system(pdk, site_id, request), request))

        router.add_api_route(f"/{{system_id:uuid}}{path}", get, summary=summary, methods=["GET"])
        router.add_api_route(f"/api{path}", get, include_in_schema=False, methods=["GET"])

    lists = _Lists(pdk)
    route("", "The system", lists.system)
    route("/cloud-nodes", "Its cloud nodes", lists.cloud_nodes)
    route("/cloud-nodes/{cloud_node_id}", "A cloud node", lists.cloud_node)
    route("/cloud-nodes/{cloud_node_id}/connections", "The controllers of a cloud node", lists.connections)
    route("/cloud-nodes/{cloud_node_id}/devices", "The devices of a cloud node", lists.devices_of_cloud_node)
    route("/devices", "Its devices", lists.devices)
    route("/devices/{device_id}", "A device", lists.device)
    route("/holders", "Its holders", lists.holders)
    route("/holders/{holder_id}", "A holder", lists.holder)
    route("/holders/{holder_id}/credentials", "The credentials of a holder", lists.credentials)


class _Lists:
    """What the routes of a system show."""

    def __init__(self, pdk: Pdk) -> None:
        self._pdk = pdk

    def system(self, view: SiteView, _: Request) -> Response:
        assert view.site is not None  # noqa: S101 - only systems that exist are found
        return _json(shapes.system(view, view.site, self._pdk.auth.issuer))

    def cloud_nodes(self, view: SiteView, request: Request) -> Response:
        return self._table(view.cloud_nodes, lambda node: shapes.cloud_node(view, node), request)

    def cloud_node(self, view: SiteView, request: Request) -> Response:
        return _json(shapes.cloud_node(view, self._node(view, request)))

    def connections(self, view: SiteView, request: Request) -> Response:
        node = self._node(view, request)
        wanted = [each for each in view.connections if each.cloud_node_id == node.id]
        return self._list(wanted, lambda controller: shapes.connection(view, controller), request)

    def devices_of_cloud_node(self, view: SiteView, request: Request) -> Response:
        node = self._node(view, request)
        wanted = [each for each in view.devices if each.cloud_node_id == node.id]
        return self._list(wanted, lambda door: shapes.device(view, door), request)

    def devices(self, view: SiteView, request: Request) -> Response:
        return self._table(view.devices, lambda door: shapes.device(view, door), request)

    def device(self, view: SiteView, request: Request) -> Response:
        return _json(shapes.device(view, _found(view.devices.get(request.path_params["device_id"]))))

    def holders(self, view: SiteView, request: Request) -> Response:
        search = request.query_params.get("search", "").casefold()
        if not search:
            return self._table(view.holders, shapes.holder, request)
        fields = _search_fields(request)
        found = [person for person in view.holders if _matches(person, fields, search)]
        return self._list(found, shapes.holder, request)

    def holder(self, view: SiteView, request: Request) -> Response:
        return _json(shapes.holder(self._person(view, request)))

    def credentials(self, view: SiteView, request: Request) -> Response:
        person = self._person(view, request)
        return self._list(list(person.credentials), lambda card: shapes.credential(person, card), request)

    def _node(self, view: SiteView, request: Request) -> CloudNode:
        return _found(view.cloud_nodes.get(request.path_params["cloud_node_id"]))

    def _person(self, view: SiteView, request: Request) -> Holder:
        return _found(view.holders.get(request.path_params["holder_id"]))

    def _table(self, table: Table[Any], show: Callable[[Any], Any], request: Request) -> Response:
        wanted = Wanted.of(request.query_params)
        return page_of_table(table, show, wanted, _url(self._pdk, request), request.query_params)

    def _list(self, items: list[Any], show: Callable[[Any], Any], request: Request) -> Response:
        wanted = Wanted.of(request.query_params)
        return page_of_list(items, show, wanted, _url(self._pdk, request), request.query_params)


def _bearer(request: Request) -> str:
    authorization = request.headers.get("authorization", "")
    if authorization[: len(_BEARER)].lower() != _BEARER:
        raise InvalidToken
    return authorization[len(_BEARER) :].strip()


def permitted_site(pdk: Pdk, client: Client, system_id: str) -> Site:
    """The system, if it exists (else 404) and the client may use it (else 403)."""
    site = pdk.directory.sites.get(system_id.lower())
    if site is None:
        raise PdkError(404, "there is no such system")
    if not of_client(client).may("pdk", site.id):
        raise PdkError(403, "the client may not use this system")
    return site


def _system(pdk: Pdk, site_id: str, request: Request) -> SiteView:
    """The system that the token and the path name."""
    named: UUID | None = request.path_params.get("system_id")
    if named is not None and str(named) != site_id:
        raise PdkError(403, "the token is for another system")
    return _found(pdk.directory.site(site_id))


def _found(what: _C | None) -> _C:
    if what is None:
        raise PdkError(404, "there is no such thing in this system")
    return what


def _search_fields(request: Request) -> list[str]:
    names = ",".join(request.query_params.getlist("search_fields")).split(",")
    return [_SEARCHED[name] for name in names if name in _SEARCHED] or list(_SEARCHED.values())


def _matches(person: Holder, fields: list[str], search: str) -> bool:
    return any(search in (getattr(person, field) or "").casefold() for field in fields)


def _url(pdk: Pdk, request: Request) -> str:
    return pdk.auth.issuer + request.url.path


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
