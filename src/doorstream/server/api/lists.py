"""Lists of our own API: sorted by name, cut into pages by a cursor, filtered by a part of the name."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Query, Response

from doorstream.directory import Page, Place, Table
from doorstream.directory.table import Named
from doorstream.server.api.bodies import json_response
from doorstream.server.api.problems import Problem

E = TypeVar("E", bound=Named)

MAX_LIMIT = 1000

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many to show")]
Cursor = Annotated[str | None, Query(description="`next` of the page before")]
NameFilter = Annotated[str | None, Query(description="Only those whose name contains this, in any case")]

_decode_place = msgspec.json.Decoder(Place).decode


def listing(table: Table[E], show: Callable[[E], Any], *, limit: int, cursor: str | None, name: str | None) -> Response:
    """One page: ``{"items": […], "next": cursor or null}``; raises Problem for a cursor that is none."""
    page: Page[E] = table.page(after=_place(cursor), limit=limit, name=name)
    following = _cursor(page.next) if page.next is not None else None
    return json_response({"items": [show(item) for item in page.items], "next": following})


def _cursor(place: Place) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    try:
        place: Place = _decode_place(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise Problem("invalid-parameter", "cursor: use the value of `next` of the page before") from None
    return place
