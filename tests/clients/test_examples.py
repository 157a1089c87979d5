"""The three examples, run as a user runs them, against real client libraries."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import engineio
import pytest
import socketio

from doorstream.testing.server import free_port

ROOT = Path(__file__).parents[2]
NODE_FOLDER = Path(__file__).parent / "node"

Run = Callable[..., str]


@pytest.fixture
def run() -> Iterator[Run]:
    """Start an example on a free port and give its address; it ends with the test, and by itself."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(name: str, *options: str) -> str:
        port = (
            free_port()
        )  # not one that an outgoing connection may take, such as the ones below, which may meet themselves
        command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), "--port", str(port), *options]
        processes.append(subprocess.Popen(command))
        for _ in range(2000):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                assert processes[-1].poll() is None, "the example has ended"
                time.sleep(0.02)
            else:
                return f"127.0.0.1:{port}"
        pytest.fail("the example does not listen")

    yield start
    for process in processes:
        process.terminate()
    codes = [process.wait(timeout=30) for process in processes]
    # uvicorn ends cleanly and then raises the signal again
    assert all(code in {0, -15} for code in codes)


async def node(script: str, address: str) -> list[str]:
    """Run a script in Node, with `address` defined, and give the lines it prints."""
    if shutil.which("node") is None or not (NODE_FOLDER / "node_modules").exists():
        if os.environ.get("CI"):
            pytest.fail("Node.js or the packages of tests/clients/node are missing")
        pytest.skip("Node.js or the packages of tests/clients/node are missing")
    process = await asyncio.create_subprocess_exec(
        "node",
        "-e",
        f"const address = {json.dumps(address)};\n{script}",
        cwd=NODE_FOLDER,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, error = await asyncio.wait_for(process.communicate(), 60)
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode == 0, error.decode()
    return out.decode().splitlines()


# websocket_echo


async def test_the_websocket_echo_with_aiohttp(run: Run) -> None:
    address = run("websocket_echo")
    async with aiohttp.ClientSession() as session, session.ws_connect(f"ws://{address}/", max_msg_size=0) as ws:
        for text in ("", "hello", "é€😀" * 1_000):
            await ws.send_str(text)
            assert await ws.receive_str() == text
        for data in (b"", bytes(range(256)), os.urandom(16 * 2**20)):
            await ws.send_bytes(data)
            assert await ws.receive_bytes() == data
        await ws.close(code=4001)
        assert ws.close_code == 4001


async def test_the_websocket_echo_with_websockets(run: Run) -> None:
    """This library sends fragments, checks every frame it gets, and offers compression."""
    websockets = pytest.importorskip("websockets.asyncio.client")
    address = run("websocket_echo")
    async with websockets.connect(f"ws://{address}/", open_timeout=30, close_timeout=30) as ws:
        await ws.send(["frag", "", "ments ", "€😀"])
        assert await ws.recv() == "fragments €😀"
        await ws.send([b"\x00", b"\xff" * 70_000])
        assert await ws.recv() == b"\x00" + b"\xff" * 70_000
        assert await (await ws.ping(b"payload")) >= 0
        for number in range(1_000):
            await ws.send(str(number))
        assert [await ws.recv() for _ in range(1_000)] == [str(number) for number in range(1_000)]
    assert ws.close_code == 1000


@pytest.mark.node
async def test_the_websocket_echo_with_ws(run: Run) -> None:
    script = """
    const WebSocket = require("ws");
    const ws = new WebSocket(`ws://${address}/`);
    const big = Buffer.alloc(1000000, 7);
    ws.on("open", () => { ws.send("hello"); ws.send(big); ws.ping("p"); });
    ws.on("message", (data, binary) => {
      console.log(binary ? `binary ${data.equals(big)}` : `text ${data}`);
      if (binary) ws.close(4002, "done");
    });
    ws.on("pong", (data) => console.log(`pong ${data}`));
    ws.on("close", (code) => console.log(`close ${code}`));
    """
    lines = await node(script, run("websocket_echo"))
    assert sorted(lines[:-1]) == ["binary true", "pong p", "text hello"]
    assert lines[-1] == "close 4002"


async def test_the_websocket_echo_has_a_limit_to_choose(run: Run) -> None:
    address = run("websocket_echo", "--max-payload", "1000")
    async with aiohttp.ClientSession() as session, session.ws_connect(f"ws://{address}/") as ws:
        await ws.send_str("x" * 1_001)
        assert (await ws.receive()).data == 1009


# engineio_echo


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]])
async def test_the_engineio_echo_with_python_engineio(run: Run, transports: list[str]) -> None:
    address = run("engineio_echo", "--ping-interval", "200", "--ping-timeout", "20000")
    received: asyncio.Queue[str | bytes] = asyncio.Queue()
    client = engineio.AsyncClient(request_timeout=30)
    client.on("message", received.put)
    await client.connect(f"http://{address}", transports=transports)
    assert client.transport() == transports[-1]
    for message in ("hello", b"\x00\xff", "é€😀"):
        await client.send(message)
        assert await asyncio.wait_for(received.get(), 30) == message
    await asyncio.sleep(0.5)  # two heartbeats
    await client.send("still here")
    assert await asyncio.wait_for(received.get(), 30) == "still here"
    await client.disconnect()


async def test_the_engineio_echo_speaks_version_3_and_refuses_a_missing_version(run: Run) -> None:
    address = run("engineio_echo", "--max-payload", "1234")
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"ws://{address}/engine.io/?EIO=3&transport=websocket") as ws:
            opening = await ws.receive_str()
            assert json.loads(opening[1:])["maxPayload"] == 1234
            await ws.send_str("2")
            assert await ws.receive_str() == "3"
            await ws.send_str("4hello")
            assert await ws.receive_str() == "4hello"
        async with session.get(f"http://{address}/engine.io/?transport=polling") as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, 5)


# socketio_echo


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]])
async def test_the_socketio_echo_with_python_socketio(run: Run, transports: list[str]) -> None:
    address = run("socketio_echo")
    client = socketio.AsyncClient(request_timeout=30)
    received: asyncio.Queue[tuple] = asyncio.Queue()
    for namespace in ("/", "/custom"):
        for name in ("auth", "message-back"):
            client.on(
                name,
                lambda *arguments, place=(namespace, name): received.put_nowait((*place, *arguments)),
                namespace=namespace,
            )
    await client.connect(
        f"http://{address}", auth={"token": "t"}, namespaces=["/", "/custom"], transports=transports, wait_timeout=30
    )
    assert client.transport() == transports[-1]
    got = [await asyncio.wait_for(received.get(), 30) for _ in range(2)]
    assert sorted(got, key=str) == [("/", "auth", {"token": "t"}), ("/custom", "auth", {"token": "t"})]
    for namespace in ("/", "/custom"):
        await client.emit("message", (1, "é€😀", {"data": b"\x00\xff"}), namespace=namespace)
        back = await asyncio.wait_for(received.get(), 30)
        assert back == (namespace, "message-back", 1, "é€😀", {"data": b"\x00\xff"})
        assert await client.call("message-with-ack", ("a", b"\x01"), namespace=namespace) == ("a", b"\x01")
    await client.disconnect()


SOCKETIO_SCRIPT = """
const io = require(%s);
const socket = io(`http://${address}%s`, { auth: { token: "t" }, ...%s });
socket.on("connect", () => {
  socket.emit("message", 1, "é€😀", { data: Buffer.from([0, 255]) });
  socket.emit("message-with-ack", [Buffer.from("hey")], (value) => told("ack", value));
});
socket.on("auth", (auth) => told("auth", auth));
socket.on("message-back", (...values) => told("back", values));
let missing = 3;
function told(what, value) {
  console.log(what, JSON.stringify(value));
  if (--missing === 0) leave();
}
function leave() { // with everything received and the transport upgraded
  const engine = socket.io.engine;
  if (engine.transport.name !== %s) { engine.once("upgrade", leave); return; }
  console.log(engine.transport.name);
  setTimeout(() => socket.close(), 300); // anything more would be heard
}
for (const name of ["connect_error", "error"]) socket.on(name, (error) => console.log(name, String(error)));
"""


@pytest.mark.node
@pytest.mark.parametrize("namespace", ["/", "/custom"])
@pytest.mark.parametrize("package", ["socket.io-client", "socket.io-client-2"])
@pytest.mark.parametrize(
    ("options", "transport"),
    [("{}", "websocket"), ('{transports: ["websocket"]}', "websocket"), ('{transports: ["polling"]}', "polling")],
)
async def test_pdk_4_and_6_the_socketio_echo_with_socket_io_client(
    run: Run, package: str, namespace: str, options: str, transport: str
) -> None:
    """The current client and the old one (Engine.IO 3), on every transport."""
    address = run("socketio_echo")
    lines = await node(SOCKETIO_SCRIPT % (json.dumps(package), namespace, options, json.dumps(transport)), address)
    data = '{"type":"Buffer","data":[0,255]}'
    assert sorted(lines) == sorted(
        [
            'auth {"token":"t"}' if package == "socket.io-client" else "auth {}",
            f'back [1,"é€😀",{{"data":{data}}}]',
            'ack [{"type":"Buffer","data":[104,101,121]}]',
            transport,
        ]
    )


@pytest.mark.node
async def test_an_unknown_namespace_is_refused(run: Run) -> None:
    address = run("socketio_echo")
    lines = await node(
        SOCKETIO_SCRIPT % ('"socket.io-client"', "/random", "{reconnection: false}", "null")
        + 'socket.on("connect_error", () => socket.close());',
        address,
    )
    assert lines == ["connect_error Error: Invalid namespace"]


async def test_the_socketio_echo_closes_a_client_that_never_joins(run: Run) -> None:
    address = run("socketio_echo", "--connect-timeout", "200")
    url = f"ws://{address}/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        assert (await ws.receive_str()).startswith("0{")
        assert (await asyncio.wait_for(ws.receive(), 30)).type is aiohttp.WSMsgType.CLOSE


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("websocket_echo", ["--port", "--max-payload"]),
        ("engineio_echo", ["--port", "--ping-interval", "--ping-timeout", "--max-payload"]),
        ("socketio_echo", ["--port", "--ping-interval", "--ping-timeout", "--connect-timeout", "--max-payload"]),
    ],
)
def test_the_options_of_the_examples(name: str, options: list[str]) -> None:
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(option in text for option in options)
