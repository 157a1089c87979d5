"""Which modules there are, as a directory changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from doorstream.directory import Directory, SiteView
from doorstream.directory.mirror import OnChange
from doorstream.drivers.follow import Place
from doorstream.drivers.plan import ModulePlan
from doorstream.drivers.plans import Plans
from doorstream.events.entities import Module, Site
from doorstream.testing import OTHER_SITE, SITE

CREATED = "2026-01-31T10:00:00.000Z"


class Directories:
    """As much of a directory as plans need: sites whose modules are put in and taken out by hand."""

    def __init__(self) -> None:
        self.views: dict[str, SiteView] = {}
        self.told: list[OnChange] = []

    @property
    def sites(self) -> list[Site]:
        """All sites."""
        return [view.site for view in self.views.values() if view.site is not None]

    def site(self, site_id: str) -> SiteView | None:
        """One site with its modules."""
        return self.views.get(site_id)

    def on_change(self, callback: OnChange) -> None:
        """Have somebody told."""
        self.told.append(callback)

    def build(self, site_id: str) -> None:
        """Make a site."""
        view = self.views[site_id] = SiteView()
        view.site = Site(id=site_id, created=CREATED, name=site_id)
        self._tell("site", None, view.site)

    def raze(self, site_id: str) -> None:
        """Take a site away with all that is in it."""
        self._tell("site", self.views.pop(site_id).site, None)

    def put(self, module: Module) -> None:
        """Add or change a module."""
        self.views[module.site_id].put(module)
        self._tell("module", None, module)

    def take(self, module: Module) -> None:
        """Take a module away."""
        self.views[module.site_id].remove(module)
        self._tell("module", module, None)

    def _tell(self, kind: str, before: Any, after: Any) -> None:
        for callback in self.told:
            callback(kind, before, after)


def lamp(module_id: str = "lamp-1", site_id: str = SITE, name: str = "Lamp") -> Module:
    return Module(id=module_id, site_id=site_id, name=name, driver="lamp", created=CREATED, updated=CREATED)


def opened(directory: Directories) -> tuple[Plans, list[dict[str, str | None]]]:
    """Plans that have looked, and what was told of lamps: the site of each, None for one that went."""
    told: list[dict[str, str | None]] = []

    def planned(site_id: str, changed: Mapping[str, ModulePlan | None]) -> None:
        told.append({key: site_id if plan else None for key, plan in changed.items() if key.startswith("lamp")})

    plans = Plans(cast("Directory", directory), planned)
    plans.open()
    return plans, told


async def test_many_changes_of_a_turn_are_one_plan() -> None:
    directory = Directories()
    directory.build(SITE)
    plans, told = opened(directory)
    for number in (1, 2, 3):
        directory.put(lamp(f"lamp-{number}"))
    assert plans.get("lamp-1") is None, "it has not looked"
    await asyncio.sleep(0)
    assert told == [{}, {"lamp-1": SITE, "lamp-2": SITE, "lamp-3": SITE}]
    assert plans.at(Place(SITE, "Lamp", 2)) == "lamp-2"
    assert plans.place_of("lamp-3") == Place(SITE, "Lamp", 3)
    directory.take(lamp("lamp-1"))
    plans.look()
    assert plans.place_of("lamp-3") == Place(SITE, "Lamp", 2)
    assert plans.at(Place(SITE, "Lamp", 3)) is None


async def test_an_id_that_another_site_has_is_not_taken_from_it_until_it_goes() -> None:
    directory = Directories()
    for site_id in (SITE, OTHER_SITE):
        directory.build(site_id)
    plans, told = opened(directory)
    directory.put(lamp())
    plans.look()
    directory.put(lamp(site_id=OTHER_SITE))
    plans.look()
    assert plans.place_of("lamp-1") == Place(SITE, "Lamp", 1)
    assert "lamp-1" not in [plan.entity.id for plan in plans.of(OTHER_SITE)]
    directory.take(lamp())
    plans.look()
    assert plans.place_of("lamp-1") == Place(OTHER_SITE, "Lamp", 1)
    assert told[-2:] == [{"lamp-1": None}, {"lamp-1": OTHER_SITE}]


async def test_a_site_that_goes_takes_its_modules_along() -> None:
    directory = Directories()
    directory.build(SITE)
    directory.put(lamp())
    plans, told = opened(directory)
    assert told == [{"lamp-1": SITE}]
    directory.raze(SITE)
    plans.look()
    assert told[1:] == [{"lamp-1": None}]
    assert (plans.everything(), plans.of(SITE)) == ((), ())


async def test_nothing_is_planned_any_more_once_it_is_closed() -> None:
    directory = Directories()
    directory.build(SITE)
    plans, told = opened(directory)
    plans.close()
    directory.put(lamp())
    plans.look()
    await asyncio.sleep(0)
    assert told == [{}]
    assert plans.get("lamp-1") is None
