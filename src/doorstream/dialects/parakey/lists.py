"""What exists, read only: domains, devices, users, accesses and access keys, each as a list and one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from doorstream.dialects.parakey import entities as shapes
from doorstream.dialects.parakey.asked import DEFAULT, cursor_of, parameters, wanted
from doorstream.dialects.parakey.callers import READ, Callers
from doorstream.dialects.parakey.errors import not_found
from doorstream.dialects.parakey.etags import CACHING, entity_tag, matches
from doorstream.directory import Directory, SiteView

_encode = msgspec.json.Encoder().encode


class Kind(NamedTuple):
    """One kind of thing: its name, what a site has of it, one by its id, and what in the directory it follows from."""

    name: str
    every: Callable[[SiteView], Iterator[dict[str, Any]]]
    one: Callable[[SiteView, str], dict[str, Any] | None]
    sources: tuple[str, ...]


def _domains(view: SiteView) -> Iterator[dict[str, Any]]:
    if view.site is not None:
        yield shapes.domain(view.site)


def _domain(view: SiteView, domain_id: str) -> dict[str, Any] | None:
    site = view.site
    return shapes.domain(site) if site is not None and site.id == domain_id.lower() else None


def _device(view: SiteView, device_id: str) -> dict[str, Any] | None:
    found = view.devices.get(device_id)
    return shapes.device(found) if found is not None else None


def _user(view: SiteView, user_id: str) -> dict[str, Any] | None:
    found = view.holders.get(user_id)
    return shapes.user(found) if found is not None else None


def _accesses(view: SiteView) -> Iterator[dict[str, Any]]:
    assert view.site is not None  # noqa: S101 - only sites that exist are asked
    return (shapes.access(view.site.id, group) for group in shapes.accesses(view).values())


def _access(view: SiteView, access_id: str) -> dict[str, Any] | None:
    return next((found for found in _accesses(view) if found["id"] == access_id), None)


def _access_key(view: SiteView, access_key_id: str) -> dict[str, Any] | None:
    holder_id, group_id = shapes.parts_of_key(access_key_id)
    holder = view.holders.get(holder_id)
    for group in holder.groups if holder is not None else ():
        if holder is not None and group.id == group_id:
            return shapes.access_key(view, holder, group)
    return None


DOMAINS = Kind("domain", _domains, _domain, ("site",))
DEVICES = Kind("device", lambda view: map(shapes.device, view.devices), _device, ("device",))
USERS = Kind("user", lambda view: map(shapes.user, view.holders), _user, ("holder",))
ACCESSES = Kind("access", _accesses, _access, ("holder",))
ACCESS_KEYS = Kind("access key", shapes.access_keys, _access_key, ("holder", "site"))


@dataclass(frozen=True, slots=True)
class Lists:
    """Answers for all kinds. ``base_url`` has no slash at its end."""

    callers: Callers
    directory: Directory
    base_url: str

    async def every(self, kind: Kind, request: Request) -> Response:
        """A page of a list; raises ParakeyError."""
        principal = self.callers.of(request.scope["headers"])
        query_string: bytes = request.scope["query_string"]
        given = parameters(query_string)
        asked = wanted(given)
        sites = self.callers.sites(principal, READ, asked.domain_id)
        tag = self._tag(kind, sites, query_string)
        if _is_known(tag, request):
            return Response(None, 304, CACHING | {"ETag": tag})
        found = [(site, item) for site in sites for item in kind.every(self._view(site))]
        start = asked.behind[0] if asked.behind is not None else 0
        behind = start + (asked.limit or DEFAULT)
        headers = CACHING | {"ETag": tag, "X-Total-Count": str(len(found))}
        if behind < len(found):
            others = {name: value for name, value in given.items() if name != "cursor"}
            following = urlencode({**others, "cursor": cursor_of((behind, ""))})
            headers["Link"] = f'<{self.base_url}{request.scope["path"]}?{following}>; rel="next"'
        items = [item for _, item in found[max(0, start) : max(0, behind)]]
        return Response(_encode(items), 200, headers, "application/json")

    async def one(self, kind: Kind, request: Request) -> Response:
        """One thing; raises ParakeyError."""
        principal = self.callers.of(request.scope["headers"])
        for site in self.callers.sites(principal, READ):
            item = kind.one(self._view(site), request.path_params["id"])
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

    def _view(self, site: str) -> SiteView:
        view = self.directory.site(site)
        assert view is not None  # noqa: S101 - within one turn of the loop
        return view


def _is_known(tag: str, request: Request) -> bool:
    return matches(tag.encode(), [value.encode("latin-1") for value in request.headers.getlist("if-none-match")])
