"""The demo: a simulated building in the directory, credentials of every dialect, and the story that is played."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from doorstream.auth import Auth, api_key, hash_secret
from doorstream.directory import Actor, Directory, Wanted, uuid7
from doorstream.directory.keys import key_of
from doorstream.drivers.simulated import Building, Story, play
from doorstream.drivers.simulated.building import Holder
from doorstream.events.entities import (
    ALL_SITES,
    Client,
    CloudNode,
    Connection,
    Credential,
    Device,
    Entity,
    Group,
    Site,
    User,
)
from doorstream.events.entities import Holder as HolderEntity
from doorstream.events.event import iso_utc
from doorstream.ingest import Ingest
from doorstream.log import LogUnavailable, StorageFull
from doorstream.server.settings import DemoSettings

_ACTOR = Actor("demo", "doorstream demo")
_TENTHS = 10

# The clients of the demo: their name, and their scopes. Each has an id and a secret that follow from the seed.
_CLIENTS: dict[str, tuple[str, ...]] = {
    "admin": ("admin",),
    "pdk": ("pdk",),
    "placeos": ("admin",),
    "parakey": ("directory:read", "events:read"),
    "salto": ("directory:read", "events:read"),
}
_ROLES = ("site_admin", "site_super_user", "site_user")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What people need to use the demo. The same seed gives the same, so that scripts go on working."""

    seed: str
    url: str
    building: Building

    @classmethod
    def derive(cls, seed: str, url: str) -> Credentials:
        """The credentials of the demo of that seed, served at that address."""
        return cls(seed, url, Building.generate(seed))

    @property
    def admin_key(self) -> str:
        """The administrator's API key."""
        return self._key("admin")

    def secret(self, name: str) -> str:
        """The secret of one of the demo's clients, or the password of one of its users."""
        return hmac.new(b"doorstream demo", f"{self.seed}\n{name}".encode(), hashlib.sha256).hexdigest()

    @property
    def generation(self) -> str:
        """What tells credentials of one seed from those of another."""
        return self.secret("generation")[:16]

    def as_json(self) -> dict[str, Any]:
        """What ``demo --json`` prints: other tools rely on its form."""
        site_id = self.building.site.id
        users = {role: self._user(role, holder) for role, holder in zip(_ROLES, self.building.holders, strict=False)}
        return {
            "url": self.url,
            "site_id": site_id,
            "admin": {"api_key": self.admin_key},
            "pdk": {"client_id": client_id("pdk"), "client_secret": self.secret("pdk"), "system_id": site_id},
            "placeos": {"api_key": self._key("placeos"), "system_id": f"sys-{site_id}"},
            "parakey": {"access_token": self._key("parakey"), "domain_id": site_id},
            "salto": {
                "token_url": f"{self.url}/connect/token",
                "client_id": client_id("salto"),
                "client_secret": self.secret("salto"),
                "site_id": site_id,
                "users": users,
            },
        }

    def as_text(self, sign_in: str | None = None) -> str:
        """The same for people."""
        site = self.building.site
        note = "" if sign_in is None else "\n                 (this link signs you in once, within 15 minutes)"
        return f"""
  doorstream demo: {site.name}, {len(self.building.devices)} doors, {len(self.building.holders)} people

  Dashboard      {sign_in or self.url}{note}

  API            {self.url}/docs
  site           {site.id}
  API key        {self.admin_key}

  PDK (Socket.IO, {self.url}/socket.io/)
    client id      {client_id("pdk")}
    client secret  {self.secret("pdk")}
    system id      {site.id}

  Salto KS (SignalR, {self.url}/v1/hub/entries?site_id={site.id})
    client id      {client_id("salto")}
    client secret  {self.secret("salto")}
    user           {username("site_admin")}
    password       {self.secret("site_admin")}

  PlaceOS (WebSocket, {_socket_of(self.url)}/api/engine/v2/systems/control)
    API key        {self._key("placeos")}
    system         sys-{site.id}

  Parakey ({self.url}/eventLogs)
    access token   {self._key("parakey")}

  See the doors:      .venv/bin/doorstream tail
  Follow by HTTP:     curl -N -H "X-API-Key: {self.admin_key}" {self.url}/api/sites/{site.id}/stream
  Your own program:   the examples in README.md

  Ctrl-C stops it; what happened is kept.
"""

    def _key(self, name: str) -> str:
        return api_key(client_id(name), self.secret(name))

    def _user(self, role: str, holder: Holder) -> dict[str, str]:
        return {"username": username(role), "password": self.secret(role), "user_id": holder.id}


def _socket_of(url: str) -> str:
    return f"ws{url.removeprefix('http')}"


def client_id(name: str) -> str:
    """The id of one of the demo's clients."""
    return f"demo-{name}"


def username(role: str) -> str:
    """Under which name the demo's user of that role signs in."""
    return f"{role.replace('_', '.')}@example.com"


def entities(credentials: Credentials, created: str, password_hashes: Mapping[str, str]) -> list[Entity]:
    """What is to exist: the building, and the clients and users of the credentials."""
    building = credentials.building
    return [
        *building_entities(building, created),
        *(_client(credentials, name, scopes, created) for name, scopes in _CLIENTS.items()),
        *_users(credentials, created, password_hashes),
    ]


def building_entities(building: Building, created: str) -> list[Entity]:
    """The building as the directory has it, what others refer to first."""
    site = Site(
        id=building.site.id,
        name=building.site.name,
        timezone=building.site.timezone,
        locale=building.site.locale,
        simulated=True,
        created=created,
    )
    holders = [_holder(building, holder, created) for holder in building.holders]
    return [site, *_equipment(building, created), *holders]


async def prepare(directory: Directory, auth: Auth, credentials: Credentials) -> None:
    """Make the directory have everything of the demo; what is there already stays as it is.

    Clients and users of another seed are replaced: their credentials were those of that seed.
    """
    hashes = dict.fromkeys(_ROLES, "")
    users = [directory.user_named(username(role)) for role in _ROLES]
    if any(user is None or user.generation != credentials.generation for user in users):
        hashes = {role: await auth.passwords.hash(credentials.secret(role)) for role in _ROLES}
    wanted = [_unless_there(entity) for entity in entities(credentials, directory.now(), hashes)]
    await directory.put_all(wanted, _ACTOR)


def _unless_there(entity: Entity) -> Wanted:
    def update(old: Entity | None) -> Entity:
        if isinstance(entity, Client | User) and isinstance(old, Client | User):
            return old if old.generation == entity.generation else entity
        if isinstance(entity, Site) and isinstance(old, Site):
            return replace(old, simulated=True)  # of a demo that knew no simulated sites yet
        return old or entity

    return Wanted(key_of(entity), update)


def make_story(settings: DemoSettings, building: Building) -> Story:
    """The story of the building, which begins now."""
    return Story(building, settings.seed, settings.rate, started_ms=int(time.time() * 1000))


async def play_story(story: Story, building: Building, directory: Directory, ingest: Ingest) -> None:
    """Play the story of the building until cancelled."""

    async def put(events: Sequence[dict[str, Any]]) -> None:
        site = directory.site(building.site.id)
        if site is None:
            return  # somebody deleted the building: nothing happens in it any more
        for event in events:
            event.setdefault("id", uuid7())  # so that putting it in again is harmless
        await ingest.put_values(building.site.id, site, events)

    await play(story, put, now=time.monotonic, sleep=asyncio.sleep, try_later=(LogUnavailable, StorageFull))


def _equipment(building: Building, created: str) -> list[Entity]:
    site_id = building.site.id
    nodes = [
        CloudNode(
            id=node.id,
            site_id=site_id,
            name=node.name,
            description=node.description,
            serial_number=node.serial_number,
            timezone=node.timezone,
            locale=node.locale,
            registered=True,
            created=created,
        )
        for node in building.cloud_nodes
    ]
    connections = [
        Connection(
            id=connection.id,
            site_id=site_id,
            name=connection.name,
            cloud_node_id=connection.cloud_node_id,
            type=connection.type,
            created=created,
        )
        for connection in building.connections
    ]
    devices = [
        Device(
            id=device.id,
            site_id=site_id,
            name=device.name,
            cloud_node_id=device.cloud_node_id,
            connection_id=device.connection_id,
            port=device.port,
            dwell=round(device.dwell * _TENTHS),
            prop_delay=round(device.prop_delay * _TENTHS),
            created=_later(created, place),  # so that the first door is the first module
        )
        for place, device in enumerate(building.devices)
    ]
    return [*nodes, *connections, *devices]


def _later(created: str, milliseconds: int) -> str:
    """A time that many milliseconds after another; what is no time stays as it is."""
    if not created:
        return created
    moment = datetime.fromisoformat(created)
    return iso_utc(round(moment.timestamp() * 1000) + milliseconds)


def _holder(building: Building, holder: Holder, created: str) -> HolderEntity:
    group = building.groups[holder.group_id]
    return HolderEntity(
        id=holder.id,
        site_id=building.site.id,
        first_name=holder.first_name,
        last_name=holder.last_name,
        email=holder.email,
        enabled=holder.enabled,
        active_date=holder.active_date,
        expire_date=holder.expire_date,
        pin=holder.pin,
        groups=(Group(id=group.id, name=group.name),),
        credentials=tuple(
            Credential(
                id=credential.id,
                credential_number=credential.credential_number,
                facility_code=credential.facility_code,
                description=credential.description,
                types=(credential.type,),
            )
            for credential in holder.credentials
        ),
        created=created,
    )


def _client(credentials: Credentials, name: str, scopes: tuple[str, ...], created: str) -> Client:
    secret_hash = hash_secret(credentials.secret(name))
    return Client(
        id=client_id(name),
        name=f"demo: {name}",
        scopes=scopes,
        sites=ALL_SITES if name in ("admin", "pdk") else (credentials.building.site.id,),
        created=created,
        generation=credentials.generation,
        secret_hash=secret_hash,
    )


def _users(credentials: Credentials, created: str, password_hashes: Mapping[str, str]) -> list[User]:
    building = credentials.building
    return [
        User(
            id=f"demo-{role.replace('_', '-')}",
            username=username(role),
            name=holder.name,
            roles={building.site.id: role},
            holder_ids={building.site.id: holder.id},
            created=created,
            generation=credentials.generation,
            password_hash=password_hashes[role],
        )
        for role, holder in zip(_ROLES, building.holders, strict=False)
    ]
