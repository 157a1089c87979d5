"""Ending: soon, cleanly, with clients connected, and without having written down what is secret."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
import socket
import time
from pathlib import Path

import aiohttp
from faults_support import (
    OPENED,
    Serve,
    SocketIOReader,
    SseReader,
    children_of,
    command_line,
    event,
    history,
    is_running,
    running,
    serving,
    until,
)

SOON = 20.0  # a busy machine included; whether somebody had to be killed is told by what a worker leaves behind


async def stalled(server: Serve, request: str) -> socket.socket:
    """A client that asks and then reads nothing."""
    client = socket.create_connection(("127.0.0.1", server.port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(f"{request}\r\nHost: 127.0.0.1\r\nX-API-Key: {server.key}\r\n\r\n".encode())
    return client


async def test_it_ends_soon_with_clients_of_every_kind(tmp_path: Path) -> None:
    """Streams, sockets, a long poll, an upload that never ends and clients that stopped reading."""
    async with serving(tmp_path) as (server, site), contextlib.AsyncExitStack() as exits:
        client = await server.api.create_client()
        token = await server.api.system_token(client["id"], client["secret"], site)
        sse = SseReader(server.url, server.key, site)
        sio = SocketIOReader(server.url, site, token, [OPENED])
        session = await exits.enter_async_context(aiohttp.ClientSession())
        await exits.enter_async_context(running(sse.run(), sio.run()))
        await until(lambda: sse.is_open and sio.is_open, 60)
        for _ in range(3):
            exits.enter_context(await stalled(server, f"GET /api/sites/{site}/stream HTTP/1.1"))
        polling = f"{server.url}/socket.io/?EIO=4&transport=polling&systemId={site}&token={token}"
        opened = await session.get(polling)
        sid = json.loads((await opened.text())[1:])["sid"]
        waiting = asyncio.create_task(session.get(f"{polling}&sid={sid}"))
        upload = asyncio.create_task(_endless_upload(session, server, site))
        exits.callback(waiting.cancel)
        exits.callback(upload.cancel)
        for start in range(0, 400, 40):
            many = [event(f"e-{start + n}", body={"note": "x" * 20_000}) for n in range(40)]
            await server.api.ingest(site, *many)
        await until(lambda: {"e-399", "upload-0"} <= set(sse.ids), 60)

        children = children_of(server.pid)
        began = time.monotonic()
        assert await server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < SOON
        assert not any(map(is_running, children))
        assert not list(server.data.glob("*-wal")), "the worker was killed: whoever ends by itself closes its databases"
        assert "Traceback" not in server.errors
        assert "Error" not in server.errors

        await server.start()
        log = await history(server.api, site)
        assert len([each for each in log if each.startswith("e-")]) == 400
        await until(lambda: sse.opened == sio.opened == 2, 60)
        await server.api.ingest(site, event("after"))
        await until(lambda: sse.ids[-1] == sio.ids[-1] == "after", 60)
        assert sio.recovered == 1
        told = [each for each in sio.ids if not each.startswith("upload-")]
        assert told == [*(f"e-{number}" for number in range(400)), "after"]
        kept = [each for each in log if each.startswith("upload-")]
        assert kept == [f"upload-{number}" for number in range(len(kept))], "the lines that were there are kept"
        assert kept


async def _endless_upload(session: aiohttp.ClientSession, server: Serve, site: str) -> None:
    async def lines():
        for number in range(1_000_000):
            yield json.dumps(event(f"upload-{number}")).encode() + b"\n"
            await asyncio.sleep(0.05)

    headers = {"X-API-Key": server.key, "Content-Type": "application/x-ndjson"}
    with contextlib.suppress(aiohttp.ClientError):
        await session.post(f"{server.url}/api/sites/{site}/events", data=lines(), headers=headers)


async def test_no_secret_is_written_down(tmp_path: Path) -> None:
    """Not in the log, not by nats-server, not in any file of the data directory, whatever clients do with them."""
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    async with serving(tmp_path, data=data) as (server, site):
        client = await server.api.create_client()
        credentials = client["id"], client["secret"]
        token = await server.api.system_token(*credentials, site)
        id_token = await server.api.id_token(*credentials)
        ticket = (await server.api.call("POST", f"/api/sites/{site}/tokens", json={"kind": "ticket"}))["token"]
        user = {"username": "ada@example.com", "name": "Ada", "password": "a-pass-word-of-ada", "roles": {}}
        await server.api.call("POST", "/api/users", json=user)
        basic = base64.b64encode(":".join(credentials).encode()).decode()
        sio = SocketIOReader(server.url, site, token, [OPENED])
        async with running(sio.run()), aiohttp.ClientSession() as session:
            await until(lambda: sio.is_open, 60)
            for path in (
                f"/api/sites/{site}/stream?ticket={ticket}x",
                f"/api/sites/{site}/events?api_key={server.key}",
                f"/nothing?token={token}",
                f"/socket.io/?EIO=4&transport=polling&token={token}&systemId=other",
                f"/socket.io/?EIO=4&transport=polling&token={token}&sid=unknown",
                f"/socket.io/?EIO=9&transport=carrier-pigeon&token={token}",
            ):
                async with session.get(server.url + path, headers={"Authorization": f"Bearer {id_token}"}) as response:
                    assert response.status >= 400 or "socket.io" in path
                    assert token not in await response.text()
            with contextlib.suppress(aiohttp.ClientError):
                await session.ws_connect(f"{server.url}/nothing?token={token}")
            form = {"grant_type": "password", "client_secret": client["secret"], "password": user["password"]}
            async with session.post(
                f"{server.url}/oauth2/token", data=form, headers={"Authorization": f"Basic {basic}"}
            ) as response:
                assert response.status == 400
            async with session.get(f"{server.url}/api/sites/{site}/stream", params={"ticket": ticket}) as response:
                assert response.status == 200
            for command in map(command_line, children_of(server.pid)):
                assert "ds_" not in command
                assert "@127.0.0.1" not in command, "the password of nats-server is seen in the list of processes"
        assert await server.stop() == 0
        secrets = [server.key, client["secret"], client["api_key"], token, id_token, ticket, basic, user["password"]]
        nats_password = (server.data / "nats/nats-server.conf").read_text().split('password: "')[1].split('"')[0]
        for path in (*server.data.rglob("*"), tmp_path / "serve.err"):
            if path.is_file():
                content = path.read_bytes()
                for secret in secrets:
                    assert secret.encode() not in content, f"{path} holds {secret[:12]}…"
                assert path.name == "nats-server.conf" or nats_password.encode() not in content
        assert server.output.count(server.key) == 1
        assert not any(path.stat().st_mode & 0o077 for path in server.data.rglob("*")), "others may read it"
