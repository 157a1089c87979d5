"""Salto KS's REST beside the stream, read only: entries and incidents, sites, the caller, locks and users."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from doorstream.auth import FULL_ACCESS, AccessToken, InvalidToken
from doorstream.dialects.salto import entities as shapes
from doorstream.dialects.salto.errors import SaltoError
from doorstream.dialects.salto.messages import KINDS, TOPICS, Hub, Shapes
from doorstream.dialects.salto.paging import Continuation, continuation, is_descending, skip, span, top
from doorstream.dialects.salto.rights import SITE_USER, Member, Refused, member, sites_of
from doorstream.dialects.salto.routes import TokenChecker
from doorstream.directory import Directory
from doorstream.history import ByTime, Index, Query
from doorstream.log import LogUnavailable

CONTINUATION = "CLP-Continuation-Token"
"""The request header in which the token of the page before comes back (SAL-14)."""

_BEARER = "bearer "
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Salto:
    """What the routes stand on. ``clock`` gives unix seconds; ``base_url`` is without a slash at its end."""

    directory: Directory
    tokens: TokenChecker
    index: Index
    shapes: Shapes
    clock: Callable[[], float]
    base_url: str


def salto_router(salto: Salto) -> APIRouter:
    """All routes of this module."""
    router = APIRouter(tags=["salto"])
    _add_events(router, salto)
    _add_sites(router, salto)
    _add_lists(router, salto)
    return router


def _add_events(router: APIRouter, salto: Salto) -> None:
    @router.get("/v1.1/sites/{site_id}/entries", summary="The entries of a site")
    async def entries(site_id: str, request: Request) -> Response:
        """``$top``, ``$orderby``, ``$filter`` by date; go on with ``CLP-Continuation-Token``."""
        return await _answer(salto, request, lambda token: _events(salto, token, "entries", site_id, request))

    @router.get("/v1.1/sites/{site_id}/incidents", summary="The incidents of a site")
    async def incidents(site_id: str, request: Request) -> Response:
        """``$top``, ``$orderby``, ``$filter`` by date; go on with ``CLP-Continuation-Token``."""
        return await _answer(salto, request, lambda token: _events(salto, token, "incidents", site_id, request))


def _add_sites(router: APIRouter, salto: Salto) -> None:
    @router.get("/v1.2/sites", summary="The sites of the caller")
    async def get_sites(request: Request) -> Response:
        async def work(token: AccessToken) -> Response:
            if FULL_ACCESS not in token.scopes:
                raise Refused(403, f"the token needs the scope {FULL_ACCESS}")
            sites = [each.view.site for each in sites_of(salto.directory, token) if each.view.site is not None]
            return _list(salto, request, sites, shapes.site)

        return await _answer(salto, request, work)

    @router.get("/v1.2/sites/{site_id}", summary="A site")
    async def get_site(site_id: str, request: Request) -> Response:
        async def work(token: AccessToken) -> Response:
            caller = member(salto.directory, token, site_id)
            assert caller.view.site is not None  # noqa: S101 - member() looked
            return _json(shapes.site(caller.view.site))

        return await _answer(salto, request, work)

    @router.get("/v1.2/sites/{site_id}/me", summary="The caller at a site")
    async def get_me(site_id: str, request: Request) -> Response:
        async def work(token: AccessToken) -> Response:
            return _json(shapes.me(member(salto.directory, token, site_id)))

        return await _answer(salto, request, work)


def _add_lists(router: APIRouter, salto: Salto) -> None:
    @router.get("/v1.2/sites/{site_id}/locks", summary="The locks of a site")
    async def get_locks(site_id: str, request: Request) -> Response:
        async def work(token: AccessToken) -> Response:
            view = member(salto.directory, token, site_id).view
            return _list(salto, request, list(view.devices), lambda device: shapes.lock(view, device))

        return await _answer(salto, request, work)

    @router.get("/v1.2/sites/{site_id}/users", summary="The users of a site")
    async def get_users(site_id: str, request: Request) -> Response:
        async def work(token: AccessToken) -> Response:
            caller = member(salto.directory, token, site_id)
            if not caller.sees_the_site:
                raise Refused(403, "the role at this site does not permit this")
            accounts = {user.holder_ids.get(site_id): user for user in salto.directory.users}
            return _list(
                salto, request, list(caller.view.holders), lambda holder: shapes.user(holder, accounts.get(holder.id))
            )

        return await _answer(salto, request, work)


async def _answer(salto: Salto, request: Request, work: Callable[[AccessToken], Awaitable[Response]]) -> Response:
    """The answer of ``work`` to an authenticated caller, or the error."""
    try:
        token = await salto.tokens.check(_bearer(request), salto.clock())
        return await work(token)
    except InvalidToken:
        return SaltoError(401, "the token is missing, invalid or expired").response()
    except Refused as refused:
        return SaltoError(refused.status, str(refused)).response()
    except SaltoError as error:
        return error.response()
    except LogUnavailable as error:
        response = SaltoError(503, str(error)).response()
        response.headers["Retry-After"] = str(error.retry_after)
        return response


async def _events(salto: Salto, token: AccessToken, hub: Hub, site_id: str, request: Request) -> Response:
    caller = member(salto.directory, token, site_id)
    user_id = _own(caller)
    query = _query(hub, site_id, user_id, request)
    await salto.index.current()
    page = await salto.index.query(query)
    shown = [salto.shapes.show(event) for event in page.events]
    items = [each.json for each in shown if each is not None and user_id in (None, each.user_id)]
    token_behind = b"null"
    if page.more:
        last = page.events[-1]
        token_behind = _encode(Continuation(last.occurred, last.sequence).encode())
    body = b'{"items":[%b],"continuation_token":%b}' % (b",".join(items), token_behind)
    return Response(body, media_type="application/json")


def _own(caller: Member) -> str | None:
    """Whose entries the caller may read: a Site User his own, who sees the site everybody's (None)."""
    if caller.sees_the_site:
        return None
    if caller.role == SITE_USER and caller.holder_id is not None:
        return caller.holder_id
    raise Refused(403, "the role at this site does not permit this")


def _query(hub: Hub, site_id: str, user_id: str | None, request: Request) -> Query:
    asked = request.query_params
    times = span(asked)
    topics = [topic for topic in TOPICS[hub] if user_id is None or not KINDS[topic].is_rejection]
    behind = continuation(request.headers.get(CONTINUATION))
    return Query(
        site_id=site_id,
        limit=top(asked),
        topics=tuple(sorted(topics)),
        holder_id=user_id,
        occurred_from=times.first,
        occurred_to=times.last,
        by_time=ByTime(is_descending=is_descending(asked), behind=behind),
    )


def _list(salto: Salto, request: Request, found: list[Any], show: Callable[[Any], dict[str, Any]]) -> Response:
    """One page of a list: ``{items, next_page_link, count}`` (vendor-apis.md 4.5, fact 5)."""
    asked = request.query_params
    start, size = skip(asked), top(asked)
    behind = start + size
    link = _link(salto, request, asked, behind, size) if behind < len(found) else None
    items = [show(each) for each in found[start:behind]]
    return _json({"items": items, "next_page_link": link, "count": len(found)})


def _link(salto: Salto, request: Request, asked: Mapping[str, str], start: int, size: int) -> str:
    others = {name: value for name, value in asked.items() if name not in ("$skip", "$top", "access_token")}
    return f"{salto.base_url}{request.url.path}?{urlencode({'$top': size, '$skip': start, **others}, safe='$')}"


def _bearer(request: Request) -> str:
    authorization = request.headers.get("authorization", "")
    if authorization[: len(_BEARER)].lower() != _BEARER:
        raise InvalidToken
    return authorization[len(_BEARER) :].strip()


def _json(value: Any) -> Response:
    return Response(_encode(value), media_type="application/json")
