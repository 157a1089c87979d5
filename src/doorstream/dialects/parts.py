"""What a dialect is built of: the same parts for each, so that mounting another one is one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from doorstream.auth import Auth
from doorstream.directory import Directory
from doorstream.drivers import Drivers
from doorstream.events import Retention
from doorstream.gateway import Gateway, Limits
from doorstream.history import Index
from doorstream.ingest import Ingest
from doorstream.live import Alarms, Hub, Presence
from doorstream.log import EventLog
from doorstream.webhooks import Service as Webhooks


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a worker that a dialect may use.

    ``kept`` gives the first sequence that is kept and the last that was handed out;
    ``limits`` is what one streaming connection may cost (D12); ``public_url`` has no slash at its end. ``drop_after``
    is a fault of the demo: every streaming connection is cut after that many seconds.
    """

    gateway: Gateway
    limits: Limits
    directory: Directory
    auth: Auth
    log: EventLog
    hub: Hub
    index: Index
    ingest: Ingest
    alarms: Alarms
    presence: Presence
    webhooks: Webhooks
    drivers: Drivers
    clock: Callable[[], float]
    kept: Callable[[], tuple[int, int]]
    retention: Retention
    public_url: str
    drop_after: float | None = None
