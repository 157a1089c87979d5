"""From an event to a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from msgspec import structs

from doorstream.events.entities import SigningSecret, Webhook
from doorstream.log import Connection, Record
from doorstream.testing import SITE, empty_log, make_event
from doorstream.webhooks.forms import JSON, Payload
from doorstream.webhooks.post import PDK_SIGNATURE, Post
from doorstream.webhooks.records import Due

NOW = 1_780_000_000.0


def webhook(**fields: Any) -> Webhook:
    """A webhook with these values."""
    values = {"id": "w", "site_id": "s", "created": "c", "start": "e.0", "name": "n", "url": "https://a.example"}
    return Webhook(**values | fields)


def post() -> Post:
    """What writes requests; nothing is sent."""
    nothing = cast("Any", None)
    return Post(nothing, {}, lambda _: None, nothing, lambda: NOW, origin="doors.example")


def lower(headers: Any) -> dict[str, str]:
    """Headers as a receiver sees them; each name may be there once."""
    names = [name.lower() for name in headers]
    assert len(set(names)) == len(names)
    return {name.lower(): value for name, value in headers.items()}


def test_headers_of_the_owner_replace_those_of_the_form_in_whatever_case() -> None:
    """Both were sent once: ``Content-Type`` of the form beside a ``content-type`` of the webhook's owner."""
    payload = Payload(JSON, b"{}", {"User-Agent": "Form/1", "ce-id": "1"})
    owned = {"content-type": "text/json", "USER-AGENT": "Mine/2", "X-Key": "k"}
    for each in (payload, Payload(JSON, b"{}")):
        headers = lower(post().request(webhook(headers=owned), each, "m").headers)
        assert headers["content-type"] == "text/json"
        assert headers["user-agent"] == "Mine/2"
        assert headers["x-key"] == "k"


def test_s6_a_receiver_that_was_asked_is_told_who_sends() -> None:
    """CloudEvents' HTTP Web Hooks 2.1: each delivery repeats who was allowed, whatever the owner set."""
    name, owned = "webhook-request-origin", {"Webhook-Request-Origin": "elsewhere"}
    asked = webhook(headers=owned, handshake=True)
    assert lower(post().request(asked, Payload(JSON, b"{}"), "m").headers)[name] == "doors.example"
    assert name not in lower(post().request(webhook(), Payload(JSON, b"{}"), "m").headers)


def test_ours_replace_those_of_the_owner_in_whatever_case() -> None:
    ours = {"Webhook-Id": "x", "WEBHOOK-TIMESTAMP": "x", "Webhook-Signature": "x", "x-pdk-signature": "x"}
    secrets = (
        SigningSecret(version="v1", created="", value="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        SigningSecret(version="pdk", created="", value="word"),
    )
    owned = ours | {"Doorstream-Replay": "x"}
    request = post().request(webhook(headers=owned, secrets=secrets), Payload(JSON, b"{}"), "m", "r")
    headers = lower(request.headers)
    assert headers["webhook-id"] == "m"
    assert headers["webhook-timestamp"] == "1780000000"
    assert headers["webhook-signature"].startswith("v1,")
    assert len(headers[PDK_SIGNATURE.lower()]) == 40
    assert headers["doorstream-replay"] == "r"


def test_what_is_remembered_of_a_webhook_ends_with_its_change() -> None:
    there, payload = post(), Payload(JSON, b"{}")
    first = webhook(headers={"X-Key": "old"})
    assert there.request(first, payload, "1").headers["X-Key"] == "old"
    changed = replace(first, headers={"X-Key": "new"})
    assert there.request(changed, payload, "2", "replay").headers["X-Key"] == "new"
    following = there.request(changed, payload, "3").headers
    assert following["webhook-id"] == "3"
    assert "doorstream-replay" not in following, "of the one before"
    assert there.request(changed, Payload("text/plain", b""), "4").headers["Content-Type"] == "text/plain"


async def test_an_event_that_one_server_of_a_cluster_has_not_yet_is_not_gone(connection: Connection) -> None:
    """A replay or retry was given up for ever when a server that was a moment behind was asked for its event."""
    async with empty_log(connection) as log:
        stored = await log.append((SITE, "x.a", "event-1", make_event(1, topic="x.a").json))
        made = Post(cast("Any", None), {}, lambda _: None, log, lambda: NOW, origin="doors.example")

        async def behind(*_: object) -> list[Record]:
            return []

        log._stream.replicas = 3
        log._stream.reader.read = behind  # type: ignore[method-assign]  # the server that is asked has nothing
        due = Due("e-1", log.epoch, stored.sequence, "event-1", SITE, "x.a", "event-1")
        found = await made.event(due)
        assert found is not None
        assert found.id == "event-1"
        assert await made.event(structs.replace(due, sequence=stored.sequence + 1)) is None
