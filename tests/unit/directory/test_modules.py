"""Modules in the directory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from doorstream.directory import SYSTEM, Directory, InvalidEntity
from doorstream.events.entities import CloudNode, Device, Module, Site
from doorstream.testing import SITE


def module(**more):
    """A module of the site."""
    return Module(
        **{
            "id": "mod-1",
            "site_id": SITE,
            "name": "Door",
            "driver": "simulated_door",
            "created": "2026-01-31T10:00:00.000Z",
            "updated": "2026-01-31T10:00:00.000Z",
            **more,
        }
    )


@pytest.fixture
async def directory(connection):
    """A site with a cloud node and a device."""
    directory = Directory(connection)
    await directory.open()
    now = directory.now()
    await directory.create(Site(id=SITE, name="Site", created=now), SYSTEM)
    await directory.create(CloudNode(id="node", site_id=SITE, name="Node", created=now), SYSTEM)
    await directory.create(Device(id="door", site_id=SITE, name="Door", cloud_node_id="node", created=now), SYSTEM)
    yield directory
    await directory.close()


async def test_a_module_is_kept(connection, directory):
    """With its settings as they are."""
    made = await directory.create(module(settings={"a": [1, {"b": None}]}, device_id="door"), SYSTEM)
    again = Directory(connection)
    await again.open()
    assert again.site(SITE).modules.get("mod-1") == made
    await again.close()


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"name": "my door"}, "name"),
        ({"name": "_TRIGGER_"}, "name"),
        ({"driver": ""}, "driver"),
        ({"device_id": "nowhere"}, "device_id"),
        ({"settings": {"a": "x" * 100_001}}, "settings"),
        ({"notes": "x" * 2001}, "notes"),
        ({"id": "a b"}, "id"),
    ],
)
async def test_what_cannot_be_kept(directory, values, where):
    """The field is named."""
    with pytest.raises(InvalidEntity) as refused:
        await directory.create(module(**values), SYSTEM)
    assert refused.value.where == where


async def test_a_module_goes_with_its_device_and_its_site(directory):
    """However the device goes."""
    view = directory.site(SITE)
    await directory.create(module(device_id="door"), SYSTEM)
    await directory.create(module(id="mod-2", name="Other"), SYSTEM)
    await directory.delete(view.devices.get("door"), SYSTEM)
    assert [each.id for each in view.modules] == ["mod-2"]
    await directory.change(view.modules.get("mod-2"), lambda old: replace(old, running=False), SYSTEM)
    assert not view.modules.get("mod-2").running
    await directory.delete(view.site, SYSTEM)
    assert directory.site(SITE) is None
    assert view.is_empty()


async def test_a_module_goes_with_its_devices_cloud_node(directory):
    """Two steps away."""
    view = directory.site(SITE)
    await directory.create(module(device_id="door"), SYSTEM)
    await directory.delete(view.cloud_nodes.get("node"), SYSTEM)
    assert len(view.modules) == 0
