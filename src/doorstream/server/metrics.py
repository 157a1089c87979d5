"""``/metrics``: what a worker counts, in the text form of Prometheus. Nothing is counted for it that costs per event.

Each worker answers for itself; with several, the label ``worker`` tells which one did.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from fastapi import FastAPI, Response
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from doorstream import __version__
from doorstream.live.presence import Describable
from doorstream.log import Extent, LogUnavailable
from doorstream.server.services import Services

_PORTION = 500


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric: what it is called, what kind it is, what it says, and its labels beside ``worker``."""

    name: str
    kind: Literal["counter", "gauge"]
    text: str
    labels: tuple[str, ...] = ()


METRICS: Final = (
    Definition("doorstream_info", "gauge", "Always 1; the label tells the version.", ("version",)),
    Definition("doorstream_events_ingested", "counter", "Events that were put in.", ("result",)),
    Definition("doorstream_log_up", "gauge", "Whether NATS answers: 1 or 0."),
    Definition("doorstream_log_first_sequence", "gauge", "The first event that is kept."),
    Definition("doorstream_log_last_sequence", "gauge", "The last event that is kept."),
    Definition("doorstream_log_lag_events", "gauge", "Stored events that were not handed out yet."),
    Definition("doorstream_index_lag_seconds", "gauge", "How old an event can be that searches do not find yet."),
    Definition("doorstream_index_applied_sequence", "gauge", "The last event that searches find."),
    Definition("doorstream_connections", "gauge", "Streaming connections, by what they get now.", ("dialect", "state")),
    Definition("doorstream_connections_token_expired", "gauge", "Those whose token has expired.", ("dialect",)),
    Definition("doorstream_unsent_bytes", "gauge", "What waits to be sent to slow connections.", ("dialect",)),
    Definition("doorstream_deliveries", "counter", "Messages that were written to connections.", ("dialect",)),
    Definition("doorstream_published_events", "counter", "Events that were handed out live."),
    Definition("doorstream_resumes", "counter", "Subscriptions that went on from an older position.", ("result",)),
    Definition("doorstream_modules", "gauge", "Modules of all sites.", ("driver", "state")),
    Definition("doorstream_sockets", "counter", "What happened to WebSockets and polling sessions.", ("what",)),
)
"""Every metric of ours. Counters have ``_total`` at the end of their names, as Prometheus wants it."""

_BY_NAME: Final = {definition.name: definition for definition in METRICS}
_SOCKETS: Final = (
    "opened",
    "closed",
    "refused",
    "handshake_timeouts",
    "slow_consumers",
    "protocol_errors",
    "throttled",
)


class _Sample:
    """What there is at one moment; a collector in the sense of prometheus_client."""

    def __init__(self, worker: int) -> None:
        self._worker = str(worker)
        self._families: dict[str, Metric] = {}

    def set(self, name: str, value: float, *labels: str) -> None:
        """Note one value; the labels are in the order of the definition."""
        definition = _BY_NAME[name]
        family = self._families.get(name)
        if family is None:
            make = CounterMetricFamily if definition.kind == "counter" else GaugeMetricFamily
            family = self._families[name] = make(name, definition.text, labels=(*definition.labels, "worker"))
        family.add_metric((*labels, self._worker), value)  # type: ignore[attr-defined]  # both kinds have it

    def collect(self) -> Iterable[Metric]:
        """The values by metric."""
        return self._families.values()


def add_metrics(app: FastAPI, services: Services) -> None:
    """Answer ``/metrics``."""
    process = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=process)
    PlatformCollector(registry=process)

    @app.get("/metrics", tags=["operations"], summary="Metrics in the text form of Prometheus")
    async def metrics() -> Response:
        sample = _Sample(services.number)
        sample.set("doorstream_info", 1, __version__)
        _take_counts(sample, services)
        await _take_log(sample, services)
        await _take_connections(sample, services)
        await _take_modules(sample, services)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(sample)
        return Response(generate_latest(process) + generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _take_counts(sample: _Sample, services: Services) -> None:
    ingest, hub, counters = services.ingest.counts, services.hub.counts, services.gateway.counters
    sample.set("doorstream_events_ingested", ingest.stored, "stored")
    sample.set("doorstream_events_ingested", ingest.duplicates, "duplicate")
    sample.set("doorstream_events_ingested", ingest.rejected, "rejected")
    sample.set("doorstream_published_events", hub.published)
    for dialect, count in sorted(hub.delivered.items()):
        sample.set("doorstream_deliveries", count, dialect)
    sample.set("doorstream_resumes", hub.resumed - hub.gone, "continued")
    sample.set("doorstream_resumes", hub.gone, "gap")
    for what in _SOCKETS:
        sample.set("doorstream_sockets", getattr(counters, what), what)


async def _take_log(sample: _Sample, services: Services) -> None:
    try:
        extent: Extent | None = await services.log.extent()
    except LogUnavailable:
        extent = None
    sample.set("doorstream_log_up", extent is not None)
    if extent is not None:
        sample.set("doorstream_log_first_sequence", extent.first)
        sample.set("doorstream_log_last_sequence", extent.last)
        sample.set("doorstream_log_lag_events", max(extent.last - services.hub.sequence, 0))
    sample.set("doorstream_index_lag_seconds", services.index.lag())
    sample.set("doorstream_index_applied_sequence", services.index.applied)


async def _take_connections(sample: _Sample, services: Services) -> None:
    """Look at every connection, some at a time: there may be thousands, and events go on meanwhile."""
    states: Counter[tuple[str, str]] = Counter()
    expired: Counter[str] = Counter()
    unsent: Counter[str] = Counter()
    for number, connection in enumerate(_described(services), 1):
        description = connection.describe()
        states[description.dialect, description.state] += 1
        expired[description.dialect] += description.token_expired
        unsent[description.dialect] += description.unsent
        if not number % _PORTION:
            await asyncio.sleep(0)
    for (dialect, state), count in sorted(states.items()):
        sample.set("doorstream_connections", count, dialect, state)
    for dialect in sorted(expired):
        sample.set("doorstream_connections_token_expired", expired[dialect], dialect)
        sample.set("doorstream_unsent_bytes", unsent[dialect], dialect)


async def _take_modules(sample: _Sample, services: Services) -> None:
    """How modules are doing: ``running``, ``stopped`` on purpose, or ``failed``."""
    states: Counter[tuple[str, str]] = Counter()
    for site in tuple(services.directory.sites):
        for module in services.drivers.modules(site.id):
            state = "running" if module.running else "failed" if module.wanted else "stopped"
            states[module.driver, state] += 1
        await asyncio.sleep(0)
    for (driver, state), count in sorted(states.items()):
        sample.set("doorstream_modules", count, driver, state)


def _described(services: Services) -> Iterator[Describable]:
    for _, connection in services.presence:
        if isinstance(connection, Describable):
            yield connection
