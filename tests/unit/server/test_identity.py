"""OpenID discovery, the keys, and the token endpoint (vendor-apis.md 1.1; RFC 6749)."""

import base64
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from doorstream.dialects.pdk.limits import UNLIMITED
from world import ISSUER, SECRET, World, open_world

FORM = "application/x-www-form-urlencoded"
GRANT = "grant_type=client_credentials"


@pytest.fixture
async def world(connection):
    async with open_world(connection, UNLIMITED) as world:
        yield world


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


async def grant(world: World, form: str, *, path: str = "/oauth2/token", **headers: str) -> Any:
    return await world.client().call("POST", path, body=form.encode(), **{"content_type": FORM} | headers)


def is_error(answer: Any, error: str, status: int = 400) -> bool:
    assert (answer.status, answer.json()["error"]) == (status, error), answer.body
    assert answer.headers["cache-control"] == "no-store"
    assert SECRET not in answer.body.decode()
    return True


@pytest.mark.parametrize("path", ["/oauth2/token", "/connect/token"])
async def test_pdk_01_client_credentials(world: World, path):
    answer = await grant(world, GRANT, path=path, authorization=basic("panel", SECRET))
    assert answer.status == 200
    granted = answer.json()
    assert granted.keys() == {"access_token", "id_token", "token_type", "expires_in"}
    assert (granted["token_type"], granted["expires_in"]) == ("Bearer", 300)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert world.auth.tokens.check_id_token(granted["id_token"], world.clock()).id == "panel"


@pytest.mark.parametrize(
    ("form", "query"),
    [
        (f"{GRANT}&client_id=panel&client_secret={SECRET}", ""),
        (f"{GRANT}&client_id=panel&client_secret={SECRET}&scope=openid", ""),
        ("", f"?{GRANT}&client_id=panel&client_secret={SECRET}"),
        (GRANT, f"?client_id=panel&client_secret={SECRET}"),
    ],
)
async def test_pdk_01_other_places_for_credentials(world: World, form, query):
    assert (await grant(world, form, path=f"/oauth2/token{query}")).status == 200


async def test_pdk_01_encoded_credentials(world: World):
    """RFC 6749, 2.3.1 wants id and secret form-encoded inside Basic; many clients do not. Both work."""
    body = {"name": "x", "scopes": ["pdk"], "sites": "all", "id": "odd", "secret": "a+b%41c d/e:f=g&h12345"}
    assert (await world.client("ops").post("/api/clients", body)).status == 201
    for secret in ("a+b%41c d/e:f=g&h12345", "a%2Bb%2541c+d%2Fe%3Af%3Dg%26h12345"):
        assert (await grant(world, GRANT, authorization=basic("odd", secret))).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": basic("panel", SECRET[:-1])},
        {"authorization": basic("panel", "")},
        {"authorization": basic("nobody", SECRET)},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + base64.b64encode(b"panel").decode()},
        {"authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
        {"authorization": f"Bearer {SECRET}"},
    ],
)
async def test_pdk_01_wrong_credentials(world: World, headers):
    answer = await grant(world, GRANT, **headers)
    assert is_error(answer, "invalid_client", 401)
    assert answer.headers["www-authenticate"].startswith("Basic")


async def test_pdk_01_wrong_basic_is_not_made_good_by_the_form(world: World):
    form = f"{GRANT}&client_id=panel&client_secret={SECRET}"
    assert is_error(await grant(world, form, authorization=basic("panel", "wrong")), "invalid_client", 401)


async def test_pdk_01_bad_requests(world: World):
    panel = {"authorization": basic("panel", SECRET)}
    assert is_error(await grant(world, "", **panel), "invalid_request")
    assert is_error(await grant(world, "grant_type=implicit", **panel), "unsupported_grant_type")
    assert is_error(await grant(world, f"{GRANT}&{GRANT}", **panel), "invalid_request")
    assert is_error(await _raw(world, b"\xff\xfe"), "invalid_request")
    assert is_error(await grant(world, "{}", **panel, content_type="application/json"), "invalid_request")
    assert is_error(await grant(world, "a=1&" * 60, **panel), "invalid_request")
    assert is_error(await grant(world, "a" * 70_000, **panel), "invalid_request", 413)
    reader = {"authorization": basic("reader", SECRET)}
    assert is_error(await grant(world, GRANT, **reader), "unauthorized_client")


async def _raw(world: World, body: bytes) -> Any:
    return await world.client().call(
        "POST", "/oauth2/token", body=body, content_type=FORM, authorization=basic("panel", SECRET)
    )


async def test_pdk_01_a_disabled_client(world: World):
    await world.client("ops").patch("/api/clients/panel", {"disabled": True})
    assert is_error(await grant(world, GRANT, authorization=basic("panel", SECRET)), "invalid_client", 401)


async def test_pdk_02_discovery(world: World):
    """What an OpenID client does: discover, grant, verify by the published keys."""
    client = world.client()
    found = (await client.get("/.well-known/openid-configuration")).json()
    assert found["issuer"] == ISSUER
    for name in ("token_endpoint", "jwks_uri"):
        assert found[name].startswith(f"{ISSUER}/")
    for name in (
        "response_types_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
        "token_endpoint_auth_methods_supported",
    ):
        assert found[name], "required by OpenID Connect Discovery 1.0, 3, or read by clients"
    keys = KeySet.import_key_set((await client.get(found["jwks_uri"].removeprefix(ISSUER))).json())
    answer = await grant(
        world, GRANT, path=found["token_endpoint"].removeprefix(ISSUER), authorization=basic("panel", SECRET)
    )
    token = jwt.decode(answer.json()["id_token"], keys, algorithms=found["id_token_signing_alg_values_supported"])
    assert token.claims["iss"] == found["issuer"]
    assert token.claims["aud"] == "panel"
    assert token.claims["iat"] <= world.clock() < token.claims["exp"]


async def test_pdk_02_keys_follow_a_rotation(world: World):
    before = (await world.client().get("/.well-known/jwks.json")).json()["keys"]
    await world.auth.keys.rotate(world.clock())
    after = (await world.client().get("/.well-known/jwks.json")).json()["keys"]
    assert after[1:] == before
    assert all("d" not in key and "p" not in key for key in after)
