"""Who is connected at this moment, over which dialect, and how far behind; and putting one out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec
from fastapi import APIRouter, Request, Response

from doorstream.directory import NotFound
from doorstream.live import Describable, Description, Hub, Presence, Seen
from doorstream.log import LogUnavailable
from doorstream.server.api.access import Access
from doorstream.server.api.bodies import json_response
from doorstream.server.api.documentation import problems
from doorstream.server.siblings import Siblings

LISTED = 1000
"""How many connections are listed at most."""

_MICROSECONDS = 1_000_000
_PORTION = 500
_LIST, _DISCONNECT = "connections", "disconnect"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStatus:
    """One connection. Times are unix seconds, sizes bytes.

    ``subscriptions`` null stands for everything; ``lag`` is how many events of the log came after ``position``, up to
    where everything of its interest was written. ``null`` is what is not known.
    """

    id: str
    dialect: str
    transport: str
    client_id: str | None
    user_id: str | None
    site_id: str | None
    peer: str | None
    since: float
    subscriptions: list[str] | None
    state: str
    position: str | None
    lag: int | None
    unsent: int
    token_expired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """The newest connections of this server. ``total`` is how many there are.

    ``missing`` are the numbers of its workers that did not say theirs in time.
    """

    items: list[ConnectionStatus]
    total: int
    missing: list[int]


class _Told(msgspec.Struct):
    """What one worker tells another: its newest connections, and how many there are."""

    items: list[ConnectionStatus]
    total: int


class _Leaving(msgspec.Struct):
    """What one worker asks another: to end a connection, if it is at one of the sites; None stands for all."""

    id: str
    sites: frozenset[str] | None


_encode = msgspec.json.Encoder().encode
_decode_told = msgspec.json.Decoder(_Told).decode
_decode_sites = msgspec.json.Decoder(frozenset[str] | None).decode
_decode_leaving = msgspec.json.Decoder(_Leaving).decode


class _Here:
    """The connections of this worker."""

    def __init__(self, presence: Presence, hub: Hub, number: int) -> None:
        self._presence = presence
        self._hub = hub
        self._number = number

    async def newest(self, sites: frozenset[str] | None) -> _Told:
        """Those of some sites, or all. There may be thousands, and events go on meanwhile."""
        told = _Told([], 0)
        for number, seen in enumerate(reversed(tuple(self._presence)), 1):
            description = _described(seen, sites)
            if description is not None:
                told.total += 1
                if told.total <= LISTED:
                    told.items.append(_status(self._id(seen), seen, description, self._hub))
            if not number % _PORTION:
                await asyncio.sleep(0)
        return told

    def end(self, leaving: _Leaving) -> bool:
        """Disconnect one; false if there is none of that id."""
        for seen in self._presence:
            if self._id(seen) == leaving.id and _described(seen, leaving.sites) is not None:
                seen.connection.end()
                return True
        return False

    async def tell(self, data: bytes) -> bytes:
        """Answer another worker that wants to know."""
        return _encode(await self.newest(_decode_sites(data)))

    async def disconnect(self, data: bytes) -> bytes:
        """Answer another worker that wants one to be ended."""
        return _encode(self.end(_decode_leaving(data)))

    def _id(self, seen: Seen) -> str:
        return f"{self._number}-{seen.entered:x}"


def connections_router(presence: Presence, hub: Hub, access: Access, siblings: Siblings) -> APIRouter:
    """``/api/connections``, of all workers of this server."""
    router = APIRouter(prefix="/api/connections", tags=["operations"])
    here = _Here(presence, hub, siblings.number)
    siblings.on(_LIST, here.tell)
    siblings.on(_DISCONNECT, here.disconnect)

    @router.get("", summary="List who is connected", response_model=Connections, responses=problems())
    async def get_list(request: Request) -> Response:
        """The newest 1,000 streaming connections of this server, as far as the caller's sites go, the newest first."""
        sites = access.somewhere(request, "admin").sites
        own, answers = await asyncio.gather(here.newest(sites), siblings.ask(_LIST, _encode(sites)))
        told = [own, *map(_decode_told, answers.values())]
        items = sorted((item for each in told for item in each.items), key=lambda item: item.since, reverse=True)
        found = Connections(
            items=items[:LISTED], total=sum(each.total for each in told), missing=siblings.missing(answers)
        )
        return json_response(found, headers={"Cache-Control": "no-store"})

    @router.delete(
        "/{connection_id}",
        summary="Disconnect one",
        status_code=204,
        responses=problems("not-found", "log-unavailable"),
    )
    async def delete(connection_id: str, request: Request) -> Response:
        """End a connection. Its client may come back at once, and goes on where it was: to keep it out, revoke it."""
        leaving = _Leaving(connection_id, access.somewhere(request, "admin").sites)
        worker = connection_id.partition("-")[0]
        if worker == str(siblings.number) or worker not in map(str, siblings.workers):
            is_ended = here.end(leaving)
        else:
            answers = await siblings.ask(_DISCONNECT, _encode(leaving))
            if worker in map(str, siblings.missing(answers)):
                raise LogUnavailable(f"worker {worker}, whose connection it is, does not answer")
            is_ended = _encode(True) in answers.values()
        if not is_ended:
            raise NotFound("connection", connection_id)
        return Response(status_code=204)

    return router


def _described(seen: Seen, sites: frozenset[str] | None) -> Description | None:
    """What it is, if it is at one of the sites; None stands for all."""
    if not isinstance(seen.connection, Describable):
        return None
    description = seen.connection.describe()
    return description if sites is None or description.site_id in sites else None


def _status(connection_id: str, seen: Seen, description: Description, hub: Hub) -> ConnectionStatus:
    position = description.position
    return ConnectionStatus(
        id=connection_id,
        dialect=description.dialect,
        transport=description.transport,
        client_id=description.client_id,
        user_id=description.user_id,
        site_id=description.site_id,
        peer=description.peer,
        since=seen.entered / _MICROSECONDS,
        subscriptions=list(description.subscriptions) if description.subscriptions is not None else None,
        state=description.state,
        position=str(position) if position is not None else None,
        lag=max(0, hub.sequence - position.sequence) if position is not None else None,
        unsent=description.unsent,
        token_expired=description.token_expired,
    )
