"""What a webhook's values must be. Whether its address may be called is judged where it is called."""

from __future__ import annotations

import re
from typing import Protocol
from urllib.parse import urlsplit

from doorstream.directory.errors import InvalidEntity
from doorstream.events.draft import parse_time
from doorstream.events.entities import Webhook
from doorstream.events.errors import InvalidEvent
from doorstream.events.topics import CATALOGUE, topic_named

FORMS = ("native", "cloudevents", "cloudevents-binary", "parakey", "pdk")
"""The payload forms."""

MAX_CONCURRENCY = 100
MAX_RETRIES = 50
_MAX_WAIT = 7 * 86_400.0
_MAX_RATE = 10_000.0
_MAX_LIST = 1000
_MAX_URL = 2000
_MAX_HEADERS = 50
_MAX_HEADER = 4000
_SECRECY_LEVELS = (0, 1, 2)

_PATTERN = re.compile(r"[a-z0-9_.-]+\.\*")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")

CONNECTION_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers (in lower case) that belong to the connection or name the target: no request may be given them (S4)."""

_OURS = CONNECTION_HEADERS | {"content-type", "webhook-id", "webhook-signature", "webhook-timestamp", "x-pdk-signature"}


class Sites(Protocol):
    """What knows which sites there are."""

    def site(self, site_id: str) -> object | None:
        """The site, or None."""


def check_webhook(webhook: Webhook, sites: Sites) -> None:
    """Judge a webhook; raises InvalidEntity."""
    _check_url(webhook.url)
    if webhook.form not in FORMS:
        raise InvalidEntity("form", f"one of {', '.join(FORMS)}")
    _check_filters(webhook, sites)
    _check_headers(webhook.headers)
    _check_pace(webhook)
    if webhook.secrecy_level not in _SECRECY_LEVELS:
        raise InvalidEntity("secrecy_level", "0, 1 or 2")
    if webhook.expires is not None:
        try:
            parse_time(webhook.expires)
        except InvalidEvent:
            raise InvalidEntity("expires", "an RFC 3339 time with its zone") from None


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or len(url) > _MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidEntity("url", "an https address, such as https://receiver.example/doors")
    if "@" in parts.netloc:
        raise InvalidEntity("url", "no user or password in the address: give an Authorization header")
    if parts.fragment:
        raise InvalidEntity("url", "no fragment: it is not sent")


def _check_filters(webhook: Webhook, sites: Sites) -> None:
    if not webhook.topics:
        raise InvalidEntity("topics", "at least one: names, patterns such as device.request.*, or *")
    for field in ("topics", "sites", "devices", "cloud_nodes"):
        if len(getattr(webhook, field)) > _MAX_LIST:
            raise InvalidEntity(field, f"at most {_MAX_LIST}")
    for at, topic in enumerate(webhook.topics):
        if topic != "*" and not (_is_known_pattern(topic) if topic.endswith(".*") else _is_topic(topic)):
            raise InvalidEntity(f"topics[{at}]", "a topic of the catalogue or x.<name>, a pattern with .*, or *")
    for at, site_id in enumerate(webhook.sites):
        if sites.site(site_id) is None:
            raise InvalidEntity(f"sites[{at}]", f"there is no site {site_id}")


def _is_known_pattern(pattern: str) -> bool:
    if not _PATTERN.fullmatch(pattern):
        return False
    prefix = pattern[:-1]
    return prefix.startswith("x.") or any(topic.startswith(prefix) for topic in CATALOGUE)


def _is_topic(name: str) -> bool:
    try:
        topic_named(name)
    except InvalidEvent:
        return False
    return True


def _check_headers(headers: dict[str, str]) -> None:
    if len(headers) > _MAX_HEADERS:
        raise InvalidEntity("headers", f"at most {_MAX_HEADERS}")
    if len({name.lower() for name in headers}) < len(headers):
        raise InvalidEntity("headers", "the same header twice")
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name):
            raise InvalidEntity("headers", "a header's name is made of letters, digits and dashes")
        if name.lower() in _OURS:
            raise InvalidEntity(f"headers.{name}", "is set by doorstream")
        if not HEADER_VALUE.fullmatch(value) or len(value) > _MAX_HEADER:
            raise InvalidEntity(f"headers.{name}", f"one line of at most {_MAX_HEADER} printable ASCII characters")


def _check_pace(webhook: Webhook) -> None:
    if not 1 <= webhook.concurrency <= MAX_CONCURRENCY:
        raise InvalidEntity("concurrency", f"from 1 to {MAX_CONCURRENCY}")
    if webhook.rate is not None and not 0 < webhook.rate <= _MAX_RATE:
        raise InvalidEntity("rate", f"deliveries per second, more than 0 and at most {_MAX_RATE:.0f}")
    if webhook.ignore_older_than is not None and not webhook.ignore_older_than >= 0:
        raise InvalidEntity("ignore_older_than", "seconds, 0 or more")
    if webhook.retry is None:
        return
    if len(webhook.retry) > MAX_RETRIES:
        raise InvalidEntity("retry", f"at most {MAX_RETRIES} waits")
    for at, wait in enumerate(webhook.retry):
        if not 0 < wait <= _MAX_WAIT:
            raise InvalidEntity(f"retry[{at}]", f"seconds, more than 0 and at most {_MAX_WAIT:.0f}")
