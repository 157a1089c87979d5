"""What administrators do with a server as a whole: take a backup, have the index built again."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from doorstream.server.api.access import Access
from doorstream.server.api.bodies import json_response
from doorstream.server.api.documentation import problems
from doorstream.server.backup import back_up
from doorstream.server.services import Services

_TAR = "application/x-tar"


def operations_router(services: Services, access: Access) -> APIRouter:
    """Both need the scope ``admin`` for all sites."""
    router = APIRouter(prefix="/api", tags=["operations"])

    @router.get(
        "/backup",
        summary="Take a backup",
        response_class=StreamingResponse,
        responses={200: {"content": {_TAR: {}}, "description": "A tar file"}, **problems("log-unavailable")},
    )
    async def get_backup(request: Request) -> Response:
        """Everything that is kept, as of now, while it is in use. It contains all secrets. The last member of a
        complete backup is named ``complete``.
        """  # noqa: D205 - a description, not a summary
        access.everywhere(request, "admin")
        stream = back_up(services.log_connection, services.clock)
        first = await anext(stream)  # so that a log that is away is told as such

        async def rest() -> AsyncIterator[bytes]:
            async with contextlib.aclosing(stream):
                yield first
                async for piece in stream:
                    yield piece

        return StreamingResponse(
            rest(), media_type=_TAR, headers={"Content-Disposition": 'attachment; filename="doorstream-backup.tar"'}
        )

    @router.post("/index/rebuild", status_code=202, summary="Build the history's index again")
    async def post_rebuild(request: Request) -> Response:
        """Have the index made anew from the log. Until it is complete (``/readyz`` tells how far it is), searches wait
        for it or answer that it is being built; live delivery is not concerned.
        """  # noqa: D205 - a description, not a summary
        access.everywhere(request, "admin")
        services.index.rebuild()
        return json_response({"applied": services.index.applied, "last": services.hub.sequence}, 202)

    return router
