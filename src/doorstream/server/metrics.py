"""``/metrics``: what the workers count, in the text form of Prometheus. Nothing is counted for it that costs per event.

Whichever worker answers gives the figures of all of them; the label ``worker`` tells whose each is.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from fastapi import FastAPI, Response
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from doorstream import __version__
from doorstream.drivers import ModuleView
from doorstream.live.presence import Describable
from doorstream.live.subscription import State
from doorstream.log import Extent, LogUnavailable
from doorstream.server.services import Services
from doorstream.server.siblings import PATIENCE
from doorstream.webhooks.counts import MOST, OUTCOMES
from doorstream.webhooks.engine import STATES, Engine

_PORTION = 500
_LOG_PATIENCE: Final = PATIENCE / 4
"""Seconds: metrics are wanted above all when the log is slow, and other workers wait for the answer."""
_HELD = State.HELD.value


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric: what it is called, what kind it is, what it says, and its labels beside ``worker``."""

    name: str
    kind: Literal["counter", "gauge"]
    text: str
    labels: tuple[str, ...] = ()


METRICS: Final = (
    Definition(
        "doorstream_workers", "gauge", "Workers of this server, and whether their figures are here.", ("state",)
    ),
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
    Definition(
        "doorstream_withheld_events",
        "gauge",
        "Events since the positions of connections that are held, of whatever topic and site; summed over connections.",
        ("dialect",),
    ),
    Definition("doorstream_unsent_bytes", "gauge", "What waits to be sent to slow connections.", ("dialect",)),
    Definition("doorstream_deliveries", "counter", "Messages that were written to connections.", ("dialect",)),
    Definition("doorstream_published_events", "counter", "Events that were handed out live."),
    Definition("doorstream_resumes", "counter", "Subscriptions that went on from an older position.", ("result",)),
    Definition(
        "doorstream_modules",
        "gauge",
        "Modules of all sites: running, starting, failed, or stopped on purpose.",
        ("driver", "state"),
    ),
    Definition("doorstream_sockets", "counter", "What happened to WebSockets and polling sessions.", ("what",)),
    Definition(
        "doorstream_webhook_attempts",
        "counter",
        "Attempts of webhooks. Those that failed, or whose own_fault it was, are tried again; dead and unsent are not.",
        ("outcome",),
    ),
    Definition("doorstream_webhook_attempt_seconds", "counter", "Seconds that these attempts took.", ("outcome",)),
    Definition("doorstream_webhooks", "gauge", "Webhooks of all sites.", ("state",)),
    Definition("doorstream_webhook_lag_events", "gauge", "Events that the webhook furthest behind has not looked at."),
    Definition(
        "doorstream_webhook_deliveries",
        "gauge",
        f"Deliveries of webhooks that wait to be tried again, or are dead: given up. Neither is counted beyond {MOST}.",
        ("state",),
    ),
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


class _Family(msgspec.Struct, array_like=True):
    """A metric with its values: names of samples, their labels, and figures. This is how workers tell each other."""

    name: str
    kind: str
    text: str
    samples: list[tuple[str, dict[str, str], float]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Family]).decode


class _Sample:
    """What there is at one moment; a collector in the sense of prometheus_client."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}

    @property
    def families(self) -> list[_Family]:
        """All metrics that have a value."""
        return list(self._families.values())

    def set(self, name: str, value: float, *labels: str) -> None:
        """Note one value; the labels are in the order of the definition."""
        definition = _BY_NAME[name]
        named = dict(zip(definition.labels, labels, strict=True))
        sample = (f"{name}_total" if definition.kind == "counter" else name, named, float(value))
        self.add(_Family(name, definition.kind, definition.text, [sample]))

    def add(self, family: _Family) -> None:
        """Note values of a metric that may have some already."""
        known = self._families.setdefault(family.name, family)
        if known is not family:
            known.samples += family.samples

    def mark(self, worker: int) -> None:
        """Say whose all these values are."""
        for family in self._families.values():
            family.samples = [(name, labels | {"worker": str(worker)}, value) for name, labels, value in family.samples]

    def collect(self) -> Iterator[Metric]:
        """The values by metric."""
        for family in self._families.values():
            metric = Metric(family.name, family.text, family.kind)
            for name, labels, value in family.samples:
                metric.add_sample(name, labels, value)
            yield metric


def add_metrics(app: FastAPI, services: Services) -> None:
    """Answer ``/metrics``, and the other workers who are asked for it."""
    own = (ProcessCollector(registry=None), PlatformCollector(registry=None))

    async def take() -> _Sample:
        sample = _Sample()
        for metric in itertools.chain.from_iterable(collector.collect() for collector in own):
            values = [(each.name, dict(each.labels), each.value) for each in metric.samples]
            sample.add(_Family(metric.name, metric.type, metric.documentation, values))
        sample.set("doorstream_info", 1, __version__)
        _take_counts(sample, services)
        await _take_log(sample, services)
        await _take_connections(sample, services)
        if services.is_background:
            await _take_modules(sample, services)
        if services.webhooks.engine is not None:
            await _take_webhooks(sample, services, services.webhooks.engine)
        sample.mark(services.number)
        return sample

    async def tell(_: bytes) -> bytes:
        return _encode((await take()).families)

    services.siblings.on("metrics", tell)

    @app.get("/metrics", tags=["operations"], summary="Metrics in the text form of Prometheus")
    async def metrics() -> Response:
        sample, answers = await asyncio.gather(take(), services.siblings.ask("metrics"))
        for data in answers.values():
            for family in _decode(data):
                sample.add(family)
        sample.set("doorstream_workers", 1 + len(answers), "answered")
        sample.set("doorstream_workers", len(services.siblings.workers) - 1 - len(answers), "missing")
        registry = CollectorRegistry(auto_describe=False)
        registry.register(sample)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


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
        async with asyncio.timeout(_LOG_PATIENCE):
            extent: Extent | None = await services.log.extent()
    except (LogUnavailable, TimeoutError):
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
    withheld: Counter[str] = Counter()
    unsent: Counter[str] = Counter()
    for number, connection in enumerate(_described(services), 1):
        description = connection.describe()
        states[description.dialect, description.state] += 1
        expired[description.dialect] += description.token_expired
        unsent[description.dialect] += description.unsent
        if description.state == _HELD and description.position is not None:
            withheld[description.dialect] += max(services.hub.sequence - description.position.sequence, 0)
        if not number % _PORTION:
            await asyncio.sleep(0)
    for (dialect, state), count in sorted(states.items()):
        sample.set("doorstream_connections", count, dialect, state)
    for dialect in sorted(expired):
        sample.set("doorstream_connections_token_expired", expired[dialect], dialect)
        sample.set("doorstream_withheld_events", withheld[dialect], dialect)
        sample.set("doorstream_unsent_bytes", unsent[dialect], dialect)


async def _take_modules(sample: _Sample, services: Services) -> None:
    """How modules are doing: ``running``, ``stopped`` on purpose, ``failed``, or ``starting``."""
    states: Counter[tuple[str, str]] = Counter()
    for site in tuple(services.directory.sites):
        for module in services.drivers.modules(site.id):
            states[module.driver, _state_of(module)] += 1
        await asyncio.sleep(0)
    for (driver, state), count in sorted(states.items()):
        sample.set("doorstream_modules", count, driver, state)


def _state_of(module: ModuleView) -> str:
    if module.running:
        return "running"
    if not module.wanted:
        return "stopped"
    return "starting" if module.error is None else "failed"


async def _take_webhooks(sample: _Sample, services: Services, engine: Engine) -> None:
    """How webhooks are doing; only the worker that delivers to them says so."""
    for outcome in OUTCOMES:
        sample.set("doorstream_webhook_attempts", engine.counts.attempts[outcome], outcome)
        sample.set("doorstream_webhook_attempt_seconds", engine.counts.seconds[outcome], outcome)
    sample.set("doorstream_webhook_lag_events", engine.behind())
    states = Counter(dict.fromkeys(STATES, 0))
    for number, webhook in enumerate(services.directory.webhooks, 1):
        states[engine.state(webhook)] += 1
        if not number % _PORTION:
            await asyncio.sleep(0)
    for state, count in states.items():
        sample.set("doorstream_webhooks", count, state)
    with contextlib.suppress(LogUnavailable, TimeoutError):
        async with asyncio.timeout(_LOG_PATIENCE):
            unfinished = await engine.unfinished()
        sample.set("doorstream_webhook_deliveries", unfinished.waiting, "waiting")
        sample.set("doorstream_webhook_deliveries", unfinished.dead, "dead")


def _described(services: Services) -> Iterator[Describable]:
    for _, connection in services.presence:
        if isinstance(connection, Describable):
            yield connection
