"""Three nats-servers that are one cluster, on loopback."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

from doorstream.log import Connection, LogError
from doorstream.log.embedded import find_binary
from doorstream.testing.server import free_port

_READY_WITHIN = 90.0
_CONFIGURATION = """\
server_name: "{name}"
listen: "127.0.0.1:{port}"
authorization {{ user: "doorstream", password: "for-the-test" }}
jetstream {{ store_dir: "{store}", sync_interval: always }}
cluster {{
  name: "building"
  listen: "127.0.0.1:{route}"
  routes: [{routes}]
}}
"""


class Node:
    """One of the servers."""

    def __init__(self, directory: Path, number: int) -> None:
        self.name = f"n{number}"
        self.port, self.route = free_port(), free_port()
        self._directory = directory / self.name
        self._directory.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://doorstream:for-the-test@127.0.0.1:{self.port}"

    def configure(self, routes: str) -> None:
        store = self._directory / "store"
        text = _CONFIGURATION.format(name=self.name, port=self.port, store=store, route=self.route, routes=routes)
        (self._directory / "nats.conf").write_text(text)

    def start(self) -> None:
        with (self._directory / "log").open("ab") as log:
            command = [find_binary(), "-c", str(self._directory / "nats.conf")]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(20)


class Cluster:
    """Three nodes; ``url`` has the addresses of all."""

    def __init__(self, directory: Path) -> None:
        self.nodes = [Node(directory, number) for number in range(3)]
        routes = ", ".join(f'"nats-route://127.0.0.1:{node.route}"' for node in self.nodes)
        for node in self.nodes:
            node.configure(routes)

    @property
    def url(self) -> str:
        return ",".join(node.url for node in self.nodes)

    def leader(self, info: dict[str, object]) -> Node:
        """The node that leads a stream, of which ``info`` is what JetStream says."""
        cluster = info["cluster"]
        assert isinstance(cluster, dict)
        return next(node for node in self.nodes if node.name == cluster["leader"])


@contextlib.asynccontextmanager
async def nats_cluster(directory: Path) -> AsyncIterator[Cluster]:
    """A cluster that takes streams of three replicas."""
    cluster = Cluster(directory)
    try:
        for node in cluster.nodes:
            node.start()
        await _wait_for_all(cluster)
        yield cluster
    finally:
        for node in cluster.nodes:
            node.end()


async def _wait_for_all(cluster: Cluster) -> None:
    """The first leader may be elected by two, while the third is not known yet."""
    deadline = time.monotonic() + _READY_WITHIN
    while True:
        connection = Connection(replicas=3)
        try:
            await connection.open(cluster.url)
            await connection.api("STREAM.CREATE.PROBE", {"name": "PROBE", "subjects": ["probe"], "num_replicas": 3})
            await connection.api("STREAM.DELETE.PROBE")
        except (LogError, OSError):
            if time.monotonic() > deadline:
                raise
        else:
            return
        finally:
            await connection.close()
