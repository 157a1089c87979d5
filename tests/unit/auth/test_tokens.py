"""Tokens: what is issued, and what is refused."""

import base64
import json
from dataclasses import replace

import pytest
from auth_values import NOW, OTHER, SITE, client
from joserfc import jws, jwt
from joserfc.jwk import OctKey, RSAKey

from doorstream.auth import Auth, InvalidToken
from doorstream.directory import SYSTEM, Directory
from doorstream.events.entities import Site


def forged(token: str, *, header=None, claims=None, key=None) -> str:
    """The token with other contents, and signed with the key if one is given."""
    head, body, signature = token.split(".")
    new_head = json.loads(decoded(head)) | (header or {})
    new_body = json.loads(decoded(body)) | (claims or {})
    if key is not None:
        return jws.serialize_compact(new_head, json.dumps(new_body), key, ["RS256", "HS256"])
    return f"{encoded(new_head)}.{encoded(new_body)}.{signature}"


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def encoded(value) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_a_system_token_comes_back(auth, directory):
    token = auth.tokens.issue_system_token(directory.clients.get("panel"), SITE, NOW)
    found = auth.tokens.check_system_token(token, NOW + 299.9)
    assert (found.site_id, found.client_id, found.expires_at, found.expired) == (SITE, "panel", NOW + 300, False)


async def test_an_expired_system_token_is_still_genuine(auth, directory):
    """Design D2: clients send their first token again when they reconnect, even after days."""
    token = auth.tokens.issue_system_token(directory.clients.get("panel"), SITE, NOW)
    assert auth.tokens.check_system_token(token, NOW + 300).expired
    assert auth.tokens.check_system_token(token, NOW + 30 * 86_400).expired


async def test_fractions_of_a_second(directory):
    """`--system-token-ttl 1.5` means 1.5 s."""
    auth = Auth(directory, issuer="https://doors.example", system_token_ttl=1.5)
    await auth.open(NOW)
    token = auth.tokens.issue_system_token(directory.clients.get("panel"), SITE, NOW + 0.25)
    assert not auth.tokens.check_system_token(token, NOW + 1.74).expired
    assert auth.tokens.check_system_token(token, NOW + 1.75).expired


async def test_an_id_token_comes_back_until_it_expires(auth, directory):
    token = auth.tokens.issue_id_token(directory.clients.get("panel"), NOW)
    assert auth.tokens.check_id_token(token, NOW + 299).id == "panel"
    with pytest.raises(InvalidToken):
        auth.tokens.check_id_token(token, NOW + 300)


async def test_no_kind_stands_in_for_another(auth, directory):
    panel = directory.clients.get("panel")
    id_token = auth.tokens.issue_id_token(panel, NOW)
    access_token = auth.tokens.issue_access_token(panel, NOW)
    system_token = auth.tokens.issue_system_token(panel, SITE, NOW)
    for token in (id_token, access_token):
        with pytest.raises(InvalidToken):
            auth.tokens.check_system_token(token, NOW)
    for token in (system_token, access_token):
        with pytest.raises(InvalidToken):
            auth.tokens.check_id_token(token, NOW)


async def test_revocation(auth, directory):
    token = auth.tokens.issue_system_token(directory.clients.get("panel"), SITE, NOW)
    found = auth.tokens.check_system_token(token, NOW)
    changes = [
        {"disabled": True},
        {"generation": "g2"},
        {"scopes": ("events:read",)},
        {"sites": (OTHER,)},
        {"sites": ()},
    ]
    for change in changes:
        await directory.change(client(), lambda _, change=change: client(**change), SYSTEM)
        assert not auth.tokens.stands(found), change
        with pytest.raises(InvalidToken):
            auth.tokens.check_system_token(token, NOW)
    await directory.change(client(), lambda _: client(), SYSTEM)
    assert auth.tokens.stands(found)
    await directory.delete(Site(id=SITE, name="", created=""), SYSTEM)
    assert not auth.tokens.stands(found)
    await directory.delete(client(), SYSTEM)
    with pytest.raises(InvalidToken):
        auth.tokens.check_system_token(token, NOW)


async def test_t1_only_our_algorithm(auth, directory):
    """Never `none`, and never HS256 with a public key as the secret (reliability.md T1)."""
    token = auth.tokens.issue_system_token(directory.clients.get("panel"), SITE, NOW)
    public = auth.keys.public(auth.keys.signing.kid)
    pem = public.as_pem(private=False)
    head, body, _ = token.split(".")
    for algorithm in ("none", "None", "HS256", "RS512", "PS256", ""):
        with pytest.raises(InvalidToken):
            auth.tokens.check_system_token(forged(token, header={"alg": algorithm}), NOW)
    with pytest.raises(InvalidToken):
        auth.tokens.check_system_token(f"{encoded(json.loads(decoded(head)) | {'alg': 'none'})}.{body}.", NOW)
    confused = OctKey.import_key(base64.b64encode(pem).decode())
    with pytest.raises(InvalidToken):
        auth.tokens.check_system_token(forged(token, header={"alg": "HS256"}, key=confused), NOW)


async def test_t2_keys_in_the_header_are_ignored(auth, directory):
    """A token that brings its own key is checked with ours (reliability.md T2)."""
    token = auth.tokens.issue_system_token(directory.clients.get("panel"), SITE, NOW)
    attacker = RSAKey.generate_key(2048)
    own = attacker.as_dict(private=False)
    for header in (
        {"jwk": own},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/cert"},
        {"kid": "other"},
        {"kid": ""},
    ):
        with pytest.raises(InvalidToken):
            auth.tokens.check_system_token(forged(token, header=header, key=attacker), NOW)


async def test_d2_a_system_token_survives_a_new_address(auth, directory):
    """Clients send their first token again for as long as they live, also after the server moved behind a proxy."""
    token = auth.tokens.issue_system_token(directory.clients.get("panel"), SITE, NOW)
    moved = forged(token, claims={"iss": "https://other.example"}, key=auth.keys.signing)
    assert auth.tokens.check_system_token(moved, NOW).site_id == SITE


async def test_t3_claims(auth, directory):
    """Signed by us and still not valid: another issuer, audience, no expiry, a text where a number belongs."""
    token = auth.tokens.issue_system_token(directory.clients.get("panel"), SITE, NOW)
    key = auth.keys.signing
    assert auth.tokens.check_system_token(forged(token, key=key), NOW).site_id == SITE
    for claims in (
        {"aud": "panel"},
        {"exp": None},
        {"exp": "soon"},
        {"sub": "nobody"},
        {"site": OTHER},
        {"site": "nowhere"},
        {"gen": "g0"},
    ):
        with pytest.raises(InvalidToken):
            auth.tokens.check_system_token(forged(token, claims=claims, key=key), NOW)


async def test_garbage(auth, directory):
    token = auth.tokens.issue_system_token(directory.clients.get("panel"), SITE, NOW)
    for text in ("", ".", "..", "a.b.c", "é", "\ud800", token[:-4], token + "A", token * 20, "null", token.swapcase()):
        with pytest.raises(InvalidToken):
            auth.tokens.check_system_token(text, NOW)


async def test_tokens_of_retired_keys_stay_genuine(auth, directory):
    """As long as events are kept; the retired key cannot sign any more."""
    token = auth.tokens.issue_system_token(directory.clients.get("panel"), SITE, NOW)
    await auth.keys.rotate(NOW + 10)
    assert auth.tokens.check_system_token(token, NOW + 11).site_id == SITE
    newer = auth.tokens.issue_system_token(directory.clients.get("panel"), SITE, NOW + 11)
    assert jws.extract_compact(newer.encode()).headers()["kid"] != jws.extract_compact(token.encode()).headers()["kid"]
    ring = directory.key_ring("tokens")
    assert "d" in ring.keys[0].jwk
    assert "d" not in ring.keys[1].jwk
    await auth.keys.prune(NOW + 10)
    auth.tokens.check_system_token(token, NOW + 11)
    await auth.keys.prune(NOW + 10.1)
    with pytest.raises(InvalidToken):
        auth.tokens.check_system_token(token, NOW + 11)
    assert auth.tokens.check_system_token(newer, NOW + 11).site_id == SITE


async def test_the_key_set_is_public(auth):
    await auth.keys.rotate(NOW)
    keys = auth.keys.jwks()["keys"]
    assert len(keys) == 2
    assert all(set(key) == {"kty", "n", "e", "kid", "use", "alg"} for key in keys)


async def test_all_processes_have_the_same_keys(auth, directory, connection):
    """A second process finds the ring; a rotation by one is followed by the other without asking."""
    other_directory = Directory(connection)
    await other_directory.open()
    other = Auth(other_directory, issuer=auth.issuer)
    await other.open(NOW)
    await other.keys.rotate(NOW)
    await directory._store.catch_up()
    token = auth.tokens.issue_system_token(directory.clients.get("panel"), SITE, NOW)
    assert other.tokens.check_system_token(token, NOW).client_id == "panel"
    assert auth.signer("x").verify(other.signer("x").sign(b"hello")) == b"hello"
    await other_directory.close()


async def test_a_replaced_client_is_not_the_old_one(auth, directory):
    """Deleted and created anew with the same id: the old tokens stay worthless."""
    token = auth.tokens.issue_system_token(directory.clients.get("panel"), SITE, NOW)
    await directory.delete(client(), SYSTEM)
    await directory.create(replace(client(), generation="g9"), SYSTEM)
    with pytest.raises(InvalidToken):
        auth.tokens.check_system_token(token, NOW)


async def test_id_token_is_what_openid_clients_expect(auth, directory):
    """OpenID Connect Core 1.0, 2: whole seconds, aud is the client, verified by the published key."""
    token = auth.tokens.issue_id_token(directory.clients.get("panel"), NOW + 0.7)
    found = jwt.decode(token, RSAKey.import_key(auth.keys.jwks()["keys"][0]), algorithms=["RS256"])
    assert found.claims["iss"] == "https://doors.example"
    assert found.claims["sub"] == found.claims["aud"] == "panel"
    assert (found.claims["iat"], found.claims["exp"]) == (int(NOW), int(NOW) + 300)
