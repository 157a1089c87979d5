"""The parts of a worker together."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi_client import AsgiClient
from doorstream.auth import Hashes
from doorstream.directory import SYSTEM
from doorstream.directory.toml import import_file
from doorstream.events.entities import CloudNode, Site
from doorstream.gateway import Gateway
from doorstream.server.app import compose
from doorstream.server.services import Services
from doorstream.server.settings import Settings

SITE = Site(id="0738b8df-329a-4d50-88e7-7a48928c4d6f", name="Harbour House", created="2026-01-31T10:00:00.000Z")
NODE = CloudNode(id="north", site_id=SITE.id, name="North", serial_number="1234ABC", created="2026-01-31T10:00:00.000Z")


async def test_whether_a_cloud_node_is_online_survives_a_restart(nats_url: str, tmp_path: Path) -> None:
    """It follows from the events: from the live ones while running, from the history at the start."""
    settings = Settings(data_dir=tmp_path)
    async with Services.open(settings, nats_url, Gateway()) as services:
        await services.directory.create(SITE, SYSTEM)
        await services.directory.create(NODE, SYSTEM)
        view = services.directory.site(SITE.id)
        assert view is not None
        assert not view.status_of(NODE).connected
        for occurred, topic in ((1000, "connected"), (3000, "disconnected"), (2000, "connected")):
            body = {"serialNumber": "1234ABC"}
            event = {"topic": f"cloudnode.{topic}", "occurred": occurred, "body": body}
            receipts = await services.ingest.put_values(SITE.id, view, [event])
            await services.hub.reached(receipts[0].sequence)
            assert view.status_of(NODE).connected is (occurred == 1000)
        await services.index.current()

    async with Services.open(settings, nats_url, Gateway()) as services:
        again = services.directory.site(SITE.id)
        assert again is not None
        assert again.status_of(NODE) == view.status_of(NODE)
        assert not again.status_of(NODE).connected


async def test_the_example_of_an_import_file_works(nats_url: str, tmp_path: Path) -> None:
    """`examples/building.toml`, which the README names."""
    example = Path(__file__).parents[3] / "examples/building.toml"
    async with Services.open(Settings(data_dir=tmp_path), nats_url, Gateway()) as services:
        hashes = Hashes(services.auth.passwords)
        assert await import_file(services.directory, example, hashes) == 7
        assert await import_file(services.directory, example, hashes) == 0
        assert [site.name for site in services.directory.sites] == ["Workshop"]
        assert services.auth.check_client("reception", "replace this by something else, long and random")


async def test_keys_are_renewed_and_old_ones_known(nats_url: str, tmp_path: Path) -> None:
    """Tokens of a retired key stay genuine for as long as events are kept (design D2)."""
    async with Services.open(Settings(data_dir=tmp_path), nats_url, Gateway()) as services:
        keys, now = services.auth.keys, services.clock()
        await keys.maintain(now, max_age=100, keep=1000)
        assert len(keys.jwks()["keys"]) == 1
        await keys.maintain(now + 200, max_age=100, keep=1000)
        assert len(keys.jwks()["keys"]) == 2
        await keys.maintain(now + 1300, max_age=10_000, keep=1000)
        assert len(keys.jwks()["keys"]) == 1


@pytest.mark.parametrize(("is_ours", "durability"), [(True, "fsync"), (False, "unknown")])
async def test_what_an_acknowledgement_means(nats_url: str, tmp_path: Path, is_ours: bool, durability: str) -> None:
    """The nats-server that we start syncs every event; of somebody else's, alone, nobody knows.

    Of three in a cluster see tests/faults/test_cluster.py.
    """
    settings = Settings(data_dir=tmp_path, nats_url=None if is_ours else nats_url)
    async with Services.open(settings, nats_url, Gateway()) as services:
        answer = await AsgiClient(compose(services)).call("GET", "/readyz")
        assert (answer.status, answer.json()["status"], answer.json()["durability"]) == (200, "ready", durability)
        assert answer.json()["epoch"] == services.log.epoch
