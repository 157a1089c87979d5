"""A WebSocket server that sends every message back: `python examples/websocket_echo.py --port 9001`."""

import argparse

from doorstream.gateway import Gateway, Limits, WebSocketConnection
from doorstream.gateway.serve import serve
from doorstream.protocols.websocket import UpgradeRequest


class Echo:
    """One client."""

    connection: WebSocketConnection

    def opened(self, connection: WebSocketConnection) -> None:
        """Keep the connection to answer on."""
        self.connection = connection

    def message(self, data: str | bytes) -> None:
        """Send back what came: text as text, binary as binary."""
        self.connection.send(data)

    def closed(self, code: int) -> None:
        """Nothing to clean up."""


class EchoEndpoint:
    """Accepts everyone."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def open(self, request: UpgradeRequest) -> Echo:
        """Give each client a handler of its own."""
        del request
        return Echo()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--max-payload", type=int, default=32 * 2**20, help="bytes in one message")
    arguments = parser.parse_args()
    gateway = Gateway()
    limits = Limits(max_payload=arguments.max_payload, max_unsent=1_000_000 + 2 * arguments.max_payload, rate=None)
    gateway.add("/", EchoEndpoint(limits))
    serve(gateway, host=arguments.host, port=arguments.port)


if __name__ == "__main__":
    main()
