"""Which webhook a request is about, and what its caller may do with it."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from doorstream.auth import Principal
from doorstream.directory import Directory, NotFound, SiteView
from doorstream.events.entities import Webhook
from doorstream.server.api.access import Access
from doorstream.webhooks import Service

READ, WRITE = "webhooks:read", "webhooks:write"


@dataclass(frozen=True, slots=True)
class WebhookRoutes:
    """What the routes stand on."""

    directory: Directory
    access: Access
    webhooks: Service

    def read(self, request: Request, site_id: str, webhook_id: str) -> Webhook:
        """The webhook, for a caller who may read it; raises NotFound and what ``Access`` raises."""
        principal, view = self.access.caller_at(request, site_id, READ)
        return _found(view, webhook_id, principal, READ)

    def write(self, request: Request, site_id: str, webhook_id: str) -> tuple[Principal, Webhook]:
        """The webhook and a caller who may change it; raises NotFound and what ``Access`` raises."""
        principal, view = self.access.caller_at(request, site_id, WRITE)
        return principal, _found(view, webhook_id, principal, WRITE)


def _found(view: SiteView, webhook_id: str, principal: Principal, scope: str) -> Webhook:
    """The webhook, if the caller has the scope wherever its events are from; raises NotPermitted."""
    webhook = view.webhooks.get(webhook_id)
    if webhook is None:
        raise NotFound("webhook", webhook_id)
    for site_id in webhook.sites:
        principal.require(scope, site_id)
    return webhook
