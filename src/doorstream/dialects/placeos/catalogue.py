"""Which systems and zones there are, and which module is where.

Each site is a zone and a system without anybody's doing (D16): ``zone-<site id>`` and ``sys-<site id>``, which has all
modules of the site. They are stored when somebody changes them. Further ones are created by people and stored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from doorstream.directory import Directory
from doorstream.drivers import Drivers, ModuleView
from doorstream.events.entities import Entity, Site, System, Zone

SYSTEM = "sys-"
ZONE = "zone-"
MODULE = "mod-"


@dataclass(frozen=True, slots=True)
class Slug:
    """The part of a path that names a module: ``Door_2``; the index may be left out (vendor-apis.md 2.4, fact 11)."""

    name: str
    index: int

    @classmethod
    def parse(cls, text: str) -> Slug:
        """Take it apart; what has no number at its end is a name."""
        name, separator, index = text.rpartition("_")
        if separator and name and index.isascii() and index.isdigit():
            return cls(name, int(index[:9]))
        return cls(text, 1)


class Catalogue:
    """The systems and zones of all sites."""

    def __init__(self, directory: Directory, drivers: Drivers) -> None:
        self._directory = directory
        self._drivers = drivers
        self._site_of: dict[str, str] = {}
        """The sites of stored systems and zones, by id."""
        self._on_change: list[Callable[[Collection[str] | None], None]] = []
        self._known: dict[str, tuple[str, str]] = {}
        """Site and name of the modules that were seen."""
        self._places: dict[str, dict[str, list[str]]] = {}
        """Of each system that was asked for: the ids of its modules, by name."""
        self._ids: dict[str, tuple[str, ...]] = {}
        """Of each site that was asked for: the ids of its modules, in order."""
        for site in directory.sites:
            view = directory.site(site.id)
            for place in (*view.systems, *view.zones) if view is not None else ():
                self._site_of[place.id] = site.id
            self._known |= {module.id: (site.id, module.name) for module in drivers.modules(site.id)}
        directory.on_change(self._changed)
        drivers.on_change(self._module_changed)

    def on_change(self, callback: Callable[[Collection[str] | None], None]) -> None:
        """Have ``callback(systems)`` called when other modules may be in some systems (None: in any)."""
        self._on_change.append(callback)

    def sites(self) -> list[str]:
        """The ids of all sites."""
        return [site.id for site in self._directory.sites]

    def site_of(self, system_id: str) -> str | None:
        """The site of a system; None where there is no such system."""
        site_id = self._site_of.get(system_id)
        if site_id is None and system_id.startswith(SYSTEM):
            site_id = system_id[len(SYSTEM) :]
        return site_id if site_id is not None and self._directory.sites.get(site_id) is not None else None

    def system(self, system_id: str) -> System | None:
        """One system, or None."""
        found = self._bare(system_id)
        return None if found is None else self.whole(found)

    def zone(self, zone_id: str) -> Zone | None:
        """One zone, or None."""
        site_id = self._site_of.get(zone_id) or zone_id.removeprefix(ZONE)
        view = self._directory.site(site_id)
        if view is None or view.site is None:
            return None
        stored = view.zones.get(zone_id)
        return stored or (implicit_zone(view.site) if zone_id == ZONE + site_id else None)

    def systems(self, site_ids: Iterable[str]) -> Iterator[System]:
        """The systems of some sites. Those that stand for their site do not name its modules yet: see ``whole``."""
        for site_id in site_ids:
            view = self._directory.site(site_id)
            if view is not None and view.site is not None:
                yield view.systems.get(SYSTEM + site_id) or implicit_system(view.site)
                yield from (system for system in view.systems if not is_of_site(system))

    def whole(self, system: System) -> System:
        """A system with its modules: one that stands for its site has all of the site, whatever is stored."""
        if not is_of_site(system):
            return system
        ids = self._ids.get(system.site_id)
        if ids is None:
            ids = self._ids[system.site_id] = tuple(module.id for module in self._drivers.modules(system.site_id))
        return replace(system, modules=ids)

    def zones(self, site_ids: Iterable[str]) -> Iterator[Zone]:
        """The zones of some sites."""
        for site_id in site_ids:
            view = self._directory.site(site_id)
            if view is not None and view.site is not None:
                yield view.zones.get(ZONE + site_id) or implicit_zone(view.site)
                yield from (zone for zone in view.zones if not is_of_site(zone))

    def modules(self, system: System) -> list[ModuleView]:
        """The modules of a system that exist, in order."""
        found = (self._drivers.module(module_id) for module_id in system.modules)
        return [module for module in found if module is not None]

    def module_at(self, system_id: str, name: str, index: int) -> str | None:
        """The id of the module at that place."""
        names = self._places.get(system_id)
        if names is None:
            system = self.system(system_id)
            if system is None:
                return None
            names = self._places[system_id] = {}
            for module in self.modules(system):
                names.setdefault(module.name, []).append(module.id)
        ids = names.get(name, ())
        return ids[index - 1] if 1 <= index <= len(ids) else None

    def has_module(self, system_id: str, module_id: str) -> bool:
        """Whether the system has that module."""
        system, module = self._bare(system_id), self._drivers.module(module_id)
        if system is None or module is None:
            return False
        return module.site_id == system.site_id if is_of_site(system) else module_id in system.modules

    def _bare(self, system_id: str) -> System | None:
        """One system as ``systems`` has them, or None."""
        site_id = self._site_of.get(system_id) or system_id.removeprefix(SYSTEM)
        view = self._directory.site(site_id)
        if view is None or view.site is None:
            return None
        stored = view.systems.get(system_id)
        return implicit_system(view.site) if stored is None and system_id == SYSTEM + site_id else stored

    def _changed(self, kind: str, old: Entity | None, new: Entity | None) -> None:
        entity = new or old
        if isinstance(entity, System | Zone):
            if new is not None:
                self._site_of[entity.id] = entity.site_id
            else:
                self._site_of.pop(entity.id, None)
        if isinstance(entity, System):
            self._tell((entity.id,))
        elif kind == "site":
            self._tell(None)

    def _module_changed(self, module_id: str) -> None:
        """Most changes of a module are no others' business: where it is depends on its site and name alone."""
        module = self._drivers.module(module_id)
        known = self._known.pop(module_id, None)
        if module is not None:
            self._known[module_id] = (module.site_id, module.name)
            if known == self._known[module_id]:
                return
        for site_id in {place[0] for place in (known, self._known.get(module_id)) if place is not None}:
            self._ids.pop(site_id, None)
            view = self._directory.site(site_id)
            others = [system.id for system in view.systems] if view is not None else []
            self._tell({SYSTEM + site_id, *others})

    def _tell(self, systems: Collection[str] | None) -> None:
        if systems is None:
            self._places.clear()
            self._ids.clear()
        else:
            for system_id in systems:
                self._places.pop(system_id, None)
        for callback in self._on_change:
            callback(systems)


def is_of_site(place: System | Zone) -> bool:
    """Whether it stands for its site, and so cannot be deleted."""
    return place.id in (SYSTEM + place.site_id, ZONE + place.site_id)


def implicit_system(site: Site) -> System:
    """The system of a site as it is until somebody changes it, without its modules."""
    return System(
        id=SYSTEM + site.id,
        site_id=site.id,
        name=site.name,
        description=site.description or "",
        timezone=site.timezone,
        zones=(ZONE + site.id,),
        version=0,
        created=site.created,
        updated=site.created,
    )


def implicit_zone(site: Site) -> Zone:
    """The zone of a site as it is until somebody changes it."""
    return Zone(
        id=ZONE + site.id,
        site_id=site.id,
        name=site.name,
        description=site.description or "",
        timezone=site.timezone,
        tags=("building",),
        version=0,
        created=site.created,
        updated=site.created,
    )
