"""Users: people who sign in.

``/api/users`` is for administrators of all sites, ``/api/sites/{site_id}/users`` for those of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from doorstream.auth import NotPermitted, Passwords, Principal, new_generation
from doorstream.directory import Directory, NotFound, Table
from doorstream.events.entities import User
from doorstream.server.api.access import Access
from doorstream.server.api.bodies import json_response, patched, read_form, read_patch
from doorstream.server.api.documentation import body_of, patch_of, problems
from doorstream.server.api.forms import MemberForm, MemberView, UserForm, UserView, shown, values
from doorstream.server.api.lists import Cursor, Limit, NameFilter, listing
from doorstream.server.api.problems import invalid

MIN_PASSWORD = 8
MAX_PASSWORD = 1024


def users_router(directory: Directory, access: Access) -> APIRouter:
    """The routes below ``/api/users``."""
    router = APIRouter(prefix="/api/users", tags=["users"])
    _add_collection(router, directory, access)
    _add_single(router, directory, access)
    return router


def members_router(directory: Directory, access: Access) -> APIRouter:
    """The routes below ``/api/sites/{site_id}/users``."""
    router = APIRouter(prefix="/api/sites/{site_id}/users", tags=["users"])
    _add_members(router, directory, access)
    _add_member(router, directory, access)
    return router


def _add_collection(router: APIRouter, directory: Directory, access: Access) -> None:
    @router.get("", summary="List the users", responses=problems("invalid-parameter"))
    async def get_list(
        request: Request, *, limit: Limit = 100, cursor: Cursor = None, name: NameFilter = None
    ) -> Response:
        access.everywhere(request, "admin")
        return listing(directory.users, lambda user: shown(user, UserView), limit=limit, cursor=cursor, name=name)

    @router.post(
        "",
        summary="Create a user",
        status_code=201,
        response_model=UserView,
        openapi_extra=body_of(UserForm),
        responses=problems("already-exists", "invalid-request", "log-unavailable"),
    )
    async def create(request: Request) -> Response:
        principal = access.everywhere(request, "admin")
        form = await read_form(request, UserForm)
        user = await _new_user(directory, access, values(form, "id", "password"), form.id, form.password)
        created = await directory.create(user, principal.actor)
        return json_response(shown(created, UserView), 201, {"Location": f"/api/users/{created.id}"})


def _add_single(router: APIRouter, directory: Directory, access: Access) -> None:
    @router.get("/{user_id}", summary="Read a user", response_model=UserView, responses=problems("not-found"))
    async def get_one(user_id: str, request: Request) -> Response:
        access.everywhere(request, "admin")
        return json_response(shown(_find(directory, user_id), UserView))

    @router.patch(
        "/{user_id}",
        summary="Change a user",
        response_model=UserView,
        openapi_extra=patch_of(UserForm),
        responses=problems("not-found", "already-exists", "invalid-request", "log-unavailable"),
    )
    async def change(user_id: str, request: Request) -> Response:
        """Change it by a JSON merge patch (RFC 7396). A new password, or disabling, ends the user's tokens."""
        principal = access.everywhere(request, "admin")
        user = _find(directory, user_id)
        patch = await read_patch(request)
        password_hash = await _password_hash(access.auth.passwords, patch.get("password"))

        def update(old: User) -> User:
            form = patched(shown(old, UserView), patch, UserForm)
            return _renewed(old, values(form, "id", "password"), password_hash)

        return json_response(shown(await directory.change(user, update, principal.actor), UserView))

    @router.delete(
        "/{user_id}", summary="Delete a user", status_code=204, responses=problems("not-found", "log-unavailable")
    )
    async def delete(user_id: str, request: Request) -> Response:
        """Delete it; its tokens and connections end."""
        principal = access.everywhere(request, "admin")
        await directory.delete(_find(directory, user_id), principal.actor)
        return Response(status_code=204)


def _add_members(router: APIRouter, directory: Directory, access: Access) -> None:
    @router.get("", summary="List the site's users", responses=problems("not-found", "invalid-parameter"))
    async def get_list(
        site_id: str, request: Request, *, limit: Limit = 100, cursor: Cursor = None, name: NameFilter = None
    ) -> Response:
        access.site(request, site_id, "admin")
        members: Table[User] = Table()
        for user in directory.users:
            if site_id in user.roles:
                members.put(user)
        return listing(members, lambda user: _member(user, site_id), limit=limit, cursor=cursor, name=name)

    @router.post(
        "",
        summary="Create a user of the site",
        status_code=201,
        response_model=MemberView,
        openapi_extra=body_of(MemberForm),
        responses=problems("not-found", "already-exists", "invalid-request", "log-unavailable"),
    )
    async def create(site_id: str, request: Request) -> Response:
        principal, _ = access.caller_at(request, site_id, "admin")
        form = await read_form(request, MemberForm)
        given = _of_site(form, site_id, {}, {})
        user = await _new_user(directory, access, given, form.id, form.password)
        created = await directory.create(user, principal.actor)
        location = f"/api/sites/{site_id}/users/{created.id}"
        return json_response(_member(created, site_id), 201, {"Location": location})


def _add_member(router: APIRouter, directory: Directory, access: Access) -> None:
    @router.get(
        "/{user_id}", summary="Read a user of the site", response_model=MemberView, responses=problems("not-found")
    )
    async def get_one(site_id: str, user_id: str, request: Request) -> Response:
        access.site(request, site_id, "admin")
        return json_response(_member(_find_member(directory, site_id, user_id), site_id))

    @router.patch(
        "/{user_id}",
        summary="Change a user of the site",
        response_model=MemberView,
        openapi_extra=patch_of(MemberForm),
        responses=problems("not-found", "already-exists", "invalid-request", "log-unavailable"),
    )
    async def change(site_id: str, user_id: str, request: Request) -> Response:
        """Change role and holder; and name, password and so on if the caller administers all of the user's sites."""
        principal, _ = access.caller_at(request, site_id, "admin")
        user = _find_member(directory, site_id, user_id)
        patch = await read_patch(request)
        if not patch.keys() <= {"role", "holder_id"}:
            _require_all_sites(principal, user)
        password_hash = await _password_hash(access.auth.passwords, patch.get("password"))

        def update(old: User) -> User:
            form = patched(_member(old, site_id), patch, MemberForm)
            return _renewed(old, _of_site(form, site_id, old.roles, old.holder_ids), password_hash)

        return json_response(_member(await directory.change(user, update, principal.actor), site_id))

    @router.delete(
        "/{user_id}",
        summary="Take a user away from the site",
        status_code=204,
        responses=problems("not-found", "log-unavailable"),
    )
    async def delete(site_id: str, user_id: str, request: Request) -> Response:
        """Take the user's role at this site away; a user who has none elsewhere is deleted."""
        principal, _ = access.caller_at(request, site_id, "admin")
        user = _find_member(directory, site_id, user_id)
        if user.roles.keys() == {site_id}:
            await directory.delete(user, principal.actor)
        else:
            await directory.change(user, _leaving(site_id), principal.actor)
        return Response(status_code=204)


def _find(directory: Directory, user_id: str) -> User:
    user = directory.users.get(user_id)
    if user is None:
        raise NotFound("user", user_id)
    return user


def _find_member(directory: Directory, site_id: str, user_id: str) -> User:
    user = directory.users.get(user_id)
    if user is None or site_id not in user.roles:
        raise NotFound("user", user_id)
    return user


def _member(user: User, site_id: str) -> dict[str, Any]:
    own = {"role": user.roles.get(site_id), "holder_id": user.holder_ids.get(site_id)}
    return values(user, "roles", "holder_ids", "generation", "password_hash") | own


def _of_site(form: MemberForm, site_id: str, roles: dict[str, str], holder_ids: dict[str, str]) -> dict[str, Any]:
    """A user's fields by the form of one site; roles and holders elsewhere stay."""
    holders = {other: holder_id for other, holder_id in holder_ids.items() if other != site_id}
    if form.holder_id is not None:
        holders[site_id] = form.holder_id
    own = {"roles": roles | {site_id: form.role}, "holder_ids": holders}
    return values(form, "id", "password", "role", "holder_id") | own


def _leaving(site_id: str) -> Callable[[User], User]:
    def update(old: User) -> User:
        roles = {other: role for other, role in old.roles.items() if other != site_id}
        holders = {other: holder for other, holder in old.holder_ids.items() if other != site_id}
        return replace(old, roles=roles, holder_ids=holders)

    return update


def _require_all_sites(principal: Principal, user: User) -> None:
    if not all(principal.may("admin", site_id) for site_id in user.roles):
        raise NotPermitted("the user has roles at other sites too: only role and holder_id can be changed here")


async def _new_user(
    directory: Directory, access: Access, given: dict[str, Any], user_id: str | None, password: str | None
) -> User:
    password_hash = await _password_hash(access.auth.passwords, password)
    return User(
        **given | {"name": given["name"] or given["username"]},
        id=user_id if user_id is not None else directory.new_id(),
        created=directory.now(),
        generation=new_generation(),
        password_hash=password_hash,
    )


def _renewed(old: User, new: dict[str, Any], password_hash: str | None) -> User:
    """The user with new values; whatever ends its tokens changes its generation."""
    ends = password_hash is not None or (new["disabled"] and not old.disabled)
    generation = new_generation() if ends else old.generation
    return replace(old, **new, generation=generation, password_hash=password_hash or old.password_hash)


async def _password_hash(passwords: Passwords, password: Any) -> str | None:
    if password is None:
        return None
    if not isinstance(password, str) or not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise invalid([{"where": "body.password", "what": f"{MIN_PASSWORD} to {MAX_PASSWORD} characters"}])
    return await passwords.hash(password)
