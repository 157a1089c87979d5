"""Somebody who uses the dashboard in a browser of their own."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from browser_program import browser_client
from node_client import NodeClient

from doorstream.testing.server import Demo

_AXE = Path(__file__).parents[2] / "ui/node_modules/axe-core/axe.min.js"
_DRIVER = "../../dashboard/driver.cjs"
_PATIENCE = 100.0
DOOR = {"deviceId": "some-door", "device": {"id": "some-door", "name": "Test door"}}
"""Where it happened, in a body: a door that the directory does not know."""

_FAULTS = re.compile(r"Refused to|violates the following|Content Security Policy|TrustedHTML|Uncaught")


def happened(topic: str, who: str | None = None, *, late: int = 0, **more: Any) -> dict[str, Any]:
    """An event at the test door, ``late`` milliseconds ago."""
    body = DOOR | ({"holderId": who, "holder": {"id": who, "name": who}} if who else {}) | more
    return {"topic": topic, "occurred": int(time.time() * 1000) - late, "body": body}


class Person(NodeClient):
    """One page and whoever sits before it. What is seen or clicked is named as a screen reader names it."""

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self._numbers = itertools.count(1)
        self.demo: Demo | None = None

    async def does(self, command: str, **arguments: Any) -> Any:
        """One command of the driver; gives what it gave, raises AssertionError when it failed."""
        number = next(self._numbers)
        self.do(command, number=number, **arguments)
        done: list[dict[str, Any]] = []

        def is_done() -> bool:
            done[:] = [item for item in self.all("did") if item["number"] == number]
            return bool(done)

        await self.until(is_done, _PATIENCE)
        assert "error" not in done[0], f"{command} {arguments}: {done[0]['error']}"
        return done[0].get("value")

    async def opens(self, place: str = "") -> None:
        """Go to a page of the dashboard: ``live``, ``history/door/…``."""
        assert self.demo is not None
        await self.does("goto", url=f"{self.demo.url}/#/{place}")

    async def signs_in(self, key: str | None = None) -> None:
        """With a key, or the administrator's, from the sign-in page."""
        assert self.demo is not None
        await self.does("goto", url=f"{self.demo.url}/")
        await self.does("fill", label="API key", value=key or self.demo.credentials["admin"]["api_key"])
        await self.clicks("Sign in")
        await self.sees(role="heading", name="Live")

    async def sees(self, text: str | None = None, **what: Any) -> None:
        """It is there, or comes in time."""
        await self.does("see", **({"text": text} if text is not None else {}), **what)

    async def clicks(self, name: str, role: str = "button", **what: Any) -> None:
        """Press a button, or something else of that name."""
        await self.does("click", role=role, name=name, **what)

    @property
    def faults(self) -> list[str]:
        """What a page must never do: break its policy, or throw."""
        said = [item["text"] for item in self.all("console") if _FAULTS.search(item["text"])]
        return said + [item["message"] for item in self.all("crash")]


@contextlib.asynccontextmanager
async def person_at(demo: Demo, *, signed_in: bool = True) -> AsyncIterator[Person]:
    """A person with a browser of their own, at the dashboard of a demo."""
    async with browser_client(Person, _DRIVER, {"axe": str(_AXE)}) as person:
        person.demo = demo
        if signed_in:
            await person.signs_in()
        yield person
        assert person.faults == []
