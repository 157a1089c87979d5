"""The dashboard for everybody: by keyboard alone, for those who hear it, on a phone, in light and dark."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from person import Person, person_at

from doorstream.testing.server import Demo, running_demo

PAGES = ("live", "doors", "history", "webhooks", "connections", "connect/pdk", "connect/parakey", "clients")
SCREENSHOTS = os.environ.get("DOORSTREAM_SCREENSHOTS")
KINDS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"scheme": "dark"},
    "phone": {"width": 360, "height": 740},
}
_FOCUS = """(() => { const at = document.activeElement; return at.getAttribute('aria-label') || at.textContent })()"""
_SETTLED = """!document.querySelector('.skeleton') && document.querySelector('main') &&
  !document.getAnimations().some((each) => each instanceof CSSTransition)"""  # colours change over a moment


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """A building that lives, and a webhook to look at."""
    async with running_demo(rate=5) as demo:
        path = f"/api/sites/{demo.site_id}/webhooks"
        await demo.api.call("POST", path, json={"url": "http://127.0.0.1:20999/nobody", "name": "Nobody there"})
        yield demo


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def person(demo: Demo) -> AsyncIterator[Person]:
    """An administrator, signed in."""
    async with person_at(demo) as person:
        yield person


async def arrives(person: Person, page: str) -> None:
    """Open a page and wait until it has what it shows."""
    await person.opens(page)
    await person.does("until", code=_SETTLED)


async def webhook_page(person: Person) -> str:
    """The page of the one webhook that there is."""
    (webhook,) = (await _api(person).call("GET", f"/api/sites/{_demo(person).site_id}/webhooks"))["items"]
    return f"webhooks/{webhook['id']}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.asyncio(loop_scope="module")
async def test_axe_finds_no_serious_fault(person: Person, scheme: str) -> None:
    await person.does("look", scheme=scheme)
    for page in (*PAGES, await webhook_page(person)):
        await arrives(person, page)
        assert await person.does("axe") == [], page
    await arrives(person, "clients")
    await person.clicks("New API key")
    assert await person.does("axe") == [], "a dialog"
    await person.clicks("Cancel")
    await arrives(person, "live")
    await person.does("click", css=".event > button")
    assert await person.does("axe") == [], "an open event"
    await person.does("look", scheme=scheme, width=360, height=740)
    await arrives(person, "history")
    assert await person.does("axe") == [], "a phone"


@pytest.mark.asyncio(loop_scope="module")
async def test_the_sign_in_page_is_for_everybody_too(demo: Demo) -> None:
    async with person_at(demo, signed_in=False) as person:
        await person.does("goto", url=demo.url)
        await person.sees(role="heading", name="Sign in")
        assert await person.does("axe") == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.asyncio(loop_scope="module")
async def test_every_page_fits(person: Person, kind: str) -> None:
    """Nothing is wider than the page, down to 360 pixels. Leaves pictures where DOORSTREAM_SCREENSHOTS says."""
    await person.does("look", **KINDS[kind])
    of_webhook = await webhook_page(person)
    for page in (*PAGES, of_webhook):
        await arrives(person, page)
        wide = await person.does("ask", code="document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, page
        if SCREENSHOTS is not None:
            name = page.partition("/")[0] if page != of_webhook else "webhook"
            name = page.replace("/", "-") if page.startswith("connect/") else name
            Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
            await person.does("shoot", path=str(Path(SCREENSHOTS, f"{name}-{kind}.png")))


@pytest.mark.asyncio(loop_scope="module")
async def test_the_keyboard_is_enough(demo: Demo) -> None:
    """Signing in, going to a page, filtering, opening an event, and a dialog that gives the focus back."""
    async with person_at(demo, signed_in=False) as person:
        await person.does("goto", url=demo.url)
        await person.sees(role="heading", name="Sign in")
        await person.does("until", code="document.activeElement.name === 'api-key'")
        await person.does("type", value=demo.credentials["admin"]["api_key"])
        await person.does("press", key="Enter")
        await person.sees(role="heading", name="Live")
        await person.does("until", code="document.activeElement.id === 'main'")  # so that reading begins there
        await goes_to(person, "Skip to the page", key="Shift+Tab")
        await person.does("press", key="Enter")
        await person.does("until", code="document.activeElement.id === 'main'")
        await goes_to(person, "Pause")
        await person.does("press", key="Space")
        await person.sees(role="button", name="Go on")
        await goes_to_row(person)
        await person.does("press", key="Enter")
        await person.sees("Happened at the door")
        await goes_to(person, "Clients", key="Shift+Tab")
        await person.does("press", key="Enter")
        await person.sees(role="heading", name="Clients")
        await person.does("until", code="document.activeElement.id === 'main'")
        await person.sees(role="button", name="New API key")
        await goes_to(person, "New API key")
        await person.does("press", key="Enter")
        await person.does("until", code="document.activeElement.matches('dialog input')")
        await person.does("press", key="Escape")
        await person.does("lose", css="dialog")
        await person.does("until", code=f"{_FOCUS}.trim() === 'New API key'")
        await goes_to(person, "Connect", key="Shift+Tab")
        await person.does("press", key="Enter")
        await person.sees(role="heading", name="Connect")
        await goes_to(person, "PDK")
        await person.does("press", key="ArrowRight")
        await person.does("until", code="location.hash === '#/connect/placeos'")
        await person.does("until", code=f"{_FOCUS}.trim() === 'PlaceOS'")
        outline = await person.does("ask", code="getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", "one sees where one is"


async def goes_to(person: Person, name: str, *, key: str = "Tab") -> None:
    """Press Tab until the focus is on what is called that."""
    for _ in range(80):
        await person.does("press", key=key)
        if (await person.does("ask", code=_FOCUS)).strip() == name:
            return
    raise AssertionError(f"Tab never comes to {name}")


async def goes_to_row(person: Person) -> None:
    """Press Tab until the focus is on an event."""
    for _ in range(80):
        await person.does("press", key="Tab")
        if await person.does("ask", code="document.activeElement.matches('.event > button')"):
            return
    raise AssertionError("Tab never comes to an event")


def _demo(person: Person) -> Demo:
    assert person.demo is not None
    return person.demo


def _api(person: Person) -> Any:
    return _demo(person).api
