"""``doorstream client``, ``doorstream user`` and ``doorstream token``: who may do what."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated, Literal

import cyclopts
from cyclopts import Parameter
from rich.console import Console

from doorstream.cli.errors import CommandError
from doorstream.cli.remote import Server
from doorstream.cli.tables import print_table

_DEFAULT = Server()
_At = Annotated[Server, Parameter(name="*")]

client = cyclopts.App(
    name="client", help="Programs that call doorstream: API keys, and OAuth clients of every dialect."
)
user = cyclopts.App(name="user", help="People who sign in.")


@client.command(name="add")
async def client_add(
    name: str,
    server: _At = _DEFAULT,
    *,
    scope: Annotated[list[str] | None, Parameter(negative="")] = None,
    site: Annotated[list[str] | None, Parameter(negative="")] = None,
) -> None:
    """Create a client; its secret is shown once.

    Parameters
    ----------
    name:
        What it is for.
    scope:
        What it may do: admin, directory:read, directory:write, events:read, events:write, webhooks:read,
        webhooks:write, pdk, placeos, placeos:support. May be repeated.
    site:
        Only at these sites (ids); without it at all. May be repeated.
    """
    body = {"name": name, "scopes": scope or ["events:read", "directory:read", "pdk"], "sites": site or "all"}
    async with server.open() as remote:
        created = await remote.call("POST", "/api/clients", json=body)
    _print_pairs(
        {"client id": created["id"], "client secret": created["secret"], "API key": created["api_key"]},
        note="The secret is shown only now.",
    )


@client.command(name="list")
async def client_list(server: _At = _DEFAULT) -> None:
    """List the clients."""
    async with server.open() as remote:
        found = await remote.call("GET", "/api/clients", params={"limit": "1000"})
    print_table(found["items"], ("id", "name", "scopes", "sites", "disabled"))


@client.command(name="remove")
async def client_remove(client_id: str, server: _At = _DEFAULT) -> None:
    """Delete a client; its connections end within a second."""
    async with server.open() as remote:
        await remote.call("DELETE", f"/api/clients/{client_id}")


@user.command(name="add")
async def user_add(  # noqa: PLR0913 - one parameter for each option
    username: str,
    server: _At = _DEFAULT,
    *,
    name: str = "",
    role: Annotated[list[str] | None, Parameter(negative="")] = None,
    holder: Annotated[list[str] | None, Parameter(negative="")] = None,
    password: str | None = None,
) -> None:
    """Create a user.

    Parameters
    ----------
    username:
        With which the user signs in.
    name:
        The user's name, as others see it; the user name if it is not given.
    role:
        A role at a site, as SITE_ID=ROLE with site_admin, site_super_user or site_user. May be repeated.
    holder:
        Which of a site's holders the user is, as SITE_ID=HOLDER_ID. May be repeated.
    password:
        Asked for at the terminal if it is not given.
    """
    if password is None:
        password = getpass.getpass("password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    body = {
        "username": username,
        "name": name,
        "password": password,
        "roles": _pairs(role),
        "holder_ids": _pairs(holder),
    }
    async with server.open() as remote:
        created = await remote.call("POST", "/api/users", json=body)
    _print_pairs({"user id": created["id"], "username": created["username"]})


@user.command(name="list")
async def user_list(server: _At = _DEFAULT) -> None:
    """List the users."""
    async with server.open() as remote:
        found = await remote.call("GET", "/api/users", params={"limit": "1000"})
    print_table(found["items"], ("id", "username", "name", "roles", "disabled"))


@user.command(name="remove")
async def user_remove(user_id: str, server: _At = _DEFAULT) -> None:
    """Delete a user; its connections end within a second."""
    async with server.open() as remote:
        await remote.call("DELETE", f"/api/users/{user_id}")


async def token(
    kind: Literal["system", "ticket"] = "system", server: _At = _DEFAULT, *, site: str | None = None
) -> None:
    """Print a token to try things with.

    Parameters
    ----------
    kind:
        system: a PDK system token; ticket: for one GET of the event stream, as ?ticket=.
    site:
        The site's id or name; not needed when there is only one.
    """
    async with server.open() as remote:
        site_id = await remote.only_site(site)
        granted = await remote.call("POST", f"/api/sites/{site_id}/tokens", json={"kind": kind})
    print(granted["token"])


def _pairs(texts: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f"{text}: expected SITE_ID=VALUE")
        pairs[key] = value
    return pairs


def _print_pairs(pairs: dict[str, str], note: str = "") -> None:
    width = max(map(len, pairs))
    for key, value in pairs.items():
        print(f"{key:<{width}}  {value}")
    if note:
        Console(stderr=True).print(note, style="dim")
