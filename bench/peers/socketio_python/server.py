"""python-socketio on uvicorn as its documentation shows it: rooms, one emit for each event, nothing stored.

Two ways in, as for every server of this benchmark:

* ``POST /events``: one event as JSON or an array of them, answered with 202 once emitted;
* the control port: every byte that arrives is one event, emitted by the server itself (the live path alone).

The first line of standard output is ``{"port", "control_port"}``.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import socketio
import uvicorn

Message = dict[str, Any]

sio = socketio.AsyncServer(async_mode="asgi")


@sio.on("subscribeIsolated")
async def subscribe(sid: str, data: Message) -> Message:
    for topic in data["topics"]:
        await sio.enter_room(sid, topic)
    return {"ok": True}


async def emit(event: Message) -> None:
    await sio.emit(event["topic"], event, room=event["topic"])


async def ingest(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer ``POST /events``."""
    found = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == "/events"
    body = b""
    more = True
    while found and more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    events = json.loads(body) if found else []
    events = events if isinstance(events, list) else [events]
    for event in events:
        await emit(event)
    answer = json.dumps({"accepted": len(events)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 202 if found else 404, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sample: Message) -> None:
    """Emit one event for each byte."""
    while data := await reader.read(1024):
        for _ in data:
            await emit(sample)
    writer.close()


async def main(sample: Message) -> None:
    app = socketio.ASGIApp(sio, ingest)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False, backlog=4096))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    listener = await asyncio.start_server(lambda r, w: control(r, w, sample), "127.0.0.1", 0)
    print(json.dumps({"port": port, "control_port": listener.sockets[0].getsockname()[1]}), flush=True)
    await serving


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(json.loads(Path(sys.argv[1]).read_text())))
