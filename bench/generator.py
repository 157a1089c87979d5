"""What a measurement is made of: the compiled load generator, one run of it, and the result as values."""

import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
EVENT = BUILD / "event.json"
EVENT_WITH_UUIDS = BUILD / "event_with_uuids.json"
EVENT_FOR_EQUAL_FRAMES = BUILD / "event_for_equal_frames.json"
TOPIC = "device.request.allowed"
# The acknowledgement that this packet asks for tells that the subscription is in force.
SUBSCRIBE = f'420["subscribeIsolated",{{"topics":["{TOPIC}"]}}]'
# Any mark of this length is replaced by the load generator with a running number.
SEQUENCE_MARK = "@" * 12

# One access at a door with short ids: `42["device.request.allowed",{…}]` is 498 bytes long from a server that adds
# nothing to it, the size at which all earlier measurements of these servers were made.
SAMPLE_EVENT = {
    "id": f"bench-{SEQUENCE_MARK}",
    "topic": TOPIC,
    "body": {
        "deviceId": "dev-007",
        "holderId": "hol-042",
        "credentialId": "crd-042",
        "requestFactor": "CARD_ONLY",
        "facilityCode": "77",
        "cardNumber": "26858",
        "device": {"id": "dev-007", "name": "Lobby", "connection": "con-001", "port": 1},
        "holder": {"id": "hol-042", "name": "Test Holder", "enabled": True, "activeDate": None, "expireDate": None},
    },
    "cloudNode": {"id": "cln-001", "serialNumber": "1234ABC", "name": "Node"},
    "occurred": 0,
}

# The same access with ids as PDK and doorstream make them: 36 characters each, as in the sample of PDK's page.
_DOOR, _HOLDER = "1b99bf42-1f9c-4184-9b5a-f7be9b24f4be", "ceee92e3-fdf4-44e6-800a-2d9d51d05583"
_BODY_WITH_UUIDS: dict[str, Any] = {
    "deviceId": _DOOR,
    "holderId": _HOLDER,
    "credentialId": "56bed685-aa32-4ae2-a9da-323cdd38ebc0",
    "requestFactor": "CARD_ONLY",
    "facilityCode": "77",
    "cardNumber": "26858",
    "device": {"id": _DOOR, "name": "Test Device", "connection": "5b34aff3-e883-4c32-88e1-b6d36fbce93a", "port": 1},
    "holder": {"id": _HOLDER, "name": "Test Holder", "enabled": True, "activeDate": None, "expireDate": None},
}
SAMPLE_EVENT_WITH_UUIDS = SAMPLE_EVENT | {
    "id": f"01931ce2-4a5b-7c1d-8e2f-{SEQUENCE_MARK}",
    "body": _BODY_WITH_UUIDS,
    "cloudNode": {"id": "ad69a1c0-1390-4ddd-9d49-01c388c3744b", "serialNumber": "1234ABC", "name": "Test Cloud Node"},
}
# The same, with a text that only PDK's frame carries, and which makes it as long as SignalR's.
_LONGER_CONNECTION = {"connection": f"5b34aff3-e883-4c32-88e1-b6d36fbce93a {'x' * 171}"}
SAMPLE_EVENT_FOR_EQUAL_FRAMES = SAMPLE_EVENT_WITH_UUIDS | {
    "body": _BODY_WITH_UUIDS | {"device": _BODY_WITH_UUIDS["device"] | _LONGER_CONNECTION}
}


class MeasurementError(Exception):
    """A server or the load generator could not do what a row asks for."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a running server takes subscribers and events.

    ``protocol`` is the load generator's word for what subscribers speak, ``socketio``, ``signalr`` or ``placeos``, and
    ``subscribe`` what each of them sends first; a ``#`` in it is the number of the subscriber. ``event`` is the
    template of what is put in.
    ``targets`` are request targets of the WebSocket upgrade, ``ingest_targets`` those of POST: subscriber *i* gets the
    events of ingest target *i modulo their number*. ``control_port`` takes one byte for each event that the server is
    to emit by itself. ``headers`` are sent with each request.
    """

    port: int
    targets: Sequence[str] = ("/socket.io/?EIO=4&transport=websocket",)
    ingest_targets: Sequence[str] = ("/events",)
    control_port: int | None = None
    headers: Sequence[str] = ()
    protocol: str = "socketio"
    subscribe: str = SUBSCRIBE
    event: Path = EVENT


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one row on one server: the row's figure and what explains it."""

    value: float
    details: Mapping[str, float] = field(default_factory=dict)


def compile_c(output: str, sources: Sequence[Path]) -> Path:
    """Compile a C program into the build folder unless it is newer than all its sources."""
    target = BUILD / output
    headers = [header for source in sources for header in source.parent.glob("*.h")]
    if target.exists() and all(target.stat().st_mtime > file.stat().st_mtime for file in [*sources, *headers]):
        return target
    BUILD.mkdir(exist_ok=True)
    flags = ["-D_GNU_SOURCE", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Wconversion"]
    subprocess.run(["cc", *flags, "-o", str(target), *map(str, sources)], check=True)
    return target


def compile_generator() -> Path:
    """Compile the load generator."""
    return compile_c("load", sorted((HERE / "load").glob("*.c")))


def write_events() -> None:
    """Write the templates of events, one line of JSON each, whose time is now."""
    BUILD.mkdir(exist_ok=True)
    for path, sample in (
        (EVENT, SAMPLE_EVENT),
        (EVENT_WITH_UUIDS, SAMPLE_EVENT_WITH_UUIDS),
        (EVENT_FOR_EQUAL_FRAMES, SAMPLE_EVENT_FOR_EQUAL_FRAMES),
    ):
        event = sample | {"occurred": int(time.time() * 1000)}
        path.write_text(json.dumps(event, separators=(",", ":")) + "\n")


@contextmanager
def _arguments(endpoint: Endpoint, options: Mapping[str, str | float]) -> Iterator[list[str]]:
    """Yield the command line of the load generator; its longer lists are in files that live as long as the context."""
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        targets, ingest_targets = Path(folder, "targets"), Path(folder, "ingest-targets")
        targets.write_text("\n".join(endpoint.targets) + "\n")
        ingest_targets.write_text("\n".join(endpoint.ingest_targets) + "\n")
        command = [str(BUILD / "load"), "--port", str(endpoint.port), "--body", str(endpoint.event)]
        command += ["--subscribe", endpoint.subscribe]
        command += ["--protocol", endpoint.protocol, "--targets", str(targets), "--ingest-targets", str(ingest_targets)]
        for header in endpoint.headers:
            command += ["--header", header]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        yield command


def run_load(endpoint: Endpoint, pids: Sequence[int], **options: str | float) -> dict[str, Any]:
    """Run the load generator once; ``in_flight=16`` becomes ``--in-flight 16``. Returns its JSON.

    Raises MeasurementError with the generator's own words if the run failed.
    """
    named = {name.replace("_", "-"): value for name, value in options.items()}
    with _arguments(endpoint, named | {"pids": ",".join(map(str, pids))}) as command:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return _parse(done.stdout, done.stderr)


@contextmanager
def idle_connections(endpoint: Endpoint, count: int) -> Iterator[None]:
    """Hold ``count`` subscribers open while the context lasts."""
    with _arguments(endpoint, {"mode": "idle", "connections": count}) as command:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None  # noqa: S101 - asked for two lines above; tells the type checker
        assert process.stdout is not None  # noqa: S101 - the same
        try:
            if "ready" not in _parse(process.stdout.readline(), ""):
                raise MeasurementError("the load generator is not ready")
            yield
            process.stdin.close()
            _parse(process.stdout.read(), "")
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def _parse(output: str, errors: str) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(output)
    except ValueError:
        raise MeasurementError(f"load generator: {output or errors or 'no output'}") from None
    if "error" in result:
        raise MeasurementError(f"load generator: {result['error']}")
    return result


class Answers(NamedTuple):
    """What clients in this process received: so many answers, in how many seconds, and what they cost the server."""

    number: int
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Watch:
    """Watches clients in this process: ``cpu_seconds`` is what the server has used; times in seconds."""

    cpu_seconds: Callable[[], float]
    warmup: float
    seconds: float

    async def count(self, total: Callable[[], int]) -> Answers:
        """Count for that long; ``total`` is how many answers the clients have. Raises MeasurementError if none came."""
        await asyncio.sleep(self.warmup)
        before, used, began = total(), self.cpu_seconds(), time.perf_counter()
        await asyncio.sleep(self.seconds)
        answers = Answers(total() - before, time.perf_counter() - began, self.cpu_seconds() - used)
        if not answers.number:
            raise MeasurementError("no answer came")
        return answers
