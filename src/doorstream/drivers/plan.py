"""Which modules a site has: those that people stored, and those that it has without configuration.

Implicit are: one ``Door`` for each device, one ``AccessControl``, and ``Bookings`` where the site is simulated. Their
ids follow from the site and the device, so that they stay the same. A stored module with the id of an implicit one is
that module, changed by somebody; any stored module with a device takes the place of the device's implicit one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from doorstream.directory import SiteView
from doorstream.drivers.driver import ModuleInfo
from doorstream.events.entities import Device, Module, Site

DOOR = "Door"
ACCESS_CONTROL = "AccessControl"
BOOKINGS = "Bookings"

_ID_LENGTH = 20


@dataclass(frozen=True, slots=True)
class ModulePlan:
    """A module that is to be: ``index`` is its place (from 1) among those of its name, ``title`` is for people."""

    entity: Module
    index: int
    title: str
    implicit: bool
    simulated: bool
    """Whether its site is simulated. A module that runs is begun anew when that changes."""

    @property
    def info(self) -> ModuleInfo:
        """What the driver object is told."""
        module = self.entity
        return ModuleInfo(module.id, module.site_id, module.name, self.index, module.driver, module.device_id)


def implicit_id(site_id: str, name: str, device_id: str = "") -> str:
    """The id of an implicit module: always the same for the same place."""
    place = f"{site_id}/{name}/{device_id}".encode()
    return f"mod-{hashlib.sha256(place).hexdigest()[:_ID_LENGTH]}"


def modules_of(view: SiteView) -> list[ModulePlan]:
    """The modules of a site by name and index. The order within a name is that in which devices or modules came."""
    site = view.site
    if site is None:
        return []
    stored = {module.id: module for module in view.modules}
    replaced = {module.device_id for module in stored.values() if module.device_id is not None}
    found = [(module, False) for module in stored.values()]
    found += [
        (module, True)
        for module in _implicit(site, view)
        if module.id not in stored and (module.device_id is None or module.device_id not in replaced)
    ]
    found.sort(key=lambda each: (each[0].name, _age(view, each[0])))
    plans: list[ModulePlan] = []
    for module, implicit in found:
        same = bool(plans) and plans[-1].entity.name == module.name
        index = plans[-1].index + 1 if same else 1
        plans.append(ModulePlan(module, index, _title(view, module), implicit, site.simulated))
    return plans


def _implicit(site: Site, view: SiteView) -> Iterator[Module]:
    door = "simulated_door" if site.simulated else "door"
    for device in view.devices:
        yield _module(site, DOOR, door, device)
    yield _module(site, ACCESS_CONTROL, "access_control")
    if site.simulated:
        yield _module(site, BOOKINGS, "bookings")


def _module(site: Site, name: str, driver: str, device: Device | None = None) -> Module:
    device_id = device.id if device is not None else None
    created = device.created if device is not None else site.created
    return Module(
        id=implicit_id(site.id, name, device_id or ""),
        site_id=site.id,
        name=name,
        driver=driver,
        device_id=device_id,
        created=created,
        updated=created,
    )


def _age(view: SiteView, module: Module) -> tuple[str, str]:
    device = view.devices.get(module.device_id) if module.device_id is not None else None
    return (device.created, device.id) if device is not None else (module.created, module.id)


def _title(view: SiteView, module: Module) -> str:
    device = view.devices.get(module.device_id) if module.device_id is not None else None
    return device.name if device is not None else module.name
