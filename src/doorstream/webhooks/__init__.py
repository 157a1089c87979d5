"""Webhooks: events of a site posted to where they are wanted, at least once, with retries that survive anything."""

from doorstream.webhooks.service import Service, make_secret

__all__ = ["Service", "make_secret"]
