"""An Engine.IO server (versions 4 and 3) that sends every message back, on /engine.io/."""

import argparse

from doorstream.gateway import Gateway, Limits
from doorstream.gateway.engineio import CloseReason, EngineIOEndpoint, EngineOptions, EngineSocket
from doorstream.gateway.serve import serve
from doorstream.protocols.engineio import Timing
from doorstream.protocols.websocket import UpgradeRequest


class Echo:
    """One client."""

    socket: EngineSocket

    def opened(self, socket: EngineSocket) -> None:
        """Keep the session to answer on."""
        self.socket = socket

    def message(self, data: str | bytes) -> None:
        """Send back what came: text as text, binary as binary."""
        self.socket.send(data)

    def transport_changed(self) -> None:
        """Nothing to do: `send` looks the transport up each time."""

    def closed(self, reason: CloseReason) -> None:
        """Nothing to clean up."""


def accept_all(request: UpgradeRequest) -> Echo:
    """Give each client a handler of its own."""
    del request
    return Echo()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--ping-interval", type=int, default=25_000, help="milliseconds")
    parser.add_argument("--ping-timeout", type=int, default=20_000, help="milliseconds")
    parser.add_argument("--max-payload", type=int, default=1_000_000, help="bytes in one message")
    arguments = parser.parse_args()
    options = EngineOptions(
        timing=Timing(arguments.ping_interval, arguments.ping_timeout),
        limits=Limits(max_payload=arguments.max_payload, max_unsent=1_000_000 + arguments.max_payload),
        missing_version=None,
    )
    gateway = Gateway()
    gateway.add("/engine.io/", EngineIOEndpoint(accept_all, options))
    serve(gateway, host=arguments.host, port=arguments.port)


if __name__ == "__main__":
    main()
