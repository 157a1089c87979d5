"""What exists, read only: domains, devices, users, accesses and access keys, each as a list and one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from doorstream.dialects.parakey import entities as shapes
from doorstream.dialects.parakey.asked import Place, cursor_of, parameters, wanted_page
from doorstream.dialects.parakey.callers import READ, Callers
from doorstream.dialects.parakey.errors import not_found
from doorstream.dialects.parakey.etags import CACHING, entity_tag, matches
from doorstream.directory import Directory, SiteView
from doorstream.events.entities import Group, Holder

_encode = msgspec.json.Encoder().encode


class _Memberships(NamedTuple):
    """What follows from the people of a site as of a ``revision``: their groups in order, and how many memberships."""

    revision: int
    groups: dict[str, Group]
    number: int


class _Site(NamedTuple):
    """A site, as its things are read."""

    view: SiteView
    memberships: _Memberships | None
    """For kinds that need them."""

    @property
    def groups(self) -> dict[str, Group]:
        """By id, in the order of names."""
        return self.memberships.groups if self.memberships is not None else {}


Item = tuple[Place, dict[str, Any]]


class Kind(NamedTuple):
    """One kind of thing: what a site has of it, and what in the directory it follows from.

    ``behind(site, place, most)`` makes items one after the other, from right after a place on; it need not make more
    than ``most``. ``one(site, id)`` is one by its id, ``count(site)`` how many there are.
    """

    name: str
    behind: Callable[[_Site, Place | None, int], Iterator[Item]]
    one: Callable[[_Site, str], dict[str, Any] | None]
    count: Callable[[_Site], int]
    sources: tuple[str, ...]
    of_groups: bool = False


def _domains(site: _Site, place: Place | None, _: int) -> Iterator[Item]:
    found = site.view.site
    if found is not None and place is None:
        yield Place(found.id, "", "", ""), shapes.domain(found)


def _domain(site: _Site, domain_id: str) -> dict[str, Any] | None:
    found = site.view.site
    return shapes.domain(found) if found is not None and found.id == domain_id.lower() else None


def _devices(site: _Site, place: Place | None, most: int) -> Iterator[Item]:
    for found in site.view.devices.page(after=_after(place), limit=most).items:
        yield Place(found.site_id, found.name, found.id, ""), shapes.device(found)


def _device(site: _Site, device_id: str) -> dict[str, Any] | None:
    found = site.view.devices.get(device_id)
    return shapes.device(found) if found is not None else None


def _users(site: _Site, place: Place | None, most: int) -> Iterator[Item]:
    for found in site.view.holders.page(after=_after(place), limit=most).items:
        yield Place(found.site_id, found.name, found.id, ""), shapes.user(found)


def _user(site: _Site, user_id: str) -> dict[str, Any] | None:
    found = site.view.holders.get(user_id)
    return shapes.user(found) if found is not None else None


def _accesses(site: _Site, place: Place | None, _: int) -> Iterator[Item]:
    assert site.view.site is not None  # noqa: S101 - only sites that exist are asked
    site_id, after = site.view.site.id, _after(place)
    for group in site.groups.values():
        if after is None or (group.name, group.id) > after:
            yield Place(site_id, group.name, group.id, ""), shapes.access(site_id, group)


def _access(site: _Site, access_id: str) -> dict[str, Any] | None:
    found = site.groups.get(access_id)
    return shapes.access(site.view.site.id, found) if found is not None and site.view.site is not None else None


def _access_keys(site: _Site, place: Place | None, most: int) -> Iterator[Item]:
    """Those of the person at whom the page before ended, then those of all others, a portion at a time."""
    view, after = site.view, _after(place)
    first = view.holders.get(place.id) if place is not None else None
    if place is not None and first is not None and first.name == place.name:
        yield from _keys_of(view, first, place.group)
    while True:
        people = view.holders.page(after=after, limit=most)
        for holder in people.items:
            yield from _keys_of(view, holder)
        if people.next is None:
            return
        after = people.next


def _keys_of(view: SiteView, holder: Holder, behind: str | None = None) -> Iterator[Item]:
    """Of one person, behind a group; if that was taken away meanwhile, all: rather twice than not at all."""
    ids = [group.id for group in holder.groups]
    begin = ids.index(behind) + 1 if behind in ids else 0
    for group in holder.groups[begin:]:
        yield Place(holder.site_id, holder.name, holder.id, group.id), shapes.access_key(view, holder, group)


def _access_key(site: _Site, access_key_id: str) -> dict[str, Any] | None:
    holder_id, group_id = shapes.parts_of_key(access_key_id)
    holder = site.view.holders.get(holder_id)
    for group in holder.groups if holder is not None else ():
        if holder is not None and group.id == group_id:
            return shapes.access_key(site.view, holder, group)
    return None


def _after(place: Place | None) -> tuple[str, str] | None:
    return (place.name, place.id) if place is not None else None


DOMAINS = Kind("domain", _domains, _domain, lambda _: 1, ("site",))
DEVICES = Kind("device", _devices, _device, lambda site: len(site.view.devices), ("device",))
USERS = Kind("user", _users, _user, lambda site: len(site.view.holders), ("holder",))
ACCESSES = Kind("access", _accesses, _access, lambda site: len(site.groups), ("holder",), of_groups=True)
ACCESS_KEYS = Kind(
    "access key",
    _access_keys,
    _access_key,
    lambda site: site.memberships.number if site.memberships is not None else 0,
    ("holder", "site"),
    of_groups=True,
)


@dataclass(frozen=True, slots=True)
class Lists:
    """Answers for all kinds. ``base_url`` has no slash at its end."""

    callers: Callers
    directory: Directory
    base_url: str
    _memberships: dict[str, _Memberships] = field(default_factory=dict, init=False, repr=False, compare=False)
    """By site."""

    async def every(self, kind: Kind, request: Request) -> Response:
        """A page of a list; raises ParakeyError."""
        principal = self.callers.of(request.scope["headers"])
        query_string: bytes = request.scope["query_string"]
        given = parameters(query_string)
        asked = wanted_page(given)
        sites = self.callers.sites(principal, READ, asked.domain_id)
        tag = self._tag(kind, sites, query_string)
        if _is_known(tag, request):
            return Response(None, 304, CACHING | {"ETag": tag})
        total = sum(kind.count(self._site(kind, site)) for site in sites)
        headers = CACHING | {"ETag": tag, "X-Total-Count": str(total)}
        found = list(islice(self._behind(kind, sites, asked.behind, asked.limit + 1), asked.limit + 1))
        if len(found) > asked.limit:
            others = {name: value for name, value in given.items() if name != "cursor"}
            following = urlencode({**others, "cursor": cursor_of(found[asked.limit - 1][0])})
            headers["Link"] = f'<{self.base_url}{request.scope["path"]}?{following}>; rel="next"'
        items = [item for _, item in found[: asked.limit]]
        return Response(_encode(items), 200, headers, "application/json")

    async def one(self, kind: Kind, request: Request) -> Response:
        """One thing; raises ParakeyError."""
        principal = self.callers.of(request.scope["headers"])
        for site in self.callers.sites(principal, READ):
            item = kind.one(self._site(kind, site), request.path_params["id"])
            if item is not None:
                tag = self._tag(kind, (site,), request.path_params["id"])
                if _is_known(tag, request):
                    return Response(None, 304, CACHING | {"ETag": tag})
                return Response(_encode(item), 200, CACHING | {"ETag": tag}, "application/json")
        raise not_found()

    def _tag(self, kind: Kind, sites: tuple[str, ...], what: object) -> str:
        """From the directory's revisions, which every process has alike."""
        revisions = [self.directory.revision(source, site) for site in sites for source in kind.sources]
        return entity_tag(kind.name, what, *sites, *revisions)

    def _behind(self, kind: Kind, sites: tuple[str, ...], place: Place | None, most: int) -> Iterator[Item]:
        """The items of some sites, from right after a place on."""
        for site in sites:
            if place is None or site >= place.site:
                behind = place if place is not None and site == place.site else None
                yield from kind.behind(self._site(kind, site), behind, most)

    def _site(self, kind: Kind, site: str) -> _Site:
        view = self.directory.site(site)
        assert view is not None  # noqa: S101 - within one turn of the loop
        return _Site(view, self._memberships_of(site, view) if kind.of_groups else None)

    def _memberships_of(self, site: str, view: SiteView) -> _Memberships:
        """Gone through all people for, when any of them has changed."""
        revision = self.directory.revision("holder", site)
        known = self._memberships.get(site)
        if known is None or known.revision != revision:
            number = sum(len(holder.groups) for holder in view.holders)
            known = self._memberships[site] = _Memberships(revision, shapes.accesses(view), number)
        return known


def _is_known(tag: str, request: Request) -> bool:
    return matches(tag.encode(), [value.encode("latin-1") for value in request.headers.getlist("if-none-match")])
