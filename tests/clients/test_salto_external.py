"""The Salto KS dialect with somebody else's identity server: only its tokens count, by the keys that it publishes."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from joserfc import jws
from joserfc.jwk import RSAKey
from signalr_program import ADMIN, USER, access_token, account, hub_url, rest, upgrade

from doorstream.testing.server import running_demo

ISSUER = "https://id.example"
EARLY = 10.0  # seconds: it counts from before it asks, we from when we are asked, which may be much later


def make_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}, private=True)


UNKNOWN = make_key("three")


class IdentityServer:
    """Publishes a key, and signs with it; at ``/moved`` it sends people elsewhere. ``asked`` is when, monotonic."""

    def __init__(self) -> None:
        self.key = make_key("one")
        self.url = ""
        self.asked: list[float] = []

    async def jwks(self, _: web.Request) -> web.Response:
        self.asked.append(time.monotonic())
        return web.json_response({"keys": [self.key.as_dict(private=False)]})

    async def moved(self, _: web.Request) -> web.Response:
        raise web.HTTPFound(f"{self.url}/jwks")

    def token(self, subject: str, *, key: RSAKey | None = None, **changes: Any) -> str:
        """One of a subject; a claim that is changed to None is left out."""
        key = key or self.key
        header = {"alg": "RS256", "kid": key.kid, "typ": "at+jwt"}
        return jws.serialize_compact(header, claims(subject, **changes), key, ["RS256"])

    def by_hand(self, subject: str, algorithm: str, secret: bytes | None = None) -> str:
        """Such as no decent library makes: without a signature, or with a secret that everybody has."""
        header = json.dumps({"alg": algorithm, "kid": self.key.kid, "typ": "at+jwt"}).encode()
        text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims(subject)))
        mac = hmac.digest(secret, text, "sha256") if secret is not None else b""
        return (text + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def claims(subject: str, **changes: Any) -> bytes:
    scope = "openid user_api.full_access"
    given = {"iss": ISSUER, "aud": "user_api", "sub": subject, "scope": scope, "exp": int(time.time()) + 600} | changes
    return json.dumps({name: value for name, value in given.items() if value is not None}).encode()


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


def trusting(jwks_url: str, issuer: str = ISSUER) -> dict[str, Any]:
    return {"salto_identity": {"issuer": issuer, "audience": "user_api", "jwks_url": jwks_url}}


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


async def test_sal_02_forgeries_and_a_rotation(identity: IdentityServer) -> None:
    """A key that is not known has the keys fetched again, however often it is shown at most every 30 s.

    Until then a new key does not count; from then on the old one does not.
    """
    async with running_demo(settings=trusting(f"{identity.url}/jwks")) as demo:
        url, name = hub_url(demo), account(demo, ADMIN)["username"]
        old = identity.token(name)
        assert await upgrade(url, old) == 101
        public = identity.key.as_pem(private=False)
        for forged in (
            identity.by_hand(name, "none"),
            identity.by_hand(name, "HS256", public),
            identity.token(name, key=make_key("one")),
            identity.token(name, exp=None),
            identity.token(name, iss=f"{ISSUER}/"),
            identity.token(name, aud=["other"]),
        ):
            assert await upgrade(url, forged) == 401
        identity.key = make_key("two")
        new = identity.token(name)
        async with asyncio.timeout(110):
            while (status := await upgrade(url, new)) != 101:
                assert status == 401
                assert await upgrade(url, identity.token(name, key=UNKNOWN)) == 401
                await asyncio.sleep(0.1)
        assert await upgrade(url, old) == 401
        first, second = identity.asked
        assert second - first >= 30 - EARLY
        assert "Traceback" not in demo.errors


async def test_sal_02_what_discovery_says_leads_to_the_keys() -> None:
    """One doorstream can be the other's identity server, by nothing but its discovery document."""
    async with running_demo() as ours, aiohttp.ClientSession() as session:
        async with session.get(f"{ours.url}/.well-known/openid-configuration") as answer:
            found = await answer.json()
        async with running_demo(settings=trusting(found["jwks_uri"], found["issuer"])) as theirs:
            assert await upgrade(hub_url(theirs), await access_token(ours)) == 101
            assert await upgrade(hub_url(theirs), await access_token(theirs)) == 401
            assert "Traceback" not in theirs.errors
