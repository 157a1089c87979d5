"""The handshake of CloudEvents' "HTTP 1.1 Web Hooks for Event Delivery", section 4: what is asked, what is consent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from doorstream.events.entities import Webhook
from doorstream.testing.receiver import Answer, Hang, Receiver, Redirect
from doorstream.webhooks import handshake
from doorstream.webhooks.guard import Policy
from doorstream.webhooks.handshake import Agreement, NotAgreed
from doorstream.webhooks.sender import Outcome, Sender

ORIGIN = "doors.example"


def webhook(**fields: Any) -> Webhook:
    """A webhook whose receiver is to be asked, with these values."""
    values = {"id": "w", "site_id": "s", "created": "c", "start": "e.0", "name": "n", "url": "https://a.example"}
    return Webhook(**values | {"handshake": True} | fields)


def answered(status: int = 200, **headers: str) -> Outcome:
    """An answer with these headers of the two that count: ``origin`` and ``rate``."""
    names = {"origin": handshake.ALLOWED_ORIGIN, "rate": handshake.ALLOWED_RATE}
    return Outcome(status, None, 0.1, headers={names[name]: value for name, value in headers.items()})


def test_s6_the_question_says_who_asks_and_how_fast_and_has_no_secret() -> None:
    owned = webhook(headers={"Authorization": "Basic abc"}, rate=1.01, verify_tls=False)
    request = handshake.question(owned, ORIGIN)
    assert request.headers == {"WebHook-Request-Origin": ORIGIN, "WebHook-Request-Rate": "61"}
    assert (request.method, request.url, request.body, request.verify_tls) == ("OPTIONS", owned.url, b"", False)
    assert handshake.question(webhook(), ORIGIN).headers == {"WebHook-Request-Origin": ORIGIN}


@pytest.mark.parametrize(
    ("answer", "rate"),
    [
        (answered(origin="*"), None),
        (answered(204, origin=ORIGIN, rate="*"), None),
        (answered(origin="Doors.Example", rate="120"), 2.0),
        (answered(origin=" * ", rate=" 1 "), 1 / 60),
    ],
)
def test_s6_what_is_consent(answer: Outcome, rate: float | None) -> None:
    assert handshake.agreement(webhook(), answer, ORIGIN) == Agreement("https://a.example", rate)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (answered(), "the answer to OPTIONS has no WebHook-Allowed-Origin"),
        (answered(origin=""), "the answer to OPTIONS has no WebHook-Allowed-Origin"),
        (answered(origin="other.example"), "WebHook-Allowed-Origin is neither doors.example nor *"),
        (answered(origin="doors.example, *"), "WebHook-Allowed-Origin is neither doors.example nor *"),
        (answered(405, origin="*"), "OPTIONS was answered with 405"),
        (answered(origin="*", rate="0"), "WebHook-Allowed-Rate is neither a number of requests per minute nor *"),
        (answered(origin="*", rate="1.5"), "WebHook-Allowed-Rate is neither a number of requests per minute nor *"),
        (Outcome(None, "refused", 0.0), "refused"),
        (Outcome(302, "redirect", 0.0, headers={handshake.ALLOWED_ORIGIN: "*"}), "redirect"),
        (Outcome(None, "dns", 0.0, detail="no such name"), "dns: no such name"),
    ],
)
def test_s6_what_is_none(answer: Outcome, told: str) -> None:
    """Status codes alone are no consent (section 4.2): many servers answer OPTIONS to anybody."""
    with pytest.raises(NotAgreed) as caught:
        handshake.agreement(webhook(), answer, ORIGIN)
    assert str(caught.value) == told


def test_an_agreement_makes_a_webhook_slower_and_never_faster() -> None:
    agreed = Agreement("https://a.example", 2.0)
    assert agreed.capped(webhook()).rate == 2.0
    assert agreed.capped(webhook(rate=5)).rate == 2.0
    assert agreed.capped(webhook(rate=1)).rate == 1
    assert Agreement("https://a.example", None).capped(webhook(rate=5)).rate == 5


def test_when_a_receiver_is_asked() -> None:
    asked = webhook(rate=2.0)
    assert handshake.is_due(None, asked)
    assert handshake.is_due(replace(asked, handshake=False), asked)
    assert handshake.is_due(asked, replace(asked, url="https://b.example"))
    assert handshake.is_due(asked, replace(asked, rate=3.0))
    assert handshake.is_due(asked, replace(asked, rate=None))
    for other in (asked, replace(asked, rate=1.0), replace(asked, name="other"), replace(asked, topics=("x.*",))):
        assert not handshake.is_due(asked, other)
    assert not handshake.is_due(replace(asked, rate=None), asked)
    assert not handshake.is_due(None, replace(asked, handshake=False))


async def test_s6_the_question_goes_through_the_guarded_sender() -> None:
    """OPTIONS on a real socket: without a body, redirects not followed, time limited, blocked addresses not asked."""
    async with Receiver() as receiver:
        sender = Sender(Policy.of(["127.0.0.0/8"], require_https=False), timeout=2.0)
        strict = Sender(Policy.of(require_https=False))
        request = handshake.question(webhook(url=receiver.url + "?a=1"), ORIGIN)
        try:
            receiver.plan(
                Answer(200, {"webhook-allowed-origin": ORIGIN, "WebHook-Allowed-Rate": "60", "Allow": "POST"}),
                Redirect(),
                Hang(),
            )
            allowed = await sender.send(request)
            assert allowed.headers == {handshake.ALLOWED_ORIGIN: ORIGIN, handshake.ALLOWED_RATE: "60"}
            assert (await sender.send(request)).error == "redirect"
            assert (await sender.send(request)).error == "timeout"
            assert (await strict.send(request)).error == "blocked"
        finally:
            await sender.close()
            await strict.close()
        assert receiver.trapped == []
        assert [each.method for each in receiver.requests] == ["OPTIONS"] * 3
        first = receiver.requests[0]
        assert (first.target, first.body, first.headers["webhook-request-origin"]) == ("/hook?a=1", b"", ORIGIN)
        assert "content-type" not in first.headers
        assert first.headers.get("content-length", "0") == "0"
