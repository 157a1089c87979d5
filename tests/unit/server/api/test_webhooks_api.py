"""The routes of webhooks, on a real worker's services, with a receiver on a real socket."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook as Verifier
from webhooks_api_support import HOOKS, Worker

from asgi_client import Answer
from doorstream.testing import until
from doorstream.testing.receiver import Answer as Says
from doorstream.testing.receiver import Exchange, Receiver, Redirect
from doorstream.webhooks.post import PDK_SIGNATURE
from doorstream.webhooks.schedule import JITTER
from world import OTHER, SITE


def problem(answer: Answer) -> str:
    """The last part of a problem document's type."""
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["type"]).rpartition(":")[2]


async def test_a_webhook_from_its_creation_to_its_ledger(worker: Worker) -> None:
    worker.receiver.plan(Says(500, body=b"not now"), Says(204))
    created = await worker.create(topics=["x.*"], retry=[0.2], headers={"Authorization": "Basic abc"})
    assert created["name"] == "127.0.0.1"
    assert created["form"] == "native"
    await worker.happen("one")
    await until(lambda: len(worker.receiver.requests) == 2)
    for request in worker.receiver.requests:
        assert request.headers["authorization"] == "Basic abc"
        assert request.headers["webhook-id"] == "one"
        event = Verifier(created["secret"]).verify(request.body, dict(request.headers))
        assert event["id"] == "one"
    async with asyncio.timeout(10):
        while True:
            page = (await worker.client().get(f"{HOOKS}/{created['id']}/deliveries")).json()
            if page["items"] and page["items"][0]["state"] == "delivered":
                break
            await asyncio.sleep(0.02)
    delivery = page["items"][0]
    assert (delivery["event"], delivery["attempts"], delivery["status"]) == ("one", 2, 204)
    one = (await worker.client("reader").get(f"{HOOKS}/{created['id']}/deliveries/{delivery['id']}")).json()
    assert [(each["number"], each["status"], each["answer"]) for each in one["attempts"]] == [
        (1, 500, "not now"),
        (2, 204, ""),
    ]


async def test_secrets_are_shown_once(worker: Worker) -> None:
    created = await worker.create(headers={"Authorization": "Basic abc"}, signing=["v1", "v1a"])
    assert created["secret"].startswith("whsec_")
    assert [each["version"] for each in created["signing"]] == ["v1", "v1a"]
    assert created["signing"][1]["public_key"].startswith("whpk_")
    for answer in (
        await worker.client().get(f"{HOOKS}/{created['id']}"),
        await worker.client().get(HOOKS),
        await worker.client().patch(f"{HOOKS}/{created['id']}", {"name": "renamed"}),
    ):
        assert b"whsec_" not in answer.body
        assert b"whsk_" not in answer.body
        assert b"abc" not in answer.body
        assert b"***" in answer.body


async def test_a_masked_header_that_is_sent_back_stays(worker: Worker) -> None:
    created = await worker.create(headers={"Authorization": "Basic abc"})
    shown = (await worker.client().get(f"{HOOKS}/{created['id']}")).json()
    answer = await worker.client().patch(
        f"{HOOKS}/{created['id']}", shown | {"headers": shown["headers"] | {"X-More": "1"}}
    )
    assert answer.status == 200, answer.body
    await worker.happen("one")
    await until(lambda: worker.receiver.requests)
    headers = worker.receiver.requests[0].headers
    assert (headers["authorization"], headers["x-more"]) == ("Basic abc", "1")


async def test_a_repeated_creation_creates_nothing(worker: Worker) -> None:
    client = worker.client(idempotency_key="k1")
    body = {"url": worker.receiver.url, "topics": ["x.test"]}
    first, second = await asyncio.gather(client.post(HOOKS, body), client.post(HOOKS, body))
    assert (first.status, first.body) == (201, second.body)
    assert len((await client.get(HOOKS)).json()["items"]) == 1
    other = await client.post(HOOKS, body | {"topics": ["x.other"]})
    assert (other.status, problem(other)) == (422, "key-reused")
    assert (await worker.client(idempotency_key="k2").post(HOOKS, body)).json()["id"] != first.json()["id"]
    assert (await worker.client(idempotency_key="").post(HOOKS, body)).status == 422


_BAD: list[tuple[dict[str, Any], str]] = [
    ({"url": "http://169.254.169.254/latest"}, "body.url"),
    ({"url": "ftp://127.0.0.1/"}, "body.url"),
    ({"url": "http://user:word@127.0.0.1/"}, "body.url"),
    ({"form": "xml"}, "body.form"),
    ({"topics": []}, "body.topics"),
    ({"topics": ["device.nothing"]}, "body.topics[0]"),
    ({"headers": {"Host": "a"}}, "body.headers.Host"),
    ({"headers": {"Connection": "close"}}, "body.headers.Connection"),
    ({"headers": {"X-A": "b\r\nX-C: d"}}, "body.headers.X-A"),
    ({"retry": [0]}, "body.retry[0]"),
    ({"concurrency": 0}, "body.concurrency"),
    ({"secrecy_level": 3}, "body.secrecy_level"),
    ({"signing": "whsec_short"}, "body.signing"),
    ({"signing": "v9"}, "body.signing"),
    ({"unknown": 1}, "body.unknown"),
    ({"sites": ["0738b8df-329a-4d50-88e7-7a48928c4dff"]}, "body.sites[0]"),
]


async def test_what_cannot_be_kept_is_named(worker: Worker) -> None:
    for fields, where in _BAD:
        answer = await worker.client("ops").post(HOOKS, {"url": worker.receiver.url} | fields)
        assert answer.status == 422, answer.body
        assert answer.json()["errors"][0]["where"] == where


async def test_who_may_do_what(worker: Worker) -> None:
    created = await worker.create()
    one = f"{HOOKS}/{created['id']}"
    assert (await worker.client("reader").get(one)).status == 200
    for answer in (
        await worker.client("reader").post(HOOKS, {"url": worker.receiver.url}),
        await worker.client("reader").patch(one, {"name": "x"}),
        await worker.client("reader").delete(one),
        await worker.client("reader").post(f"{one}/test"),
        await worker.client("reader").post(f"{one}/replay", {"from": 0}),
        await worker.client("panel").get(one),
        await worker.client().post(HOOKS, {"url": worker.receiver.url, "sites": [OTHER]}),
        await worker.client().get(f"/api/sites/{OTHER}/webhooks"),
    ):
        assert (answer.status, problem(answer)) == (403, "forbidden")
    assert (await worker.client("ops").get(f"/api/sites/{OTHER}/webhooks/{created['id']}")).status == 404


async def test_a_test_event_says_how_it_went(worker: Worker) -> None:
    created = await worker.create()
    worker.receiver.plan(Says(418, body=b"a teapot"), Says(200))
    told = (await worker.client().post(f"{HOOKS}/{created['id']}/test")).json()
    assert (told["delivered"], told["status"], told["answer"]) == (False, 418, "a teapot")
    assert (await worker.client().post(f"{HOOKS}/{created['id']}/test")).json()["delivered"]


async def test_both_secrets_sign_during_a_rotation(worker: Worker) -> None:
    created = await worker.create()
    made = await worker.client().post(f"{HOOKS}/{created['id']}/secrets", {"overlap": 3600})
    assert made.status == 201
    assert made.json()["secret"] != created["secret"]
    await worker.happen("one")
    await until(lambda: worker.receiver.requests)
    request = worker.receiver.requests[0]
    for secret in (created["secret"], made.json()["secret"]):
        Verifier(secret).verify(request.body, dict(request.headers))
    await worker.client().post(f"{HOOKS}/{created['id']}/secrets", {"overlap": 0})
    assert len((await worker.client().get(f"{HOOKS}/{created['id']}")).json()["signing"]) == 1


async def test_disabled_and_enabled_again(worker: Worker) -> None:
    created = await worker.create()
    one = f"{HOOKS}/{created['id']}"
    worker.receiver.plan(Says(410), Says(200))
    await worker.happen("one")
    async with asyncio.timeout(10):
        while (shown := (await worker.client().get(one)).json())["enabled"]:  # noqa: ASYNC110 - it is told nobody
            await asyncio.sleep(0.01)
    assert shown["disabled_reason"] == "the receiver answered 410 Gone"
    await worker.happen("missed")
    enabled = (await worker.client().post(f"{one}/enable", {"start": "now"})).json()
    assert (enabled["enabled"], enabled["disabled_reason"]) == (True, None)
    await worker.happen("two")
    await until(lambda: len(worker.receiver.requests) == 2)
    assert worker.receiver.requests[1].headers["webhook-id"] == "two"


async def test_deliveries_by_page_and_by_what_became_of_them(worker: Worker) -> None:
    created = await worker.create(retry=[], topics=["x.test"], concurrency=1)
    worker.receiver.plan(Says(500), Says(200))
    for n in range(5):
        await worker.happen(f"e{n}")
    await until(lambda: len(worker.receiver.requests) == 5)
    path, client = f"{HOOKS}/{created['id']}/deliveries", worker.client()
    async with asyncio.timeout(10):
        while len((await client.get(path)).json()["items"]) < 5:  # noqa: ASYNC110 - the ledger tells nobody
            await asyncio.sleep(0.01)
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await client.get(f"{path}?limit=2{cursor}")).json()
        seen += [item["event"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == ["e4", "e3", "e2", "e1", "e0"]
    assert [item["event"] for item in (await client.get(f"{path}?state=dead")).json()["items"]] == ["e0"]
    assert [item["event"] for item in (await client.get(f"{path}?event=e3")).json()["items"]] == ["e3"]
    assert (await client.get(f"{path}?from=2030-01-01T00:00:00Z")).json()["items"] == []
    assert len((await client.get(f"{path}?to=2999-01-01T00:00:00%2B01:00")).json()["items"]) == 5
    for bad in (
        "cursor=x",
        "cursor=%C2%B2",
        "from=yesterday",
        "from=%C2%B2",
        "to=" + "1" * 5000,
        "state=lost",
        "limit=0",
    ):
        assert (await client.get(f"{path}?{bad}")).status == 422
    assert (await client.get(f"{path}/nothing")).status == 404
    replayed = await client.post(f"{HOOKS}/{created['id']}/replay", {"from": "2000-01-01T00:00:00Z"})
    assert (replayed.status, replayed.json()["deliveries"]) == (202, 1)
    await until(lambda: len(worker.receiver.requests) == 6)
    assert worker.receiver.requests[5].headers["webhook-id"] == "e0"
    assert worker.receiver.requests[5].headers["doorstream-replay"] == replayed.json()["replay"]
    assert (await client.post(f"{HOOKS}/{created['id']}/replay", {})).status == 422


async def test_what_died_is_delivered_to_another_webhook(worker: Worker) -> None:
    """One delivery or a range, with the message ids that they had; the first webhook's receiver hears nothing of it."""
    dead, other = await worker.create(retry=[], topics=["x.test"]), await worker.create(topics=["x.none"])
    async with Receiver() as elsewhere:
        assert (await worker.client().patch(f"{HOOKS}/{other['id']}", {"url": elsewhere.url})).status == 200
        worker.receiver.plan(Says(500))
        await worker.happen("one")
        await worker.happen("two")
        one, client = f"{HOOKS}/{dead['id']}", worker.client()
        died = await worker.deliveries(dead, "dead", 2)
        first = next(each["id"] for each in died if each["event"] == "one")
        said = await client.post(f"{one}/replay", {"delivery": first, "to_webhook": other["id"]})
        assert (said.status, said.json()["deliveries"]) == (202, 1)
        await until(lambda: len(elsewhere.requests) == 1)
        said = await client.post(f"{one}/replay", {"from": 0, "to_webhook": other["id"]})
        assert (said.status, said.json()["deliveries"]) == (202, 2)
        await until(lambda: len(elsewhere.requests) == 3)
    ids = [request.headers["webhook-id"] for request in elsewhere.requests]
    assert (ids[0], sorted(ids[1:])) == ("one", ["one", "two"])
    Verifier(other["secret"]).verify(elsewhere.requests[0].body, dict(elsewhere.requests[0].headers))
    assert elsewhere.requests[1].headers["doorstream-replay"] == said.json()["replay"]
    assert len(worker.receiver.requests) == 2
    assert {each["event"] for each in await worker.deliveries(other, "delivered", 3)} == {"one", "two"}


async def test_a_replay_needs_rights_at_the_other_webhook(worker: Worker) -> None:
    """It has to be of the same site; where it takes events of further sites, the caller must be allowed there too."""
    ours, ops = await worker.create(), worker.client("ops")
    body = {"url": worker.receiver.url}
    foreign = (await ops.post(f"/api/sites/{OTHER}/webhooks", body)).json()["id"]
    shared = (await ops.post(HOOKS, body | {"sites": [OTHER]})).json()["id"]
    replay = f"{HOOKS}/{ours['id']}/replay"
    for target, status, slug in (
        (foreign, 404, "not-found"),
        ("none", 404, "not-found"),
        (shared, 403, "forbidden"),
    ):
        answer = await worker.client().post(replay, {"from": 0, "to_webhook": target})
        assert (answer.status, problem(answer)) == (status, slug)
    assert (await worker.client().post(f"{HOOKS}/{shared}/replay", {"from": 0, "to_webhook": ours["id"]})).status == 403
    assert (await ops.post(replay, {"from": 0, "to_webhook": foreign})).status == 404
    assert (await ops.post(replay, {"from": 0, "to_webhook": shared})).status == 202
    assert worker.receiver.requests == []


async def test_a_deleted_webhook_is_gone(worker: Worker) -> None:
    created = await worker.create()
    assert (await worker.client().delete(f"{HOOKS}/{created['id']}")).status == 204
    assert (await worker.client().get(f"{HOOKS}/{created['id']}")).status == 404


async def test_par_10_and_12_the_parakey_form(worker: Worker) -> None:
    """The event log as one JSON object, the worker's name, the custom headers, and no signature."""
    created = await worker.create(form="parakey", headers={"Authorization": "Basic abc"})
    assert created["secrets"] == []
    await worker.happen("other")
    await worker.happen("unlock", "device.request.allowed")
    await until(lambda: worker.receiver.requests)
    request = worker.receiver.requests[0]
    assert request.headers["user-agent"].startswith("Parakey-WebhookWorker/")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Basic abc"
    assert "webhook-signature" not in request.headers
    assert b'"id":"unlock"' in request.body


# The handshake of CloudEvents' web hooks (S6).

_ORIGIN = "127.0.0.1"  # of settings without a public URL: the host


async def test_s6_a_receiver_that_agrees_is_kept_and_told_who_sends(worker: Worker) -> None:
    worker.receiver.plan(Says(204, {"WebHook-Allowed-Origin": _ORIGIN, "WebHook-Allowed-Rate": "120"}))
    created = await worker.create(handshake=True, rate=5, headers={"Authorization": "Basic abc"})
    assert (created["handshake"], created["rate"]) == (True, 2.0)
    await worker.happen("one")
    await until(lambda: len(worker.receiver.requests) == 2)
    asked, delivered = worker.receiver.requests
    assert (asked.method, delivered.method) == ("OPTIONS", "POST")
    assert asked.headers["webhook-request-origin"] == delivered.headers["webhook-request-origin"] == _ORIGIN
    assert asked.headers["webhook-request-rate"] == "300"
    assert "authorization" not in asked.headers


async def test_s6_without_agreement_nothing_is_created(worker: Worker) -> None:
    body = {"url": worker.receiver.url, "handshake": True}
    for plan, told in (
        (Says(200), "no WebHook-Allowed-Origin"),
        (Says(200, {"WebHook-Allowed-Origin": "other.example"}), "neither 127.0.0.1 nor *"),
        (Says(405), "answered with 405"),
        (Redirect(), "redirect"),
    ):
        worker.receiver.plan(plan)
        answer = await worker.client(idempotency_key="k").post(HOOKS, body)
        assert (answer.status, problem(answer)) == (422, "handshake-refused")
        assert told in answer.json()["detail"]
        assert answer.json()["errors"][0]["where"] == "body.url"
        assert (await worker.client().get(HOOKS)).json()["items"] == []
    worker.receiver.plan(Says(200, {"WebHook-Allowed-Origin": "*"}))
    assert (await worker.client(idempotency_key="k").post(HOOKS, body)).status == 201  # a refusal used no key up


async def test_s6_nobody_is_asked_about_what_cannot_be_kept(worker: Worker) -> None:
    for fields, where in _BAD:
        body = {"url": worker.receiver.url, "handshake": True} | fields
        answer = await worker.client("ops").post(HOOKS, body)
        assert answer.json()["errors"][0]["where"] == where
    assert (await worker.client("reader").post(HOOKS, {"url": worker.receiver.url, "handshake": True})).status == 403
    assert worker.receiver.requests == []


async def test_s6_a_repeated_creation_does_not_ask_again(worker: Worker) -> None:
    """The first answer stands, also where the receiver would refuse by now, and with the rate that it allowed."""
    worker.receiver.plan(Says(200, {"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "60"}), Says(403))
    body = {"url": worker.receiver.url, "handshake": True}
    client = worker.client(idempotency_key="k")
    first, second = await client.post(HOOKS, body), await client.post(HOOKS, body)
    assert (first.status, second.status, first.body) == (201, 201, second.body)
    assert first.json()["rate"] == 1.0
    other = await client.post(HOOKS, body | {"rate": 3})
    assert (other.status, problem(other)) == (422, "key-reused")
    assert len(worker.receiver.requests) == 1


async def test_s6_a_change_asks_for_another_address_and_for_more(worker: Worker) -> None:
    created = await worker.create()
    one, client = f"{HOOKS}/{created['id']}", worker.client()
    worker.receiver.plan(Says(403))
    refused = await client.patch(one, {"handshake": True, "name": "renamed"})
    assert (refused.status, problem(refused)) == (422, "handshake-refused")
    shown = (await client.get(one)).json()
    assert (shown["handshake"], shown["name"]) == (False, "127.0.0.1")
    worker.receiver.plan(Says(200, {"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "60"}))
    assert (await client.patch(one, {"handshake": True})).json()["rate"] == 1.0
    assert (await client.patch(one, {"rate": None})).json()["rate"] == 1.0
    assert len(worker.receiver.requests) == 3
    worker.receiver.plan(Says(403))
    assert (await client.patch(one, {"rate": 0.5, "topics": ["x.*"], "handshake": True})).json()["rate"] == 0.5
    assert len(worker.receiver.requests) == 3
    moved = f"{worker.receiver.origin}/other"
    assert problem(await client.patch(one, {"url": moved})) == "handshake-refused"
    assert (await client.get(one)).json()["url"] == worker.receiver.url
    assert (await client.patch(one, {"url": moved, "handshake": False})).json()["url"] == moved
    assert [request.path for request in worker.receiver.requests] == ["/hook"] * 3 + ["/other"]


@dataclass(frozen=True)
class Gated(Says):
    """A whole answer, not before the gate is opened."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def play(self, exchange: Exchange) -> None:
        """Wait and answer."""
        await self.gate.wait()
        await super().play(exchange)


async def test_s6_an_address_that_changed_while_the_receiver_was_asked(worker: Worker) -> None:
    """Its agreement is not that of the address which is there now: one of the two changes has to be made again."""
    created = await worker.create()
    one = f"{HOOKS}/{created['id']}"
    agreement = Gated(200, {"WebHook-Allowed-Origin": "*"}, delay=0.001)
    worker.receiver.plan(agreement)
    asking = asyncio.create_task(worker.client().patch(one, {"handshake": True}))
    await until(lambda: worker.receiver.requests)
    moved = f"{worker.receiver.origin}/other"
    assert (await worker.client().patch(one, {"url": moved})).status == 200
    agreement.gate.set()
    answer = await asking
    assert (answer.status, problem(answer)) == (409, "conflict")
    shown = (await worker.client().get(one)).json()
    assert (shown["handshake"], shown["url"]) == (False, moved)


# What is delivered, and what is told of it, across the socket.


async def test_a_replay_by_time_honours_both_bounds(worker: Worker) -> None:
    """Both ends are included; between the two deliveries there is none."""
    created = await worker.create(topics=["x.test"])
    await worker.happen("one")
    (first,) = await worker.deliveries(created, "delivered", 1)
    begun = datetime.fromisoformat(first["created"])
    await until(lambda: datetime.now(UTC) > begun + timedelta(milliseconds=10))
    await worker.happen("two")
    second, _ = await worker.deliveries(created, "delivered", 2)
    between = [(begun + timedelta(milliseconds=n)).isoformat() for n in (1, 5)]
    for bounds, events in (
        ({"to": first["created"]}, ["one"]),
        ({"to": between[1]}, ["one"]),
        ({"from": between[0]}, ["two"]),
        ({"from": second["created"]}, ["two"]),
        ({"from": between[0], "to": between[1]}, []),
        ({"from": first["created"], "to": second["created"]}, ["one", "two"]),
    ):
        before = len(worker.receiver.requests)
        said = await worker.client().post(f"{HOOKS}/{created['id']}/replay", {"state": "all"} | bounds)
        assert (said.status, said.json()["deliveries"]) == (202, len(events)), bounds
        await received(worker, before + len(events))
        replayed = worker.receiver.requests[before:]
        assert sorted(each.headers["webhook-id"] for each in replayed) == events, bounds
        assert {each.headers["doorstream-replay"] for each in replayed} <= {said.json()["replay"]}


async def received(worker: Worker, number: int) -> None:
    """Wait until the receiver has had so many requests."""
    await until(lambda: len(worker.receiver.requests) == number)


async def test_attempts_tell_when_how_long_and_when_again(worker: Worker) -> None:
    """``duration`` is in seconds and holds the time that the receiver took; the next attempt is the schedule's."""
    worker.receiver.plan(Says(500, delay=0.2))
    created = await worker.create(topics=["x.test"], retry=[600])
    started = datetime.now(UTC) - timedelta(milliseconds=1)  # times are kept in whole milliseconds
    await worker.happen("one")
    (waiting,) = await worker.deliveries(created, "waiting", 1)
    path = f"{HOOKS}/{created['id']}/deliveries/{waiting['id']}"
    (attempt,) = (await worker.client().get(path)).json()["attempts"]
    ended = datetime.now(UTC)
    at, again = datetime.fromisoformat(attempt["at"]), datetime.fromisoformat(attempt["next_attempt"])
    assert started <= at <= ended
    assert 0.2 <= attempt["duration"] <= (ended - started).total_seconds()
    assert (attempt["number"], attempt["state"], attempt["status"]) == (1, "waiting", 500)
    assert (
        timedelta(seconds=600 * (1 - JITTER)) <= again - at <= timedelta(seconds=600 * (1 + JITTER)) + (ended - started)
    )
    assert (waiting["last_attempt"], waiting["next_attempt"]) == (attempt["at"], attempt["next_attempt"])


@pytest.mark.parametrize("form", ["cloudevents", "cloudevents-binary", "pdk"])
async def test_each_form_as_it_arrives(worker: Worker, form: str) -> None:
    """What the routes were told to send is what comes across the socket."""
    created = await worker.create(form=form, topics=["device.request.allowed"])
    view = worker.services.directory.site(SITE)
    assert view is not None
    body = {"deviceId": "door-1", "cardNumber": "5"}
    event = {"id": "one", "topic": "device.request.allowed", "occurred": 1_780_000_000_000, "body": body}
    await worker.services.ingest.put_values(SITE, view, [event])
    await until(lambda: worker.receiver.requests)
    request = worker.receiver.requests[0]
    headers, sent = request.headers, json.loads(request.body)
    attributes = {name: value for name, value in headers.items() if name.startswith("ce-")}
    envelope = {
        "specversion": "1.0",
        "id": "one",
        "source": f"/api/sites/{SITE}",
        "type": "device.request.allowed",
        "time": "2026-05-28T20:26:40.000Z",
        "subject": "door-1",
    }
    if form == "cloudevents":
        assert headers["content-type"] == "application/cloudevents+json"
        assert sent | envelope == sent
        assert sent["data"]["body"] | body == sent["data"]["body"]
        assert attributes == {}
    elif form == "cloudevents-binary":
        assert headers["content-type"] == "application/json"
        assert attributes | {f"ce-{name}": value for name, value in envelope.items()} == attributes
        assert sent["body"] | body == sent["body"]
    else:
        assert (sent["id"], sent["topic"], sent["metadata"]["occurred"]) == ("one", event["topic"], event["occurred"])
        assert sent["body"] | body == sent["body"]
        assert attributes == {}
        assert headers[PDK_SIGNATURE.lower()] == hmac.digest(created["secret"].encode(), request.body, "sha1").hex()
    if form != "pdk":
        Verifier(created["secret"]).verify(request.body, dict(headers))


async def test_a_signature_is_checked_with_the_public_key_that_is_shown(worker: Worker) -> None:
    """Of version v1a, over ``id.timestamp.body``, by a receiver that knows no secret."""
    created = await worker.create(signing=["v1a"])
    shown = (await worker.client("reader").get(f"{HOOKS}/{created['id']}")).json()
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(shown["signing"][0]["public_key"].removeprefix("whpk_")))
    await worker.happen("one")
    await until(lambda: worker.receiver.requests)
    request = worker.receiver.requests[0]
    version, _, signature = request.headers["webhook-signature"].partition(",")
    assert version == "v1a"
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    key.verify(base64.b64decode(signature), signed)
    with pytest.raises(InvalidSignature):
        key.verify(base64.b64decode(signature), signed + b" ")
