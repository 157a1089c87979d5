"""Traces, as a collector receives them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from cli_support import check_refused, environment, run
from http_support import event
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from doorstream.testing import until
from doorstream.testing.server import running_demo

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
