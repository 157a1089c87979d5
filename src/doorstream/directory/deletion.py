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
    Device,
    Entity,
    Holder,
    Module,
    Owned,
    Site,
    User,
    Webhook,
)


def deletion(mirror: Mirror, entity: Entity) -> list[Step]:
    """The steps before the one that deletes the entity itself, in an order in which each leaves a sound directory."""
    return [*_mentions(mirror, entity), *(Step(key_of(owned), lambda _: None) for owned in _belonging(mirror, entity))]


def _belonging(mirror: Mirror, entity: Entity) -> list[Owned]:
    match entity:
        case Site():
            return mirror.owned_by(entity.id)
        case CloudNode():
            return _with_modules(mirror, entity.site_id, "cloud_node_id", entity.id)
        case Connection():
            return _with_modules(mirror, entity.site_id, "connection_id", entity.id)
        case Device():
            return _with_modules(mirror, entity.site_id, "device_id", entity.id)
        case _:
            return []


def _with_modules(mirror: Mirror, site_id: str, field: str, entity_id: str) -> list[Owned]:
    """What names that one in a field, and before it the modules that stand for a device of it."""
    owned = mirror.owned_by(site_id)
    going = [other for other in owned if getattr(other, field, None) == entity_id]
    devices = {other.id for other in going if isinstance(other, Device)}
    modules = [other for other in owned if isinstance(other, Module) and other.device_id in devices]
    return [*modules, *going]


def _mentions(mirror: Mirror, entity: Entity) -> list[Step]:
    match entity:
        case Site():
            users = [user for user in mirror.users if entity.id in user.roles or entity.id in user.holder_ids]
            clients = [client for client in mirror.clients if client.sites != ALL_SITES and entity.id in client.sites]
            webhooks = [webhook for webhook in mirror.webhooks if entity.id in webhook.sites]
            naming: list[User | Client | Webhook] = [*users, *clients, *webhooks]
            return [_without_site(each, entity.id) for each in naming]
        case Holder():
            users = [user for user in mirror.users if user.holder_ids.get(entity.site_id) == entity.id]
            return [_without_holder(user, entity) for user in users]
        case _:
            return []


def _without_site(entity: User | Client | Webhook, site_id: str) -> Step:
    def update(old: Entity | None) -> Entity | None:
        match old:
            case User():
                return replace(old, roles=_without(old.roles, site_id), holder_ids=_without(old.holder_ids, site_id))
            case Client() if old.sites != ALL_SITES:
                return replace(old, sites=tuple(other for other in old.sites if other != site_id))
            case Webhook():
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
