"""The directory in memory: the newest record of every key, and the indexes that answer questions at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec
import structlog

from doorstream.directory.keys import KINDS, escape
from doorstream.directory.records import Entry, decode
from doorstream.directory.site import SiteView
from doorstream.directory.table import Table
from doorstream.events.entities import (
    Client,
    CloudNode,
    Connection,
    Device,
    Entity,
    Holder,
    KeyRing,
    Module,
    Owned,
    Secret,
    Site,
    System,
    User,
    Webhook,
    Zone,
)

_logger = structlog.get_logger(__name__)

OnChange = Callable[[str, Entity | None, Entity | None], None]
"""Called with the kind and the entity before and after (None: there was none, or it was deleted)."""

_OWNED = (CloudNode, Connection, Device, Holder, Module, Zone, System, Webhook)


class Mirror:
    """Fed record by record, in the order of the stream; never blocks and never asks anybody."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.sites: Table[Site] = Table()
        self.clients: Table[Client] = Table()
        self.users: Table[User] = Table()
        self.secrets: dict[str, Secret] = {}
        self.key_rings: dict[str, KeyRing] = {}
        self._views: dict[str, SiteView] = {}
        self._by_username: dict[str, User] = {}
        self._callbacks: list[OnChange] = []
        self._revisions: dict[str, int] = {}

    def on_change(self, callback: OnChange) -> None:
        """Have ``callback`` called after each change, from the event loop; it must not block."""
        self._callbacks.append(callback)

    def site(self, site_id: str) -> SiteView | None:
        """The site of that id with all that belongs to it, or None."""
        view = self._views.get(site_id)
        return view if view is not None and view.site is not None else None

    def revision(self, kind: str, site_id: str) -> int:
        """A number that grows with each change of a site's entities of that kind, and is the same in every process."""
        return self._revisions.get(f"{kind}.{escape(site_id)}", 0)

    def owned_by(self, site_id: str) -> list[Owned]:
        """What belongs to a site, also when the site itself is gone."""
        view = self._views.get(site_id)
        return view.owned() if view is not None else []

    @property
    def webhooks(self) -> list[Webhook]:
        """The webhooks of all sites."""
        return [webhook for view in self._views.values() for webhook in view.webhooks]

    def user_named(self, username: str) -> User | None:
        """The user who signs in with that name, in whatever case, or None."""
        return self._by_username.get(username.casefold())

    def entry(self, key: str) -> Entry:
        """The newest record of a key; revision 0 where there never was one."""
        return self.entries.get(key, _NEVER)

    def apply(self, key: str, data: bytes | None, revision: int) -> None:
        """Take over a record; ``data`` is None where it was deleted."""
        kind = key.partition(".")[0]
        if kind not in KINDS:
            return  # of a newer doorstream
        self._revisions[key if kind == "site" else key.rpartition(".")[0]] = revision
        try:
            entry = decode(kind, data, revision) if data is not None else Entry(None, revision)
        except msgspec.DecodeError:
            _logger.exception("a directory record cannot be read", key=key)
            return
        old = self.entry(key).entity
        self.entries[key] = entry
        new = entry.entity
        if new == old:
            return
        if new is not None:
            self._put(new, old)
        elif old is not None:
            self._remove(old)
        for callback in self._callbacks:
            try:
                callback(kind, old, new)
            except Exception:
                # One listener's mistake must not stop the mirror, on which every other depends.
                _logger.exception("a listener of the directory failed", kind=kind)

    def _put(self, entity: Entity, old: Entity | None) -> None:
        match entity:
            case Site():
                self.sites.put(entity)
                self._view(entity.id).site = entity
            case Client():
                self.clients.put(entity)
            case User():
                if old is not None:
                    self._forget_username(cast("User", old))
                self.users.put(entity)
                self._by_username[entity.username.casefold()] = entity
            case Secret():
                self.secrets[entity.id] = entity
            case KeyRing():
                self.key_rings[entity.id] = entity
            case _ if isinstance(entity, _OWNED):
                self._view(entity.site_id).put(entity)

    def _remove(self, entity: Entity) -> None:
        match entity:
            case Site():
                self.sites.remove(entity.id)
                self._view(entity.id).site = None
                self._tidy(entity.id)
            case Client():
                self.clients.remove(entity.id)
            case User():
                self._forget_username(entity)
                self.users.remove(entity.id)
            case Secret():
                self.secrets.pop(entity.id, None)
            case KeyRing():
                self.key_rings.pop(entity.id, None)
            case _ if isinstance(entity, _OWNED):
                self._view(entity.site_id).remove(entity)
                self._tidy(entity.site_id)

    def _view(self, site_id: str) -> SiteView:
        """What belongs to a site may be read before the site itself, which was changed later."""
        view = self._views.get(site_id)
        if view is None:
            view = self._views[site_id] = SiteView()
        return view

    def _tidy(self, site_id: str) -> None:
        if self._view(site_id).is_empty():
            del self._views[site_id]

    def _forget_username(self, user: User) -> None:
        """A name may already belong to someone else: the batch that renames is applied record by record."""
        name = user.username.casefold()
        if (holder := self._by_username.get(name)) is not None and holder.id == user.id:
            del self._by_username[name]


_NEVER = Entry(None, 0)
