"""The events that a change of a cloud node is: created, deleted, registered, unregistered."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from doorstream.events.entities import CloudNode, Site


class Actor(NamedTuple):
    """Who changes something: the id and name of a client or user, as the events' ``metadata`` tells them."""

    id: str | None
    name: str


SYSTEM = Actor(None, "doorstream")
"""The server itself: import at start, clean-up."""


Happened = tuple[str, dict[str, Any]]
"""A topic and its body, as in seed 000."""


def happened(old: CloudNode | None, new: CloudNode | None, site: Site | None) -> list[Happened]:
    """What happened to a cloud node between two states."""
    told: list[Happened] = []
    if new is not None:
        if old is None:
            told.append(("cloudnode.created", _created(new, site)))
        was_registered = old is not None and old.registered
        if new.registered and not was_registered:
            told.append(("cloudnode.registered", _brief(new)))
        elif was_registered and not new.registered:
            told.append(("cloudnode.unregistered", _brief(new)))
    elif old is not None:
        told.append(("cloudnode.deleted", _deleted(old, site)))
    return told


def as_put_in(what: Happened, *, by: Actor, now_ms: int, event_id: str) -> dict[str, Any]:
    """One of these events in the form in which events are put in."""
    topic, body = what
    metadata = {"userId": by.id, "userName": by.name, "occurred": now_ms}
    return {"id": event_id, "topic": topic, "occurred": now_ms, "body": body, "metadata": metadata}


def _brief(node: CloudNode) -> dict[str, Any]:
    return {"id": node.id, "name": node.name, "serialNumber": node.serial_number}


def _created(node: CloudNode, site: Site | None) -> dict[str, Any]:
    return {
        "id": node.id,
        "name": node.name,
        "description": node.description,
        "serialNumber": node.serial_number,
        "timezone": timezone_of(node, site),
        "cardFormat": msgspec.to_builtins(node.card_format),
        "created": node.created,
    }


def _deleted(node: CloudNode, site: Site | None) -> dict[str, Any]:
    return {
        "id": node.id,
        "name": node.name,
        "serialNumber": node.serial_number,
        "locale": locale_of(node, site),
        "timezone": timezone_of(node, site),
        "killTimer": node.kill_timer,
        "offlinePolicy": node.offline_policy,
        "cardFormat": msgspec.to_builtins(node.card_format),
        "created": node.created,
    }


def timezone_of(node: CloudNode, site: Site | None) -> str | None:
    """The cloud node's time zone: its own, else the site's."""
    return node.timezone or (site.timezone if site is not None else None)


def locale_of(node: CloudNode, site: Site | None) -> str | None:
    """The cloud node's locale: its own, else the site's."""
    return node.locale or (site.locale if site is not None else None)
