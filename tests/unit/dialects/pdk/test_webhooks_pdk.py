"""PDK's webhooks: the payload, its secrecy levels, and the subscription routes (PDK-15)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from asgi_client import AsgiClient
from doorstream.auth import hash_secret
from doorstream.dialects.pdk.webhooks import TOPICS, webhook_form
from doorstream.directory import SYSTEM, SiteView
from doorstream.events import Event
from doorstream.events.entities import Client, Site
from doorstream.events.event import encode_kept
from doorstream.gateway import Gateway
from doorstream.server.app import compose
from doorstream.server.services import Services
from doorstream.server.settings import Settings
from doorstream.testing import until
from doorstream.testing.receiver import Receiver
from world import OTHER, SECRET, SITE

SUBSCRIPTIONS = f"/api/organizations/{SITE}/subscriptions"
WINTER = 1_769_853_600_000


def allowed(topic: str = "device.request.allowed", **body: Any) -> Event:
    """Somebody was let in."""
    json = encode_kept(
        id="e1",
        topic=topic,
        site_id=SITE,
        occurred=WINTER,
        body={
            "deviceId": "gate",
            "device": {"id": "gate", "name": "Gate", "connection": None, "port": 1},
            "facilityCode": "12",
            "cardNumber": "345",
            "holderId": "ada",
            "requestFactor": "CARD_ONLY",
            "holder": {"id": "ada", "name": "Ada", "enabled": True, "activeDate": None, "expireDate": None},
        }
        | body,
        cloud_node={"id": "north", "serialNumber": "1234ABC", "name": "North"},
        metadata=None,
    )
    return Event(json, 1, WINTER)


def view(timezone: str) -> SiteView:
    """A site in that time zone."""
    found = SiteView()
    found.site = Site(id=SITE, name="House", created="", timezone=timezone)
    return found


def payload(event: Event, level: int = 0, site: SiteView | None = None) -> Any:
    """What is posted."""
    made = webhook_form(level)(event, site)
    return json.loads(made.body) if made is not None else None


def test_pdk_15_the_payload_is_not_that_of_the_stream() -> None:
    """vendor-apis.md 1.3, row 7: names stand in the metadata, with the offset of the site's time zone."""
    assert payload(allowed(), site=view("America/New_York")) == {
        "id": "e1",
        "topic": "device.request.allowed",
        "cloudNodeId": "north",
        "cloudNodeSN": "1234ABC",
        "body": {
            "deviceId": "gate",
            "facilityCode": "12",
            "cardNumber": "345",
            "holderId": "ada",
            "requestFactor": "CARD_ONLY",
        },
        "metadata": {
            "deviceName": "Gate",
            "holderName": "Ada",
            "occurred": WINTER,
            "offset": -18_000_000,
            "rules": [],
            "source": "board",
            "systemId": SITE,
        },
    }


def test_pdk_15_secrecy_levels_hide() -> None:
    """1 hides PINs and credentials, 2 names too (row 4)."""
    event = allowed(extra={"pin": "1234", "list": [{"cardNumber": "9"}]})
    one, two = payload(event, 1), payload(event, 2)
    for hidden in (one, two):
        assert hidden["body"]["facilityCode"] is None
        assert hidden["body"]["cardNumber"] is None
        assert hidden["body"]["extra"] == {"pin": None, "list": [{"cardNumber": None}]}
        assert hidden["body"]["holderId"] == "ada"
    assert one["metadata"]["holderName"] == "Ada"
    assert (two["metadata"]["holderName"], two["metadata"]["deviceName"]) == (None, None)


@pytest.mark.parametrize("topic", ["x.own", "sync.synced", "device.battery.low", "cloudnode.registered"])
def test_what_pdk_has_no_webhook_for_is_left_out(topic: str) -> None:
    assert topic not in TOPICS
    assert payload(allowed(topic)) is None


@pytest.fixture
async def services(nats_url: str, tmp_path: Path) -> AsyncIterator[Services]:
    """A worker whose webhooks may go to loopback."""
    settings = Settings(data_dir=tmp_path, webhook_allow=("127.0.0.0/8",), webhook_require_https=False)
    async with Services.open(settings, nats_url, Gateway()) as services:
        for site_id in (SITE, OTHER):
            await services.directory.create(Site(id=site_id, name="House", created=services.directory.now()), SYSTEM)
        client = Client(
            id="panel",
            name="panel",
            created="",
            generation="g",
            secret_hash=hash_secret(SECRET),
            scopes=("pdk",),
            sites=(SITE,),
        )
        await services.directory.create(client, SYSTEM)
        yield services


def panel(services: Services) -> AsgiClient:
    """A client with the panel's id token."""
    client = services.directory.clients.get("panel")
    assert client is not None
    token = services.auth.tokens.issue_id_token(client, services.clock())
    return AsgiClient(compose(services), {"authorization": f"Bearer {token}"})


async def test_pdk_15_a_subscription_and_its_signed_delivery(services: Services) -> None:
    async with Receiver() as receiver:
        client = panel(services)
        created = await client.post(
            SUBSCRIPTIONS,
            {
                "name": "Attendance",
                "url": receiver.url,
                "scope": "this",
                "authentication": {"type": "Basic", "user": "me", "password": "word"},
                "events": ["device.request.allowed"],
                "secrecyLevel": 1,
                "sslVerification": True,
                "active": True,
            },
        )
        assert created.status == 201, created.body
        subscription = created.json()
        assert len(bytes.fromhex(subscription["id"])) == 12
        site = services.directory.site(SITE)
        assert site is not None
        event = {"topic": "device.request.allowed", "occurred": WINTER, "body": {"deviceId": "gate", "cardNumber": "1"}}
        await services.ingest.put_values(SITE, site, [event | {"id": "e1"}])
        await until(lambda: receiver.requests)
        request = receiver.requests[0]
        signature = hmac.new(subscription["secret"].encode(), request.body, hashlib.sha1).hexdigest()
        assert request.headers["x-pdk-signature"] == signature
        assert request.headers["authorization"] == "Basic bWU6d29yZA=="
        assert json.loads(request.body)["body"]["cardNumber"] is None
        listed = (await client.get(SUBSCRIPTIONS)).json()
        assert [each["id"] for each in listed] == [subscription["id"]]
        assert listed[0]["secret"] is None
        assert listed[0]["authentication"] == {"type": "Basic", "user": "me", "password": None}
        assert (await client.delete(f"{SUBSCRIPTIONS}/{subscription['id']}")).status == 204
        assert (await client.get(SUBSCRIPTIONS)).json() == []


_BAD: list[dict[str, Any]] = [
    {"url": "http://169.254.169.254/"},
    {"url": "https://a.example", "events": ["no.such"]},
    {"url": "https://a.example", "authentication": {"type": "Digest"}},
    {"url": "https://a.example", "secrecyLevel": 3},
    {"name": "no address"},
]


async def test_pdk_15_bad_subscriptions_are_refused(services: Services) -> None:
    client = panel(services)
    for body in _BAD:
        answer = await client.post(SUBSCRIPTIONS, body)
        assert answer.status == 400, answer.body
        assert answer.json()["error"] == "Bad Request"


async def test_pdk_15_the_bearer_is_the_id_token(services: Services) -> None:
    """Rows 2 and 9."""
    client = services.directory.clients.get("panel")
    assert client is not None
    system_token = services.auth.tokens.issue_system_token(client, SITE, services.clock())
    caller = panel(services)
    assert (await caller.get(SUBSCRIPTIONS, authorization=f"Bearer {system_token}")).status == 401
    assert (await caller.get(f"/api/organizations/{OTHER}/subscriptions")).status == 403
    assert (await caller.get(f"{SUBSCRIPTIONS}/nothing")).status == 404
