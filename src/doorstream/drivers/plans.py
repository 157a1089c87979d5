"""Which modules there are in all sites: kept as the directory changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from doorstream.directory import Directory
from doorstream.drivers.follow import Place
from doorstream.drivers.plan import ModulePlan, modules_of
from doorstream.events.entities import Entity

_KINDS = frozenset({"site", "device", "module"})

OnPlanned = Callable[[str, Mapping[str, ModulePlan | None]], None]
"""Takes a site that was planned anew and, by their ids, the modules that are other than before; None for those gone."""


class Plans:
    """The modules of all sites. It looks at a changed directory at the end of the turn of the loop, or when told to."""

    def __init__(self, directory: Directory, on_planned: OnPlanned) -> None:
        self._directory = directory
        self._on_planned = on_planned
        self._by_site: dict[str, list[ModulePlan]] = {}
        self._by_id: dict[str, ModulePlan] = {}
        self._by_place: dict[Place, str] = {}
        self._refused: dict[str, set[str]] = {}
        """Sites that have a module with an id that another site had first: they may have it when that goes."""
        self._stale: set[str] = set()
        self._refresh: asyncio.Handle | None = None
        self._is_open = False

    def open(self) -> None:
        """Plan every site, and follow the directory."""
        self._directory.on_change(self._directory_changed)
        self._is_open = True
        for site in self._directory.sites:
            self._plan(site.id)

    def close(self) -> None:
        """Look no more: what is planned stays."""
        self._is_open = False

    def of(self, site_id: str) -> Sequence[ModulePlan]:
        """The modules of a site, by name and index; none where there is no site."""
        return self._by_site.get(site_id, ())

    def get(self, module_id: str) -> ModulePlan | None:
        """One module, or None."""
        return self._by_id.get(module_id)

    def everything(self) -> Sequence[ModulePlan]:
        """All modules of all sites at this moment."""
        return tuple(self._by_id.values())

    def at(self, place: Place) -> str | None:
        """The id of the module that has that place."""
        return self._by_place.get(place)

    def place_of(self, module_id: str) -> Place | None:
        """The place of a module."""
        plan = self.get(module_id)
        return None if plan is None else Place(plan.entity.site_id, plan.entity.name, plan.index)

    def look(self) -> None:
        """Plan anew now what changed in the directory, for an answer that must be of this moment."""
        if self._refresh is not None:
            self._refresh.cancel()
            self._refresh = None
        if self._stale and self._is_open:
            stale, self._stale = self._stale, set()
            for site_id in stale:
                self._plan(site_id)

    def _directory_changed(self, kind: str, before: Entity | None, after: Entity | None) -> None:
        if kind not in _KINDS:
            return
        entity: Any = after if after is not None else before
        self._stale.add(entity.id if kind == "site" else entity.site_id)
        if self._refresh is None:  # many changes come within one turn of the loop
            self._refresh = asyncio.get_running_loop().call_soon(self.look)

    def _plan(self, site_id: str) -> None:
        view = self._directory.site(site_id)
        plans = [plan for plan in modules_of(view) if self._may_have(site_id, plan)] if view is not None else []
        freed: set[str] = set()
        before = {plan.entity.id: plan for plan in self._by_site.get(site_id, ())}
        after = {plan.entity.id: plan for plan in plans}
        for plan in before.values():
            self._by_place.pop(Place(site_id, plan.entity.name, plan.index), None)
        for module_id in before.keys() - after.keys():
            del self._by_id[module_id]
            freed |= self._refused.pop(module_id, set())
        for module_id, plan in after.items():
            self._by_id[module_id] = plan
            self._by_place[Place(site_id, plan.entity.name, plan.index)] = module_id
        self._by_site[site_id] = plans
        if not plans:
            del self._by_site[site_id]
        ids = [module_id for module_id in {**before, **after} if before.get(module_id) != after.get(module_id)]
        self._on_planned(site_id, {module_id: after.get(module_id) for module_id in ids})
        for other in freed:
            self._plan(other)

    def _may_have(self, site_id: str, plan: ModulePlan) -> bool:
        """Ids of modules are unique over all sites: the first site that had one keeps it."""
        other = self._by_id.get(plan.entity.id)
        if other is None or other.entity.site_id == site_id:
            return True
        self._refused.setdefault(plan.entity.id, set()).add(site_id)
        return False
