"""Who is let in."""

import argon2
import pytest
from auth_values import NOW, OTHER, SECRET, SITE, client

from doorstream.auth import (
    InvalidCredentials,
    InvalidToken,
    NotPermitted,
    Passwords,
    Signer,
    api_key,
    is_password_hash,
    new_secret,
    parse_api_key,
)
from doorstream.directory import SYSTEM
from doorstream.events.entities import User


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {api_key('panel', SECRET)}"},
        {"authorization": f"bearer  {api_key('panel', SECRET)} "},
        {"x-api-key": api_key("panel", SECRET)},
    ],
)
async def test_an_api_key(auth, headers):
    principal = auth.authenticate(headers)
    assert (principal.id, principal.name, principal.kind) == ("panel", "Panel app", "client")
    assert principal.sites == {SITE}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": f"Basic {api_key('panel', SECRET)}"},
        {"authorization": f"Bearer {SECRET}"},
        {"x-api-key": api_key("panel", SECRET[:-1])},
        {"x-api-key": api_key("panel", "")},
        {"x-api-key": api_key("nobody", SECRET)},
        {"x-api-key": "ds_panel"},
        {"x-api-key": "ds__x"},
        {"x-api-key": "\xe9"},
    ],
)
async def test_wrong_credentials(auth, headers):
    with pytest.raises(InvalidCredentials) as caught:
        auth.authenticate(headers)
    assert SECRET[:-1] not in str(caught.value)


async def test_a_wrong_header_is_not_made_good_by_the_other(auth):
    with pytest.raises(InvalidCredentials):
        auth.authenticate({"authorization": "Bearer ds_panel_no", "x-api-key": api_key("panel", SECRET)})


async def test_a_disabled_client(auth, directory):
    principal = auth.authenticate({"x-api-key": api_key("panel", SECRET)})
    await directory.change(client(), lambda _: client(disabled=True), SYSTEM)
    assert auth.current(principal) is None
    with pytest.raises(InvalidCredentials):
        auth.authenticate({"x-api-key": api_key("panel", SECRET)})


async def test_changed_rights_are_seen(auth, directory):
    principal = auth.authenticate({"x-api-key": api_key("panel", SECRET)})
    await directory.change(client(), lambda _: client(sites=(OTHER,)), SYSTEM)
    assert auth.current(principal).sites == {OTHER}


async def test_rights(auth, directory):
    panel = auth.principal(directory.clients.get("panel"))
    ops = auth.principal(directory.clients.get("ops"))
    assert panel.may("pdk", SITE)
    assert not panel.may("pdk", OTHER)
    assert not panel.may("pdk")
    assert not panel.may("events:read", SITE)
    assert not panel.may("admin", SITE)
    assert ops.may("events:write", OTHER)
    assert ops.may("admin")
    with pytest.raises(NotPermitted, match="events:write"):
        panel.require("events:write", SITE)


async def test_an_admin_of_one_site_is_not_an_admin_of_all(auth, directory):
    await directory.change(client(), lambda _: client(scopes=("admin",)), SYSTEM)
    panel = auth.principal(directory.clients.get("panel"))
    assert panel.may("admin", SITE)
    assert not panel.may("admin")


class TestTickets:
    async def test_once_within_a_minute(self, auth, directory):
        panel = auth.principal(directory.clients.get("panel"))
        ticket = auth.tickets.issue(panel, SITE, NOW)
        assert auth.tickets.redeem(ticket, SITE, NOW + 59.9) == (panel, None)
        with pytest.raises(InvalidToken):
            auth.tickets.redeem(ticket, SITE, NOW + 59.9)

    async def test_too_late_elsewhere_or_revoked(self, auth, directory):
        panel = auth.principal(directory.clients.get("panel"))
        with pytest.raises(InvalidToken):
            auth.tickets.redeem(auth.tickets.issue(panel, SITE, NOW), SITE, NOW + 60)
        with pytest.raises(InvalidToken):
            auth.tickets.redeem(auth.tickets.issue(panel, SITE, NOW), OTHER, NOW)
        with pytest.raises(InvalidToken):
            auth.tickets.redeem("forged", SITE, NOW)
        with pytest.raises(InvalidToken):
            auth.tickets.redeem(auth.signer("ticket").sign(b"[]"), SITE, NOW)
        ticket = auth.tickets.issue(panel, SITE, NOW)
        await directory.change(client(), lambda _: client(generation="g2"), SYSTEM)
        with pytest.raises(InvalidToken):
            auth.tickets.redeem(ticket, SITE, NOW)

    async def test_used_ones_are_not_remembered_for_ever(self, auth, directory):
        panel = auth.principal(directory.clients.get("panel"))
        for at in range(5):
            auth.tickets.redeem(auth.tickets.issue(panel, SITE, NOW + 100 * at), SITE, NOW + 100 * at)
        assert len(auth.tickets._used) == 1

    async def test_a_user_can_have_one(self, auth, directory):
        user = User(id="u1", username="ada", name="Ada", created="", generation="1", roles={SITE: "site_user"})
        await directory.create(user, SYSTEM)
        principal = auth.resolve("user", "u1", "1")
        found, ends = auth.tickets.redeem(auth.tickets.issue(principal, SITE, NOW, NOW + 5), SITE, NOW)
        assert ends == NOW + 5
        assert found.kind == "user"
        assert found.roles == {SITE: "site_user"}


def test_a_signature_is_for_one_purpose():
    signer, other = Signer(b"k" * 32, "recovery"), Signer(b"k" * 32, "ticket")
    text = signer.sign(b"payload")
    assert signer.verify(text) == b"payload"
    assert signer.verify(signer.sign(b"")) == b""
    for forged in (other.sign(b"payload"), text[:-1], text + "A", text + "=", "A" + text[1:], "", "\u00e9", " " + text):
        with pytest.raises(InvalidToken):
            signer.verify(forged)


def test_t6_api_keys():
    """256 random bits, a prefix for secret scanners, taken apart without ambiguity (reliability.md T6)."""
    secret = new_secret()
    assert len(bytes.fromhex(secret)) == 32
    assert api_key("0190-a.b", secret).startswith("ds_")
    assert parse_api_key(api_key("0190-a.b", secret + "_x")) == ("0190-a.b", secret + "_x")


async def test_passwords():
    passwords = Passwords(argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    stored = await passwords.hash("correct horse")
    assert is_password_hash(stored)
    assert not is_password_hash("correct horse")
    assert await passwords.matches("correct horse", stored)
    assert not await passwords.matches("wrong", stored)
    assert not await passwords.matches("wrong", None)
    assert not await passwords.matches("wrong", "not a hash")
