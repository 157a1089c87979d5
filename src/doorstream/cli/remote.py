"""How commands talk to a running server, and how they find it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from doorstream.cli.errors import CommandError
from doorstream.cli.serve import CLIENT_FILE, DEMO_DIRECTORY

if TYPE_CHECKING:
    import aiohttp

_OK = 300


@dataclass(frozen=True, kw_only=True)
class Server:
    """The server to talk to."""

    url: Annotated[str | None, Parameter(env_var="DOORSTREAM_URL")] = None
    "The server's address; also DOORSTREAM_URL, else the demo's client.json."
    api_key: Annotated[str | None, Parameter(env_var="DOORSTREAM_API_KEY")] = None
    "An API key; also DOORSTREAM_API_KEY, else the demo's client.json."
    data_dir: Path = DEMO_DIRECTORY
    "Where to look for a demo's client.json."

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Remote]:
        """Connect; raises CommandError when it is not known where to."""
        import aiohttp  # noqa: PLC0415 - it takes a fifth of a second, which --help need not wait for

        found = self._from_file()
        url, key = self.url or found.get("url"), self.api_key or found.get("api_key")
        if url is None or key is None:
            raise CommandError("which server? give --url and --api-key (or DOORSTREAM_URL and DOORSTREAM_API_KEY)", 2)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with aiohttp.ClientSession(headers={"X-API-Key": key}, timeout=timeout) as session:
            try:
                yield Remote(session, url.rstrip("/"))
            except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
                raise CommandError(f"{url} is no address: one looks like http://127.0.0.1:8080", 2) from None
            except aiohttp.ClientConnectorError as error:
                raise CommandError(f"{url} cannot be reached: {error.os_error.strerror}", 2) from None
            except (aiohttp.ClientError, TimeoutError) as error:
                raise CommandError(f"{url} went away: {error}", 2) from None

    def _from_file(self) -> dict[str, str]:
        """What the demo wrote down. Its key is for its own address: another server must not be given it."""
        if self.url is not None and self.api_key is not None:
            return {}
        try:
            content: dict[str, str] = json.loads((self.data_dir / CLIENT_FILE).read_text())
        except (OSError, ValueError):
            return {}
        is_meant = self.url is None or self.url.rstrip("/") == content.get("url")
        return content if is_meant else {}


class Remote:
    """A server that is being talked to."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def call(self, method: str, path: str, **options: Any) -> Any:
        """One request; returns the decoded answer. Raises CommandError with the server's own words."""
        async with self.session.request(method, self.url + path, **options) as response:
            await raise_for_problem(response)
            return await response.json() if response.content_type.endswith("json") else None

    async def only_site(self, site: str | None) -> str:
        """The site that was named by id or name, or the only one there is."""
        sites = (await self.call("GET", "/api/sites", params={"limit": "1000"}))["items"]
        matching = [found for found in sites if site is None or site in (found["id"], found["name"])]
        if len(matching) == 1:
            site_id: str = matching[0]["id"]
            return site_id
        names = ", ".join(found["name"] for found in sites[:20]) or "none"
        raise CommandError(f"which site? give --site with one of: {names}")


async def raise_for_problem(response: aiohttp.ClientResponse) -> None:
    """Raise CommandError for an answer that is none."""
    if response.status < _OK:
        return
    try:
        problem = json.loads(await response.text())
        words = problem.get("detail") or problem.get("title") or problem.get("error")
    except (ValueError, AttributeError):
        words = response.reason
    raise CommandError(f"{response.status}: {words}")
