"""The load generator counts what a server sends, however the bytes are cut, and says so when a run went wrong."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

LOAD = Path(__file__).parents[3] / "bench" / "load"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
SIGNALR = ("--protocol", "signalr")
SUBSCRIBE = '420["subscribeIsolated",{"topics":["t"]}]'

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="the load generator needs a C compiler")


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the load generator, warnings being errors as everywhere in the tests."""
    program = tmp_path_factory.mktemp("load") / "load"
    flags = ["-D_GNU_SOURCE", "-O1", "-std=gnu11", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    subprocess.run(["cc", *flags, "-o", program, *LOAD.glob("*.c")], check=True)
    return program


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """A WebSocket frame as a server sends it: unmasked, final (RFC 6455 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes([0x80 | opcode, size]) + payload
    if size < 65536:
        return bytes([0x80 | opcode, 126]) + size.to_bytes(2) + payload
    return bytes([0x80 | opcode, 127]) + size.to_bytes(8) + payload


def event(size: int) -> bytes:
    """An event frame whose payload has this many bytes."""
    return frame(b'42["' + b"x" * (size - 6) + b'"]')


def message(size: int) -> bytes:
    """A SignalR event of this many bytes, its separator included."""
    return b'{"type":1,"target":"' + b"x" * (size - 23) + b'"}\x1e'


class FakeServer:
    """Shakes hands as a Socket.IO server does, then lets ``talk`` send; keeps what the client said afterwards."""

    def __init__(self, talk: Callable[[asyncio.StreamWriter], AsyncIterator[None]]) -> None:
        self.talk = talk
        self.heard: list[tuple[int, bytes]] = []
        self.posts: list[bytes] = []
        self.port = 0
        self.all_read = asyncio.Semaphore(0)
        self.connections: set[asyncio.Task[None]] = set()

    async def read_frame(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        """Opcode and payload of the client's next frame."""
        head = await reader.readexactly(2)
        assert head[1] & 0x80, "a client must mask"
        size = head[1] & 0x7F
        size = int.from_bytes(await reader.readexactly(2)) if size == 126 else size
        mask = await reader.readexactly(4)
        masked = await reader.readexactly(size)
        return head[0] & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of either kind until the client leaves."""
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            await (self.answer_posts if request.startswith(b"POST") else self.stream)(request, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the upgrade and what Socket.IO's clients say first."""
        writer.write(SWITCHING + frame(b'0{"sid":"a"}'))
        assert await self.read_frame(reader) == (1, b"40")
        writer.write(frame(b'40{"sid":"b"}'))
        assert await self.read_frame(reader) == (1, SUBSCRIBE.encode())
        writer.write(frame(b'430[{"ok":true}]'))

    async def stream(self, _request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Shake hands and talk; the answer to a last ping shows that the client has read all before it."""
        await self.shake_hands(reader, writer)
        async for _ in self.talk(writer):
            await writer.drain()
        writer.write(frame(b"the end", 9))
        while (heard := await self.read_frame(reader)) != (10, b"the end"):
            self.heard.append(heard)
        self.all_read.release()
        await reader.read()

    async def answer_posts(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Accept everything that is posted and keep it."""
        while True:
            size = int(head.lower().partition(b"content-length: ")[2].split()[0])
            self.posts.append(await reader.readexactly(size))
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}")
            head = await reader.readuntil(b"\r\n\r\n")

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FakeServer"]:
        """Listen while the context lasts, then wait for the connections to end."""
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self
            await asyncio.gather(*self.connections)


class FakeHub(FakeServer):
    """The same as a SignalR hub. Its answer to the handshake may have company, and be anything."""

    def __init__(
        self, talk: Callable[[asyncio.StreamWriter], AsyncIterator[None]], *, answer: bytes = b"{}\x1e"
    ) -> None:
        super().__init__(talk)
        self.answer = answer

    async def shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the upgrade and the handshake."""
        writer.write(SWITCHING)
        assert await self.read_frame(reader) == (1, b'{"protocol":"json","version":1}\x1e')
        writer.write(frame(self.answer))


async def run(load: Path, server: FakeServer, folder: Path, *options: str, idle: int = 0) -> dict:
    """Run the generator against the server, in idle mode with ``idle`` connections until they have read everything."""
    (folder / "targets").write_text("/socket.io/?EIO=4&transport=websocket\n")
    (folder / "ingest").write_text("/events\n")
    (folder / "body").write_text('{"id":"@@@@@@@@@@@@"}\n')
    command = ["--port", str(server.port), "--targets", str(folder / "targets"), "--subscribe", SUBSCRIBE]
    command += ["--body", str(folder / "body"), "--ingest-targets", str(folder / "ingest"), *options]
    command += ["--mode", "idle", "--connections", str(idle)] if idle else []
    process = await asyncio.create_subprocess_exec(
        load, *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    line = await process.stdout.readline()
    if b"ready" in line:
        for _ in range(idle):
            await server.all_read.acquire()
        process.stdin.close()
        line = await process.stdout.readline()
    await process.wait()
    return json.loads(line)


async def nothing(_writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Send no more."""
    return
    yield


SIZES = [8, 125, 126, 127, 498, 65535, 65536, 300_000]


async def test_counts_events_of_every_header_length_joined_in_one_write(load: Path, tmp_path: Path) -> None:
    """Headers of 2, 4 and 10 bytes, and frames larger than one read."""

    async def talk(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        writer.write(b"".join(event(size) for size in SIZES) * 3)
        yield

    async with FakeServer(talk).running() as server:
        result = await run(load, server, tmp_path, idle=2)
    assert result["deliveries_in_all"] == 2 * 3 * len(SIZES)


async def test_counts_events_cut_at_every_byte(load: Path, tmp_path: Path) -> None:
    """No cut inside a header or a payload loses or doubles an event."""

    async def talk(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        sizes = [8, 125, 126, 200]
        for byte in b"".join(event(size) for size in sizes):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.0005)  # so that most bytes leave in segments of their own
            yield

    async with FakeServer(talk).running() as server:
        result = await run(load, server, tmp_path, idle=1)
    assert result["deliveries_in_all"] == 4


async def test_counts_only_events_and_answers_pings(load: Path, tmp_path: Path) -> None:
    """Pings of both layers, acknowledgements and empty frames are no events."""

    async def talk(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        others = [frame(b"2"), frame(b"beat", 9), frame(b"beat", 10), frame(b"6"), frame(b'431["42["]'), frame(b"")]
        writer.write(b"".join(other + event(50) for other in others))
        yield

    async with FakeServer(talk).running() as server:
        result = await run(load, server, tmp_path, idle=1)
    assert result["deliveries_in_all"] == 6
    assert server.heard == [(1, b"3"), (10, b"beat")]


async def test_a_close_frame_is_a_failed_run_that_names_the_code(load: Path, tmp_path: Path) -> None:
    """A server that throws a subscriber out must not look like a slow one."""

    async def talk(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        writer.write(frame((1008).to_bytes(2) + b"policy", 8))
        yield

    async with FakeServer(talk).running() as server:
        result = await run(
            load, server, tmp_path, "--mode", "open", "--connections", "1", "--rate", "1", "--seconds", "30"
        )
    assert result == {"error": "server closed a subscriber with 1008"}


async def test_every_event_of_every_batch_has_a_number_of_its_own(load: Path, tmp_path: Path) -> None:
    """Otherwise a server that absorbs duplicate ids would be measured without its work."""
    options = ["--mode", "durable", "--senders", "2", "--batch", "5", "--warmup", "0", "--seconds", "1.5"]
    async with FakeServer(nothing).running() as server:
        result = await run(load, server, tmp_path, *options)
    ids = [event["id"] for post in server.posts for event in json.loads(post)]
    assert len(ids) == len(set(ids)) >= result["acknowledged"] > 0
    assert result["acknowledged"] % 5 == 0


async def test_what_was_never_delivered_counts_as_late(load: Path, tmp_path: Path) -> None:
    """A server that falls behind must not look fast because its late events are left out."""
    options = ["--mode", "open", "--connections", "2", "--rate", "50", "--warmup", "0", "--seconds", "0.4"]
    async with FakeServer(nothing).running() as server:
        result = await run(load, server, tmp_path, *options, "--drain", "0.2")
    assert result["undelivered"] == 40
    assert result["latency_ms"]["samples"] == 40
    assert result["latency_ms"]["p50"] > 200


async def test_counts_signalr_messages_however_they_are_framed(load: Path, tmp_path: Path) -> None:
    """Several in a frame, one over several frames and over fragments of one, and cut at every byte."""

    async def talk(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        one, two = message(60), message(200)
        fragments = bytes([0x01, 100]) + two[:100] + bytes([0x80, 100]) + two[100:]
        writer.write(frame(one * 3) + frame(two[:50]) + frame(two[50:] + one) + fragments + frame(message(300_000)))
        yield
        for byte in frame(one + two):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.0005)
            yield

    async with FakeHub(talk).running() as server:
        result = await run(load, server, tmp_path, *SIGNALR, idle=2)
    assert result["deliveries_in_all"] == 2 * 9


async def test_counts_only_invocations_of_signalr_and_answers_pings(load: Path, tmp_path: Path) -> None:
    """Nor is it an event what only looks like one further on, or what came with the answer to the handshake."""

    async def talk(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        others = [b'{"type":6}\x1e', b'{"type":3,"result":"{\\"type\\":1,"}\x1e', b'{"type":10}\x1e', b"\x1e"]
        writer.write(frame(b"".join(other + message(50) for other in others)) + frame(b"beat", 9))
        yield

    async with FakeHub(talk, answer=b'{}\x1e{"type":6}\x1e').running() as server:
        result = await run(load, server, tmp_path, *SIGNALR, idle=1)
    assert result["deliveries_in_all"] == 4
    assert server.heard == [(1, b'{"type":6}\x1e')] * 2 + [(10, b"beat")]


@pytest.mark.parametrize("answer", [b'{"error":"no"}\x1e', b'{}\x1e{"type":7,"error":"gone"}\x1e'])
async def test_a_hub_that_ends_it_is_a_failed_run_that_says_why(load: Path, tmp_path: Path, answer: bytes) -> None:
    """At the handshake, or with a Close message."""
    async with FakeHub(nothing, answer=answer).running() as server:
        result = await run(
            load, server, tmp_path, *SIGNALR, "--mode", "open", "--connections", "1", "--rate", "1", "--seconds", "30"
        )
    assert answer.split(b"\x1e")[-2].decode() in result["error"]
