"""``doorstream tail``: shows events as they happen."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from doorstream.cli.errors import CommandError
from doorstream.cli.remote import Remote, Server, raise_for_problem

if TYPE_CHECKING:
    import aiohttp

_DEFAULT = Server()
_RETRY = 1.0
_AWAY = (429, 502, 503, 504)
_STYLES = (
    ("device.alarm", "bold red"),
    ("device.request.allowed", "green"),
    ("device.request", "yellow"),
    ("cloudnode", "magenta"),
    ("device.force", "cyan"),
    ("device.autoopen", "cyan"),
)


async def tail(
    server: Annotated[Server, Parameter(name="*")] = _DEFAULT,
    *,
    site: str | None = None,
    topic: Annotated[list[str] | None, Parameter(negative="")] = None,
    after: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Show events as they happen, until it is interrupted. Goes on without loss when the server was away.

    Parameters
    ----------
    site:
        The site's id or name; not needed when there is only one.
    topic:
        Only these topics; ``device.alarm.*`` for all below. May be repeated.
    after:
        Begin after this position instead of now.
    as_json:
        Print one JSON object per line.
    """
    import aiohttp  # noqa: PLC0415 - it takes a fifth of a second, which --help need not wait for

    console = Console(highlight=False)
    async with server.open() as remote:
        site_id = await remote.only_site(site)
        follower = _Follower(remote, f"/api/sites/{site_id}/stream", topic or [], after)
        while True:
            try:
                async for name, data in follower.events():
                    _show(console, name, data, as_json=as_json)
            except (aiohttp.ClientError, _AwayError):
                print("doorstream: the server is away; trying again", file=sys.stderr)
            await asyncio.sleep(_RETRY)


class _AwayError(Exception):
    """The server says that it will be there again."""


class _Follower:
    """A server-sent event stream that is resumed where it broke."""

    def __init__(self, remote: Remote, path: str, topics: list[str], after: str | None) -> None:
        self._remote = remote
        self._url = remote.url + path
        self._topics = topics
        self._last = after

    async def events(self) -> Any:
        """The events of one connection, as (name, data)."""
        headers = {"Accept": "text/event-stream"}
        if self._last is not None:
            headers["Last-Event-ID"] = self._last
        params = [("topic", topic) for topic in self._topics]
        async with self._remote.session.get(self._url, headers=headers, params=params) as response:
            if response.status in _AWAY:
                raise _AwayError
            await raise_for_problem(response)
            async for item in self._items(response):
                yield item

    async def _items(self, response: aiohttp.ClientResponse) -> Any:
        name, data, last = "message", "", self._last
        async for raw in response.content:
            field, _, value = raw.decode().rstrip("\r\n").partition(": ")
            if field == "id":
                last = value
            elif field == "event":
                name = value
            elif field == "data":
                data = value
            elif not field and not value:
                self._last = last  # only now: an event that was cut off in the middle is to come again
                if data:
                    yield name, data
                name, data = "message", ""


def _show(console: Console, name: str, data: str, *, as_json: bool) -> None:
    event = json.loads(data)
    if as_json:
        text = data if name != "gap" else json.dumps({"gap": event})
        print(text, flush=True)
        return
    if name == "gap":
        raise CommandError(f"events are missing: the log continues after {event['first']}")
    body = event["body"]
    moment = datetime.fromtimestamp(event["occurred"] / 1000).astimezone()
    style = next((style for prefix, style in _STYLES if event["topic"].startswith(prefix)), "")
    line = Text(f"{moment:%H:%M:%S} ", style="dim")
    line.append(f"{event['topic']:<28}", style=style)
    for subject in ("device", "holder"):
        named = body.get(subject)
        if isinstance(named, dict):
            line.append(f"  {named.get('name') or named.get('id') or ''}", style="bold" if subject == "device" else "")
    if event["recorded"] - event["occurred"] > 60_000:  # noqa: PLR2004 - a minute
        line.append("  late", style="dim italic")
    console.print(line, soft_wrap=True)
