"""The servers that are measured: each starts as a child process, tells where it listens, and is ended with its tree."""

import base64
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from generator import (
    BUILD,
    EVENT,
    EVENT_FOR_EQUAL_FRAMES,
    EVENT_WITH_UUIDS,
    HERE,
    SAMPLE_EVENT,
    Endpoint,
    MeasurementError,
    compile_c,
)

from doorstream.log.embedded import free_port

PEER_PYTHON = BUILD / "peers" / "socketio_python"
NODE_PEER = HERE / "peers" / "socketio_node"
ROOT = HERE.parent
_TICKS = os.sysconf("SC_CLK_TCK")
PDK, SIGNALR = "PDK", "SignalR"
"""What rows that compare dialects call doorstream, by what its clients speak."""
SAME_ID, DIFFERENT_IDS = "PlaceOS", "PlaceOS, 1,000 bind ids"
"""The same for clients of the control WebSocket, who bind with the same id or each with his own."""
EMPTY = "empty endpoint"
SCALED = "1,000 sites"
WEBHOOK, BARE_CLIENT, ALONE, BESIDE_DEAD = "webhook", "bare client", "10 webhooks", "10 beside 100 dead"
"""What makes the deliveries in rows of webhooks."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its name, where it listens, the process whose tree it is, and how long its start took (s)."""

    name: str
    endpoint: Endpoint
    root_pid: int
    start_seconds: float

    def pids(self) -> list[int]:
        """The processes of the server now: the root and all its descendants."""
        return process_tree(self.root_pid)

    def resident_kib(self) -> int:
        """Resident memory of all its processes, KiB."""
        return sum(_status_kib(pid, "VmRSS") for pid in self.pids())

    def cpu_seconds(self) -> float:
        """What all its processes have used."""
        return sum(_cpu_seconds(pid) for pid in self.pids())


def process_tree(root: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    tree = [root]
    for pid in tree:  # grows while it is walked
        tree += children.get(pid, [])
    return tree


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _status_kib(pid: int, key: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{key}:")), 0)


@contextmanager
def _child(command: Sequence[str]) -> Iterator[tuple[int, dict[str, Any], float]]:
    """Start a server; yield its pid, the JSON of its first line, and after how many seconds it wrote that.

    It is ended with SIGTERM, then its whole tree.
    """
    with tempfile.TemporaryFile(dir=BUILD, mode="w+") as log:
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None  # noqa: S101 - asked for above; tells the type checker
        try:
            line = process.stdout.readline()
            seconds = time.monotonic() - began
            if not line.startswith("{"):
                log.seek(0)
                raise MeasurementError(f"{command[0]} did not start: {line}{log.read()[-2000:]}")
            yield process.pid, json.loads(line), seconds
        finally:
            tree = process_tree(process.pid)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
            _wait_gone(tree)


def _wait_gone(pids: Sequence[int]) -> None:
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)


def install_peers() -> None:
    """Install the peers' packages and compile the bare loop, each on first use only."""
    compile_c("bare_loop", [HERE / "peers" / "bare_loop" / "server.c"])
    if not (NODE_PEER / "node_modules" / "socket.io").exists():
        subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"], cwd=NODE_PEER, check=True)
    if not (PEER_PYTHON / "installed").exists():
        requirements = HERE / "peers" / "socketio_python" / "requirements.txt"
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PEER_PYTHON)], check=True)
        subprocess.run([PEER_PYTHON / "bin" / "pip", "install", "-q", "-r", str(requirements)], check=True)
        (PEER_PYTHON / "installed").touch()


def peer_versions() -> dict[str, str]:
    """Name and version of what the peers run on."""
    socket_io = json.loads((NODE_PEER / "node_modules" / "socket.io" / "package.json").read_text())["version"]
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    frozen = subprocess.run(
        [PEER_PYTHON / "bin" / "pip", "list", "--format=json", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    packages = {package["name"].lower(): package["version"] for package in json.loads(frozen)}
    return {"Node": node.lstrip("v"), "socket.io": socket_io} | {
        name: packages[name] for name in ("python-socketio", "uvicorn", "uvloop", "websockets")
    }


def _command(name: str, group: str) -> list[str] | None:
    """The program that a row's server is; None for the real doorstream."""
    of_ours = {
        EMPTY: ["peers/empty_endpoint/server.py"],
        **{kind: ["placeos_path.py"] for kind in (SAME_ID, DIFFERENT_IDS)},
        **{kind: ["webhooks.py", "receive", "living"] for kind in (WEBHOOK, BARE_CLIENT, ALONE, BESIDE_DEAD)},
    }
    if name in of_ours:
        program, *arguments = of_ours[name]
        return [sys.executable, str(HERE / program), *arguments]
    if name == "socket.io":
        return ["node", str(NODE_PEER / "server.js"), str(EVENT)]
    if name == "python-socketio":
        return [str(PEER_PYTHON / "bin" / "python"), str(HERE / "peers" / "socketio_python" / "server.py"), str(EVENT)]
    if name == "bare loop":
        return [str(BUILD / "bare_loop"), str(EVENT)]
    return [sys.executable, str(HERE / "live_path.py"), str(_event(group))] if group.startswith("live") else None


def _event(group: str) -> Path:
    """The template of events for rows of a group."""
    return {
        "http hub": EVENT_WITH_UUIDS,
        "live hub": EVENT_FOR_EQUAL_FRAMES,
        "live hub, own frames": EVENT_WITH_UUIDS,
    }.get(group, EVENT)


@contextmanager
def start_server(name: str, group: str, sites: int) -> Iterator[Server]:
    """Start the server that a row calls ``name`` for rows of ``group``; ``sites`` is for the scale row."""
    command = _command(name, group)
    if command is None:
        with _doorstream(name, group, sites) as server:
            yield server
        return
    with _child(command) as (pid, ready, seconds):
        known: dict[str, Any] = {key: ready[key] for key in ("port", "control_port", "targets") if key in ready}
        if name == SIGNALR:
            known |= {"targets": ready["hubs"], "protocol": "signalr"}
        elif name in (SAME_ID, DIFFERENT_IDS):
            known |= {"subscribe": ready["binds"]["same" if name == SAME_ID else "different"], "protocol": "placeos"}
        yield Server(name, Endpoint(**known), pid, seconds)


@contextmanager
def _doorstream(name: str, group: str, sites: int) -> Iterator[Server]:
    """The real doorstream: ingest, the log, and authenticated clients of the dialect that the row is about."""
    data = Path(tempfile.mkdtemp(prefix="doorstream-", dir=BUILD))
    program = Path(sys.executable).with_name("doorstream")
    command = [str(program), "demo", "--json", "--rate", "0", "--port", str(free_port()), "--data-dir", str(data)]
    # The vendor's limits of its token routes would make 1,000 tokens take minutes, and one connection that executes as
    # fast as it can is read no faster than the limit; nothing that is measured has limits.
    command += ["--system-token-ttl", "86400", "--no-pdk-rate-limits", "--messages-per-second", "1000000"]
    try:
        if group == "second start":
            with _child(command):
                pass
        with _child(command) as (pid, demo, seconds):
            api = DoorstreamApi(demo)
            if group == "polls":
                endpoint = api.polls_endpoint()
            elif group == "executions":
                endpoint = api.executions_endpoint()
            else:
                endpoint = api.hub_endpoint() if name == SIGNALR else api.endpoint(sites if name == SCALED else 1)
            yield Server(name, replace(endpoint, event=_event(group)), pid, seconds)
    finally:
        shutil.rmtree(data, ignore_errors=True)


class DoorstreamApi:
    """As much of doorstream's HTTP API as it takes to make sites and tokens; ``demo`` is its first line of output."""

    def __init__(self, demo: dict[str, Any]) -> None:
        self._demo = demo
        self._port = urllib.parse.urlsplit(demo["url"]).port or 80
        self._http = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)

    def _post(self, path: str, headers: dict[str, str], body: str = "") -> dict[str, Any]:
        self._http.request("POST", path, body, headers)
        answer = self._http.getresponse()
        content = answer.read()
        if answer.status >= http.client.BAD_REQUEST:
            raise MeasurementError(f"POST {path}: {answer.status} {content[:300]!r}")
        parsed: dict[str, Any] = json.loads(content)
        return parsed

    def _id_token(self) -> str:
        secret = f"{self._demo['pdk']['client_id']}:{self._demo['pdk']['client_secret']}"
        basic = base64.b64encode(secret.encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        token: str = self._post("/oauth2/token", headers, "grant_type=client_credentials")["id_token"]
        return token

    def _make_site(self, number: int) -> str:
        headers = {"X-API-Key": self._demo["admin"]["api_key"], "Content-Type": "application/json"}
        site: str = self._post("/api/sites", headers, json.dumps({"name": f"Bench {number}"}))["id"]
        return site

    def endpoint(self, sites: int) -> Endpoint:
        """Where to connect and send, for the demo's own site or for that many new ones; one token each."""
        ids = [self._demo["site_id"]] if sites == 1 else [self._make_site(number) for number in range(sites)]
        targets = []
        bearer = self._id_token()
        for site in ids:
            token = self._post(f"/api/systems/{site}/token", {"Authorization": f"Bearer {bearer}"})["token"]
            query = urllib.parse.urlencode({"systemId": site, "token": token, "EIO": 4, "transport": "websocket"})
            targets.append(f"/socket.io/?{query}")
        return self._endpoint(ids, targets, "socketio")

    def hub_endpoint(self) -> Endpoint:
        """The demo's own site for an administrator's SignalR clients."""
        site, salto = self._demo["site_id"], self._demo["salto"]
        admin = salto["users"]["site_admin"]
        form = {"grant_type": "password", "scope": "user_api.full_access", "username": admin["username"]}
        form |= {name: salto[name] for name in ("client_id", "client_secret")} | {"password": admin["password"]}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        token = self._post("/connect/token", headers, urllib.parse.urlencode(form))["access_token"]
        query = urllib.parse.urlencode({"site_id": site, "access_token": token})
        return self._endpoint([site], [f"/v1/hub/entries?{query}"], "signalr")

    def polls_endpoint(self) -> Endpoint:
        """The demo's event log for a client that has its newest state."""
        events = [SAMPLE_EVENT | {"id": f"polled-{number}"} for number in range(100)]
        headers = {"X-API-Key": self._demo["admin"]["api_key"], "Content-Type": "application/json"}
        self._post(f"/api/sites/{self._demo['site_id']}/events", headers, json.dumps(events))
        token, target = self._demo["parakey"]["access_token"], "/eventLogs?limit=1"
        self._http.request("GET", target, headers={"access-token": token})
        answer = self._http.getresponse()
        answer.read()
        known = [f"access-token: {token}", f"If-None-Match: {answer.headers['ETag']}"]
        return Endpoint(self._port, [target], headers=known)

    def executions_endpoint(self) -> Endpoint:
        """The control WebSocket, for executions of a function that asks no hardware."""
        placeos = self._demo["placeos"]
        of_door = {"sys": placeos["system_id"], "mod": "Door", "index": 1, "name": "door_list", "args": []}
        command = json.dumps({"id": 1, "cmd": "exec"} | of_door)
        target = f"/api/engine/v2/systems/control?api-key={placeos['api_key']}"
        return Endpoint(self._port, [target], protocol="placeos", subscribe=command)

    def _endpoint(self, sites: Sequence[str], targets: Sequence[str], protocol: str) -> Endpoint:
        return Endpoint(
            port=self._port,
            targets=targets,
            ingest_targets=[f"/api/sites/{site}/events" for site in sites],
            headers=[f"X-API-Key: {self._demo['admin']['api_key']}"],
            protocol=protocol,
        )
