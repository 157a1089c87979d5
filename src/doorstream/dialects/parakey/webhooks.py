"""What a webhook of Parakey's form posts: the event log, and nothing around it."""

from __future__ import annotations

from doorstream import __version__
from doorstream.dialects.parakey.messages import event_log_json
from doorstream.directory import SiteView
from doorstream.events import Event
from doorstream.webhooks.forms import JSON, Payload

_HEADERS = {"User-Agent": f"Parakey-WebhookWorker/{__version__}"}


def event_log_form(event: Event, site: SiteView | None) -> Payload | None:
    """The event log, as a request for it answers (seed 002); None for what is none (D17)."""
    body = event_log_json(event, site)
    return Payload(JSON, body, _HEADERS) if body is not None else None
