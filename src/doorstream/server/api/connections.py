"""Who is connected at this moment, over which dialect, and how far behind; and putting one out."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from fastapi import APIRouter, Request, Response

from doorstream.directory import NotFound
from doorstream.live import Describable, Description, Hub, Presence, Seen
from doorstream.server.api.access import Access
from doorstream.server.api.bodies import json_response
from doorstream.server.api.documentation import problems
from doorstream.server.peers import Peers

_MICROSECONDS = 1_000_000


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
    """All connections of this server. ``missing`` are the numbers of its workers that did not say theirs in time.

    ``total`` is how many there are: of very many, another worker tells only the newest.
    """

    items: list[ConnectionStatus]
    total: int
    missing: list[int]


class _Told(msgspec.Struct):
    """What one worker tells another: its connections, the newest first, and how many there are."""

    items: list[ConnectionStatus]
    total: int


_encode = msgspec.json.Encoder().encode
_decode_told = msgspec.json.Decoder(_Told).decode
_decode_sites = msgspec.json.Decoder(frozenset[str] | None).decode


class _Here:
    """The connections of this worker."""

    def __init__(self, presence: Presence, hub: Hub, peers: Peers) -> None:
        self._presence = presence
        self._hub = hub
        self._peers = peers
        peers.answers["connections"] = self._tell
        peers.answers["disconnect"] = self._disconnect

    def items(self, sites: frozenset[str] | None) -> list[ConnectionStatus]:
        """Those of some sites, or all, the newest first."""
        found = [
            _status(self._id(seen), seen, description, self._hub)
            for seen in self._presence
            if (description := _described(seen, sites)) is not None
        ]
        found.reverse()
        return found

    def end(self, connection_id: str, sites: frozenset[str] | None) -> bool:
        """Disconnect one of those; false if there is none of that id."""
        for seen in self._presence:
            if self._id(seen) == connection_id and _described(seen, sites) is not None:
                seen.connection.end()
                return True
        return False

    def _id(self, seen: Seen) -> str:
        return f"{self._peers.number}-{seen.entered:x}"

    async def _tell(self, data: bytes) -> bytes:
        items = self.items(_decode_sites(data))
        told = _Told(items, len(items))
        while len(answer := _encode(told)) > self._peers.limit:
            told.items = told.items[: len(told.items) // 2]
        return answer

    async def _disconnect(self, data: bytes) -> bytes:
        connection_id, sites = msgspec.json.decode(data, type=tuple[str, frozenset[str] | None])
        return _encode(self.end(connection_id, sites))


def connections_router(presence: Presence, hub: Hub, access: Access, peers: Peers) -> APIRouter:
    """``/api/connections``, of all workers of this server."""
    router = APIRouter(prefix="/api/connections", tags=["operations"])
    here = _Here(presence, hub, peers)

    @router.get("", summary="List who is connected", response_model=Connections, responses=problems())
    async def get_list(request: Request) -> Response:
        """The streaming connections of this server, the newest first, as far as the caller's sites go."""
        sites = access.somewhere(request, "admin").sites
        items = here.items(sites)
        total = len(items)
        answers = await peers.ask("connections", _encode(sites))
        for answer in answers.values():
            told = _decode_told(answer)
            items += told.items
            total += told.total
        items.sort(key=lambda item: item.since, reverse=True)
        missing = sorted(peers.workers - answers.keys() - {peers.number})
        found = Connections(items=items, total=total, missing=missing)
        return json_response(found, headers={"Cache-Control": "no-store"})

    @router.delete("/{connection_id}", summary="Disconnect one", status_code=204, responses=problems("not-found"))
    async def delete(connection_id: str, request: Request) -> Response:
        """End a connection. Its client may come back at once, and goes on where it was: to keep it out, revoke it."""
        sites = access.somewhere(request, "admin").sites
        if not here.end(connection_id, sites):
            answers = await peers.ask("disconnect", _encode((connection_id, sites)))
            if _encode(True) not in answers.values():
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
