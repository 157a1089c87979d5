"""``/metrics``, as Prometheus and its promtool would read it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from http_support import event, pdk_client
from prometheus_client.parser import text_string_to_metric_families

from doorstream.server.metrics import METRICS
from doorstream.testing.receiver import Answer, Receiver
from doorstream.testing.server import Demo, running_demo


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for all tests of this file, in which nothing happens by itself."""
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors, demo.errors


async def scraped(demo: Demo) -> tuple[str, dict[tuple[str, ...], float]]:
    """The text, and the values by name and labels (without the worker)."""
    async with aiohttp.ClientSession() as session, session.get(f"{demo.url}/metrics") as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        text = await response.text()
    values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name != "worker"}
            values[sample.name, *labels.values()] = sample.value
    return text, values


async def until_scraped(demo: Demo, *sample: str, wanted: float) -> dict[tuple[str, ...], float]:
    """The values as soon as one of them, which may be missing at first, is as wanted."""
    values: dict[tuple[str, ...], float] = {}
    async with asyncio.timeout(30):
        while values.get(sample) != wanted:
            await asyncio.sleep(0.02)
            _, values = await scraped(demo)
    return values


@pytest.mark.asyncio(loop_scope="module")
async def test_the_text_is_as_promtool_wants_it(demo: Demo) -> None:
    """Every metric has help and type, once and before its samples; names follow the rules; no sample is there twice."""
    text, _ = await scraped(demo)
    assert text.endswith("\n")
    seen: dict[str, set[str]] = {}
    samples: set[str] = set()
    current = ""
    for line in text.splitlines():
        if line.startswith("# "):
            _, keyword, name, rest = line.split(" ", 3)
            assert keyword not in seen.setdefault(name, set()), f"{name} has {keyword} twice"
            seen[name].add(keyword)
            assert keyword != "HELP" or len(rest) > 5
            current = name
        else:
            series = line.rpartition(" ")[0]
            assert series not in samples, f"{series} is there twice"
            samples.add(series)
            name = series.partition("{")[0]
            assert name == current
            assert seen[name] == {"HELP", "TYPE"}
            assert re.fullmatch(r"[a-z_][a-z0-9_]*", name)
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    assert all(name.endswith("_total") for name, kind in kinds.items() if kind == "counter")
    assert not [name for name, kind in kinds.items() if kind == "gauge" and name.endswith("_total")]


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_defined_is_there(demo: Demo) -> None:
    """Once something has happened; and nothing of ours is there that is not defined."""
    headers = {"X-API-Key": demo.credentials["admin"]["api_key"]}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{demo.url}/api/sites/{demo.site_id}/stream") as stream,
    ):
        await stream.content.readline()
        await demo.api.ingest(demo.site_id, event("one"), event("two"))
        while b"two" not in await stream.content.readline():
            pass
        await until_scraped(demo, "doorstream_modules", "simulated_door", "running", wanted=12)
        text, values = await scraped(demo)
    names = {name.removesuffix("_total") for name in re.findall(r"^# TYPE (doorstream_\w+) ", text, re.MULTILINE)}
    assert names == {definition.name for definition in METRICS}
    assert values["doorstream_connections", "events", "live"] == 1
    assert values["doorstream_deliveries_total", "events"] == 2
    assert values["doorstream_modules", "simulated_door", "running"] == 12
    assert values["doorstream_log_up",] == 1
    assert values["doorstream_log_lag_events",] == 0


@pytest.mark.asyncio(loop_scope="module")
async def test_what_was_put_in_is_counted(demo: Demo) -> None:
    _, before = await scraped(demo)
    await demo.api.ingest(demo.site_id, event("a"), event("b"), event("a"))
    with pytest.raises(Exception, match="422"):
        await demo.api.ingest(demo.site_id, event("c", topic="nothing.known"))
    _, after = await scraped(demo)

    def grown(result: str) -> float:
        name = ("doorstream_events_ingested_total", result)
        return after[name] - before[name]

    assert (grown("stored"), grown("duplicate"), grown("rejected")) == (2, 1, 1)


@pytest.mark.asyncio(loop_scope="module")
async def test_resumes_are_counted(demo: Demo) -> None:
    """By whether everything was there that followed the position."""
    first, _ = await demo.api.ingest(demo.site_id, event("seen"), event("missed"))
    key = {"X-API-Key": demo.credentials["admin"]["api_key"]}
    stream = f"{demo.url}/api/sites/{demo.site_id}/stream"

    async def resumed(position: str, until: bytes) -> tuple[float, float]:
        """How many more there are of both kinds, when something has come."""
        _, before = await scraped(demo)
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session,
            session.get(stream, headers=key | {"Last-Event-ID": position}) as response,
        ):
            while until not in await response.content.readline():
                pass
            _, after = await scraped(demo)
        names = [("doorstream_resumes_total", result) for result in ("continued", "gap")]
        continued, gap = (after[name] - before[name] for name in names)
        return continued, gap

    assert await resumed(first, b'"missed"') == (1, 0)
    _, gap = await resumed("0000abcd.1", b"event: gap")
    assert gap == 1


@pytest.mark.asyncio(loop_scope="module")
async def test_what_slow_clients_leave_unread_is_counted(demo: Demo) -> None:
    unsent = "doorstream_unsent_bytes", "pdk"
    async with pdk_client(demo) as ws:
        await ws.send_str('42["subscribeIsolated",{"topics":["device.request.allowed"]}]')
        await until_scraped(demo, "doorstream_connections", "pdk", "live", wanted=1)
        sent = 0
        async with asyncio.timeout(60):
            while not (await scraped(demo))[1][unsent]:
                large = event(f"large-{sent}", "device.request.allowed", body={"more": "x" * 90_000})
                await demo.api.ingest(demo.site_id, large)
                sent += 1
        for number in range(sent):
            while f'"large-{number}"' not in await ws.receive_str():
                pass
        await until_scraped(demo, *unsent, wanted=0)


async def test_withheld_events_are_counted() -> None:
    """Those that came since a client's token expired; none when it is renewed."""
    async with running_demo(system_token_ttl=1) as demo, pdk_client(demo) as ws:
        values = await until_scraped(demo, "doorstream_connections", "pdk", "held", wanted=1)
        assert values["doorstream_withheld_events", "pdk"] == 0
        assert values["doorstream_connections_token_expired", "pdk"] == 1
        await demo.api.ingest(demo.site_id, event("a"), event("b"), event("c"))
        values = await until_scraped(demo, "doorstream_withheld_events", "pdk", wanted=3)
        pdk = demo.credentials["pdk"]
        bearer = {"Authorization": f"Bearer {await demo.api.id_token(pdk['client_id'], pdk['client_secret'])}"}
        async with asyncio.timeout(30):
            while values["doorstream_withheld_events", "pdk"]:  # a token may have expired again before it arrives
                renewed = await demo.api.call("POST", f"/api/systems/{pdk['system_id']}/token", headers=bearer)
                await ws.send_str(f'42["renewedToken",{{"token":"{renewed["token"]}"}}]')
                _, values = await scraped(demo)


async def test_modules_are_counted_by_how_they_are(tmp_path: Path) -> None:
    """What cannot begin has failed; what is stopped on purpose has not, and neither has what has not yet begun."""
    ready = tmp_path / "ready"
    source = f"""
import asyncio
from pathlib import Path

from doorstream.drivers import Driver

class Lamp(Driver):
    name = "lamp"

    async def on_load(self):
        raise ConnectionError("the device is not there")

class Kettle(Driver):
    name = "kettle"

    async def on_load(self):
        while not Path({str(ready)!r}).exists():
            await asyncio.sleep(0.02)
"""
    (tmp_path / "lamp.py").write_text(source)
    async with running_demo(drivers_dir=tmp_path) as demo:
        modules = f"/api/sites/{demo.site_id}/modules"
        await until_scraped(demo, "doorstream_modules", "simulated_door", "running", wanted=12)
        await demo.api.call("POST", modules, json={"name": "Kitchen", "driver": "kettle"})
        await until_scraped(demo, "doorstream_modules", "kettle", "starting", wanted=1)
        ready.touch()
        await until_scraped(demo, "doorstream_modules", "kettle", "running", wanted=1)
        for name in ("Hall", "Yard"):
            made = await demo.api.call("POST", modules, json={"name": name, "driver": "lamp"})
        values = await until_scraped(demo, "doorstream_modules", "lamp", "failed", wanted=2)
        assert ("doorstream_modules", "lamp", "running") not in values
        await demo.api.call("PATCH", f"{modules}/{made['id']}", json={"running": False})
        values = await until_scraped(demo, "doorstream_modules", "lamp", "stopped", wanted=1)
        assert values["doorstream_modules", "lamp", "failed"] == 1
        assert values["doorstream_modules", "simulated_door", "running"] == 12


@pytest.mark.asyncio(loop_scope="module")
async def test_webhooks_are_counted_and_seen(demo: Demo) -> None:
    """By what became of their attempts and by how they are doing, and never by which they are."""
    _, before = await scraped(demo)
    assert before["doorstream_webhooks", "paused"] == 0, "what is nought is there as well"

    async def until_grown(name: str, label: str, by: float) -> dict[tuple[str, ...], float]:
        return await until_scraped(demo, name, label, wanted=before[name, label] + by)

    hooks = f"/api/sites/{demo.site_id}/webhooks"
    async with Receiver() as receiver:
        receiver.plan(Answer(500), Answer())
        fields = {"url": receiver.url, "topics": ["x.test"], "retry": [0.2]}
        hook = await demo.api.call("POST", hooks, json=fields)
        await demo.api.ingest(demo.site_id, event("to-a-webhook"))
        values = await until_grown("doorstream_webhook_attempts_total", "delivered", 1)
        assert len(receiver.requests) == 2
    failed = "doorstream_webhook_attempts_total", "failed"
    assert values[failed] == before[failed] + 1
    assert 0 < values["doorstream_webhook_attempt_seconds_total", "delivered"] < 5
    assert values["doorstream_webhooks", "enabled"] == before["doorstream_webhooks", "enabled"] + 1
    assert values["doorstream_webhook_lag_events",] == 0
    await until_grown("doorstream_webhook_deliveries", "waiting", 0)
    await demo.api.call("PATCH", f"{hooks}/{hook['id']}", json={"retry": []})
    await demo.api.ingest(demo.site_id, event("nobody-listens"))
    await until_grown("doorstream_webhook_deliveries", "dead", 1)
    await demo.api.call("PATCH", f"{hooks}/{hook['id']}", json={"enabled": False})
    await until_grown("doorstream_webhooks", "disabled", 1)
    text, _ = await scraped(demo)
    assert hook["id"] not in text
    assert receiver.url not in text
