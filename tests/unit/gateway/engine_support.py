"""Tools of the Engine.IO and Socket.IO tests: polling without HTTP, a WebSocket without a socket."""

import asyncio
import json
from typing import Any

from doorstream.gateway.engineio import CloseReason, EngineIOEndpoint, EngineSocket
from doorstream.protocols.websocket import Opcode, UpgradeRequest, encode_frame


class Echo:
    """An Engine.IO application that writes down what happens, and echoes."""

    def __init__(self, *, echo: bool = True) -> None:
        self.echo = echo
        self.messages: list[str | bytes] = []
        self.changes: list[str] = []
        self.reasons: list[CloseReason] = []
        self.socket: EngineSocket | None = None

    def opened(self, socket: EngineSocket) -> None:
        """Keep the session."""
        self.socket = socket

    def message(self, data: str | bytes) -> None:
        """Write it down, and echo."""
        self.messages.append(data)
        if self.echo and self.socket is not None:
            self.socket.send(data)

    def transport_changed(self) -> None:
        """Write down the new transport."""
        if self.socket is not None:
            self.changes.append(self.socket.transport)

    def closed(self, reason: CloseReason) -> None:
        """Write it down."""
        self.reasons.append(reason)


class Applications:
    """Makes an application for each session."""

    def __init__(self) -> None:
        self.all: list[Echo] = []
        self.requests: list[UpgradeRequest] = []

    def __call__(self, request: UpgradeRequest) -> Echo:
        """Accept everyone."""
        self.requests.append(request)
        self.all.append(Echo())
        return self.all[-1]

    @property
    def one(self) -> Echo:
        """The only one."""
        assert len(self.all) == 1
        return self.all[0]


class Answer:
    """An HTTP answer."""

    def __init__(self, sent: list[Any]) -> None:
        self.status: int = sent[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        self.body: bytes = b"".join(message.get("body", b"") for message in sent[1:])

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def code(self) -> int:
        """The code of a refusal."""
        return json.loads(self.body)["code"]


class Poller:
    """A long-polling client that calls an endpoint as ASGI."""

    def __init__(self, endpoint: EngineIOEndpoint, version: int | None = 4, query: str = "") -> None:
        self.endpoint = endpoint
        self.query = (f"EIO={version}&" if version else "") + "transport=polling" + query
        self.sid = ""

    async def call(
        self,
        method: str = "GET",
        body: bytes | None = None,
        *,
        query: str | None = None,
        leave: asyncio.Event | None = None,
        **headers: str,
    ) -> Answer:
        """Make a request; `leave` makes the client go away."""
        sent: list[Any] = []
        gone = leave or asyncio.Event()
        pieces = [{"type": "http.request", "body": body or b""}] if not headers.pop("stalled", "") else []

        async def receive() -> Any:
            if pieces:
                return pieces.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": "/engine.io/",
            "raw_path": b"/engine.io/",
            "query_string": (
                query if query is not None else self.query + (f"&sid={self.sid}" if self.sid else "")
            ).encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
        }
        await self.endpoint(scope, receive, send)
        return Answer(sent) if sent else Answer([{"status": 0, "headers": []}])

    async def open(self) -> dict[str, Any]:
        """Begin a session."""
        answer = await self.call()
        assert answer.status == 200, answer.body
        opening = json.loads(answer.text[answer.text.index("{") :])
        self.sid = opening["sid"]
        return opening

    async def poll(self) -> str:
        """Fetch packets."""
        answer = await self.call()
        assert answer.status == 200, answer.body
        return answer.text

    def start_poll(self) -> "asyncio.Task[Answer]":
        """Leave a poll waiting."""
        return asyncio.create_task(self.call())

    async def post(self, text: str) -> Answer:
        """Send packets."""
        return await self.call("POST", text.encode())


class FakeConnection:
    """A WebSocket connection without a socket."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed_with: list[int] = []
        self.replaying = False
        self.throttled = False
        self.handler: Any = None

    def write(self, data: bytes) -> None:
        """Keep what is written."""
        self.written.append(data)

    def send(self, data: str | bytes) -> None:
        """Frame and write a message."""
        text = isinstance(data, str)
        self.write(encode_frame(Opcode.TEXT if text else Opcode.BINARY, data.encode() if text else data))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Note the code, and tell the handler."""
        del reason
        if not self.closed_with:
            self.closed_with.append(code)
            if self.handler is not None:
                self.handler.closed(code)

    def hand_to(self, handler: Any) -> None:
        """Change the handler."""
        self.handler = handler

    async def drained(self) -> None:
        """Nothing is ever unsent."""

    def take(self) -> list[str | bytes]:
        """Give the messages written since the last call."""
        messages: list[str | bytes] = []
        data, self.written = b"".join(self.written), []
        while data:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            payload = data[start : start + size]
            messages.append(payload.decode() if data[0] & 0x0F == Opcode.TEXT else payload)
            data = data[start + size :]
        return messages


def websocket_request(query: str) -> UpgradeRequest:
    """Make the request of an upgrade."""
    return UpgradeRequest.build("GET", f"/engine.io/?{query}".encode(), [(b"host", b"x")])


def open_websocket(endpoint: EngineIOEndpoint, query: str = "EIO=4&transport=websocket") -> FakeConnection:
    """Open a WebSocket at an endpoint that decides at once."""
    connection = FakeConnection()
    connection.handler = endpoint.open(websocket_request(query))
    connection.handler.opened(connection)
    return connection
