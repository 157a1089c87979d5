"""How entities are keyed in the bucket.

Keys of NATS KV hold ``A-Z a-z 0-9 - _ = / .`` only and dots separate tokens, so every other character of an id becomes
``=`` and two hexadecimal digits for each of its UTF-8 bytes. The mapping is one to one.
"""

from __future__ import annotations

import re
from typing import Final

from doorstream.events.entities import (
    Client,
    CloudNode,
    Connection,
    Device,
    Entity,
    Holder,
    KeyRing,
    Module,
    Reservation,
    Secret,
    Site,
    System,
    User,
    Webhook,
    Zone,
)

KINDS: Final[dict[str, type[Entity]]] = {
    "site": Site,
    "cloud-node": CloudNode,
    "connection": Connection,
    "device": Device,
    "holder": Holder,
    "module": Module,
    "zone": Zone,
    "system": System,
    "webhook": Webhook,
    "user": User,
    "username": Reservation,
    "client": Client,
    "key-ring": KeyRing,
    "secret": Secret,
}
"""Every kind of entity by the first token of its key."""

_KIND_OF: Final[dict[type, str]] = {entity: kind for kind, entity in KINDS.items()}

_UNSAFE = re.compile(r"[^A-Za-z0-9_/-]")
_ESCAPED = re.compile(r"(?:=[0-9A-F]{2})+")


def escape(text: str) -> str:
    """One token of a key."""
    return _UNSAFE.sub(lambda match: "".join(f"={byte:02X}" for byte in match.group().encode()), text)


def unescape(token: str) -> str:
    """What ``escape`` was given."""
    return _ESCAPED.sub(lambda match: bytes.fromhex(match.group().replace("=", "")).decode(), token)


def kind_of(entity: Entity) -> str:
    """The kind of an entity."""
    return _KIND_OF[type(entity)]


def key_for(kind: str, entity_id: str, site_id: str | None = None) -> str:
    """The key of an entity: ``<kind>.<id>``, or ``<kind>.<site>.<id>`` for what belongs to a site."""
    if site_id is None:
        return f"{kind}.{escape(entity_id)}"
    return f"{kind}.{escape(site_id)}.{escape(entity_id)}"


def key_of(entity: Entity) -> str:
    """The key of that entity."""
    return key_for(kind_of(entity), entity.id, getattr(entity, "site_id", None))
