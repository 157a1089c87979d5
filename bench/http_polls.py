"""A client that polls: some connections, each of which asks again as soon as it is answered."""

import asyncio

from generator import Answers, Endpoint, MeasurementError, Watch

CONNECTIONS = 32


class Polling(asyncio.Protocol):
    """One connection; only answers of 304 count."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.answers = 0
        self.others = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self.transport = transport  # type: ignore[assignment]
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Ask again: a head without a body comes in one piece."""
        assert self.transport is not None  # noqa: S101 - connection_made came first
        if data.startswith(b"HTTP/1.1 304") and data.endswith(b"\r\n\r\n"):
            self.answers += 1
        else:
            self.others += 1
        self.transport.write(self._request)

    def close(self) -> None:
        """Hang up."""
        if self.transport is not None:
            self.transport.abort()


async def poll(endpoint: Endpoint, watch: Watch) -> Answers:
    """Poll over all connections."""
    head = [f"GET {endpoint.targets[0]} HTTP/1.1", f"Host: 127.0.0.1:{endpoint.port}", *endpoint.headers]
    request = "\r\n".join([*head, "", ""]).encode()
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: Polling(request), "127.0.0.1", endpoint.port))[1]
        for _ in range(CONNECTIONS)
    ]
    found = await watch.count(lambda: sum(each.answers for each in opened))
    for each in opened:
        each.close()
    if any(each.others for each in opened):
        raise MeasurementError("a poll was not answered with 304")
    return found
