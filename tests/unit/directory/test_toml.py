"""Import from a TOML file."""

import tomllib
from pathlib import Path

import argon2
import pytest

from doorstream.auth import Hashes, Passwords, hash_secret
from doorstream.directory import Directory, InvalidEntity
from doorstream.directory.toml import import_document, import_file
from doorstream.events.entities import Credential

SITE = "0738b8df-329a-4d50-88e7-7a48928c4d6f"
BUILDING = f"""
[[sites]]
id = "{SITE}"
name = "Harbour House"

[[sites.cloud_nodes]]
id = "north"
name = "North wing"
serial_number = "1234ABC"
registered = true
card_format = [{{id = "26", min_input_bits = 26}}]

[[sites.cloud_nodes.connections]]
id = "yard"
name = "Yard controller"

[[sites.cloud_nodes.connections.devices]]
id = "gate"
name = "Gate"
port = 1

[[sites.devices]]
id = "hall"
name = "Hall"
connection_id = "yard"

[[holders]]
site_id = "{SITE}"
id = "ada"
first_name = "Ada"
active_date = 2026-01-31T08:00:00
pin = "1234"
credentials = [{{id = "k", credential_number = 26858}}]

[[users]]
id = "u1"
username = "ada@example.com"
password = "correct horse"
roles = {{ "{SITE}" = "site_admin" }}
holder_ids = {{ "{SITE}" = "ada" }}

[[clients]]
id = "panel"
name = "Panel app"
scopes = ["pdk"]
sites = ["{SITE}"]
secret = "at least twenty characters"
"""


@pytest.fixture
async def directory(connection):
    directory = Directory(connection, clock=lambda: 1_769_853_600.0)
    await directory.open()
    yield directory
    await directory.close()


@pytest.fixture
def hashes() -> Hashes:
    return Hashes(Passwords(argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)))


async def read(directory: Directory, text: str, hashes: Hashes) -> int:
    return await import_document(directory, tomllib.loads(text), hashes)


async def test_everything_exists_afterwards(directory, hashes, tmp_path: Path):
    path = tmp_path / "building.toml"
    path.write_text(BUILDING)
    assert await import_file(directory, path, hashes) == 8
    view = directory.site(SITE)
    assert view.site.created == "2026-01-31T10:00:00.000Z"
    assert view.cloud_nodes.get("north").registered
    assert view.cloud_nodes.get("north").card_format[0].min_input_bits == 26
    assert view.connections.get("yard").cloud_node_id == "north"
    for device_id in ("gate", "hall"):
        device = view.devices.get(device_id)
        assert (device.cloud_node_id, device.connection_id) == ("north", "yard")
    ada = view.holders.get("ada")
    assert (ada.active_date, ada.pin) == ("2026-01-31T08:00:00", "1234")
    assert ada.credentials == (Credential(id="k", credential_number=26858),)
    user = directory.user_named("ada@example.com")
    assert user.name == "ada@example.com"
    assert await hashes.is_password("correct horse", user.password_hash)
    assert directory.clients.get("panel").secret_hash == hash_secret("at least twenty characters")


async def test_again_changes_nothing(directory, hashes):
    """Also where passwords are plain, whose hashes differ each time."""
    await read(directory, BUILDING, hashes)
    assert await read(directory, BUILDING, hashes) == 0


async def test_what_differs_is_changed_and_nothing_is_deleted(directory, hashes):
    await read(directory, BUILDING, hashes)
    before = directory.clients.get("panel"), directory.users.get("u1")
    changed = BUILDING.replace('"Gate"', '"Main gate"').replace("at least twenty", "now more than twenty")
    changed = changed.replace("correct horse", "another horse")
    changed = changed.replace("[[sites.devices]]", f'[[devices]]\nsite_id = "{SITE}"')
    assert await read(directory, changed, hashes) == 3
    assert directory.site(SITE).devices.get("gate").name == "Main gate"
    assert directory.clients.get("panel").generation != before[0].generation
    assert directory.users.get("u1").generation != before[1].generation
    assert await read(directory, f'[[sites]]\nid = "{SITE}"\nname = "Pier House"', hashes) == 1
    assert len(directory.site(SITE).devices) == 2


async def test_what_is_left_out_stays(directory, hashes):
    await read(directory, BUILDING, hashes)
    text = f"""
    [[holders]]
    site_id = "{SITE}"
    id = "ada"
    first_name = "Adele"
    [[clients]]
    id = "panel"
    name = "Panel"
    scopes = []
    sites = "all"
    """
    assert await read(directory, text, hashes) == 2
    ada = directory.site(SITE).holders.get("ada")
    assert (ada.first_name, ada.pin, len(ada.credentials)) == ("Adele", "1234", 1)
    assert directory.clients.get("panel").secret_hash == hash_secret("at least twenty characters")


async def test_hashes_instead_of_secrets(directory, hashes):
    stored = await hashes.hash_password("correct horse")
    text = f"""
    [[users]]
    id = "u1"
    username = "ada"
    password_hash = "{stored}"
    [[clients]]
    id = "c1"
    name = "App"
    scopes = ["admin"]
    sites = "all"
    secret_hash = "{hash_secret("x")}"
    """
    assert await read(directory, text, hashes) == 2
    assert directory.users.get("u1").password_hash == stored
    assert directory.clients.get("c1").secret_hash == hash_secret("x")


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("[[clients]]", "[[client]]", "client"),
        ('name = "Gate"', 'nmae = "Gate"', "sites[0].cloud_nodes[0].connections[0].devices[0].nmae"),
        ('name = "Gate"', "name = 5", "sites[0].cloud_nodes[0].connections[0].devices[0].name"),
        ('name = "Gate"', "", "sites[0].cloud_nodes[0].connections[0].devices[0]"),
        ('id = "gate"', "", "sites[0].cloud_nodes[0].connections[0].devices[0].id"),
        ('id = "gate"', 'id = "hall"', "sites[0].devices[0].id"),
        ("port = 1", "port = -1", "sites[0].cloud_nodes[0].connections[0].devices[0].port"),
        ("port = 1", 'connection_id = "x"', "sites[0].cloud_nodes[0].connections[0].devices[0].connection_id"),
        ('connection_id = "yard"', 'connection_id = "x"', "sites[0].devices[0].connection_id"),
        ('name = "Harbour House"', 'name = "x"\ntimezone = "Mars"', "sites[0].timezone"),
        ('name = "Harbour House"', 'name = "x"\ncreated = "now"', "sites[0].created"),
        ("min_input_bits", "bits", "sites[0].cloud_nodes[0].card_format[0].bits"),
        ("credential_number", "number", "holders[0].credentials[0].number"),
        ("26858", '"26858"', "holders[0].credentials[0].credential_number"),
        (f'site_id = "{SITE}"', "", "holders[0].site_id"),
        ('first_name = "Ada"', 'first_name = "Ada"\ngroups = 5', "holders[0].groups"),
        ("08:00:00", "08:00:00Z", "holders[0].active_date"),
        ('secret = "at least twenty characters"', 'secret = "short"', "clients[0].secret"),
        ('secret = "at least twenty characters"', "", "clients[0].secret"),
        ('secret = "at least twenty characters"', 'secret_hash = "x"', "clients[0].secret_hash"),
        ('password = "correct horse"', 'password_hash = "x"', "users[0].password_hash"),
        ('password = "correct horse"', "password = 5", "users[0].password"),
        ('scopes = ["pdk"]', 'scopes = ["root"]', "clients[0].scopes[0]"),
        ('scopes = ["pdk"]', "", "clients[0]"),
    ],
)
async def test_mistakes_are_named_by_their_place(directory, hashes, old, new, where):
    assert old in BUILDING
    with pytest.raises(InvalidEntity) as caught:
        await read(directory, BUILDING.replace(old, new, 1), hashes)
    assert caught.value.where == where
    assert "twenty" not in str(caught.value)


@pytest.mark.parametrize("text", ["sites = 5", "sites = [5]", "[sites]\nid = 'x'"])
async def test_lists_are_lists_of_tables(directory, hashes, text):
    with pytest.raises(InvalidEntity) as caught:
        await read(directory, text, hashes)
    assert caught.value.where == "sites"


async def test_files_that_cannot_be_read(directory, hashes, tmp_path: Path):
    broken, binary = tmp_path / "broken.toml", tmp_path / "binary.toml"
    broken.write_text("[[sites")
    binary.write_bytes(b"\xff\xfe")
    for path in (tmp_path / "nowhere.toml", tmp_path, broken, binary):
        with pytest.raises(InvalidEntity) as caught:
            await import_file(directory, path, hashes)
        assert caught.value.where == str(path)
