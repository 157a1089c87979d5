"""Who sees what, and the session that stands on it (SAL-4, SAL-6, SAL-11, SAL-13)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from doorstream.auth import FULL_ACCESS, AccessToken
from doorstream.dialects.salto.rights import Refused, sites_of, visible
from doorstream.dialects.salto.session import (
    NOT_PERMITTED,
    POSITION_GONE,
    TOKEN_EXPIRED,
    Close,
    Follow,
    Phase,
    Session,
    Start,
    Wake,
)
from doorstream.directory import SYSTEM, Directory
from doorstream.events import Position
from doorstream.events.entities import Client, Holder, Site, User
from doorstream.log import Connection

SITE = "0738b8df-329a-4d50-88e7-7a48928c4d6f"
OTHER = "0738b8df-329a-4d50-88e7-7a48928c4d70"
NOWHERE = "0738b8df-329a-4d50-88e7-7a48928c4dff"
ROLES = ("site_admin", "site_super_user", "site_user", "site_mobile_user")


@pytest.fixture
async def directory(connection: Connection) -> AsyncIterator[Directory]:
    """Two sites; at the first a user of each role, who is the holder ``h-<role>`` there."""
    directory = Directory(connection, clock=lambda: 1000.0)
    await directory.open()
    for site_id in (SITE, OTHER):
        await directory.create(Site(id=site_id, name="Harbour House", created=""), SYSTEM)
    for role in ROLES:
        await directory.create(Holder(id=f"h-{role}", site_id=SITE, first_name=role, created=""), SYSTEM)
        user = User(
            id=role,
            username=role,
            name=role,
            roles={SITE: role},
            holder_ids={SITE: f"h-{role}"},
            created="",
            generation="g",
        )
        await directory.create(user, SYSTEM)
    for name, scopes, sites in (("app", (), "all"), ("here", ("events:read",), (SITE,)), ("far", (), (OTHER,))):
        client = Client(
            id=name, name=name, scopes=scopes, sites=sites, created="", generation="g", secret_hash="0" * 64
        )
        await directory.create(client, SYSTEM)
    yield directory
    await directory.close()


def token(
    user: str | None, client: str | None = "app", scopes: frozenset[str] = frozenset({FULL_ACCESS})
) -> AccessToken:
    return AccessToken(user, "g", client, "g", scopes, 2000.0)


def refused(directory: Directory, given: AccessToken, site_id: str = SITE, user_id: str | None = None) -> int:
    with pytest.raises(Refused) as error:
        visible(directory, given, site_id, user_id)
    return error.value.status


@pytest.mark.parametrize("role", ["site_admin", "site_super_user"])
async def test_sal_11_who_sees_the_site(directory: Directory, role: str) -> None:
    assert visible(directory, token(role), SITE, None) is None
    assert visible(directory, token(role), SITE, "h-site_user") == "h-site_user"
    assert visible(directory, token(role), SITE, "site_user") == "h-site_user", "the member's id will do"
    assert visible(directory, token(role), SITE, "stranger") == "stranger", "who has no entries"


async def test_sal_11_who_sees_himself(directory: Directory) -> None:
    own = token("site_user")
    assert visible(directory, own, SITE, "h-site_user") == "h-site_user"
    assert visible(directory, own, SITE, "site_user") == "h-site_user"
    assert refused(directory, own) == 403
    assert refused(directory, own, user_id="h-site_admin") == 403


async def test_sal_04_who_sees_nothing(directory: Directory) -> None:
    assert refused(directory, token("site_mobile_user"), user_id="h-site_mobile_user") == 403
    assert refused(directory, token("site_admin"), OTHER) == 403
    assert refused(directory, token("site_admin"), NOWHERE) == 403, "whether a site exists is not told"
    assert refused(directory, token("site_admin", scopes=frozenset({"openid"}))) == 403
    assert refused(directory, token("site_admin", "far")) == 403, "the program itself may not be here"
    assert refused(directory, token("nobody")) == 401
    assert refused(directory, replace(token("site_admin"), user_generation="old")) == 401
    assert refused(directory, replace(token("site_admin"), client_generation="old")) == 401


async def test_a_client_by_itself(directory: Directory) -> None:
    """Client credentials: what its scopes allow at its sites, as an admin of the site."""
    assert visible(directory, token(None, "here"), SITE, None) is None
    assert refused(directory, token(None, "here"), OTHER) == 403
    assert refused(directory, token(None, "app")) == 403


async def test_the_token_of_an_external_server_names_no_client(directory: Directory) -> None:
    assert visible(directory, token("site_admin", None), SITE, None) is None
    assert [each.view.site.id for each in sites_of(directory, token("site_admin", None)) if each.view.site] == [SITE]


class Rights:
    """Rights that a test takes away."""

    def __init__(self) -> None:
        self.sees: str | None = None
        self.status = 0

    def __call__(self) -> str | None:
        if self.status:
            raise Refused(self.status, "no")
        return self.sees


@pytest.fixture
def rights() -> Rights:
    return Rights()


START = Position("3f9a1c07", 5)


def test_a_session_follows_from_its_start(rights: Rights) -> None:
    session = Session(rights, None)
    assert session.connected(Start(START)) == [Follow(START)]
    assert session.phase is Phase.FOLLOWING
    assert session.wake(9e9) == ()
    assert session.recheck() == ()


def test_who_has_no_rights_has_no_session(rights: Rights) -> None:
    rights.status = 403
    with pytest.raises(Refused):
        Session(rights, None)


def test_a_start_that_is_gone_ends_it(rights: Rights) -> None:
    session = Session(rights, None)
    assert session.connected(Start(is_gone=True)) == [Close(POSITION_GONE)]
    assert session.phase is Phase.CLOSED


def test_rights_lost_between_upgrade_and_handshake(rights: Rights) -> None:
    """The two can be fifteen seconds apart."""
    session = Session(rights, None)
    rights.status = 403
    assert session.connected(Start()) == [Close(NOT_PERMITTED)]


@pytest.mark.parametrize("status", [401, 403])
def test_sal_06_lost_rights_end_it_once(rights: Rights, status: int) -> None:
    session = Session(rights, None)
    session.connected(Start())
    rights.status = status
    assert session.recheck() == [Close(NOT_PERMITTED)]
    assert session.recheck() == ()
    assert session.position_gone() == ()


def test_sal_06_other_rights_than_before_end_it(rights: Rights) -> None:
    """What it was let in with decides what it gets."""
    session = Session(rights, None)
    session.connected(Start())
    rights.sees = "h1"
    assert session.recheck() == [Close(NOT_PERMITTED)]


def test_sal_13_expiry_where_it_is_set(rights: Rights) -> None:
    session = Session(rights, 100.0)
    assert session.connected(Start()) == [Follow(None), Wake(100.0)]
    assert session.wake(99.9) == ()
    assert session.wake(100.0) == [Close(TOKEN_EXPIRED, allow_reconnect=True)]
