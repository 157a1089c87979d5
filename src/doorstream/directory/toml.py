"""Import from a TOML file: what is to exist, applied at start. It creates and updates, and never deletes.

::

    [[sites]]
    id = "0738b8df-329a-4d50-88e7-7a48928c4d6f"
    name = "Harbour House"

    [[sites.cloud_nodes]]
    id = "north"
    name = "North wing"

    [[sites.cloud_nodes.connections]]
    id = "yard"
    name = "Yard controller"

    [[sites.cloud_nodes.connections.devices]]
    id = "gate"
    name = "Gate"
    port = 1

    [[clients]]
    id = "panel"
    name = "Panel app"
    scopes = ["pdk"]
    sites = "all"
    secret = "at least twenty characters"

What belongs to a site may be nested, as here, or stand anywhere above and refer to its owner by ``site_id``,
``cloud_node_id`` and ``connection_id``. Every entry has an ``id``. Keys that an entry leaves out keep the value they
have, or get the default. Secrets are given as they are (``secret``, ``password``) or hashed (``secret_hash``,
``password_hash``).
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import msgspec

from doorstream.directory.directory import Directory, Wanted
from doorstream.directory.errors import InvalidEntity
from doorstream.directory.keys import key_for
from doorstream.directory.rules import MAX_SECRET, MIN_SECRET
from doorstream.events.entities import (
    CardFormat,
    Client,
    CloudNode,
    Connection,
    Credential,
    Device,
    Entity,
    Group,
    Holder,
    Site,
    User,
)

_KINDS: dict[str, tuple[str, type[Any]]] = {
    "sites": ("site", Site),
    "cloud_nodes": ("cloud-node", CloudNode),
    "connections": ("connection", Connection),
    "devices": ("device", Device),
    "holders": ("holder", Holder),
    "users": ("user", User),
    "clients": ("client", Client),
}
_NESTED: dict[str, dict[str, str]] = {
    "sites": {"cloud_nodes": "site_id", "connections": "site_id", "devices": "site_id", "holders": "site_id"},
    "cloud_nodes": {"connections": "cloud_node_id", "devices": "cloud_node_id"},
    "connections": {"devices": "connection_id"},
}
_OWNERS = ("site_id", "cloud_node_id", "connection_id")
_PARTS: dict[str, type[Any]] = {"groups": Group, "credentials": Credential, "card_format": CardFormat}
_SERVERS_OWN = ("created", "generation")
_EXTRA = {"users": ("password",), "clients": ("secret",)}


class Hashes(Protocol):
    """How secrets are hashed; ``auth`` has it."""

    def hash_secret(self, secret: str) -> str:
        """What is stored of a client's secret."""

    def is_secret_hash(self, text: str) -> bool:
        """Tell whether the text has the form of such a hash."""

    async def hash_password(self, password: str) -> str:
        """What is stored of a password."""

    async def is_password(self, password: str, stored: str | None) -> bool:
        """Tell whether that is the password."""

    def is_password_hash(self, text: str) -> bool:
        """Tell whether the text has the form of such a hash."""

    def new_generation(self) -> str:
        """A value that ends all tokens of a client or user."""


class _Entry(NamedTuple):
    """One table of the file: in which list, where it stands, and its own keys."""

    list: str
    where: str
    values: dict[str, Any]


async def import_file(directory: Directory, path: Path, hashes: Hashes) -> int:
    """Have everything of the file exist; returns how many entities differed.

    Raises InvalidEntity with the place of what is wrong, before anything is stored unless it takes what exists to know.
    """
    return await import_document(directory, _read(path), hashes)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise InvalidEntity(str(path), error.strerror or "cannot be read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidEntity(str(path), f"not valid TOML: {error}") from None


async def import_document(directory: Directory, document: dict[str, Any], hashes: Hashes) -> int:
    """Have everything of the document exist; as ``import_file``."""
    _check_keys(document, tuple(_KINDS), "")
    entries = [entry for name in document for entry in _entries(name, document[name], name, {})]
    _check_ids(entries)
    return await directory.put_all([await _wanted(directory, entry, hashes) for entry in entries])


def _entries(name: str, tables: Any, where: str, owners: dict[str, str]) -> Iterator[_Entry]:
    """The tables of one list, each followed by those inside it."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InvalidEntity(where, f"a list of tables: [[{where}]]")
    nested = _NESTED.get(name, {})
    for at, table in enumerate(tables):
        place = f"{where}[{at}]"
        values = {key: _plain(value) for key, value in table.items() if key not in nested}
        for owner, owner_id in owners.items():
            if values.setdefault(owner, owner_id) != owner_id:
                raise InvalidEntity(f"{place}.{owner}", "is not the one that this stands in")
        if not isinstance(values.get("id"), str):
            raise InvalidEntity(f"{place}.id", "is missing: every entry has an id, a text")
        yield _Entry(name, place, values)
        for inner, owner in nested.items():
            if inner in table:
                known = {key: values[key] for key in _OWNERS if key in values and key in _fields(inner)}
                yield from _entries(inner, table[inner], f"{place}.{inner}", known | {owner: values["id"]})


async def _wanted(directory: Directory, entry: _Entry, hashes: Hashes) -> Wanted:
    kind, cls = _KINDS[entry.list]
    allowed = tuple(name for name in _fields(entry.list) if name not in _SERVERS_OWN)
    _check_keys(entry.values, (*allowed, *_EXTRA.get(entry.list, ())), entry.where)
    _check_parts(entry)
    if "site_id" in allowed and not isinstance(entry.values.get("site_id"), str):
        raise InvalidEntity(f"{entry.where}.site_id", "is missing: stand inside a site, or name it")
    values = await _with_hash(directory, entry, hashes)
    key = key_for(kind, values["id"], values.get("site_id"))
    own = {"created": directory.now(), "generation": hashes.new_generation()}
    _complete(cls, {"secret_hash": "", **own, **values}, entry.where)  # a client that is there may leave its secret out

    def update(old: Entity | None) -> Entity:
        if old is None:
            return _complete(cls, own | values, entry.where)
        changed = _complete(cls, msgspec.to_builtins(old) | values, entry.where)
        return _renewed(old, changed, own["generation"])

    return Wanted(key, update, entry.where)


async def _with_hash(directory: Directory, entry: _Entry, hashes: Hashes) -> dict[str, Any]:
    """The entry's values with a hash in the place of a secret."""
    if entry.list == "clients":
        return _with_secret_hash(directory.clients.get(entry.values["id"]), entry, hashes)
    if entry.list == "users":
        return await _with_password_hash(directory.users.get(entry.values["id"]), entry, hashes)
    return entry.values


def _with_secret_hash(current: Client | None, entry: _Entry, hashes: Hashes) -> dict[str, Any]:
    values = {key: value for key, value in entry.values.items() if key != "secret"}
    secret = entry.values.get("secret")
    if secret is not None:
        if not isinstance(secret, str) or not MIN_SECRET <= len(secret) <= MAX_SECRET:
            raise InvalidEntity(f"{entry.where}.secret", f"a text of {MIN_SECRET} to {MAX_SECRET} characters")
        values["secret_hash"] = hashes.hash_secret(secret)
    given = values.get("secret_hash")
    if given is None and current is None:
        raise InvalidEntity(f"{entry.where}.secret", "is missing: give secret or secret_hash")
    if given is not None and (not isinstance(given, str) or not hashes.is_secret_hash(given)):
        raise InvalidEntity(f"{entry.where}.secret_hash", "the SHA-256 of the secret as 64 hexadecimal digits")
    return values


async def _with_password_hash(current: User | None, entry: _Entry, hashes: Hashes) -> dict[str, Any]:
    """A password is hashed anew only if it is another one: each hash differs."""
    values = {key: value for key, value in entry.values.items() if key != "password"}
    if current is None:
        values.setdefault("name", values.get("username"))
    password = entry.values.get("password")
    if password is not None:
        if not isinstance(password, str) or not password:
            raise InvalidEntity(f"{entry.where}.password", "a text")
        stored = current.password_hash if current is not None else None
        is_same = stored is not None and await hashes.is_password(password, stored)
        values["password_hash"] = stored if is_same else await hashes.hash_password(password)
    given = values.get("password_hash")
    if given is not None and (not isinstance(given, str) or not hashes.is_password_hash(given)):
        raise InvalidEntity(f"{entry.where}.password_hash", "an argon2 hash, as in $argon2id$v=19$…")
    return values


def _renewed(old: Entity, new: Entity, generation: str) -> Entity:
    """What ends the tokens of a client or user changes its generation."""
    if isinstance(old, Client) and isinstance(new, Client):
        ends = new.secret_hash != old.secret_hash
    elif isinstance(old, User) and isinstance(new, User):
        ends = new.password_hash != old.password_hash
    else:
        return new
    return dataclasses.replace(new, generation=generation) if ends or (new.disabled and not old.disabled) else new


def _complete(cls: type[Any], values: dict[str, Any], where: str) -> Entity:
    """The entity of those values; raises InvalidEntity with the place of what is wrong."""
    try:
        return cast("Entity", msgspec.convert(values, cls))
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        raise InvalidEntity(where + path.rstrip("`"), what) from None


def _check_ids(entries: list[_Entry]) -> None:
    """The same thing twice in one file is a mistake, not an order."""
    seen: dict[tuple[str, str, str], str] = {}
    for entry in entries:
        identity = (entry.list, str(entry.values.get("site_id", "")), entry.values["id"])
        first = seen.setdefault(identity, entry.where)
        if first != entry.where:
            raise InvalidEntity(f"{entry.where}.id", f"is the same as that of {first}")


def _check_keys(table: dict[str, Any], allowed: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in allowed:
            raise InvalidEntity(f"{where}.{key}".lstrip("."), f"unknown key; known here: {', '.join(sorted(allowed))}")


def _check_parts(entry: _Entry) -> None:
    """The keys of what is inside an entry: groups, credentials, card formats."""
    for name, part in _PARTS.items():
        values = entry.values.get(name)
        for at, value in enumerate(values if isinstance(values, list) else ()):
            if isinstance(value, dict):
                known = tuple(each.name for each in dataclasses.fields(part))
                _check_keys(value, known, f"{entry.where}.{name}[{at}]")


def _fields(name: str) -> list[str]:
    return [each.name for each in dataclasses.fields(_KINDS[name][1])]


def _plain(value: Any) -> Any:
    """TOML has dates of its own; without zone they mean what our texts mean."""
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.isoformat(timespec="seconds")
    return value
