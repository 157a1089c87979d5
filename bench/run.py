"""Measure doorstream and its peers in turn and write BENCHMARKS.md; `make bench` runs this.

The full run takes half an hour, --quick less than five minutes. --quick and --only print their figures and write
nothing unless --output names a file.
"""

import argparse
import datetime as dt
import itertools
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from generator import BUILD, HERE, MeasurementError, Sample, compile_generator, write_events
from report import number, page, verdict_table
from rows import ROWS, Row
from samples import FULL, QUICK, Plan
from servers import install_peers, peer_versions, start_server

Results = dict[str, dict[str, list[Sample]]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ", ".join(row.id for row in ROWS)
    parser.add_argument("--quick", action="store_true", help="one short run of each row, to see that all of it works")
    parser.add_argument(
        "--only", action="append", metavar="ROW", default=[], help=f"only this row, repeatable: {names}"
    )
    parser.add_argument("--server", action="append", metavar="NAME", default=[], help="only this server, repeatable")
    parser.add_argument("--runs", type=int, help=f"rounds (default {FULL.runs})")
    parser.add_argument("--output", type=Path, help="where to write the page (default BENCHMARKS.md of a full run)")
    parsed = parser.parse_args()
    if unknown := set(parsed.only) - {row.id for row in ROWS}:
        parser.error(f"no such row: {', '.join(unknown)}; rows are {names}")
    if not (parsed.quick or parsed.only or parsed.server or parsed.output):
        parsed.output = HERE.parent / "BENCHMARKS.md"
    return parsed


def facts() -> dict[str, str]:
    """Describe the machine and the versions."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    nats = subprocess.run(
        [Path(sys.executable).with_name("nats-server"), "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[-1]
    ours = {name: metadata.version(name) for name in ("doorstream", "uvicorn", "uvloop", "fastapi", "nats-py")}
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB; Linux {platform.release()}",
        "doorstream": ", ".join(
            [f"Python {platform.python_version()}", *map(" ".join, ours.items()), f"nats-server {nats.lstrip('v')}"]
        ),
        "peers": ", ".join(map(" ".join, peer_versions().items())),
    }


def rounds(rows: Sequence[Row], plan: Plan, only_servers: Sequence[str]) -> Iterator[tuple[int, str, list[Row]]]:
    """Yield what to measure next: a round, a server to start for it, and the rows that this running server serves."""
    for turn in range(plan.runs):
        for group, members in itertools.groupby(rows, key=lambda row: row.group):
            del group
            sharing = list(members)
            names = [name for name in sharing[0].servers if not only_servers or name in only_servers]
            # Each round begins with another server, so that none always finds the machine as another left it.
            start = turn % len(names) if names else 0
            for name in names[start:] + names[:start]:
                yield turn, name, sharing


def measure(rows: Sequence[Row], plan: Plan, only_servers: Sequence[str]) -> tuple[Results, list[str]]:
    """Measure everything; a server that fails loses its rows of that round and is named among the failures."""
    results: Results = {row.id: {} for row in rows}
    failures = []
    for turn, name, sharing in rounds(rows, plan, only_servers):
        todo = sharing
        with ExitStack() as stack:
            try:
                server = stack.enter_context(start_server(name, sharing[0].group, plan.sites))
                for row in sharing:
                    todo = sharing[sharing.index(row) :]
                    sample = row.measure(server, plan)
                    results[row.id].setdefault(name, []).append(sample)
                    report_progress(turn, plan, name, row, f"{number(sample.value)} {row.unit}")
            except (MeasurementError, OSError, subprocess.TimeoutExpired) as error:
                failures.append(f"{todo[0].id} on {name}, round {turn + 1}: {error}")
                report_progress(turn, plan, name, todo[0], f"FAILED: {error}")
    return results, failures


def report_progress(turn: int, plan: Plan, name: str, row: Row, text: str) -> None:
    print(f"round {turn + 1}/{plan.runs}  {row.id:<8} {name:<16} {text}", flush=True)


def main() -> int:
    options = arguments()
    if missing := [program for program in ("cc", "node", "npm") if shutil.which(program) is None]:
        print(f"the benchmark needs {' and '.join(missing)}", file=sys.stderr)
        return 2
    plan = QUICK if options.quick else FULL
    if options.runs:
        plan = Plan(**(asdict(plan) | {"runs": options.runs}))
    rows = [row for row in ROWS if not options.only or row.id in options.only]
    # 10,000 subscribers need as many open files here and in the server, which inherits the limit.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    install_peers()
    compile_generator()
    write_events()
    results, failures = measure(rows, plan, options.server)
    print(f"\n{verdict_table(rows, results)}\n")
    print("\n".join(f"FAILED: {failure}" for failure in failures))
    raw = {row: {name: [asdict(s) for s in samples] for name, samples in by.items()} for row, by in results.items()}
    (BUILD / "results.json").write_text(json.dumps(raw, indent=1))
    if options.output:
        options.output.write_text(page(rows, results, facts(), runs=plan.runs, failures=failures))
        print(f"written: {options.output}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
