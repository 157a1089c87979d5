"""Access tokens of Salto KS: ours, and those of an external identity server (SAL-1, 2, 4, 5)."""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from auth_values import NOW, SITE
from joserfc import jws, jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from doorstream.auth import FULL_ACCESS, Auth, ExternalIssuer, ExternalTokens, InvalidToken
from doorstream.auth.external import JwksError, read_jwks
from doorstream.directory import SYSTEM, Directory
from doorstream.events.entities import Client, User

ISSUER, AUDIENCE, JWKS = "https://id.example", "user_api", "https://id.example/jwks"


@pytest.fixture
async def user(directory: Directory) -> User:
    found = User(
        id="ann", username="ann@example.com", name="Ann", roles={SITE: "site_admin"}, created="", generation="u1"
    )
    await directory.create(found, SYSTEM)
    return found


@pytest.fixture
def app(directory: Directory) -> Client:
    found = directory.clients.get("panel")
    assert found is not None
    return found


async def test_sal_01_the_claims_of_a_token(auth: Auth, user: User, app: Client) -> None:
    """vendor-apis.md 4.2, fact 4: header and claims as measured; verified by the published keys (SAL-2)."""
    text = auth.access.issue_for_user(user, app, [FULL_ACCESS], NOW)
    token = jwt.decode(text, KeySet.import_key_set(auth.keys.jwks()), algorithms=["RS256"])
    assert (token.header["alg"], token.header["typ"]) == ("RS256", "at+jwt")
    assert token.header["kid"]
    claims = token.claims
    assert claims["exp"] - claims["iat"] == 3600
    assert (claims["iss"], claims["aud"], claims["scope"]) == ("https://doors.example", "user_api", [FULL_ACCESS])
    assert (claims["sub"], claims["client_id"], claims["amr"], claims["idp"]) == ("ann", "panel", ["pwd"], "local")
    assert claims["nbf"] == claims["auth_time"] == int(NOW)


async def test_a_token_is_good_for_an_hour(auth: Auth, user: User, app: Client) -> None:
    text = auth.access.issue_for_user(user, app, [FULL_ACCESS], NOW)
    found = await auth.access.check(text, NOW + 3599)
    assert (found.user_id, found.client_id, found.scopes) == ("ann", "panel", {FULL_ACCESS})
    for when in (NOW + 3600, NOW - 5):
        with pytest.raises(InvalidToken):
            await auth.access.check(text, when)


async def test_a_token_ends_with_its_user_or_client(auth: Auth, directory: Directory, user: User, app: Client) -> None:
    def tokens() -> tuple[str, str]:
        return (
            auth.access.issue_for_user(user, app, [FULL_ACCESS], NOW),
            auth.access.issue_for_client(app, [FULL_ACCESS], NOW),
        )

    both = tokens()
    for text in both:
        await auth.access.check(text, NOW)
    await directory.change(user, lambda old: replace(old, generation="u2"), SYSTEM)
    await auth.access.check(both[1], NOW)
    with pytest.raises(InvalidToken):
        await auth.access.check(both[0], NOW)
    await directory.change(app, lambda old: replace(old, disabled=True), SYSTEM)
    with pytest.raises(InvalidToken):
        await auth.access.check(both[1], NOW)


async def test_other_tokens_of_ours_are_not_access_tokens(auth: Auth, app: Client) -> None:
    """One key signs them all: the kind is in the header and the audience."""
    tokens = auth.tokens
    for text in (
        tokens.issue_access_token(app, NOW),
        tokens.issue_id_token(app, NOW),
        tokens.issue_system_token(app, SITE, NOW),
    ):
        with pytest.raises(InvalidToken):
            await auth.access.check(text, NOW)
    with pytest.raises(InvalidToken):
        auth.tokens.check_id_token(auth.access.issue_for_client(app, [FULL_ACCESS], NOW), NOW)


async def test_a_refresh_token_is_bound(auth: Auth, directory: Directory, user: User, app: Client) -> None:
    """To its client, to the user's generation, and to thirty days."""
    signer = auth.signer("refresh token")
    text = auth.access.issue_refresh(signer, user, app, [FULL_ACCESS], NOW)
    assert auth.access.redeem(signer, text, app, NOW + 86_400)[1] == [FULL_ACCESS]
    other = directory.clients.get("ops")
    assert other is not None
    for wrong in (
        lambda: auth.access.redeem(signer, text, other, NOW),
        lambda: auth.access.redeem(signer, text, app, NOW + 31 * 86_400),
        lambda: auth.access.redeem(signer, text[:-2], app, NOW),
        lambda: auth.access.redeem(auth.signer("ticket"), text, app, NOW),
    ):
        with pytest.raises(InvalidToken):
            wrong()
    await directory.change(user, lambda old: replace(old, generation="u2"), SYSTEM)
    with pytest.raises(InvalidToken):
        auth.access.redeem(signer, text, app, NOW)


# Somebody else's identity server

_KEYS: dict[str, RSAKey] = {}


def rsa(kid: str) -> RSAKey:
    """An RSA key of that id, made once: they take long."""
    if kid not in _KEYS:
        _KEYS[kid] = RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}, private=True)
    return _KEYS[kid]


class Issuer:
    """An identity server: its keys, and how often it was asked for them."""

    def __init__(self, *keys: Any) -> None:
        self.keys = list(keys)
        self.fetched = 0
        self.is_away = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def fetch(self, url: str) -> bytes:
        assert url == JWKS
        self.fetched += 1
        await self.may_answer.wait()
        if self.is_away:
            raise JwksError("away")
        return msgspec.json.encode({"keys": [key.as_dict(private=False) for key in self.keys]})


def claims(**changes: Any) -> bytes:
    given = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann@example.com",
        "scope": [FULL_ACCESS],
        "exp": NOW + 600,
        "nbf": NOW,
    } | changes
    return msgspec.json.encode({name: value for name, value in given.items() if value is not None})


def signed(key: Any, payload: bytes, alg: str = "RS256", **header: Any) -> str:
    given = {"alg": alg, "kid": key.kid, "typ": "at+jwt"} | header
    return jws.serialize_compact(
        {name: value for name, value in given.items() if value is not None}, payload, key, [alg]
    )


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(rsa("a"))


@pytest.fixture
def external(directory: Directory, issuer: Issuer, user: User) -> ExternalTokens:
    del user
    return ExternalTokens(ExternalIssuer(ISSUER, AUDIENCE, JWKS), directory, fetch=issuer.fetch)


@pytest.mark.parametrize("scope", [[FULL_ACCESS, "openid"], f"openid {FULL_ACCESS}"])
async def test_sal_05_scope_as_array_and_as_text(external: ExternalTokens, scope: Any) -> None:
    found = await external.check(signed(rsa("a"), claims(scope=scope)), NOW)
    assert (found.user_id, found.client_id, found.scopes) == ("ann", None, {FULL_ACCESS, "openid"})


async def test_an_audience_among_others_and_the_users_own_id(external: ExternalTokens) -> None:
    text = signed(rsa("a"), claims(aud=["x", AUDIENCE], sub="ann"), typ="JWT")
    assert (await external.check(text, NOW)).user_id == "ann"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"},
        {"iss": ISSUER + "/"},
        {"aud": "other"},
        {"aud": []},
        {"aud": None},
        {"exp": None},
        {"exp": NOW - 60},
        {"exp": "tomorrow"},
        {"nbf": NOW + 120},
        {"sub": "nobody"},
        {"sub": None},
    ],
)
async def test_claims_that_are_refused(external: ExternalTokens, changes: dict[str, Any]) -> None:
    """Wrong issuer, wrong audience, expired, without an end, not yet, of nobody here."""
    with pytest.raises(InvalidToken):
        await external.check(signed(rsa("a"), claims(**changes)), NOW)


def by_hand(header: dict[str, str], secret: bytes | None) -> str:
    """A token such as no decent library makes any more."""
    signing_input = b".".join(_base64(part) for part in (msgspec.json.encode(header), claims()))
    mac = hmac.digest(secret, signing_input, "sha256") if secret is not None else b""
    return (signing_input + b"." + _base64(mac)).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def public_key_as_secret() -> str:
    """The classic: HMAC with the text of the public key, which everybody has."""
    return by_hand({"alg": "HS256", "kid": "a", "typ": "at+jwt"}, rsa("a").as_pem(private=False))


def unsigned() -> str:
    return by_hand({"alg": "none", "kid": "a", "typ": "at+jwt"}, None)


FORGERIES: dict[str, Callable[[], str]] = {
    "algorithm confusion": public_key_as_secret,
    "none": unsigned,
    "another key of that id": lambda: signed(rsa("b"), claims(), kid="a"),
    "an unknown key": lambda: signed(rsa("b"), claims()),
    "its own key": lambda: signed(rsa("b"), claims(), jwk=rsa("b").as_dict(private=False)),
    "another algorithm": lambda: signed(ECKey.generate_key("P-256", {"kid": "a"}), claims(), "ES256"),
    "no key id": lambda: signed(rsa("a"), claims(), kid=None),
    "an id token": lambda: signed(rsa("a"), claims(), typ="logout+jwt"),
    "cut": lambda: signed(rsa("a"), claims())[:-10],
    "not a token": lambda: "hello",
    "empty": lambda: "",
    "huge": lambda: "a" * 20_000,
}


@pytest.mark.parametrize("name", FORGERIES)
async def test_forgeries(external: ExternalTokens, name: str) -> None:
    with pytest.raises(InvalidToken):
        await external.check(FORGERIES[name](), NOW)


async def test_other_algorithms_of_the_issuer(directory: Directory, user: User) -> None:
    """An elliptic curve key, and RSA with PSS."""
    del user
    curve = ECKey.generate_key("P-256", {"kid": "c", "use": "sig"})
    issuer = Issuer(rsa("a"), curve)
    external = ExternalTokens(ExternalIssuer(ISSUER, AUDIENCE, JWKS), directory, fetch=issuer.fetch)
    await external.check(signed(curve, claims(), "ES256"), NOW)
    await external.check(signed(rsa("a"), claims(), "PS256"), NOW)


async def test_keys_are_cached_and_fetched_again_at_a_bounded_rate(external: ExternalTokens, issuer: Issuer) -> None:
    good, unknown = signed(rsa("a"), claims(exp=NOW + 9000)), signed(rsa("b"), claims(exp=NOW + 9000))
    for _ in range(3):
        await external.check(good, NOW)
    assert issuer.fetched == 1
    for _ in range(100):  # a flood of tokens with ids of keys that are not there
        with pytest.raises(InvalidToken):
            await external.check(unknown, NOW + 1)
    assert issuer.fetched == 1
    issuer.keys = [rsa("b")]  # rotated
    await external.check(unknown, NOW + 31)
    assert issuer.fetched == 2
    with pytest.raises(InvalidToken):
        await external.check(good, NOW + 32)


async def test_who_comes_while_the_keys_are_fetched_waits_for_them(external: ExternalTokens, issuer: Issuer) -> None:
    """All but the first were refused, as if their tokens were forged.

    After a start, or after the issuer's rotation, a crowd of hubs that came at the same time was answered 401, which
    SignalR's clients take for final.
    """
    issuer.may_answer.clear()
    good = signed(rsa("a"), claims())
    checks = [asyncio.ensure_future(external.check(good, NOW + number)) for number in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    issuer.may_answer.set()
    assert [found.user_id for found in await asyncio.gather(*checks)] == ["ann", "ann", "ann"]
    assert issuer.fetched == 1


async def test_who_leaves_while_the_keys_are_fetched_takes_them_from_nobody(
    external: ExternalTokens, issuer: Issuer
) -> None:
    """The fetch ended with the client that had caused it, but counted: for half a minute nobody else was let in."""
    issuer.may_answer.clear()
    good = signed(rsa("a"), claims())
    leaving = asyncio.ensure_future(external.check(good, NOW))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    issuer.may_answer.set()
    assert (await external.check(good, NOW + 1)).user_id == "ann"
    assert issuer.fetched == 1


async def test_known_keys_go_on_counting_while_the_issuer_is_away(external: ExternalTokens, issuer: Issuer) -> None:
    good = signed(rsa("a"), claims(exp=NOW + 9000))
    await external.check(good, NOW)
    issuer.is_away = True
    await external.check(good, NOW + 4000)
    assert issuer.fetched == 2


async def test_before_the_keys_are_there_nothing_is_good(external: ExternalTokens, issuer: Issuer) -> None:
    issuer.is_away = True
    with pytest.raises(InvalidToken):
        await external.check(signed(rsa("a"), claims()), NOW)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys":1}', b'{"keys":' + b"[" * 9000])
def test_what_is_no_key_set(body: bytes) -> None:
    with pytest.raises(JwksError):
        read_jwks(body)


def test_keys_of_other_kinds_are_left_out() -> None:
    """Secrets, keys to encrypt with, and nonsense."""
    oct_key = {"kty": "oct", "k": "c2VjcmV0", "kid": "o"}
    encrypting = rsa("a").as_dict(private=False) | {"use": "enc"}
    nonsense = {"kty": "RSA", "kid": "n", "n": "!", "e": 5}
    body = msgspec.json.encode({"keys": [oct_key, encrypting, nonsense, 5, {"kty": "RSA"}]})
    assert read_jwks(body) == {}


@pytest.mark.parametrize("url", ["http://id.example/jwks", "file:///etc/passwd", "ftp://x", "http://169.254.169.254/"])
def test_addresses_of_key_sets(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        ExternalIssuer(ISSUER, AUDIENCE, url)
    assert ExternalIssuer(ISSUER, AUDIENCE, "http://127.0.0.1:8080/jwks")
