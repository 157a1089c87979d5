"""Print event logs as they happen, by polling a Parakey API, with nothing but the standard library.

    python examples/parakey_poll.py http://127.0.0.1:8080 --token ds_demo-parakey_…

As it is, it polls the way Parakey's help describes it. With --cursor it asks for what came after the last event log
that it has seen, which needs no clock and misses nothing, not even what happens while it does not run: --state keeps
the place in a file. One event log a line; the same one may come twice, so tell them apart by their id.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

NOT_MODIFIED = 304
OK = 200
HOPELESS = (400, 401, 403, 410)
"""Statuses that stay: a wrong token, or a place (of --state) that the server does not keep any more."""

PATIENCE = 30.0


class Answer(NamedTuple):
    """What came back; the body is the array of event logs, or None where there is none."""

    status: int
    etag: str | None
    logs: list[dict[str, Any]] | None


Get = Callable[[Mapping[str, str], str | None], Answer]
"""Asks for event logs: the query, and the entity tag of the answer before."""


class ByDate:
    """Parakey's own recipe: look whether anything changed, then read from the time of the last reading on.

    Its weakness is ``now``: the clock of this computer. An event log that is stored after the server has read its
    answer and before ``now`` is taken is never asked for; a clock that is ahead of the server's makes that time longer.
    """

    def __init__(self, get: Get, now: Callable[[], datetime]) -> None:
        self._get = get
        self._now = now
        self._etag: str | None = None
        self._last_fetched = now()

    def poll(self) -> list[dict[str, Any]]:
        """What is new."""
        seen = self._get({"limit": "1"}, self._etag)
        if seen.status == NOT_MODIFIED:
            return []
        logs: list[dict[str, Any]] = []
        if self._etag is not None:
            since = self._last_fetched.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            logs = self._get({"startDate": since, "orderBy": "createdAt:DESC"}, None).logs or []
            self._last_fetched = self._now()
        self._etag = seen.etag  # not before the reading: if that fails, the next poll tries again
        return logs


class ByCursor:
    """Better: ask for what came after the last event log that was seen. One request a poll, and no clock."""

    def __init__(self, get: Get, after: str | None = None) -> None:
        """Begin after that event log, or with what happens from now on."""
        self._get = get
        self._etag: str | None = None
        self.after = after
        self._has_begun = after is not None

    def poll(self) -> list[dict[str, Any]]:
        """What is new, oldest first."""
        if not self._has_begun:
            newest = self._get({"limit": "1"}, None).logs or []
            self.after = newest[0]["id"] if newest else None
            self._has_begun = True
        place = {"after": self.after} if self.after is not None else {"startDate": "1970-01-01T00:00:00Z"}
        answer = self._get({**place, "orderBy": "createdAt:ASC"}, self._etag)
        if answer.status == NOT_MODIFIED:
            return []
        self._etag = answer.etag
        logs = answer.logs or []
        if logs:
            self.after = logs[-1]["id"]
            self._etag = None
        return logs


def http(url: str, token: str) -> Get:
    """Ask a server."""

    def get(query: Mapping[str, str], etag: str | None) -> Answer:
        headers = {"access-token": token} | ({"If-None-Match": etag} if etag is not None else {})
        request = urllib.request.Request(f"{url.rstrip('/')}/eventLogs?{urlencode(query)}", headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310 - whoever runs it chose it
                return Answer(OK, response.headers["ETag"], json.load(response))
        except urllib.error.HTTPError as error:
            if error.code == NOT_MODIFIED:
                return Answer(NOT_MODIFIED, etag, None)
            raise

    return get


def main() -> None:
    """Poll until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="base address, such as http://127.0.0.1:8080")
    parser.add_argument("--token", required=True, help="the access token")
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between two polls (default 60)")
    parser.add_argument("--cursor", action="store_true", help="ask with after= instead of startDate=")
    parser.add_argument("--state", type=Path, help="with --cursor: a file that keeps the place")
    options = parser.parse_args()
    get = http(options.url, options.token)
    kept = options.state.read_text().strip() if options.state is not None and options.state.exists() else ""
    poller = ByCursor(get, kept or None) if options.cursor else ByDate(get, lambda: datetime.now(UTC))
    is_told = False
    while True:
        try:
            logs = poller.poll()
        except OSError as error:  # what it was about is asked for again
            if isinstance(error, urllib.error.HTTPError) and error.code in HOPELESS:
                sys.exit(f"{error}: {error.read().decode()}")
            print(error, file=sys.stderr)
            logs = []
        else:
            if not is_told:
                is_told = True
                print(f"connected; asking every {options.interval:g} s", file=sys.stderr, flush=True)
        for log in logs:
            print(json.dumps(log), flush=True)
        if options.state is not None and isinstance(poller, ByCursor) and poller.after is not None:
            options.state.write_text(poller.after)  # after printing: what is interrupted comes again
        time.sleep(options.interval)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
