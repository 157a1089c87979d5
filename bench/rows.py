"""The rows of the benchmark: what each measures, on which servers, and what is required of doorstream."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from generator import Sample
from samples import (
    Plan,
    closed_live,
    closed_over_http,
    cost_per_event,
    durable,
    executions,
    idle_memory,
    latency,
    polls,
    polls_a_core,
    start_seconds,
    webhook_deliveries,
)
from servers import (
    ALONE,
    BARE_CLIENT,
    BESIDE_DEAD,
    DIFFERENT_IDS,
    EMPTY,
    PDK,
    SAME_ID,
    SCALED,
    SIGNALR,
    WEBHOOK,
    Server,
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


PEERS = ("socket.io", "python-socketio")

ROWS: Sequence[Row] = (
    Row(
        "e2e-1",
        "end to end, one event in flight",
        "deliveries/s",
        "http",
        ("doorstream", *PEERS),
        closed_over_http(1),
        Requirement("at least", 1.25, "socket.io"),
    ),
    Row(
        "e2e-16",
        "end to end, 16 in flight",
        "deliveries/s",
        "http",
        ("doorstream", *PEERS),
        closed_over_http(16),
        Requirement("at least", 7, "socket.io"),
    ),
    Row(
        "p99-100",
        "p99 delivery latency at 100 events/s",
        "ms",
        "http",
        ("doorstream", *PEERS),
        latency(100),
        Requirement("at most", 1, "socket.io"),
    ),
    Row(
        "p99-50",
        "p99 delivery latency at 50 events/s",
        "ms",
        "http",
        ("doorstream", *PEERS),
        latency(50),
    ),
    Row(
        "live-1",
        "live path alone, one in flight",
        "deliveries/s",
        "live",
        ("doorstream", *PEERS, "bare loop"),
        closed_live(1),
        Requirement("at least", 1.6, "socket.io"),
    ),
    Row(
        "live-16",
        "live path alone, 16 in flight",
        "deliveries/s",
        "live",
        ("doorstream", *PEERS, "bare loop"),
        closed_live(16),
        Requirement("at least", 15, "socket.io"),
    ),
    Row(
        "hub-e2e-1",
        "end to end, SignalR beside PDK, one event in flight",
        "deliveries/s",
        "http hub",
        (SIGNALR, PDK),
        closed_over_http(1),
        Requirement("at least", 0.9, PDK),
        subject=SIGNALR,
    ),
    Row(
        "hub-e2e-16",
        "end to end, SignalR beside PDK, 16 in flight",
        "deliveries/s",
        "http hub",
        (SIGNALR, PDK),
        closed_over_http(16),
        Requirement("at least", 0.9, PDK),
        subject=SIGNALR,
    ),
    Row(
        "hub-live-1",
        "live path alone, SignalR beside PDK, one in flight",
        "deliveries/s",
        "live hub",
        (SIGNALR, PDK),
        closed_live(1),
        Requirement("at least", 0.9, PDK),
        subject=SIGNALR,
    ),
    Row(
        "hub-live-16",
        "live path alone, SignalR beside PDK, 16 in flight",
        "deliveries/s",
        "live hub",
        (SIGNALR, PDK),
        closed_live(16),
        Requirement("at least", 0.9, PDK),
        subject=SIGNALR,
    ),
    Row(
        "hub-own-16",
        "the same, each with frames of its own length",
        "deliveries/s",
        "live hub, own frames",
        (SIGNALR, PDK),
        closed_live(16),
        subject=SIGNALR,
    ),
    Row(
        "bind-live-1",
        "live path alone, a bound status variable beside PDK, one in flight",
        "deliveries/s",
        "live bind",
        (SAME_ID, DIFFERENT_IDS, PDK),
        closed_live(1),
        Requirement("at least", 0.9, PDK),
        subject=SAME_ID,
    ),
    Row(
        "bind-live-16",
        "live path alone, a bound status variable beside PDK, 16 in flight",
        "deliveries/s",
        "live bind",
        (SAME_ID, DIFFERENT_IDS, PDK),
        closed_live(16),
        Requirement("at least", 0.9, PDK),
        subject=SAME_ID,
    ),
    Row(
        "exec-1",
        "exec over the control WebSocket, one connection",
        "round trips/s",
        "executions",
        ("doorstream",),
        executions(1, 1),
    ),
    Row(
        "exec-1x16",
        "exec over the control WebSocket, one connection with 16 in flight",
        "round trips/s",
        "executions",
        ("doorstream",),
        executions(1, 16),
    ),
    Row(
        "exec-100",
        "exec over the control WebSocket, 100 connections",
        "round trips/s",
        "executions",
        ("doorstream",),
        executions(100, 1),
    ),
    Row(
        "polls",
        "unchanged polls of the event log, 32 connections",
        "polls/s",
        "polls",
        ("doorstream", EMPTY),
        polls,
        Requirement("at least", 0.7, EMPTY),
    ),
    Row(
        "polls-core",
        "unchanged polls of the event log, a core",
        "polls/s",
        "polls",
        ("doorstream", EMPTY),
        polls_a_core,
        Requirement("at least", 5000),
    ),
    Row(
        "webhook",
        "deliveries of one webhook, 10 at a time",
        "deliveries/s",
        "webhook",
        (WEBHOOK, BARE_CLIENT),
        webhook_deliveries,
        Requirement("at least", 0.5, BARE_CLIENT),
        subject=WEBHOOK,
    ),
    Row(
        "webhook-dead",
        "deliveries of 10 webhooks beside 100 dead ones",
        "deliveries/s",
        "dead webhooks",
        (BESIDE_DEAD, ALONE),
        webhook_deliveries,
        Requirement("at least", 0.9, ALONE),
        subject=BESIDE_DEAD,
    ),
    Row(
        "second-start",
        "second start of the demo, until it answers",
        "s",
        "second start",
        ("doorstream",),
        start_seconds,
        Requirement("at most", 3),
    ),
    Row(
        "idle",
        "resident memory per idle connection",
        "KiB",
        "idle",
        ("doorstream", *PEERS),
        idle_memory,
        Requirement("at most", 1 / 3, "socket.io"),
    ),
    Row(
        "durable",
        "durable ingest, batches of 100, 4 senders",
        "events/s",
        "durable",
        ("doorstream",),
        durable,
        Requirement("at least", 15_000),
    ),
    Row(
        "scale",
        "server CPU per event at 2,000 events/s, 10 subscribers an event",
        "µs",
        "scale",
        (SCALED, "1 site"),
        cost_per_event,
        Requirement("at most", 1.5, "1 site"),
        subject=SCALED,
    ),
)
