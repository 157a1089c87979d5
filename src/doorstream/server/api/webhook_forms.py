"""What may be sent of a webhook and what is shown: header values and signing secrets are never shown again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from pydantic import ConfigDict, with_config

from doorstream.events.entities import SigningSecret, Webhook, WebhookFields
from doorstream.events.event import iso_utc
from doorstream.server.api.forms import values
from doorstream.server.api.problems import invalid
from doorstream.webhooks.questions import AttemptRow, Delivery
from doorstream.webhooks.service import VERSIONS, make_secret
from doorstream.webhooks.signing import PRIVATE, SYMMETRIC, BadSecret

MASK = "***"
"""Stands for the value of a header that is kept and not shown."""

_STRICT = ConfigDict(extra="forbid")
_DEFAULT_SIGNING: dict[str, tuple[str, ...]] = {"parakey": (), "pdk": ("pdk",)}
_MAX_SECRETS = 10


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class SigningForm:
    """One signature: its version, and a secret if the server is not to make it."""

    version: Literal["v1", "v1a", "pdk"] = "v1"
    secret: str | None = None


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookForm(WebhookFields):
    """A webhook to be created. Without a name it is called as its host.

    ``signing`` are versions (``v1``, ``v1a``), secrets of your own (``whsec_…``, ``whsk_…``), or objects with both; a
    list of them, or one; an empty list for no signature. Without it, a webhook is signed as its form is: ``native`` and
    ``cloudevents`` with ``v1``, ``pdk`` in PDK's way, ``parakey`` not at all.
    """

    name: str = ""
    signing: bool | str | SigningForm | tuple[str | SigningForm, ...] | None = None


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class RotationForm:
    """A new secret. The present ones of its version go on signing beside it for ``overlap`` seconds."""

    version: Literal["v1", "v1a", "pdk"] | None = None
    secret: str | None = None
    overlap: float = 86_400.0


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class EnableForm:
    """From where an enabled webhook goes on: where it stopped, or with what happens from now on."""

    start: Literal["position", "now"] = "position"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningView:
    """What a webhook is signed with; ``public_key`` is what receivers check ``v1a`` with."""

    version: str
    created: str
    expires: float | None
    public_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookView(WebhookFields):
    """A webhook as it is shown; the values of its headers are masked."""

    id: str
    site_id: str
    created: str
    signing: tuple[SigningView, ...]
    disabled_reason: str | None
    disabled_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookCreated(WebhookView):
    """A webhook and its new secrets, shown this once; ``secret`` is the first of them."""

    secrets: tuple[str, ...]
    secret: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretView:
    """A new signing secret, shown this once; of a key pair only the public half is."""

    version: str
    secret: str | None
    public_key: str | None


def webhook_shown(webhook: Webhook) -> dict[str, Any]:
    """A webhook as it is shown."""
    return {name: getattr(webhook, name) for name in WebhookFields.__dataclass_fields__} | {
        "headers": dict.fromkeys(webhook.headers, MASK),
        "id": webhook.id,
        "site_id": webhook.site_id,
        "created": webhook.created,
        "signing": [values(secret, "value") for secret in webhook.secrets],
        "disabled_reason": webhook.disabled_reason,
        "disabled_at": webhook.disabled_at,
    }


def created_shown(webhook: Webhook) -> dict[str, Any]:
    """A webhook with its secrets. A key pair's private half is of no use to anybody else and is not shown."""
    secrets = [secret.value for secret in webhook.secrets if secret.version != "v1a"]
    return webhook_shown(webhook) | {"secrets": secrets, "secret": secrets[0] if secrets else None}


def fields_of(form: WebhookForm, old: Webhook | None = None) -> dict[str, Any]:
    """The entity's fields of a form; masked header values stay as they were, for the same receiver. Raises Problem."""
    found = values(form, "signing")
    if not form.name:
        found["name"] = _host(form.url) if old is None else old.name
    known = old.headers if old is not None else {}
    if old is not None and MASK in form.headers.values() and _origin(form.url) != _origin(old.url):
        raise invalid([{"where": "body.headers", "what": "the address is another: give the headers' values again"}])
    found["headers"] = {
        name: known[name] if value == MASK and name in known else value for name, value in form.headers.items()
    }
    return found


def _origin(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.scheme, parts.netloc


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "webhook")[:200]
    except ValueError:
        return "webhook"


def secrets_of(form: WebhookForm, now: str) -> tuple[SigningSecret, ...]:
    """The secrets of a new webhook; raises Problem for one that cannot sign."""
    wanted = form.signing
    asked: tuple[Any, ...]
    if wanted is None:
        asked = _DEFAULT_SIGNING.get(form.form, ("v1",))
    elif isinstance(wanted, bool):
        asked = ("v1",) if wanted else ()
    else:
        asked = wanted if isinstance(wanted, tuple) else (wanted,)
    if form.form == "pdk" and not any(_of(each)[0] == "pdk" for each in asked):
        asked = (*asked, "pdk")  # every delivery of PDK is signed
    if len(asked) > _MAX_SECRETS:
        raise invalid([{"where": "body.signing", "what": f"at most {_MAX_SECRETS}"}])
    return tuple(secret_made(*_of(each), now, where="body.signing") for each in asked)


def _of(asked: str | SigningForm) -> tuple[str, str | None]:
    """The version and the secret that were asked for."""
    if isinstance(asked, SigningForm):
        return asked.version, asked.secret
    if asked.startswith(SYMMETRIC):
        return "v1", asked
    if asked.startswith(PRIVATE):
        return "v1a", asked
    return asked, None


def secret_made(version: str, given: str | None, now: str, *, where: str) -> SigningSecret:
    """A secret, new or given; raises Problem."""
    if version not in (*VERSIONS, "pdk"):
        raise invalid([{"where": where, "what": "v1, v1a, or a secret: whsec_… or whsk_…"}])
    try:
        return make_secret(version, now, given)
    except BadSecret as error:
        raise invalid([{"where": where, "what": str(error)}]) from None


def rotated(webhook: Webhook, new: SigningSecret, *, now: float, overlap: float) -> Webhook:
    """The webhook with a new secret; those of its version before it expire, those that expired are gone."""
    kept = []
    for secret in webhook.secrets:
        if secret.expires is not None and secret.expires <= now:
            continue
        if secret.version == new.version:
            ends = now + overlap
            secret = replace(secret, expires=ends if secret.expires is None else min(secret.expires, ends))  # noqa: PLW2901
        if secret.expires is None or secret.expires > now:
            kept.append(secret)
    return replace(webhook, secrets=(new, *kept)[:_MAX_SECRETS])


def digest_of(body: Any) -> str:
    """What tells one request from another."""
    return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()


def delivery_shown(delivery: Delivery) -> dict[str, Any]:
    """A delivery as it stands."""
    return {
        "id": delivery.delivery,
        "event": delivery.event,
        "site_id": delivery.site,
        "topic": delivery.topic,
        "device_id": delivery.device,
        "position": f"{delivery.epoch}.{delivery.sequence}" if not delivery.test else None,
        "message_id": delivery.message,
        "state": delivery.state,
        "attempts": delivery.number,
        "created": iso_utc(delivery.created),
        "last_attempt": iso_utc(delivery.at) if delivery.number else None,
        "next_attempt": iso_utc(delivery.next) if delivery.next is not None else None,
        "status": delivery.status,
        "error": delivery.error,
        "replay": delivery.replay,
        "test": bool(delivery.test),
    }


def attempt_shown(attempt: AttemptRow) -> dict[str, Any]:
    """One attempt; ``duration`` is in seconds."""
    return {
        "number": attempt.number,
        "at": iso_utc(attempt.at),
        "state": attempt.state,
        "status": attempt.status,
        "error": attempt.error,
        "duration": attempt.duration / 1000,
        "answer": attempt.answer,
        "next_attempt": iso_utc(attempt.next) if attempt.next is not None else None,
    }
