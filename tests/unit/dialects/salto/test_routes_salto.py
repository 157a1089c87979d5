"""Who is let in to a hub when rights change while the upgrade is being decided."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from doorstream.auth import FULL_ACCESS, AccessToken
from doorstream.dialects.salto import routes
from doorstream.dialects.salto.rights import Refused
from doorstream.dialects.salto.routes import SaltoHub, Stream
from doorstream.gateway import Refusal
from doorstream.protocols.websocket import UpgradeRequest

SITE = "0738b8df-329a-4d50-88e7-7a48928c4d6f"
TOKEN = AccessToken("ann", "g", "app", "g", frozenset({FULL_ACCESS}), 9_999.0)
REQUEST = UpgradeRequest.parse(f"GET /v1/hub/entries?site_id={SITE}&since=e1&access_token=t HTTP/1.1".encode())


class World:
    """A hub whose index answers when the test says so, and the rights of its only user."""

    def __init__(self) -> None:
        self.holder_id: str | None = "ann"
        self.may_answer = asyncio.Event()
        index = SimpleNamespace(current=self.may_answer.wait, find=self._find)
        stream = SimpleNamespace(
            hub=SimpleNamespace(epoch="3f9a1c07"),
            index=index,
            directory=None,
            tokens=SimpleNamespace(check=self._check),
            clock=lambda: 0.0,
            close_at_expiry=False,
        )
        self.hub = SaltoHub(cast("Stream", stream), "entries")

    def visible(self, *_: Any) -> str:
        """Whose entries the user gets."""
        if self.holder_id is None:
            raise Refused(403, "not permitted at this site")
        return self.holder_id

    async def _check(self, _token: str, _now: float) -> AccessToken:
        return TOKEN

    async def _find(self, _site_id: str, _ids: list[str]) -> dict[str, int]:
        return {"e1": 1}


@pytest.mark.parametrize("then", [None, "bob"])
async def test_rights_that_change_while_the_index_is_asked(monkeypatch: pytest.MonkeyPatch, then: str | None) -> None:
    """Who lost them was answered 500, with a traceback in the log; who got others was let in with the old ones.

    The index may be asked for ten seconds. A user who was another holder by then followed the entries of the first for
    as long as the hub was open: what had changed was compared with what had changed already.
    """
    world = World()
    monkeypatch.setattr(routes, "visible", world.visible)
    opening = asyncio.ensure_future(world.hub.open(REQUEST, None))
    await asyncio.sleep(0)
    world.holder_id = then
    world.may_answer.set()
    answer = await opening
    assert isinstance(answer, Refusal)
    assert answer.status == 403
