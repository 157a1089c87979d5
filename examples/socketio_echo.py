"""A Socket.IO server on /socket.io/ with the namespaces / and /custom.

It emits `auth` with the payload of the client's CONNECT, answers `message` with `message-back` and the same arguments,
and acknowledges `message-with-ack` with its arguments.
"""

import argparse
import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from doorstream.gateway import Gateway, Limits
from doorstream.gateway.engineio import EngineOptions
from doorstream.gateway.serve import serve
from doorstream.gateway.socketio import Accept, Connect, SocketIOEndpoint, SocketIOHandler, new_sid
from doorstream.protocols.engineio import Timing
from doorstream.protocols.websocket import UpgradeRequest

AUTH_DELAY = 0.01
"""Seconds between the answer to CONNECT and `auth`, for programs that begin to listen only after the first."""


class Echo(SocketIOHandler):
    """One client."""

    namespaces: ClassVar[frozenset[str]] = frozenset({"/", "/custom"})

    def __init__(self) -> None:
        super().__init__()
        self.auth: dict[str, dict[str, Any]] = {}

    def connecting(self, connect: Connect) -> Accept:
        """Let everyone join."""
        self.auth[connect.namespace] = connect.auth or {}
        return {"sid": new_sid()}

    def connected(self, namespace: str) -> None:
        """Say what the client authenticated with."""
        auth = self.auth[namespace]
        asyncio.get_running_loop().call_later(AUTH_DELAY, lambda: self.emit("auth", auth, namespace=namespace))

    def event(self, namespace: str, name: str, arguments: list[Any], ack: Callable[..., None] | None) -> None:
        """Echo."""
        if name == "message":
            self.emit("message-back", *arguments, namespace=namespace)
        elif name == "message-with-ack" and ack is not None:
            ack(*arguments)


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
    parser.add_argument("--connect-timeout", type=int, default=45_000, help="milliseconds")
    parser.add_argument("--max-payload", type=int, default=1_000_000, help="bytes in one message")
    arguments = parser.parse_args()
    options = EngineOptions(
        timing=Timing(arguments.ping_interval, arguments.ping_timeout),
        limits=Limits(max_payload=arguments.max_payload, max_unsent=1_000_000 + arguments.max_payload),
        missing_version=None,
    )
    gateway = Gateway()
    gateway.add("/socket.io/", SocketIOEndpoint(accept_all, options, connect_timeout=arguments.connect_timeout / 1000))
    serve(gateway, host=arguments.host, port=arguments.port)


if __name__ == "__main__":
    main()
