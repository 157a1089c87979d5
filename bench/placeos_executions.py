"""A client of the control WebSocket that executes: each answer is followed by the next command."""

import asyncio
from typing import cast

from generator import Answers, Endpoint, MeasurementError, Watch

from doorstream.protocols.websocket import text_frame

_SUCCESS = b'"type":"success"'


class Executing(asyncio.Protocol):
    """A client that keeps some executions in flight: each answer is followed by the next command."""

    def __init__(self, endpoint: Endpoint, in_flight: int) -> None:
        self._target, self._in_flight = endpoint.targets[0], in_flight
        command = endpoint.subscribe.encode()
        frame = bytearray(text_frame(command))
        frame[1] |= 0x80
        head = 2 if len(command) < 126 else 4  # noqa: PLR2004 - RFC 6455, 5.2
        self._command = bytes(frame[:head]) + bytes(4) + command  # masked with zeros
        self._is_open = False
        self._last = b""
        self.answered = 0
        self.refusal = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        head = f"GET {self._target} HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        self._transport.write(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """Count the answers, and ask as often again."""
        if self._is_open:
            received = self._last + data
            count = received.count(_SUCCESS)
            self._last = received[1 - len(_SUCCESS) :]  # half a word, perhaps
            if b'"type":"error"' in received:
                self.refusal = received
            self.answered += count
            self._transport.write(self._command * count)
        elif b" 101 " in data:
            self._is_open = True
            self._transport.write(self._command * self._in_flight)
        else:
            self.refusal = data

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()


async def execute(endpoint: Endpoint, connections: int, in_flight: int, watch: Watch) -> Answers:
    """Execute over all connections."""
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: Executing(endpoint, in_flight), "127.0.0.1", endpoint.port))[1]
        for _ in range(connections)
    ]
    found = await watch.count(lambda: sum(client.answered for client in clients))
    for client in clients:
        client.close()
    if refused := [client.refusal for client in clients if client.refusal]:
        raise MeasurementError(f"an execution was refused: {refused[0][:300]!r}")
    return found
