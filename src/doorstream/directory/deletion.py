"""What goes when something is deleted: all that belongs to it, and every mention of it elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from doorstream.directory.changes import Step
from doorstream.directory.keys import key_of
from doorstream.directory.mirror import Mirror
from doorstream.events.entities import (
    ALL_SITES,
    Client,
    CloudNode,
    Connection,
    Entity,
    Holder,
    Owned,
    Site,
    User,
)


def deletion(mirror: Mirror, entity: Entity) -> list[Step]:
    """The steps before the one that deletes the entity itself, in an order in which each leaves a sound directory."""
    return [*_mentions(mirror, entity), *(Step(key_of(owned), lambda _: None) for owned in _belonging(mirror, entity))]


def _belonging(mirror: Mirror, entity: Entity) -> list[Owned]:
    match entity:
        case Site():
            return mirror.owned_by(entity.id)
        case CloudNode():
            owned = mirror.owned_by(entity.site_id)
            return [other for other in owned if getattr(other, "cloud_node_id", None) == entity.id]
        case Connection():
            owned = mirror.owned_by(entity.site_id)
            return [other for other in owned if getattr(other, "connection_id", None) == entity.id]
        case _:
            return []


def _mentions(mirror: Mirror, entity: Entity) -> list[Step]:
    match entity:
        case Site():
            users = [user for user in mirror.users if entity.id in user.roles or entity.id in user.holder_ids]
            clients = [client for client in mirror.clients if client.sites != ALL_SITES and entity.id in client.sites]
            return [_without_site(user, entity.id) for user in users] + [
                _without_site(client, entity.id) for client in clients
            ]
        case Holder():
            users = [user for user in mirror.users if user.holder_ids.get(entity.site_id) == entity.id]
            return [_without_holder(user, entity) for user in users]
        case _:
            return []


def _without_site(entity: User | Client, site_id: str) -> Step:
    def update(old: Entity | None) -> Entity | None:
        match old:
            case User():
                return replace(old, roles=_without(old.roles, site_id), holder_ids=_without(old.holder_ids, site_id))
            case Client() if old.sites != ALL_SITES:
                return replace(old, sites=tuple(other for other in old.sites if other != site_id))
            case _:
                return old

    return Step(key_of(entity), update)


def _without_holder(user: User, holder: Holder) -> Step:
    def update(old: Entity | None) -> Entity | None:
        if old is None:
            return None
        return replace(cast("User", old), holder_ids=_without(cast("User", old).holder_ids, holder.site_id))

    return Step(key_of(user), update)


def _without(values: dict[str, str], key: str) -> dict[str, str]:
    return {other: value for other, value in values.items() if other != key}
