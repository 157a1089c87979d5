"""From samples to words: medians, spread, ratios and verdicts, and the Markdown page that holds them. All pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from generator import Sample
from rows import Requirement, Row

# The page is typeset; in code these three would pass for a hyphen and a letter.
NOTHING = TO = "–"  # noqa: RUF001 - the dash is meant
TIMES = "×"  # noqa: RUF001 - the sign is meant

Results = Mapping[str, Mapping[str, Sequence[Sample]]]
"""Samples by row id and server name, in the order of the rounds."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Median and spread of one row on one server."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """Summarise at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def figure(samples: Sequence[Sample]) -> Figure:
    """The row's figure on one server."""
    return Figure.of([sample.value for sample in samples])


def detail(samples: Sequence[Sample], name: str) -> float | None:
    """Median of a detail, or None where this row has no such detail."""
    values = [sample.details[name] for sample in samples if name in sample.details]
    return statistics.median(values) if values else None


def compared(row: Row, servers: Mapping[str, Sequence[Sample]]) -> float | None:
    """What the requirement looks at: a ratio of medians, or the median itself; None if a side was not measured."""
    requirement = row.requirement
    subject = servers.get(row.subject)
    if not requirement or not subject:
        return None
    if not requirement.against:
        return figure(subject).median
    other = servers.get(requirement.against)
    return figure(subject).median / figure(other).median if other else None


def verdict(row: Row, servers: Mapping[str, Sequence[Sample]]) -> str:
    """One word for a row: met, **short**, not measured, or a dash where nothing is required."""
    if not row.requirement:
        return NOTHING
    reached = compared(row, servers)
    if reached is None:
        return "not measured"
    return "met" if row.requirement.met(reached) else "**short**"


def number(value: float) -> str:
    """A figure as people read it: three significant digits, thousands and millions as k and M."""
    for limit, unit in ((1e6, " M"), (1e4, " k")):
        if abs(value) >= limit:
            scaled = value / (1e6 if unit == " M" else 1e3)
            return f"{scaled:.{0 if scaled >= 100 else 1 if scaled >= 10 else 2}f}{unit}"  # noqa: PLR2004 - digits
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - digits


def spread(samples: Sequence[Sample] | None) -> str:
    """Median, and lowest to highest in brackets."""
    if not samples:
        return "not measured"
    f = figure(samples)
    return f"{number(f.median)} ({number(f.low)}{TO}{number(f.high)})"


def required(requirement: Requirement | None) -> str:
    """The requirement in words."""
    if not requirement:
        return NOTHING
    bound = f"{requirement.bound:.3g} {TIMES}" if requirement.against else number(requirement.bound)
    return f"{requirement.kind} {bound}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _beside(row: Row) -> str | None:
    """Whom a row without a requirement is shown beside: the first server that is not doorstream's own subject."""
    return next((name for name in row.servers if name != row.subject), None)


def verdict_table(rows: Sequence[Row], results: Results) -> str:
    """One line a row: doorstream, what it is compared with, their ratio, and what is required."""
    lines = []
    for row in rows:
        servers = results.get(row.id, {})
        against = row.requirement.against if row.requirement else _beside(row)
        other, reached = servers.get(against or ""), compared(row, servers)
        lines.append(
            [
                f"{row.title} ({row.unit})",
                spread(servers.get(row.subject)),
                f"{spread(other)} {against}" if against else NOTHING,
                f"{reached:.2f} {TIMES}" if reached is not None and against else NOTHING,
                required(row.requirement),
                verdict(row, servers),
            ]
        )
    return _table(["", "doorstream", "against", "ratio", "required", ""], lines)


DETAILS = {
    "cpu_us": "server CPU, µs per delivery or event",
    "server_cores": "server, cores busy",
    "generator_load": "load generator, cores busy",
    "frame_bytes": "bytes an event",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "max_ms": "max ms",
    "undelivered": "undelivered",
    "ack_p50_ms": "ack p50 ms",
    "ack_p99_ms": "ack p99 ms",
    "before_mib": "MiB without connections",
    "after_mib": "MiB with all",
}


def detail_tables(rows: Sequence[Row], results: Results) -> str:
    """One table a row: every server with its median, spread and what explains it."""
    parts = []
    for row in rows:
        servers = results.get(row.id, {})
        names = [name for name in DETAILS if any(detail(samples, name) is not None for samples in servers.values())]
        lines = []
        for server, samples in servers.items():
            cells = [detail(samples, name) for name in names]
            shown = [server, str(len(samples)), spread(samples), *(NOTHING if c is None else number(c) for c in cells)]
            lines.append(shown)
        head = ["server", "runs", f"{row.unit}, median (min{TO}max)", *(DETAILS[name] for name in names)]
        parts.append(f"### `{row.id}`: {row.title}\n\n{_table(head, lines)}" if lines else "")
    return "\n\n".join(part for part in parts if part)


METHOD = """\
* All servers and the one load generator (`bench/load`, C, epoll) run on the same machine over loopback, take turns
  round by round, start afresh each round, and are left to the kernel's scheduler: no process is pinned, because
  doorstream is two busy processes (a worker and nats-server) where a peer is one. The generator's own load is shown.
* Subscribers are Socket.IO 5 clients on Engine.IO 4, WebSocket only, subscribed to one topic. Those of doorstream carry
  a token, and look like the JavaScript client, so their events carry a recovery offset: that is why they are longer.
* *SignalR beside PDK*: the same event, put in the same way, but the subscribers are on Salto KS's hub of entries, with
  SignalR's JSON encoding and without negotiation. Both get an access whose ids are UUIDs, as doorstream and the vendors
  make them. A SignalR message is the REST entry as a text within JSON, its quotes escaped, and so longer than PDK's:
  end to end, each has the length that the vendor gave it; where the live path alone is compared, the event has a text
  that only PDK shows and that makes both equally long. The row below has no requirement: it says what the bytes cost.
* *A bound status variable beside PDK*: subscribers are on the control WebSocket and have bound one variable, all with
  the same id or (*1,000 bind ids*) each with his own; a change of it stands for the event. Drivers and their status are
  left out, as the log is. A notification is as long as PDK's frame.
* *exec*: round trips over the control WebSocket of the real server, of a function that asks no hardware.
* *Unchanged polls*: `GET` with `If-None-Match` over 32 connections of one client, answered 304. The empty endpoint is
  FastAPI on uvicorn with a single route: what a poll costs beyond that is ours. *A core* divides by the CPU time of all
  the server's processes.
* *Webhooks*: a signed POST of 500 bytes whose attempt is durable in the ledger. The bare client is an `aiohttp` loop
  that sends the same bytes to the same receiver with as many requests under way and keeps nothing. The receivers of
  dead webhooks take every request and never answer. CPU is that of the process that delivers.
* *End to end*: one POST an event over HTTP keep-alive, closed loop; an event is done when its last subscriber has it,
  and only then the next is sent. doorstream authenticates the request and makes the event durable first (`fsync`); the
  peers parse it and emit it, and store nothing.
* *Live path alone*: the server emits an event by itself for every byte that it reads from one extra TCP connection,
  over which the generator keeps the same number in flight. The bare loop is a C program that does nothing but
  `send(2)`: the ceiling of the machine.
* *Latency*: sent by the clock whatever the server does; counted from the moment the request was due to each
  subscriber's receipt. What did not arrive counts with the time waited for it. The row at 50 events/s has no
  requirement: it is there because a server that cannot keep up at 100 shows a queue, not a latency.
* *Second start*: from the command until `doorstream demo` says that it answers, on the data of a start before it.
* *Memory*: growth of the resident memory of all the server's processes, divided by the connections.
* *CPU per event*: of all the server's processes, heartbeats included; open loop, one POST an event, to one site after
  the other.
* Medians of {runs} runs; in brackets lowest and highest."""


def page(
    rows: Sequence[Row], results: Results, facts: Mapping[str, str], *, runs: int, failures: Sequence[str] = ()
) -> str:
    """The whole of BENCHMARKS.md; ``failures`` are runs that gave no figure."""
    lines = [f"* failed: {' '.join(failure.split())[:300]}\n" for failure in failures]
    failed = "".join([*lines, "\n"]) if lines else ""
    described = "\n".join(f"* {name}: {value}" for name, value in facts.items())
    method = METHOD.format(runs=runs)
    return (
        "# Benchmarks\n\n"
        "Written by `make bench`; do not edit.\n\n"
        f"{verdict_table(rows, results)}\n\n"
        f"{failed}"
        f"## Machine and versions\n\n{described}\n\n"
        f"## How it was measured\n\n{method}\n\n"
        f"## All figures\n\n{detail_tables(rows, results)}\n"
    )
