"""Traces with OpenTelemetry, from where an event is put in to where it is delivered. An extra: ``doorstream[otel]``.

Each event that is put in over HTTP is a span ``ingest``, a child of the caller's if it sent a ``traceparent``. The
event is kept with its trace, so that ``deliver``, where it is handed to the live connections, is a child of it in
whichever worker that happens, and so is each attempt of a webhook, which passes the trace on to the receiver.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from doorstream import __version__
from doorstream.events import Event
from doorstream.events.entities import Webhook
from doorstream.log import StartError
from doorstream.log.trace import HEADER, TRACEPARENT
from doorstream.webhooks.desk import Send
from doorstream.webhooks.records import Due
from doorstream.webhooks.sender import Outcome

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

_REMEMBERED: Final = 10_000
_FAILED: Final = 500
_INGEST: Final = ("/api/sites/", "/events")


class Tracing:
    """The traces of one worker."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - only those who trace have it
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - as above

        self._trace = trace
        self._provider = provider
        self._tracer = provider.get_tracer("doorstream", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._traces: OrderedDict[int, str] = OrderedDict()

    @classmethod
    def start(cls, endpoint: str, worker: int) -> Tracing:
        """Send traces to a collector that takes OTLP over HTTP; raises StartError where the extra is not installed."""
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - as above
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above
        except ImportError:
            raise StartError("--otel-endpoint needs OpenTelemetry: pip install 'doorstream[otel]'") from None
        resource = Resource.create(
            {"service.name": "doorstream", "service.version": __version__, "service.instance.id": str(worker)}
        )
        provider = TracerProvider(resource=resource)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider)

    async def close(self) -> None:
        """Send what is left, as far as the collector takes it."""
        await asyncio.to_thread(self._provider.shutdown)

    def remember(self, sequence: int, traceparent: str) -> None:
        """Note which trace an event belongs to; the last 10,000 are known."""
        self._traces[sequence] = traceparent
        if len(self._traces) > _REMEMBERED:
            self._traces.popitem(last=False)

    def ingesting(self, app: ASGIApp) -> ASGIApp:
        """The application with a span around every request that puts events in."""

        async def traced(scope: Any, receive: Any, send: Any) -> None:
            path = scope.get("path", "")
            is_ingest = scope["type"] == "http" and scope["method"] == "POST"
            if not (is_ingest and path.startswith(_INGEST[0]) and path.endswith(_INGEST[1])):
                await app(scope, receive, send)
                return
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            kind = self._trace.SpanKind.SERVER
            with self._tracer.start_as_current_span("ingest", self._propagator.extract(headers), kind) as span:
                span.set_attribute("http.request.method", "POST")
                span.set_attribute("url.path", path)

                async def answer(message: Any) -> None:
                    if message["type"] == "http.response.start":
                        span.set_attribute("http.response.status_code", message["status"])
                        if message["status"] >= _FAILED:
                            span.set_status(self._trace.StatusCode.ERROR)
                    await send(message)

                token = TRACEPARENT.set(self._traceparent())
                try:
                    await app(scope, receive, answer)
                finally:
                    TRACEPARENT.reset(token)

        return traced

    def delivering(self, event: Event) -> None:
        """Make a span of the delivery of an event that is about to be published: it ends when all is written."""
        parent = self._parent(event.sequence)
        if parent is None:
            return
        span = self._tracer.start_span("deliver", parent, self._trace.SpanKind.PRODUCER, _attributes(event))
        loop = asyncio.get_running_loop()
        # What is published now is written at the end of this turn of the loop, and this is called after it.
        loop.call_soon(lambda: loop.call_soon(span.end))

    def attempting(self, send: Send) -> Send:
        """``send`` with a span around every attempt of a webhook, whose request gets the trace in its headers.

        An owner's own header of that name stays. Of the URL only the host is told, as its path can be a secret.
        """

        async def traced(webhook: Webhook, event: Event, due: Due) -> Outcome | None:
            parent = self._parent(event.sequence)
            if parent is None:
                return await send(webhook, event, due)
            attributes = _attributes(event) | {
                "doorstream.webhook": webhook.id,
                "doorstream.attempt": due.number,
                "http.request.method": "POST",
                "server.address": _host(webhook.url),
            }
            span = self._tracer.start_span("webhook", parent, self._trace.SpanKind.CLIENT, attributes)
            headers: dict[str, str] = {}
            self._propagator.inject(headers, self._trace.set_span_in_context(span))
            outcome = await send(replace(webhook, headers=headers | webhook.headers), event, due)
            if outcome is None:
                return None  # nothing was sent, and a span that does not end is nowhere seen
            if outcome.status is not None:
                span.set_attribute("http.response.status_code", outcome.status)
            span.set_attribute("doorstream.outcome", "delivered" if outcome.delivered else "failed")
            if not outcome.delivered:
                span.set_attribute("error.type", outcome.error or str(outcome.status))
                span.set_status(self._trace.StatusCode.ERROR)
            span.end()
            return outcome

        return traced

    def _parent(self, sequence: int) -> Context | None:
        traceparent = self._traces.get(sequence)
        return None if traceparent is None else self._propagator.extract({HEADER: traceparent})

    def _traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get(HEADER)


def _attributes(event: Event) -> dict[str, str | int]:
    return {
        "doorstream.site": event.site_id,
        "doorstream.topic": event.topic,
        "doorstream.event": event.id,
        "doorstream.sequence": event.sequence,
    }


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # whether it can be sent to is not for traces to say
        return ""
