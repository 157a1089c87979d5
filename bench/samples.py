"""What the rows measure: each function gives one sample of a running server."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvloop
from generator import HERE, Answers, MeasurementError, Sample, Watch, idle_connections, run_load
from http_polls import poll
from placeos_executions import execute
from servers import Server

SUBSCRIBERS = 1000
SCALE_RATE = 2000
"""Events a second of the scale row."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often to measure; seconds."""

    runs: int
    warmup: float
    seconds: float
    latency_seconds: float
    idle_connections: int
    settle: float
    sites: int
    scale_seconds: float
    deliveries: int


# The many connections of the scale row are watched a little longer than the 25 s between two heartbeats, so that every
# one of them has its share in the cost.
FULL = Plan(
    runs=5,
    warmup=1,
    seconds=3,
    latency_seconds=5,
    idle_connections=10_000,
    settle=3,
    sites=1000,
    scale_seconds=26,
    deliveries=10_000,
)
QUICK = Plan(
    runs=1,
    warmup=0.5,
    seconds=1,
    latency_seconds=2,
    idle_connections=2000,
    settle=1,
    sites=50,
    scale_seconds=5,
    deliveries=1000,
)


def _cpu(result: dict[str, Any], events: float) -> dict[str, float]:
    """CPU of the server's processes for one delivery or event in microseconds, and how busy the generator was."""
    used = sum(result["cpu_seconds"].values())
    return {
        "cpu_us": used / events * 1e6 if events else 0,
        "server_cores": used / result["seconds"],
        "generator_load": result["generator_cpu_seconds"] / result["seconds"],
    }


def _closed(server: Server, plan: Plan, in_flight: int, *, live_path: bool) -> Sample:
    result = run_load(
        server.endpoint,
        server.pids(),
        mode="closed",
        connections=SUBSCRIBERS,
        in_flight=in_flight,
        warmup=plan.warmup,
        seconds=plan.seconds,
        **({"control_port": server.endpoint.control_port or 0} if live_path else {}),
    )
    rate = result["deliveries"] / result["seconds"]
    return Sample(rate, _cpu(result, result["deliveries"]) | {"frame_bytes": result["event_bytes"]})


def closed_over_http(in_flight: int) -> Callable[[Server, Plan], Sample]:
    return lambda server, plan: _closed(server, plan, in_flight, live_path=False)


def closed_live(in_flight: int) -> Callable[[Server, Plan], Sample]:
    return lambda server, plan: _closed(server, plan, in_flight, live_path=True)


def latency(rate: int) -> Callable[[Server, Plan], Sample]:
    def measure(server: Server, plan: Plan) -> Sample:
        result = run_load(
            server.endpoint,
            server.pids(),
            mode="open",
            connections=SUBSCRIBERS,
            rate=rate,
            warmup=plan.warmup,
            seconds=plan.latency_seconds,
            drain=2,
        )
        times = result["latency_ms"]
        details = {"p50_ms": times["p50"], "max_ms": times["max"], "undelivered": result["undelivered"]}
        return Sample(times["p99"], _cpu(result, result["deliveries"]) | details)

    return measure


def start_seconds(server: Server, plan: Plan) -> Sample:
    """How long the server's start took, until it answered and said so."""
    del plan
    return Sample(server.start_seconds, {})


def idle_memory(server: Server, plan: Plan) -> Sample:
    # Some connections come and go first, so that memory every server allocates once is not charged to the others.
    with idle_connections(server.endpoint, 200):
        pass
    time.sleep(plan.settle)
    before = server.resident_kib()
    with idle_connections(server.endpoint, plan.idle_connections):
        time.sleep(plan.settle)
        after = server.resident_kib()
    return Sample((after - before) / plan.idle_connections, {"before_mib": before / 1024, "after_mib": after / 1024})


def durable(server: Server, plan: Plan) -> Sample:
    result = run_load(
        server.endpoint,
        server.pids(),
        mode="durable",
        senders=4,
        batch=100,
        warmup=plan.warmup,
        seconds=plan.seconds,
    )
    times = result["latency_ms"]
    details = {"ack_p50_ms": times["p50"], "ack_p99_ms": times["p99"]}
    return Sample(result["acknowledged"] / result["seconds"], _cpu(result, result["acknowledged"]) | details)


def cost_per_event(server: Server, plan: Plan) -> Sample:
    many = len(server.endpoint.ingest_targets) > 1
    result = run_load(
        server.endpoint,
        server.pids(),
        mode="open",
        connections=10 * len(server.endpoint.ingest_targets),
        rate=SCALE_RATE,
        warmup=plan.warmup,
        seconds=plan.scale_seconds if many else min(plan.scale_seconds, 10),
        drain=10,
    )
    if result["undelivered"]:
        raise MeasurementError(f"{result['undelivered']} deliveries are missing")
    cost = _cpu(result, result["acknowledged"])
    return Sample(cost["cpu_us"], cost | {"p99_ms": result["latency_ms"]["p99"]})


def _answered(answers: Answers) -> dict[str, float]:
    """What one answer cost the server's processes in microseconds, and how busy they were."""
    return {
        "cpu_us": answers.cpu_seconds / answers.number * 1e6,
        "server_cores": answers.cpu_seconds / answers.seconds,
    }


def _poll(server: Server, plan: Plan) -> Answers:
    return uvloop.run(poll(server.endpoint, Watch(server.cpu_seconds, plan.warmup, plan.seconds)))


def polls(server: Server, plan: Plan) -> Sample:
    """Unchanged polls per second."""
    answers = _poll(server, plan)
    return Sample(answers.number / answers.seconds, _answered(answers))


def polls_a_core(server: Server, plan: Plan) -> Sample:
    """Unchanged polls per second of the processor, which others on the machine disturb less."""
    answers = _poll(server, plan)
    return Sample(answers.number / answers.cpu_seconds, _answered(answers))


def executions(connections: int, in_flight: int) -> Callable[[Server, Plan], Sample]:
    """Round trips of ``exec`` per second over the control WebSocket."""

    def measure(server: Server, plan: Plan) -> Sample:
        watch = Watch(server.cpu_seconds, plan.warmup, plan.seconds)
        answers = uvloop.run(execute(server.endpoint, connections, in_flight, watch))
        return Sample(answers.number / answers.seconds, _answered(answers))

    return measure


def webhook_deliveries(server: Server, plan: Plan) -> Sample:
    """Deliveries per second to a receiver, by what the server's name says, in a process of its own."""
    program = [sys.executable, str(HERE / "webhooks.py"), "deliver"]
    command = [*program, server.name, f"http://127.0.0.1:{server.endpoint.port}", str(plan.deliveries)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise MeasurementError(f"{server.name}: {done.stderr[-1000:]}")
    speed = json.loads(done.stdout)
    details = {"cpu_us": 1e6 / speed["per_cpu_second"], "server_cores": speed["per_second"] / speed["per_cpu_second"]}
    return Sample(speed["per_second"], details)
