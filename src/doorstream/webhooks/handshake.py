"""Asks a receiver whether it wants what a webhook would send: nobody else's server is to be flooded (S6).

The handshake is that of CloudEvents' "HTTP 1.1 Web Hooks for Event Delivery" 1.0.2, section 4: an OPTIONS request to
the very address, which says who asks and how fast it wants to send, and an answer that allows it. It proves nothing
about who the receiver is, and nothing secret goes out with it: neither the webhook's headers nor a signature.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import NamedTuple

from doorstream.events.entities import Webhook
from doorstream.webhooks.sender import Outcome, Request

REQUEST_ORIGIN = "WebHook-Request-Origin"
"""Who asks. Each delivery repeats it (2.1): up to 1.0.1 in ``Origin``, which is something else for RFC 6454."""

REQUEST_RATE = "WebHook-Request-Rate"
ALLOWED_ORIGIN = "WebHook-Allowed-Origin"
ALLOWED_RATE = "WebHook-Allowed-Rate"

_ANY = "*"
_MINUTE = 60
_PER_MINUTE = re.compile(r"0*[1-9][0-9]{0,8}")


class NotAgreed(Exception):
    """The receiver did not agree; the message says what it did instead, and repeats nothing of its answer."""


class Agreement(NamedTuple):
    """What a receiver agreed to: its address, and the deliveries per second at most (None: any number)."""

    url: str
    rate: float | None

    def capped(self, webhook: Webhook) -> Webhook:
        """The webhook, no faster than was agreed."""
        if self.rate is None or (webhook.rate is not None and webhook.rate <= self.rate):
            return webhook
        return replace(webhook, rate=self.rate)


def is_due(before: Webhook | None, after: Webhook) -> bool:
    """Whether the receiver has to be asked: another address, or faster than before; None for a webhook that is new."""
    if not after.handshake:
        return False
    if before is None or not before.handshake or before.url != after.url:
        return True
    return before.rate is not None and (after.rate is None or after.rate > before.rate)


def question(webhook: Webhook, origin: str) -> Request:
    """The request that asks; ``origin`` is the host name of this server."""
    headers = {REQUEST_ORIGIN: origin}
    if webhook.rate is not None:
        headers[REQUEST_RATE] = str(math.ceil(webhook.rate * _MINUTE))
    return Request(webhook.url, headers, b"", webhook.verify_tls, "OPTIONS", (ALLOWED_ORIGIN, ALLOWED_RATE))


def agreement(webhook: Webhook, outcome: Outcome, origin: str) -> Agreement:
    """What the answer allows; raises NotAgreed.

    A 2xx alone is no consent, as many servers answer OPTIONS to anybody. An answer without a rate sets no limit.
    """
    if not outcome.delivered:
        raise NotAgreed(outcome.told or f"OPTIONS was answered with {outcome.status}")
    allowed = outcome.headers.get(ALLOWED_ORIGIN, "").strip()
    if not allowed:
        raise NotAgreed(f"the answer to OPTIONS has no {ALLOWED_ORIGIN}")
    if allowed != _ANY and allowed.lower() != origin.lower():
        raise NotAgreed(f"{ALLOWED_ORIGIN} is neither {origin} nor *")
    rate = outcome.headers.get(ALLOWED_RATE, _ANY).strip()
    if rate == _ANY:
        return Agreement(webhook.url, None)
    if not _PER_MINUTE.fullmatch(rate):
        raise NotAgreed(f"{ALLOWED_RATE} is neither a number of requests per minute nor *")
    return Agreement(webhook.url, int(rate) / _MINUTE)
