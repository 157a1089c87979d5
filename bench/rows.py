"""The rows of the benchmark: what each measures, on which servers, and what is required of doorstream."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from measure import MeasurementError, Sample, idle_connections, run_load
from servers import PDK, SIGNALR, Server

SUBSCRIBERS = 1000


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


# The many connections of the scale row are watched a little longer than the 25 s between two heartbeats, so that every
# one of them has its share in the cost.
FULL = Plan(
    runs=5, warmup=1, seconds=3, latency_seconds=5, idle_connections=10_000, settle=3, sites=1000, scale_seconds=26
)
QUICK = Plan(
    runs=1, warmup=0.5, seconds=1, latency_seconds=2, idle_connections=2000, settle=1, sites=50, scale_seconds=5
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """What doorstream must reach: at least or at most ``bound``, as a multiple of server ``against`` or absolute."""

    kind: Literal["at least", "at most"]
    bound: float
    against: str | None = None

    def met(self, figure: float) -> bool:
        """Whether a ratio, or an absolute figure where there is no other server, is good enough."""
        return figure >= self.bound if self.kind == "at least" else figure <= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, measured on each of ``servers``; rows of one ``group`` share a running server."""

    id: str
    title: str
    unit: str
    group: str
    servers: Sequence[str]
    measure: Callable[[Server, Plan], Sample]
    requirement: Requirement | None = None
    subject: str = "doorstream"


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


def _closed_over_http(in_flight: int) -> Callable[[Server, Plan], Sample]:
    return lambda server, plan: _closed(server, plan, in_flight, live_path=False)


def _closed_live(in_flight: int) -> Callable[[Server, Plan], Sample]:
    return lambda server, plan: _closed(server, plan, in_flight, live_path=True)


def _latency(rate: int) -> Callable[[Server, Plan], Sample]:
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


def _idle_memory(server: Server, plan: Plan) -> Sample:
    # Some connections come and go first, so that memory every server allocates once is not charged to the others.
    with idle_connections(server.endpoint, 200):
        pass
    time.sleep(plan.settle)
    before = server.resident_kib()
    with idle_connections(server.endpoint, plan.idle_connections):
        time.sleep(plan.settle)
        after = server.resident_kib()
    return Sample((after - before) / plan.idle_connections, {"before_mib": before / 1024, "after_mib": after / 1024})


def _durable(server: Server, plan: Plan) -> Sample:
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


def _cost_per_event(server: Server, plan: Plan) -> Sample:
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


SCALE_RATE = 2000

PEERS = ("socket.io", "python-socketio")

ROWS: Sequence[Row] = (
    Row(
        "e2e-1",
        "end to end, one event in flight",
        "deliveries/s",
        "http",
        ("doorstream", *PEERS),
        _closed_over_http(1),
        Requirement("at least", 1.25, "socket.io"),
    ),
    Row(
        "e2e-16",
        "end to end, 16 in flight",
        "deliveries/s",
        "http",
        ("doorstream", *PEERS),
        _closed_over_http(16),
        Requirement("at least", 7, "socket.io"),
    ),
    Row(
        "p99-100",
        "p99 delivery latency at 100 events/s",
        "ms",
        "http",
        ("doorstream", *PEERS),
        _latency(100),
        Requirement("at most", 1, "socket.io"),
    ),
    Row(
        "p99-50",
        "p99 delivery latency at 50 events/s",
        "ms",
        "http",
        ("doorstream", *PEERS),
        _latency(50),
    ),
    Row(
        "live-1",
        "live path alone, one in flight",
        "deliveries/s",
        "live",
        ("doorstream", *PEERS, "bare loop"),
        _closed_live(1),
        Requirement("at least", 1.6, "socket.io"),
    ),
    Row(
        "live-16",
        "live path alone, 16 in flight",
        "deliveries/s",
        "live",
        ("doorstream", *PEERS, "bare loop"),
        _closed_live(16),
        Requirement("at least", 15, "socket.io"),
    ),
    Row(
        "hub-e2e-1",
        "end to end, SignalR beside PDK, one event in flight",
        "deliveries/s",
        "http hub",
        (SIGNALR, PDK),
        _closed_over_http(1),
        Requirement("at least", 0.9, PDK),
        subject=SIGNALR,
    ),
    Row(
        "hub-e2e-16",
        "end to end, SignalR beside PDK, 16 in flight",
        "deliveries/s",
        "http hub",
        (SIGNALR, PDK),
        _closed_over_http(16),
        Requirement("at least", 0.9, PDK),
        subject=SIGNALR,
    ),
    Row(
        "hub-live-1",
        "live path alone, SignalR beside PDK, one in flight",
        "deliveries/s",
        "live hub",
        (SIGNALR, PDK),
        _closed_live(1),
        Requirement("at least", 0.9, PDK),
        subject=SIGNALR,
    ),
    Row(
        "hub-live-16",
        "live path alone, SignalR beside PDK, 16 in flight",
        "deliveries/s",
        "live hub",
        (SIGNALR, PDK),
        _closed_live(16),
        Requirement("at least", 0.9, PDK),
        subject=SIGNALR,
    ),
    Row(
        "idle",
        "resident memory per idle connection",
        "KiB",
        "idle",
        ("doorstream", *PEERS),
        _idle_memory,
        Requirement("at most", 1 / 3, "socket.io"),
    ),
    Row(
        "durable",
        "durable ingest, batches of 100, 4 senders",
        "events/s",
        "durable",
        ("doorstream",),
        _durable,
        Requirement("at least", 15_000),
    ),
    Row(
        "scale",
        "server CPU per event at 2,000 events/s, 10 subscribers an event",
        "µs",
        "scale",
        ("1,000 sites", "1 site"),
        _cost_per_event,
        Requirement("at most", 1.5, "1 site"),
        subject="1,000 sites",
    ),
)
