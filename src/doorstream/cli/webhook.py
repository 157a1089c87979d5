"""``doorstream webhook``: where a site's events are posted to, and what became of them."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter
from rich.console import Console

from doorstream.cli.errors import CommandError
from doorstream.cli.remote import Remote, Server
from doorstream.cli.tables import print_table

_DEFAULT = Server()
_At = Annotated[Server, Parameter(name="*")]
_Several = Annotated[list[str] | None, Parameter(negative="")]
# Without this a hyphen alone would be taken for an option.
_SeveralOrInput = Annotated[list[str] | None, Parameter(negative="", allow_leading_hyphen=True)]
_Site = Annotated[str | None, Parameter(help="The site's id or name; not needed when there is only one.")]
_PAGE = 1000

webhook = cyclopts.App(name="webhook", help="Webhooks: where a site's events are posted to.")


@webhook.command
async def add(  # noqa: PLR0913 - one parameter for each option
    target: str,
    /,
    server: _At = _DEFAULT,
    *,
    site: str | None = None,
    name: str = "",
    form: Literal["native", "cloudevents", "cloudevents-binary", "parakey", "pdk"] = "native",
    topic: _Several = None,
    device: _Several = None,
    header: _SeveralOrInput = None,
    signing: _SeveralOrInput = None,
    ordered: Annotated[bool, Parameter(negative="")] = False,
    rate: float | None = None,
    handshake: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Create a webhook; its signing secret is shown once.

    Parameters
    ----------
    target:
        Where events are posted to: a URL.
    site:
        The site's id or name; not needed when there is only one.
    name:
        What it is called; its host if not given.
    form:
        What is posted.
    topic:
        Only these topics; a pattern may end in .* as in device.request.*. May be repeated.
    device:
        Only events of these devices (ids). May be repeated.
    header:
        A header to send along, as "Name: value"; - reads such lines from the standard input, so that a secret is in no
        list of processes. May be repeated.
    signing:
        v1, v1a, a secret of your own, or none; - reads such words from the standard input. May be repeated; by default
        as is usual for the form.
    ordered:
        Keep the events of a door in strict order: behind one that fails the others of that door wait.
    rate:
        Deliveries per second at most.
    handshake:
        Ask the receiver first, by an OPTIONS request of CloudEvents' web hooks; without its agreement nothing is made.
    """
    if "-" in (header or []) and "-" in (signing or []):
        raise CommandError("only one of --header and --signing can be read from the standard input", status=2)
    body: dict[str, Any] = {"url": target, "name": name, "form": form, "ordered": ordered, "rate": rate}
    body |= {"topics": topic or ["*"], "devices": device or [], "headers": _headers(header or [])}
    body |= {"handshake": handshake}
    if signing is not None:
        words = _signing(signing)
        body["signing"] = [] if words == ["none"] else words
    async with server.open() as remote:
        site_id = await remote.only_site(site)
        created = await remote.call("POST", f"/api/sites/{site_id}/webhooks", json=body)
    print(f"webhook id  {created['id']}")
    for secret in created["secrets"]:
        print(f"secret      {secret}")
    for each in created["signing"]:
        if each["public_key"]:
            print(f"public key  {each['public_key']}")
    if created["secrets"]:
        Console(stderr=True).print("The secret is shown only now.", style="dim")


@webhook.command(name="list")
async def list_(server: _At = _DEFAULT, *, site: _Site = None) -> None:
    """List the webhooks of a site."""
    async with server.open() as remote:
        site_id = await remote.only_site(site)
        found = await remote.call("GET", f"/api/sites/{site_id}/webhooks", params={"limit": str(_PAGE)})
    print_table(found["items"], ("id", "name", "url", "form", "topics", "enabled", "disabled_reason"))


@webhook.command(name="test")
async def try_out(webhook_id: str, server: _At = _DEFAULT, *, site: _Site = None) -> None:
    """Send a test event now and say what the receiver answered; ends with status 1 if it did not take it."""
    async with server.open() as remote:
        told = await remote.call("POST", f"{await _path(remote, site, webhook_id)}/test")
    what = str(told["status"]) if told["status"] is not None else str(told["error"])
    if told["status"] is not None and told["error"]:
        what += f" ({told['error']})"
    if told["detail"]:
        what += f": {told['detail']}"
    print(f"{what}, {told['duration']:.3f} s")
    if told["answer"]:
        print(told["answer"])
    if not told["delivered"]:
        raise CommandError("the receiver did not take the event")


@webhook.command
async def deliveries(  # noqa: PLR0913 - one parameter for each option
    webhook_id: str,
    server: _At = _DEFAULT,
    *,
    site: _Site = None,
    state: Literal["delivered", "waiting", "held", "dead"] | None = None,
    event: str | None = None,
    limit: int = 50,
) -> None:
    """Show what became of the deliveries, the last first.

    Parameters
    ----------
    state:
        Only those that are delivered, waiting for another attempt, held behind another one, or given up.
    event:
        Only those of the event with this id.
    limit:
        How many.
    """
    params = {"limit": str(limit)} | {
        key: value for key, value in (("state", state), ("event", event)) if value is not None
    }
    async with server.open() as remote:
        found = await remote.call("GET", f"{await _path(remote, site, webhook_id)}/deliveries", params=params)
    columns = ("id", "event", "topic", "state", "attempts", "last_attempt", "status", "error", "next_attempt")
    print_table(found["items"], columns)


@webhook.command
async def replay(  # noqa: PLR0913 - one parameter for each option
    webhook_id: str,
    delivery: str | None = None,
    server: _At = _DEFAULT,
    *,
    site: _Site = None,
    since: Annotated[str | None, Parameter(name="--from")] = None,
    until: Annotated[str | None, Parameter(name="--to")] = None,
    everything: Annotated[bool, Parameter(name="--all", negative="")] = False,
    to_webhook: str | None = None,
) -> None:
    """Deliver again: one delivery, or those that were given up in a range of time.

    Parameters
    ----------
    delivery:
        The delivery's id.
    since:
        From when on, as 2026-01-31T10:00:00Z.
    until:
        Until when.
    everything:
        Of that range also what was delivered.
    to_webhook:
        To another webhook of the site.
    """
    body: dict[str, Any] = {"to_webhook": to_webhook, "state": "all" if everything else "dead"}
    body |= {"delivery": delivery, "from": since, "to": until}
    count = 0
    async with server.open() as remote:
        path = await _path(remote, site, webhook_id)
        while True:
            done = await remote.call("POST", f"{path}/replay", json=body)
            count += done["deliveries"]
            if done["next"] is None:
                break
            body["cursor"] = done["next"]
    print(f"{count} to be delivered again")


@webhook.command
async def enable(
    webhook_id: str,
    server: _At = _DEFAULT,
    *,
    site: _Site = None,
    now: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Enable a webhook again.

    Parameters
    ----------
    now:
        Go on with what happens from now on, instead of where it stopped.
    """
    async with server.open() as remote:
        body = {"start": "now" if now else "position"}
        await remote.call("POST", f"{await _path(remote, site, webhook_id)}/enable", json=body)


@webhook.command
async def remove(webhook_id: str, server: _At = _DEFAULT, *, site: _Site = None) -> None:
    """Delete a webhook; what waits to be sent again is dropped."""
    async with server.open() as remote:
        await remote.call("DELETE", await _path(remote, site, webhook_id))


async def _path(remote: Remote, site: str | None, webhook_id: str) -> str:
    return f"/api/sites/{await remote.only_site(site)}/webhooks/{webhook_id}"


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in _given(lines):
        name, colon, value = line.partition(":")
        if not colon:
            raise CommandError('a header looks like "Authorization: Basic …"', status=2)
        headers[name.strip()] = value.strip()
    return headers


def _signing(words: list[str]) -> list[str]:
    given = [word.strip() for word in _given(words) if word.strip()]
    if not given:  # an empty list would mean no signature at all
        raise CommandError("the standard input holds no secret", status=2)
    return given


def _given(arguments: list[str]) -> list[str]:
    """Arguments, with the lines of the standard input in place of a dash."""
    return [each for text in arguments for each in (sys.stdin.read().splitlines() if text == "-" else [text])]
