"""uvicorn's HTTP protocol with three additions: `uvicorn.Config(http=HttpProtocol)`.

* A connection must send a complete request head within the gateway's handshake time-out and 64 KiB, so that clients
  that never finish hold nothing for long. The time between two requests is uvicorn's own keep-alive time-out.
* Bytes that come in one segment with an upgrade request reach the WebSocket; uvicorn drops them
  (`spikes.md` section 8).
* What a trusted proxy says about the client's address, the scheme and the host counts, for requests and for WebSockets.
"""

import asyncio
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from doorstream.gateway.proxies import TrustedProxies
from doorstream.gateway.registry import Gateway

_MAX_HEAD = 65_536


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection, until it closes or becomes a WebSocket."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        gateway = app_state.get("gateway")
        self._gateway = gateway if isinstance(gateway, Gateway) else None
        self._head_size = 0
        self._in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the socket; from now on the first request is awaited."""
        super().connection_made(transport)
        if self._gateway is not None:
            self._gateway.handshakes.start(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up."""
        self._head_is_complete()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what was read; after an upgrade request hand everything else to the WebSocket."""
        self._unset_keepalive_if_required()
        if self._in_head:
            self._head_size += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._hand_over(data[upgrade.args[0] :])
            else:
                self._unsupported_upgrade_warning()
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        else:
            if self._in_head and self._head_size > _MAX_HEAD:
                self.send_400_response("The request head is too long.")

    def on_message_begin(self) -> None:
        """Await the rest of a request's head."""
        super().on_message_begin()
        if not self._in_head:
            self._in_head = True
            self._head_size = 0
            if self._gateway is not None:
                self._gateway.handshakes.start(self)

    def on_headers_complete(self) -> None:
        """Let the request take its time: its head is here."""
        self._head_is_complete()
        if self._gateway is not None and self._gateway.proxies and self.client is not None:
            self._believe(self._gateway.proxies, self.client)
        super().on_headers_complete()

    def handshake_expired(self) -> None:
        """Close a connection whose request head did not come in time."""
        if self._gateway is not None:
            self._gateway.counters.handshake_timeouts += 1
        self.transport.close()

    def shutdown(self) -> None:
        """End because the server ends: also what waits in endpoints, such as long polls."""
        if self._gateway is not None:
            self._gateway.shutdown()
        super().shutdown()

    def _head_is_complete(self) -> None:
        self._in_head = False
        if self._gateway is not None:
            self._gateway.handshakes.stop(self)

    def _believe(self, proxies: TrustedProxies, peer: tuple[str, int]) -> None:
        """Have the request be what a trusted proxy says it is."""
        forwarded = proxies.read(peer[0], self.headers)
        if forwarded is None:
            return
        self.scope["client"] = (forwarded.client, 0 if forwarded.client != peer[0] else peer[1])
        if forwarded.scheme is not None:
            self.scope["scheme"] = forwarded.scheme
        if forwarded.host is not None:
            self.headers[:] = [header for header in self.headers if header[0] != b"host"]
            self.headers.append((b"host", forwarded.host))

    def _hand_over(self, rest: bytes) -> None:
        """Turn the connection into a WebSocket."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # an upgrade pipelined behind an unanswered request
            return
        self.connections.discard(self)
        lines = [self.scope["method"].encode() + b" " + self.url + b" HTTP/" + self.scope["http_version"].encode()]
        lines.extend(name + b": " + value for name, value in self.headers)
        websocket: Any = self.ws_protocol_class
        protocol = websocket(config=self.config, server_state=self.server_state, app_state=self.app_state)
        transport = self.transport
        transport.set_protocol(protocol)
        # The parser and this object hold each other; without this they would wait for the garbage collector.
        self.parser = None  # type: ignore[assignment]
        protocol.connection_made(transport)
        if self.scope["client"] is not None:
            protocol.peer = self.scope["client"][0]
        protocol.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)
