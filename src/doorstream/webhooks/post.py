"""From an event to a request, and out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

import structlog

from doorstream.directory import SiteView
from doorstream.events import Event
from doorstream.events.entities import Webhook
from doorstream.log import EventLog
from doorstream.webhooks import signing
from doorstream.webhooks.forms import Form, Payload
from doorstream.webhooks.handshake import REQUEST_ORIGIN
from doorstream.webhooks.records import Due
from doorstream.webhooks.sender import Outcome, Request, Sender

REPLAY_HEADER = "doorstream-replay"
"""Says that a delivery is a replay, and of which; the message's id is the one it had before."""

PDK_VERSION = "pdk"
_REMEMBERED = 512
PDK_SIGNATURE = "X-PDK-SIGNATURE"
_OURS = (
    signing.ID_HEADER,
    signing.TIMESTAMP_HEADER,
    signing.SIGNATURE_HEADER,
    PDK_SIGNATURE,
    REPLAY_HEADER,
    REQUEST_ORIGIN,
)

_logger = structlog.get_logger(__name__)


class Unwritable(Exception):
    """A form failed on an event: it will fail each time."""


class Post:
    """Writes requests and has them sent.

    ``forms`` are by name; ``clock`` gives unix seconds; ``origin`` is who we are to receivers that were asked.
    """

    def __init__(  # noqa: PLR0913 - each once
        self,
        sender: Sender,
        forms: Mapping[str, Form],
        site: Callable[[str], SiteView | None],
        log: EventLog,
        clock: Callable[[], float],
        *,
        origin: str,
    ) -> None:
        self._sender = sender
        self._origin = origin
        self._forms = forms
        self._site = site
        self._log = log
        self._clock = clock
        self._payloads: OrderedDict[tuple[str, int], Payload | None] = OrderedDict()
        self._headers: OrderedDict[str, tuple[Webhook, str, dict[str, str]]] = OrderedDict()

    async def event(self, due: Due) -> Event | None:
        """The event of a delivery, if the log still has it; raises LogUnavailable.

        It is known by its id: in a log that was made anew another event may stand at that place.
        """
        event = await self._log.at(due.sequence, due.site)
        return event if event is not None and event.id == due.event else None

    async def send(self, webhook: Webhook, event: Event, due: Due) -> Outcome | None:
        """Make one attempt; None where the form has nothing to say of such an event. Raises Unwritable."""
        payload = self.payload(webhook, event)
        if payload is None:
            return None
        return await self._sender.send(self.request(webhook, payload, due.message, due.replay))

    def payload(self, webhook: Webhook, event: Event) -> Payload | None:
        """What the webhook's form says of an event: made once for all webhooks of that form."""
        name = form_name(webhook)
        key = (name, event.sequence)
        if event.sequence and key in self._payloads:
            return self._payloads[key]
        try:
            payload = self._forms[name](event, self._site(event.site_id))
        except Exception as error:
            _logger.exception("an event cannot be written for webhooks", form=name, sequence=event.sequence)
            raise Unwritable("not writable") from error
        if event.sequence:
            self._payloads[key] = payload
            if len(self._payloads) > _REMEMBERED:
                self._payloads.popitem(last=False)
        return payload

    def request(self, webhook: Webhook, payload: Payload, message: str, replay: str | None = None) -> Request:
        """The request of an attempt made now."""
        now = self._clock()
        headers = self._headers_of(webhook, payload)
        headers[signing.ID_HEADER] = message
        headers[signing.TIMESTAMP_HEADER] = str(int(now))
        valid = [each for each in webhook.secrets if each.expires is None or each.expires > now]
        secrets = [each.value for each in valid if each.version != PDK_VERSION]
        if secrets:
            headers[signing.SIGNATURE_HEADER] = signing.sign(secrets, message, int(now), payload.body)
        for each in valid:
            if each.version == PDK_VERSION:
                headers[PDK_SIGNATURE] = signing.pdk_signature(each.value, payload.body)
                break
        if webhook.handshake:
            headers[REQUEST_ORIGIN] = self._origin
        if replay is not None:
            headers[REPLAY_HEADER] = replay
        return Request(webhook.url, headers, payload.body, webhook.verify_tls)

    def _headers_of(self, webhook: Webhook, payload: Payload) -> dict[str, str]:
        """A new dict of the headers that the form and the webhook's owner set; merged once where they stay the same."""
        if payload.headers:
            return merged({"Content-Type": payload.content_type}, payload.headers, webhook.headers)
        known = self._headers.get(webhook.id)
        if known is None or known[0] is not webhook or known[1] != payload.content_type:
            known = webhook, payload.content_type, merged({"Content-Type": payload.content_type}, webhook.headers)
            self._headers[webhook.id] = known
            if len(self._headers) > _REMEMBERED:
                self._headers.popitem(last=False)
        return known[2].copy()


def merged(*parts: Mapping[str, str]) -> dict[str, str]:
    """One set of headers; of a name that comes twice, in whatever case, the last value. Ours keep their spelling."""
    spelling = {name.lower(): name for name in _OURS}
    headers: dict[str, str] = {}
    for part in parts:
        for name, value in part.items():
            headers[spelling.setdefault(name.lower(), name)] = value
    return headers


def form_name(webhook: Webhook) -> str:
    """The name of a webhook's form among all forms: PDK's differs by its secrecy level."""
    return f"{webhook.form}.{webhook.secrecy_level}" if webhook.form == "pdk" else webhook.form
