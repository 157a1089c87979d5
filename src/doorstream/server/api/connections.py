"""Who is connected at this moment, over which dialect, and how far behind; and putting one out."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from doorstream.auth import Principal
from doorstream.directory import NotFound
from doorstream.live import Describable, Description, Hub, Presence, Seen
from doorstream.server.api.access import Access
from doorstream.server.api.bodies import json_response
from doorstream.server.api.documentation import problems

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
    """All connections of the worker that answers; with several workers each knows its own."""

    worker: int
    items: list[ConnectionStatus]


def connections_router(presence: Presence, hub: Hub, access: Access, *, worker: int) -> APIRouter:
    """``/api/connections``. ``worker`` is the number of this one."""
    router = APIRouter(prefix="/api/connections", tags=["operations"])

    @router.get("", summary="List who is connected", response_model=Connections, responses=problems())
    async def get_list(request: Request) -> Response:
        """The streaming connections of the worker that answers, the newest first, as far as the caller's sites go."""
        principal = access.somewhere(request, "admin")
        items = []
        for seen in presence:
            description = _described(seen, principal)
            if description is not None:
                items.append(_status(_id(worker, seen), seen, description, hub))
        items.reverse()
        return json_response(Connections(worker=worker, items=items), headers={"Cache-Control": "no-store"})

    @router.delete("/{connection_id}", summary="Disconnect one", status_code=204, responses=problems("not-found"))
    async def delete(connection_id: str, request: Request) -> Response:
        """End a connection. Its client may come back at once, and goes on where it was: to keep it out, revoke it."""
        principal = access.somewhere(request, "admin")
        for seen in presence:
            if _id(worker, seen) == connection_id and _described(seen, principal) is not None:
                seen.connection.end()
                return Response(status_code=204)
        raise NotFound("connection", connection_id)

    return router


def _id(worker: int, seen: Seen) -> str:
    return f"{worker}-{seen.entered:x}"


def _described(seen: Seen, principal: Principal) -> Description | None:
    """What it is, if the caller may know of it."""
    if not isinstance(seen.connection, Describable):
        return None
    description = seen.connection.describe()
    is_seen = principal.sites is None or (description.site_id is not None and principal.sees(description.site_id))
    return description if is_seen else None


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
