"""What must run once, on two nodes that stand on one NATS."""

from __future__ import annotations

import json

import pytest
from faults_support import event, until

from doorstream.testing.nats import nats_server
from doorstream.testing.receiver import Receiver
from doorstream.testing.server import running_demo

SOON = 20.0


@pytest.mark.timeout(120)
async def test_webhooks_are_delivered_by_the_node_in_the_background_only() -> None:
    """Whichever node the event, and the webhook, were given to."""
    async with (
        nats_server() as nats,
        running_demo(nats_url=nats.url) as one,
        running_demo(nats_url=nats.url, background=False) as two,
        Receiver() as receiver,
    ):
        body = {"name": "once", "url": receiver.url, "topics": ["x.fault.test"]}
        await two.api.call("POST", f"/api/sites/{two.site_id}/webhooks", json=body)
        for number, node in enumerate((one, two, one, two)):
            await node.api.ingest(node.site_id, event(f"once-{number}", "x.fault.test"))
        await one.api.ingest(one.site_id, event("last", "x.fault.test"))

        def ids() -> list[str]:
            return [json.loads(request.body)["id"] for request in receiver.requests]

        wanted = ["last", *(f"once-{number}" for number in range(4))]
        await until(lambda: set(ids()) >= set(wanted), SOON, lambda: f"{ids()} {one.errors}")  # in any order
        assert sorted(ids()) == wanted
