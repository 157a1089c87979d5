"""``POST /access-keys``: giving accesses to people and taking them away (vendor-apis.md 3.1).

The vendor does it in a batch that it answers later; here it is done when the answer comes, item by item: what can be
done is done, and each item says what became of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from doorstream.auth import Principal
from doorstream.dialects.parakey import entities as shapes
from doorstream.dialects.parakey.asked import milliseconds
from doorstream.dialects.parakey.callers import WRITE, Callers
from doorstream.dialects.parakey.errors import ParakeyError
from doorstream.directory import AlreadyExists, Conflict, Directory, InvalidEntity, NotFound, SiteView
from doorstream.events.entities import Group, Holder

MAX_BODY = 1_000_000
MAX_ITEMS = 1000

_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


class _Named(msgspec.Struct):
    """An access or a user, by id or by what the integrator calls it."""

    id: str | None = None
    aliasId: str | None = None  # noqa: N815 - the wire's name
    email: str | None = None


class _Insert(msgspec.Struct):
    access: _Named
    user: _Named
    startDate: str | int | None = None  # noqa: N815 - the wire's name
    expirationDate: str | int | None = None  # noqa: N815 - the wire's name


class _Delete(msgspec.Struct):
    id: str | None = None
    access: _Named | None = None
    user: _Named | None = None


class _Body(msgspec.Struct):
    insert: list[_Insert] = []
    delete: list[_Delete] = []
    domainId: str | None = None  # noqa: N815 - the wire's name


_decode = msgspec.json.Decoder(_Body).decode


class _Failed(Exception):
    """An item that cannot be done: a stable code, and why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Domain:
    """A site as it was when the request came: what is deleted first can still be inserted."""

    def __init__(self, view: SiteView) -> None:
        self.view = view
        self.accesses = shapes.accesses(view)
        self._by_email: dict[str, set[str]] = {}
        for holder in view.holders:
            self.note(holder)

    def note(self, holder: Holder) -> None:
        """Somebody to find."""
        if holder.email is not None:
            self._by_email.setdefault(holder.email.casefold(), set()).add(holder.id)

    def person(self, named: _Named) -> Holder | None:
        """The holder of that id, or the only one of that address, in whatever case."""
        if named.id is not None:
            return self.view.holders.get(named.id)
        found = self._by_email.get((named.email or "").casefold(), set())
        if len(found) > 1:
            raise _Failed("ambiguous", "several users have this email: name one by its id")
        return self.view.holders.get(next(iter(found))) if found else None


@dataclass(frozen=True, slots=True)
class Grants:
    """Carries out what is asked."""

    callers: Callers
    directory: Directory

    async def change(self, request: Request) -> Response:
        """``{insert, delete}``; answered with what became of each item; raises ParakeyError or LogUnavailable."""
        principal = self.callers.of(request.scope["headers"])
        self.callers.sites(principal, WRITE)
        body = await _read(request)
        sites = self.callers.sites(principal, WRITE, body.domainId)
        domains = [_Domain(view) for site in sites if (view := self.directory.site(site)) is not None]
        deleted = [await _outcome(self._delete(item, domains, principal)) for item in body.delete]
        inserted = [await _outcome(self._insert(item, domains, principal)) for item in body.insert]
        return Response(_encode({"insert": inserted, "delete": deleted}), 200, None, "application/json")

    async def _insert(self, item: _Insert, domains: list[_Domain], principal: Principal) -> dict[str, Any]:
        domain, group = _access(item.access, domains)
        dates = _dates(item, domain.view)
        holder = domain.person(item.user)
        if holder is None:
            holder = await self._invite(item.user, domain.view, group, dates, principal)
            domain.note(holder)
        else:
            holder = await self.directory.change(
                holder, lambda current: _with_group(current, group, dates), principal.actor
            )
        return shapes.access_key(domain.view, holder, group)

    async def _invite(
        self, named: _Named, view: SiteView, group: Group, dates: Mapping[str, str | None], principal: Principal
    ) -> Holder:
        """Somebody new, whose name is not known yet."""
        if named.email is None:
            raise _Failed("unknown-user", "no domain that has this access has this user; a new one needs an email")
        assert view.site is not None  # noqa: S101 - only sites that exist are asked
        holder = Holder(
            id=self.directory.new_id(),
            site_id=view.site.id,
            created=self.directory.now(),
            first_name=named.email.partition("@")[0],
            email=named.email,
            groups=(group,),
            **{name: date for name, date in dates.items() if date is not None},  # type: ignore[arg-type]
        )
        return await self.directory.create(holder, principal.actor)

    async def _delete(self, item: _Delete, domains: list[_Domain], principal: Principal) -> dict[str, Any]:
        view, holder, group = _key(item, domains)
        gone = shapes.access_key(view, holder, group)

        def without(current: Holder) -> Holder:
            return replace(current, groups=tuple(each for each in current.groups if each.id != group.id))

        await self.directory.change(holder, without, principal.actor)
        return gone


async def _outcome(work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """What became of an item."""
    try:
        return {"status": "completed", "accessKey": await work}
    except _Failed as error:
        code, message = error.code, str(error)
    except (InvalidEntity, AlreadyExists, Conflict, NotFound) as error:
        code, message = "not-possible", str(error)
    return {"status": "failed", "error": {"code": code, "message": message}}


def _access(named: _Named, domains: list[_Domain]) -> tuple[_Domain, Group]:
    wanted = (named.id if named.id is not None else named.aliasId) or ""
    found = [(domain, domain.accesses[wanted]) for domain in domains if wanted in domain.accesses]
    return _only(found, "access")


def _key(item: _Delete, domains: list[_Domain]) -> tuple[SiteView, Holder, Group]:
    found = []
    for domain in domains:
        if item.id is not None:
            holder_id, group_id = shapes.parts_of_key(item.id)
            holder = domain.view.holders.get(holder_id)
        else:
            holder = domain.person(item.user or _Named())
            group_id = (item.access.id or item.access.aliasId or "") if item.access is not None else ""
        group = next((each for each in holder.groups if each.id == group_id), None) if holder is not None else None
        if holder is not None and group is not None:
            found.append((domain.view, holder, group))
    return _only(found, "access key")


def _only(found: list[T], what: str) -> T:
    if not found:
        raise _Failed(f"unknown-{what.replace(' ', '-')}", f"no domain of this token has this {what}")
    if len(found) > 1:
        raise _Failed("ambiguous", f"several domains have this {what}: name one with domainId")
    return found[0]


def _with_group(holder: Holder, group: Group, dates: Mapping[str, str | None]) -> Holder:
    """The holder with one more group.

    A person has one pair of dates for everything. They follow the request where this is the person's only access; else
    nothing may last longer, or less long, than whoever gave it meant.
    """
    others = tuple(each for each in holder.groups if each.id != group.id)
    if others and any(getattr(holder, name) != date for name, date in dates.items()):
        raise _Failed(
            "other-dates", "this user has other accesses, with other dates: here a person has one pair of dates"
        )
    return replace(holder, groups=(*others, group), **dates)  # type: ignore[arg-type]


def _dates(item: _Insert, view: SiteView) -> dict[str, str | None]:
    zone = shapes.zone_of(view)
    dates: dict[str, str | None] = {}
    for name, field, text in (
        ("startDate", "active_date", item.startDate),
        ("expirationDate", "expire_date", item.expirationDate),
    ):
        try:
            moment = milliseconds(name, text, up=False) if not isinstance(text, int) else text
            dates[field] = shapes.local_date(moment, zone) if moment is not None else None
        except (ParakeyError, ValueError, OverflowError, OSError):
            raise _Failed("bad-date", f"{name}: a time such as 2026-01-31T10:00:00.000Z") from None
    return dates


async def _read(request: Request) -> _Body:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise ParakeyError(413, "too-large", f"at most {MAX_BODY} bytes")
        chunks.append(chunk)
    try:
        body = _decode(b"".join(chunks))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ParakeyError(400, "bad-body", str(error)) from None
    if len(body.insert) + len(body.delete) > MAX_ITEMS:
        raise ParakeyError(413, "too-large", f"at most {MAX_ITEMS} items")
    return body
