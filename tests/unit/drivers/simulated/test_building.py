"""The simulated building: as large as promised, consistent, and the same for the same seed."""

from uuid import UUID

import pytest

from doorstream.drivers.simulated import Building
from doorstream.drivers.simulated.blueprint import MINUTES_A_DAY, Hours

MONDAY_NOON = 12 * 60
SATURDAY_NOON = 5 * MINUTES_A_DAY + 12 * 60


@pytest.fixture(scope="module")
def building():
    """Return some building."""
    return Building.generate(3)


def find(things, name):
    """Return the thing of this name."""
    return next(thing for thing in things if thing.name == name)


def member(building, group):
    """Return an ordinary member of a group."""
    return next(
        holder
        for holder in building.holders
        if building.groups[holder.group_id].name == group and holder.enabled and holder.expire_date is None
    )


def test_size(building):
    """12 doors on 2 cloud nodes, 40 people; the main entrance is the first door."""
    assert len(building.cloud_nodes) == 2
    assert len(building.devices) == 12
    assert len(building.holders) == 40
    assert building.devices[0].name == "Main entrance"
    assert {device.cloud_node_id for device in building.devices} == {node.id for node in building.cloud_nodes}


def test_every_id_is_a_uuid_and_none_is_there_twice(building):
    """Ids of all kinds of things live in one name space of the directory."""
    credentials = [credential for holder in building.holders for credential in holder.credentials]
    things = [building.site, *building.cloud_nodes, *building.connections, *building.devices, *building.holders]
    ids = [thing.id for thing in (*things, *credentials, *building.groups.values())]
    assert [str(UUID(each)) for each in ids] == ids
    assert len(set(ids)) == len(ids)


def test_references_hold(building):
    """A device is on a connection of its own cloud node, alone on its port; holders are in groups that exist."""
    connections = {connection.id: connection for connection in building.connections}
    for device in building.devices:
        assert connections[device.connection_id].cloud_node_id == device.cloud_node_id
    assert len({(device.connection_id, device.port) for device in building.devices}) == 12
    assert {holder.group_id for holder in building.holders} == set(building.groups)


def test_people_can_be_told_apart(building):
    """Names, addresses, PINs, serial and card numbers are unique."""
    numbers = [
        (each.facility_code, each.credential_number) for holder in building.holders for each in holder.credentials
    ]
    assert len(set(numbers)) == len(numbers) > 40
    for field in ("name", "email", "pin"):
        assert len({getattr(holder, field) for holder in building.holders}) == 40
    assert len({node.serial_number for node in building.cloud_nodes}) == 2


def test_the_same_seed_gives_the_same_building(building):
    """Ids, names and numbers; a seed is the same as text or number."""
    assert Building.generate(3) == building == Building.generate("3")
    # Written down once: ids must not change from one release to the next, as demos' scripts rely on them.
    assert building.site.id == "4526d795-4e4f-52c0-92c7-d6c7a19672bf"
    assert building.devices[0].id == "8d6f1fe1-59ff-51c0-94de-d1f4f34c68ef"


def test_another_seed_gives_another_building(building):
    """Nothing that identifies is shared between buildings."""
    other = Building.generate(4)
    assert {device.id for device in other.devices}.isdisjoint(device.id for device in building.devices)
    assert other.site.id != building.site.id
    assert [holder.name for holder in other.holders] != [holder.name for holder in building.holders]


def test_rights_make_sense(building):
    """The office by day, not at night or at weekends; the server room for IT; everything for security."""
    office, servers = find(building.devices, "Office first floor"), find(building.devices, "Server room")
    staff, it, guard = (member(building, group) for group in ("Staff", "IT", "Security"))
    assert building.permits(staff, office, MONDAY_NOON)
    assert not building.permits(staff, office, MONDAY_NOON + MINUTES_A_DAY / 2)
    assert not building.permits(staff, office, SATURDAY_NOON)
    assert not building.permits(staff, servers, MONDAY_NOON)
    assert building.permits(it, servers, SATURDAY_NOON)
    assert all(building.permits(guard, device, 0) for device in building.devices)


def test_who_left_or_expired_may_do_nothing(building):
    """There is exactly one of each, so that denials have more than one reason."""
    barred = [holder for holder in building.holders if not holder.enabled or holder.expire_date]
    assert len(barred) == 2
    assert not any(building.permits(holder, device, MONDAY_NOON) for holder in barred for device in building.devices)


def test_hours_repeat_every_week():
    """Until is not included; a second week is like the first."""
    hours = Hours(60, 120, workdays_only=True)
    week = 7 * MINUTES_A_DAY
    assert [hours.contains(week + minute) for minute in (59, 60, 119.9, 120)] == [False, True, True, False]
    assert not hours.contains(5 * MINUTES_A_DAY + 60)
