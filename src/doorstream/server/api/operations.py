"""What administrators do with a server as a whole: take a backup, have the index built again."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from doorstream.server.api.access import Access
from doorstream.server.api.bodies import json_response
from doorstream.server.api.documentation import problems
from doorstream.server.backup import back_up
from doorstream.server.services import Services

_TAR = "application/x-tar"
_INDEX, _REBUILD = "index", "rebuild"


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """Up to which sequence of the log every worker's index has it, and the last there is.

    ``missing`` are the numbers of workers that did not answer in time.
    """

    applied: int
    last: int
    missing: list[int]


def operations_router(services: Services, access: Access) -> APIRouter:
    """All need the scope ``admin`` for all sites."""
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

    @router.get("/index", summary="Tell how far the history's index is", response_model=IndexStatus)
    async def get_index(request: Request) -> Response:
        """Each worker has an index of its own. It is complete when ``applied`` has reached ``last``."""
        access.everywhere(request, "admin")
        return json_response(await status(_INDEX))

    @router.post(
        "/index/rebuild", status_code=202, summary="Build the history's index again", response_model=IndexStatus
    )
    async def post_rebuild(request: Request) -> Response:
        """Have the index made anew from the log, in every worker. Until it is complete, searches wait for it or answer
        that it is being built; live delivery is not concerned.
        """  # noqa: D205 - a description, not a summary
        access.everywhere(request, "admin")
        services.index.rebuild()
        return json_response(await status(_REBUILD), 202)

    async def status(question: str) -> IndexStatus:
        answers = await services.siblings.ask(question)
        applied = min([services.index.applied, *map(int, answers.values())])
        return IndexStatus(applied, services.hub.sequence, services.siblings.missing(answers))

    async def tell(_: bytes) -> bytes:
        return b"%d" % services.index.applied

    async def rebuild(data: bytes) -> bytes:
        services.index.rebuild()
        return await tell(data)

    services.siblings.on(_INDEX, tell)
    services.siblings.on(_REBUILD, rebuild)
    return router
