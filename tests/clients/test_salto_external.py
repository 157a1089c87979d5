"""The Salto KS dialect with somebody else's identity server: only its tokens count, by the keys that it publishes."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from joserfc import jws
from joserfc.jwk import RSAKey
from signalr_program import ADMIN, USER, access_token, account, hub_url, rest, upgrade

from doorstream.testing.server import running_demo

ISSUER = "https://id.example"


class IdentityServer:
    """Publishes a key, and signs with it; at ``/moved`` it sends people elsewhere."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}, private=True)
        self.url = ""

    async def jwks(self, _: web.Request) -> web.Response:
        return web.json_response({"keys": [self.key.as_dict(private=False)]})

    async def moved(self, _: web.Request) -> web.Response:
        raise web.HTTPFound(f"{self.url}/jwks")

    def token(self, subject: str, **changes: Any) -> str:
        scope = "openid user_api.full_access"
        claims = {"iss": ISSUER, "aud": "user_api", "sub": subject, "scope": scope, "exp": int(time.time()) + 600}
        header = {"alg": "RS256", "kid": "one", "typ": "at+jwt"}
        return jws.serialize_compact(header, json.dumps(claims | changes), self.key, ["RS256"])


@pytest.fixture
async def identity() -> AsyncIterator[IdentityServer]:
    server = IdentityServer()
    app = web.Application()
    app.router.add_get("/jwks", server.jwks)
    app.router.add_get("/moved", server.moved)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


def trusting(jwks_url: str) -> dict[str, Any]:
    return {"salto_identity": {"issuer": ISSUER, "audience": "user_api", "jwks_url": jwks_url}}


async def test_only_its_tokens_count(identity: IdentityServer) -> None:
    """Users are known by their names; roles are still those of the directory (SAL-5, SAL-6)."""
    async with running_demo(settings=trusting(f"{identity.url}/jwks")) as demo:
        admin, user = (account(demo, role) for role in (ADMIN, USER))
        assert await upgrade(hub_url(demo), identity.token(admin["username"])) == 101
        assert await upgrade(hub_url(demo), identity.token(user["username"])) == 403
        assert await upgrade(hub_url(demo, user_id=user["user_id"]), identity.token(user["username"])) == 101
        assert await upgrade(hub_url(demo), identity.token("nobody")) == 401
        assert await upgrade(hub_url(demo), identity.token(admin["username"], aud="other")) == 401
        assert await upgrade(hub_url(demo), identity.token(admin["username"], exp=1)) == 401
        assert await upgrade(hub_url(demo), await access_token(demo)) == 401, "ours do not count beside it"
        assert (await rest(demo, f"/v1.2/sites/{demo.site_id}/me", identity.token(admin["username"])))[0] == 200
        assert "Traceback" not in demo.errors


async def test_redirects_of_the_key_set_are_not_followed(identity: IdentityServer) -> None:
    """They could lead to addresses that only this server reaches."""
    async with running_demo(settings=trusting(f"{identity.url}/moved")) as demo:
        assert await upgrade(hub_url(demo), identity.token(account(demo, ADMIN)["username"])) == 401
        assert "Traceback" not in demo.errors
