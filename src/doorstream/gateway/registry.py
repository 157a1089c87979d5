"""The gateway: which path leads where, the time-outs that all connections share, and what they count."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from doorstream.gateway.contract import Endpoint
from doorstream.gateway.deadlines import Clock, Deadlines
from doorstream.gateway.proxies import TrustedProxies

if TYPE_CHECKING:
    from doorstream.gateway.websocket import WebSocketConnection

_SETTLING = 0.01
"""Seconds between a 101 and the handler's `opened`."""


class Expirable(Protocol):
    """Something that has a limited time to get ready."""

    def handshake_expired(self) -> None:
        """End it: the time is over."""


@runtime_checkable
class Stoppable(Protocol):
    """An endpoint that keeps something of its own beside WebSockets, such as polling sessions."""

    def shutdown(self) -> None:
        """Let everything go that would keep the server from ending."""


@dataclass(slots=True)
class Counters:
    """What happened to connections since the start."""

    opened: int = 0
    closed: int = 0
    refused: int = 0
    handshake_timeouts: int = 0
    slow_consumers: int = 0
    protocol_errors: int = 0
    throttled: int = 0


class Gateway:
    """Paths and what they share; the application's lifespan yields it as `{"gateway": gateway}`.

    One gateway belongs to one event loop.
    """

    def __init__(
        self, *, handshake_timeout: float = 10.0, clock: Clock | None = None, proxies: TrustedProxies | None = None
    ) -> None:
        self.handshake_timeout = handshake_timeout
        self.proxies = proxies
        """Whose word about a request's origin counts; None: nobody's."""
        self.clock = clock
        self.counters = Counters()
        self.connections = 0
        """WebSockets open now."""
        self.stopping = False
        self.ready = True
        """Whether all endpoints are there. Until then an unknown path is answered with 503 instead of 404."""
        self.handshakes: Deadlines[Expirable] = Deadlines(handshake_timeout, _expire_handshake, clock)
        self.settling: Deadlines[WebSocketConnection] = Deadlines(_SETTLING, _settled, clock)
        """Connections accepted a moment ago; see `websocket`."""
        self._graces: dict[float, Deadlines[WebSocketConnection]] = {}
        self._endpoints: dict[str, Endpoint] = {}

    def add(self, path: str, endpoint: Endpoint) -> None:
        """Let a path lead to an endpoint; a slash at the end makes no difference. Raises ValueError if it is taken."""
        key = path.rstrip("/")
        if key in self._endpoints:
            raise ValueError(f"{path} leads somewhere already")
        self._endpoints[key] = endpoint

    def find(self, path: str) -> Endpoint | None:
        """Give the endpoint of a request's decoded path."""
        return self._endpoints.get(path.rstrip("/"))

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """All endpoints by path, without the slash at the end."""
        return dict(self._endpoints)

    def grace(self, seconds: float) -> "Deadlines[WebSocketConnection]":
        """Give the deadlines after which closing connections are aborted."""
        graces = self._graces.get(seconds)
        if graces is None:
            graces = self._graces[seconds] = Deadlines(seconds, _abort, self.clock)
        return graces

    def shutdown(self) -> None:
        """Tell the endpoints once that the server ends. uvicorn tells each WebSocket itself."""
        if not self.stopping:
            self.stopping = True
            for endpoint in self._endpoints.values():
                if isinstance(endpoint, Stoppable):
                    endpoint.shutdown()


def _expire_handshake(item: Expirable) -> None:
    item.handshake_expired()


def _settled(connection: "WebSocketConnection") -> None:
    connection.settled()


def _abort(connection: "WebSocketConnection") -> None:
    connection.abort("did not close in time")
