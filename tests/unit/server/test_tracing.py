"""Traces, as a collector receives them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web
from cli_support import check_refused, environment, run
from http_support import event
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from doorstream.events import Event
from doorstream.events.entities import SigningSecret, Webhook
from doorstream.events.event import encode_kept
from doorstream.server.tracing import Tracing
from doorstream.testing import SITE, until
from doorstream.testing.receiver import Answer, Receiver
from doorstream.testing.server import running_demo
from doorstream.webhooks.post import Unwritable
from doorstream.webhooks.records import Due
from doorstream.webhooks.sender import Outcome

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Takes traces over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        """One batch."""
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        batch = ExportTraceServiceRequest.FromString(body)
        for resource in batch.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return web.Response()


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """A collector that listens."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield collector
    await runner.cleanup()


async def test_an_event_is_one_trace_from_ingest_to_delivery(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And that of whoever put it in, if they said theirs. What is sent is no event of anybody else."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    async with running_demo(otel_endpoint=collector.url) as demo:
        key = demo.credentials["admin"]["api_key"]
        headers = {"X-API-Key": key, "traceparent": f"00-{TRACE}-{CALLER}-01"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{demo.url}/api/sites/{demo.site_id}/events", json=event("traced")) as response,
        ):
            assert response.status == 200
        await demo.api.ingest(demo.site_id, event("alone"))
        await until(lambda: {span.name for span in collector.spans} >= {"ingest", "deliver"}, 20)
        await until(lambda: len(collector.spans) >= 4, 20)
    traced = [span for span in collector.spans if span.trace_id.hex() == TRACE]
    ingest = next(span for span in traced if span.name == "ingest")
    deliver = next(span for span in traced if span.name == "deliver")
    assert ingest.parent_span_id.hex() == CALLER
    assert deliver.parent_span_id == ingest.span_id
    attributes = {each.key: each.value.string_value for each in deliver.attributes}
    assert (attributes["doorstream.event"], attributes["doorstream.topic"]) == ("traced", "x.test")
    others = {span.trace_id for span in collector.spans if span.trace_id.hex() != TRACE}
    assert len(others) == 1, "the other event is a trace of its own"


async def test_each_attempt_of_a_webhook_is_in_the_trace_of_its_event(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the delivery to live connections; and what is told to the receiver is the span of that very attempt."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    async with running_demo(otel_endpoint=collector.url) as demo, Receiver() as receiver:
        receiver.plan(Answer(500), Answer())
        fields = {"url": receiver.url, "topics": ["x.test"], "retry": [0.2]}
        await demo.api.call("POST", f"/api/sites/{demo.site_id}/webhooks", json=fields)
        await demo.api.ingest(demo.site_id, event("traced"))
        await until(lambda: [span.name for span in collector.spans].count("webhook") == 2, 20)
        await until(lambda: {span.name for span in collector.spans} >= {"ingest", "deliver"}, 20)
    ingest = next(span for span in collector.spans if span.name == "ingest")
    attempts = [span for span in collector.spans if span.name == "webhook"]
    assert {(span.trace_id, span.parent_span_id) for span in attempts} == {(ingest.trace_id, ingest.span_id)}
    told = [request.headers["traceparent"].split("-")[1:3] for request in receiver.requests]
    assert told == [[span.trace_id.hex(), span.span_id.hex()] for span in attempts]


async def test_a_collector_that_is_away_holds_nothing_up() -> None:
    async with running_demo(otel_endpoint="http://127.0.0.1:1") as demo:
        async with asyncio.timeout(10):
            for number in range(20):
                await demo.api.ingest(demo.site_id, event(f"{number}"))


async def test_without_the_extra_it_is_said_what_to_install(tmp_path) -> None:
    hide = "import sys; sys.modules['opentelemetry.exporter.otlp.proto.http.trace_exporter'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(hide)
    options = ("--port", "0", "--data-dir", str(tmp_path / "data"), "--otel-endpoint", "http://127.0.0.1:1")
    ended = await run("serve", *options, env=environment(PYTHONPATH=str(tmp_path)))
    check_refused(ended, 2, "doorstream[otel]")


# Attempts of webhooks.

TRACED, UNTRACED = 7, 8
SECRET = "do-not-tell"
HOOK = Webhook(
    id="hook",
    site_id=SITE,
    name="Hook",
    url=f"https://hooks.example.com/{SECRET}?token={SECRET}",
    headers={"Authorization": SECRET},
    secrets=(SigningSecret(version="v1", created="2026-01-31T10:00:00.000Z", value=SECRET),),
    created="2026-01-31T10:00:00.000Z",
    start="e.0",
)


class Attempts:
    """What is attempted under a tracing of its own: ``outcome`` is what comes of it, or what is raised."""

    def __init__(self, outcome: Outcome | Exception | None) -> None:
        self.outcome = outcome
        self.sent: list[Webhook] = []
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        tracing = Tracing(provider)
        tracing.remember(TRACED, f"00-{TRACE}-{CALLER}-01")
        self._traced = tracing.attempting(self._send)

    async def make(self, sequence: int = TRACED, webhook: Webhook = HOOK) -> Outcome | None:
        """One of them, the third of its delivery."""
        json = encode_kept(
            id="one", topic="x.test", site_id=SITE, occurred=1, body={}, cloud_node=None, metadata={"note": SECRET}
        )
        due = Due(f"e-{sequence}", "e", sequence, "one", SITE, "x.test", "one", number=3)
        return await self._traced(webhook, Event(json, sequence, 1), due)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Those that ended."""
        return self._exporter.get_finished_spans()

    async def _send(self, webhook: Webhook, _event: Event, _due: Due) -> Outcome | None:
        self.sent.append(webhook)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


async def test_an_attempt_is_a_span_of_the_events_trace_and_passes_it_on() -> None:
    attempts = Attempts(Outcome(204, None, 0.1))
    assert await attempts.make() is attempts.outcome
    [span] = attempts.spans
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, CALLER)
    assert (span.name, span.kind.name, span.status.is_ok) == ("webhook", "CLIENT", True)
    assert span.attributes == {
        "doorstream.site": SITE,
        "doorstream.topic": "x.test",
        "doorstream.event": "one",
        "doorstream.sequence": TRACED,
        "doorstream.webhook": "hook",
        "doorstream.attempt": 3,
        "doorstream.outcome": "delivered",
        "http.request.method": "POST",
        "http.response.status_code": 204,
        "server.address": "hooks.example.com",
    }
    [sent] = attempts.sent
    assert span.context is not None
    assert sent.headers == {"Authorization": SECRET, "traceparent": f"00-{TRACE}-{span.context.span_id:016x}-01"}
    assert HOOK.headers == {"Authorization": SECRET}


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Outcome(500, None, 0.1, SECRET.encode()), "500"),
        (Outcome(None, "timeout", 15.0), "timeout"),
        (Outcome(302, "redirect", 0.1, detail=SECRET), "redirect"),
    ],
)
async def test_a_failed_attempt_is_a_failed_span_that_keeps_secrets(outcome: Outcome, error: str) -> None:
    """It says why, and nothing of what was sent, what was answered, or what the path of the URL is."""
    attempts = Attempts(outcome)
    await attempts.make()
    [span] = attempts.spans
    assert span.attributes is not None
    assert span.status.status_code.name == "ERROR"
    assert (span.attributes["doorstream.outcome"], span.attributes["error.type"]) == ("failed", error)
    assert span.attributes.get("http.response.status_code") == outcome.status
    assert SECRET not in span.to_json()


async def test_what_is_not_sent_is_no_span() -> None:
    """What the form does not know, or fails on."""
    attempts = Attempts(None)
    assert await attempts.make() is None
    attempts.outcome = Unwritable("not writable")
    with pytest.raises(Unwritable):
        await attempts.make()
    assert len(attempts.sent) == 2
    assert attempts.spans == ()


async def test_an_event_without_a_trace_is_sent_as_it_is() -> None:
    attempts = Attempts(Outcome(200, None, 0.1))
    await attempts.make(UNTRACED)
    assert attempts.sent == [HOOK]
    assert attempts.spans == ()


async def test_an_owners_own_trace_header_stays() -> None:
    attempts = Attempts(Outcome(200, None, 0.1))
    await attempts.make(webhook=replace(HOOK, headers={"traceparent": "of the owner"}))
    assert attempts.sent[0].headers == {"traceparent": "of the owner"}


async def test_an_address_that_is_none_does_not_keep_an_attempt_from_being_made() -> None:
    """The sender tells what is wrong with it."""
    attempts = Attempts(Outcome(None, "blocked", 0.0))
    await attempts.make(webhook=replace(HOOK, url="http://[/"))
    [span] = attempts.spans
    assert span.attributes is not None
    assert span.attributes["server.address"] == ""
