"""Sites, members, locks and users as Salto KS's REST shows them (vendor-apis.md 4.2, fact 8, and 4.5, fact 7).

What doorstream does not keep is null.
"""

from __future__ import annotations

from typing import Any

from doorstream.dialects.salto.rights import Member
from doorstream.directory import SiteView
from doorstream.events.entities import Device, Holder, Site, User


def site(found: Site) -> dict[str, Any]:
    """A site; its customer reference is what people call it."""
    return {
        "id": found.id,
        "customer_reference": found.name,
        "description": found.description,
        "time_zone": found.timezone,
        "locale": found.locale,
        "created": found.created,
    }


def me(caller: Member) -> dict[str, Any]:
    """The caller at a site, with the role there."""
    holder = caller.view.holders.get(caller.holder_id) if caller.holder_id is not None else None
    return _member(caller.user, holder, caller.holder_id, [caller.role])


def user(found: Holder, account: User | None) -> dict[str, Any]:
    """A person of a site; ``account`` with which they sign in, if they do."""
    roles = [account.roles[found.site_id]] if account is not None and found.site_id in account.roles else []
    return _member(account, found, found.id, roles)


def lock(view: SiteView, device: Device) -> dict[str, Any]:
    """A lock. Whether it is locked at this moment is nothing that the directory knows: its state is ``uncertain``."""
    node = view.cloud_nodes.get(device.cloud_node_id) if device.cloud_node_id is not None else None
    return {
        "id": device.id,
        "customer_reference": device.name,
        "lock_type": device.type,
        "locked_state": "uncertain",
        "online": node is not None and view.status_of(node).connected,
        "battery_level": None,
        "mac_address": None,
        "iq_id": device.cloud_node_id,
        "iq_link_state": "attached" if node is not None else "detached",
        "left_open_alarm": device.prop_alarm,
        "intrusion_alarm": device.forced_alarm,
        "privacy_mode": True,
    }


def _member(account: User | None, holder: Holder | None, holder_id: str | None, roles: list[str]) -> dict[str, Any]:
    """Three ids for one person: of the member of the site, of the person, and (in tokens) of the account."""
    return {
        "id": account.id if account is not None else holder_id,
        "user": {
            "id": holder_id,
            "first_name": holder.first_name if holder is not None else None,
            "last_name": holder.last_name if holder is not None else None,
            "email": holder.email if holder is not None else None,
            "alias": None,
        },
        "blocked": not holder.enabled if holder is not None else False,
        "roles": [{"code": role} for role in roles],
    }
