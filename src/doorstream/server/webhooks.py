"""Opens the webhooks of a worker, with the payload forms of all dialects."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from yarl import URL

from doorstream.dialects.parakey.webhooks import event_log_form
from doorstream.dialects.pdk.webhooks import HIDES_NAMES, webhook_form
from doorstream.log import StartError
from doorstream.webhooks import Service
from doorstream.webhooks.forms import Form, cloudevents_binary, cloudevents_structured, native
from doorstream.webhooks.guard import Policy

if TYPE_CHECKING:
    from doorstream.live import Hub
    from doorstream.server.services import Services
    from doorstream.server.settings import Settings

_LOOPBACK = ("127.0.0.0/8", "::1/128")


def webhooks_file(number: int) -> str:
    """The file of a worker's ledger in the data directory: each has its own, as none is the truth."""
    return "webhooks.sqlite" if number == 0 else f"webhooks-{number}.sqlite"


def forms(epoch: str, public_url: str) -> dict[str, Form]:
    """Every payload form by its name."""
    return {
        "native": native(epoch),
        "cloudevents": cloudevents_structured(public_url, epoch),
        "cloudevents-binary": cloudevents_binary(public_url, epoch),
        "parakey": event_log_form,
    } | {f"pdk.{level}": webhook_form(level) for level in range(HIDES_NAMES + 1)}


def policy(allowed: tuple[str, ...], *, require_https: bool, is_demo: bool) -> Policy:
    """Where webhooks may go; the demo's may go to loopback over plain http. Raises StartError."""
    networks = (*allowed, *_LOOPBACK) if is_demo else allowed
    try:
        return Policy.of(networks, require_https=require_https and not is_demo)
    except ValueError as error:
        raise StartError(f"webhook_allow: {error}") from None


def origin(settings: Settings) -> str:
    """The host name of the address that clients use: who we are to receivers that are asked for their agreement."""
    return (URL(settings.public_url).raw_host if settings.public_url else None) or settings.host


@contextlib.asynccontextmanager
async def open_webhooks(services: Services, hub: Hub) -> AsyncIterator[Service]:
    """The webhooks of an opened worker; ``hub`` has every event at once and once. Raises StartError or LogError."""
    settings = services.settings
    path = settings.data_dir / webhooks_file(services.number)
    opening = Service.open(
        path=path,
        connection=services.log_connection,
        directory=services.directory,
        log=services.log,
        hub=hub,
        alarms=services.alarms,
        ingest=services.ingest,
        forms=forms(services.log.epoch, settings.public_url or ""),
        policy=policy(
            settings.webhook_allow, require_https=settings.webhook_require_https, is_demo=settings.demo is not None
        ),
        delivers=services.is_background,
        clock=services.clock,
        ledger_age=settings.webhook_ledger_age,
        proxy=settings.webhook_proxy,
        origin=origin(settings),
    )
    async with contextlib.AsyncExitStack() as exits:
        try:
            webhooks = await exits.enter_async_context(opening)
        except sqlite3.Error as error:
            raise StartError(f"{path} cannot be opened: {error}") from None
        yield webhooks
