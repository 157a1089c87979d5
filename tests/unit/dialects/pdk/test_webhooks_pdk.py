"""PDK's webhooks: the payload, its secrecy levels, and the subscription routes (PDK-15)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asgi_client import AsgiClient
from doorstream.auth import api_key, hash_secret
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
PATIENCE = 60.0


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


class Clock:
    """The true time, of which some may be skipped (seconds)."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def __call__(self) -> float:
        return time.time() + self.skipped


@pytest.fixture
def clock() -> Clock:
    """The clock of the worker."""
    return Clock()


@pytest.fixture
async def services(nats_url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Services]:
    """A worker whose webhooks may go to loopback."""
    settings = Settings(data_dir=tmp_path, webhook_allow=("127.0.0.0/8",), webhook_require_https=False)
    async with Services.open(settings, nats_url, Gateway(), clock=clock) as services:
        for site_id in (SITE, OTHER):
            await services.directory.create(Site(id=site_id, name="House", created=services.directory.now()), SYSTEM)
        for name in ("pdk", "admin"):
            client = Client(
                id="panel" if name == "pdk" else "ops",
                name=name,
                created="",
                generation="g",
                secret_hash=hash_secret(SECRET),
                scopes=(name,),
                sites=(SITE,),
            )
            await services.directory.create(client, SYSTEM)
        yield services


class House:
    """The worker's application, and what happens in the building."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.app = compose(services)

    def panel(self) -> AsgiClient:
        """A client with the panel's id token."""
        client = self.services.directory.clients.get("panel")
        assert client is not None
        token = self.services.auth.tokens.issue_id_token(client, self.services.clock())
        return AsgiClient(self.app, {"authorization": f"Bearer {token}"})

    def ops(self) -> AsgiClient:
        """A client of doorstream's own API."""
        return AsgiClient(self.app, {"x-api-key": api_key("ops", SECRET)})

    async def subscribe(self, receiver: Receiver, **fields: Any) -> str:
        """A subscription to everything at a receiver; its id."""
        created = await self.panel().post(SUBSCRIPTIONS, {"url": receiver.url} | fields)
        assert created.status == 201, created.body
        subscription: dict[str, Any] = created.json()
        assert {name: subscription[name] for name in fields} == fields
        return str(subscription["id"])

    async def shown(self, subscription: str) -> Any:
        """A subscription as PDK's clients see it."""
        return (await self.panel().get(f"{SUBSCRIPTIONS}/{subscription}")).json()

    async def happen(self, *ids: str) -> None:
        """Somebody is let in, each time."""
        site = self.services.directory.site(SITE)
        assert site is not None
        event = {"topic": "device.request.allowed", "occurred": WINTER, "body": {"deviceId": "gate"}}
        await self.services.ingest.put_values(SITE, site, [event | {"id": each} for each in ids])

    async def ended(self, subscription: str) -> None:
        """Wait until nobody delivers for it any more."""
        engine = self.services.webhooks.engine
        assert engine is not None
        await until(lambda: subscription not in engine.couriers, PATIENCE)


@pytest.fixture
def house(services: Services) -> House:
    """The worker's application."""
    return House(services)


async def test_pdk_15_a_subscription_and_its_signed_delivery(services: Services, house: House) -> None:
    async with Receiver() as receiver:
        client = house.panel()
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
        await until(lambda: receiver.requests, PATIENCE)
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


async def test_pdk_15_bad_subscriptions_are_refused(house: House) -> None:
    client = house.panel()
    for body in _BAD:
        answer = await client.post(SUBSCRIPTIONS, body)
        assert answer.status == 400, answer.body
        assert answer.json()["error"] == "Bad Request"


async def test_pdk_15_the_bearer_is_the_id_token(services: Services, house: House) -> None:
    """Rows 2 and 9."""
    client = services.directory.clients.get("panel")
    assert client is not None
    system_token = services.auth.tokens.issue_system_token(client, SITE, services.clock())
    caller = house.panel()
    assert (await caller.get(SUBSCRIPTIONS, authorization=f"Bearer {system_token}")).status == 401
    assert (await caller.get(f"/api/organizations/{OTHER}/subscriptions")).status == 403
    assert (await caller.get(f"{SUBSCRIPTIONS}/nothing")).status == 404


def ids(receiver: Receiver) -> list[str]:
    """The events that came, in no order."""
    return sorted(json.loads(request.body)["id"] for request in receiver.requests)


async def test_pdk_15_nothing_is_delivered_once_it_has_expired(house: House, clock: Clock) -> None:
    """Neither what happens after ``expiresAt`` nor what falls due by then; others go on."""
    expires_at = datetime.fromtimestamp(clock() + 3600, UTC).isoformat()
    async with Receiver() as receiver, Receiver() as other:
        subscription = await house.subscribe(receiver, expiresAt=expires_at)
        await house.subscribe(other)
        await house.happen("before")
        await until(lambda: ids(receiver) == ids(other) == ["before"], PATIENCE)
        delivered = f"/api/sites/{SITE}/webhooks/{subscription}/deliveries?state=delivered"
        async with asyncio.timeout(PATIENCE):
            while not (await house.ops().get(delivered)).json()["items"]:  # noqa: ASYNC110 - the ledger tells nobody
                await asyncio.sleep(0.01)
        clock.skipped = 3601  # and no timer has run: the clock is looked at before every event
        await house.happen("after")
        await house.ended(subscription)
        again = f"/api/sites/{SITE}/webhooks/{subscription}/replay"
        said = await house.ops().post(again, {"state": "all", "from": 0})
        assert (said.status, said.json()["deliveries"]) == (202, 1)
        await until(lambda: ids(other) == ["after", "before"], PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while not await house.services.webhooks.ledger.dues(subscription, 0, 1):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        await house.happen("later")
        await until(lambda: ids(other) == ["after", "before", "later"], PATIENCE)
        assert ids(receiver) == ["before"]
        assert (await house.shown(subscription))["expiresAt"] == expires_at


async def test_pdk_15_one_that_has_expired_before_gets_nothing(house: House, clock: Clock) -> None:
    expires_at = datetime.fromtimestamp(clock() - 1, UTC).isoformat()
    async with Receiver() as receiver, Receiver() as other:
        await house.subscribe(receiver, expiresAt=expires_at)
        await house.subscribe(other)
        await house.happen("one")
        await until(lambda: ids(other) == ["one"], PATIENCE)
        await house.happen("two")
        await until(lambda: ids(other) == ["one", "two"], PATIENCE)
        assert ids(receiver) == []


async def test_pdk_15_nothing_is_delivered_until_it_is_active(house: House) -> None:
    """Created inactive, and made inactive later; then it goes on where it stood. PDK itself has no way to change it."""
    own = house.ops()
    async with Receiver() as receiver, Receiver() as other:
        subscription = await house.subscribe(receiver, active=False)
        await house.subscribe(other)
        hook = f"/api/sites/{SITE}/webhooks/{subscription}"
        await house.happen("one")
        await until(lambda: ids(other) == ["one"], PATIENCE)
        await house.happen("two")
        await until(lambda: ids(other) == ["one", "two"], PATIENCE)
        assert ids(receiver) == []
        assert (await own.patch(hook, {"enabled": True})).status == 200
        assert (await house.shown(subscription))["active"] is True
        await until(lambda: ids(receiver) == ["one", "two"], PATIENCE)
        assert (await own.patch(hook, {"enabled": False})).status == 200
        assert (await house.shown(subscription))["active"] is False
        await house.ended(subscription)
        await house.happen("three")
        await until(lambda: ids(other) == ["one", "three", "two"], PATIENCE)
        assert ids(receiver) == ["one", "two"]


async def test_pdk_15_ssl_verification(house: House, tmp_path: Path) -> None:
    """A receiver that vouches for itself is told events only where that was asked for; the ledger says why not."""
    own = house.ops()
    async with Receiver(tls=self_signed(tmp_path)) as trusted, Receiver(tls=self_signed(tmp_path)) as verified:
        await house.subscribe(trusted, sslVerification=False)
        strict = await house.subscribe(verified, sslVerification=True)
        default = await house.subscribe(verified)
        assert trusted.url.startswith("https://")
        await house.happen("one")
        await until(lambda: ids(trusted) == ["one"], PATIENCE)
        for subscription in (strict, default):
            path = f"/api/sites/{SITE}/webhooks/{subscription}/deliveries?state=waiting"
            async with asyncio.timeout(PATIENCE):
                while not (found := (await own.get(path)).json()["items"]):  # noqa: ASYNC110 - the ledger tells nobody
                    await asyncio.sleep(0.01)
            assert [each["event"] for each in found] == ["one"]
            assert found[0]["error"].startswith("tls")
            assert "self-signed" in found[0]["error"]
        assert verified.requests == []


def self_signed(directory: Path) -> ssl.SSLContext:
    """What a receiver speaks TLS with whose certificate nobody signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / "both.pem"  # the ssl module reads keys from files only
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(encoding, form, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(encoding) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
