"""Domains, devices, users, accesses and access keys as Parakey names them (vendor-apis.md 3.1).

A domain is a site, a device is a device, a user is a holder. An *access* is a group of holders: what its members may
open. An *access key* is that one holder is in one group. Groups are kept with their members only, so an access exists
while somebody has it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from doorstream.directory import SiteView
from doorstream.events.entities import Device, Group, Holder, Site
from doorstream.events.event import iso_utc

_BETWEEN = "!"  # no character of an id


def domain(site: Site) -> dict[str, Any]:
    """A site."""
    return {"id": site.id, "name": site.name, "timeZone": site.timezone, "createdAt": site.created}


def device(found: Device) -> dict[str, Any]:
    """A lock."""
    return {"id": found.id, "name": found.name, "domain": {"id": found.site_id}, "createdAt": found.created}


def user(found: Holder) -> dict[str, Any]:
    """A person."""
    return {
        "id": found.id,
        "email": found.email,
        "name": found.name,
        "firstName": found.first_name,
        "lastName": found.last_name,
        "enabled": found.enabled,
        "domain": {"id": found.site_id},
        "createdAt": found.created,
    }


def accesses(view: SiteView) -> dict[str, Group]:
    """The groups of a site's holders by their ids."""
    found: dict[str, Group] = {}
    for holder in view.holders:
        for group in holder.groups:
            found.setdefault(group.id, group)
    return dict(sorted(found.items(), key=lambda item: (item[1].name, item[0])))


def access(site_id: str, group: Group) -> dict[str, Any]:
    """A group."""
    return {"id": group.id, "aliasId": None, "name": group.name, "domain": {"id": site_id}}


def access_key(view: SiteView, holder: Holder, group: Group) -> dict[str, Any]:
    """One membership. Its dates are the person's: the directory keeps no others."""
    zone = zone_of(view)
    return {
        "id": access_key_id(holder.id, group.id),
        "access": {"id": group.id, "aliasId": None, "name": group.name},
        "user": {"id": holder.id, "email": holder.email, "name": holder.name},
        "domain": {"id": holder.site_id},
        "startDate": _utc(holder.active_date, zone),
        "expirationDate": _utc(holder.expire_date, zone),
        "aliasTag": None,
    }


def access_key_id(holder_id: str, group_id: str) -> str:
    """The id of a membership."""
    return f"{holder_id}{_BETWEEN}{group_id}"


def parts_of_key(access_key_id: str) -> tuple[str, str]:
    """The ids of holder and group in the id of an access key; of something else, what no holder has."""
    holder_id, _, group_id = access_key_id.partition(_BETWEEN)
    return holder_id, group_id


def zone_of(view: SiteView) -> ZoneInfo:
    """In which zone a site's people live: the directory keeps their dates without one."""
    return ZoneInfo(view.site.timezone if view.site is not None else "UTC")


def local_date(moment: int, zone: ZoneInfo) -> str:
    """Milliseconds since 1970 as the directory keeps dates; raises OverflowError or ValueError beyond the calendar."""
    return datetime.fromtimestamp(moment // 1000, zone).replace(tzinfo=None).isoformat()


def _utc(date: str | None, zone: ZoneInfo) -> str | None:
    if date is None:
        return None
    return iso_utc(int(datetime.fromisoformat(date).replace(tzinfo=zone).timestamp()) * 1000)
