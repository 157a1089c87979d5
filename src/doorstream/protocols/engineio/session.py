"""One Engine.IO session, without transports and clocks.

The shell feeds it the packets of the transport in use (`receive`) and, while a WebSocket tries to take over from
polling, those of that WebSocket (`probe`), and does what comes back::

    POLLING ──probe "2probe"──► PROBED ──"5"──► WEBSOCKET
       ▲                          │                 │
       └──── the probe is lost ───┘        close, error: CLOSED

The heartbeat goes in opposite directions: in protocol 4 the server pings `ping_interval` after it last heard a pong
and allows `ping_timeout` for the answer; in protocol 3 the client pings, and may be silent for both together. A
beat in the wrong direction ends the session (`vendor-apis.md` 1.2.1, facts 4, 5 and 9).
"""

import enum
from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from doorstream.protocols.engineio.errors import SessionError
from doorstream.protocols.engineio.packets import V3, V4, Packet, PacketType, Version

_PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Timing:
    """The heartbeat, in milliseconds as on the wire."""

    ping_interval: int = 25_000
    ping_timeout: int = 20_000


class State(enum.Enum):
    """Which transport is in use."""

    POLLING = enum.auto()
    PROBED = enum.auto()
    """Polling, while a WebSocket has proved that it works: polls are answered at once, so that they end."""
    WEBSOCKET = enum.auto()
    CLOSED = enum.auto()


@dataclass(frozen=True, slots=True)
class Message:
    """For the application."""

    data: str | bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """To be sent on the transport that the packet came from."""

    packet: Packet


@dataclass(frozen=True, slots=True)
class Alive:
    """The client answered the heartbeat: the next one is a `ping_interval` away."""


@dataclass(frozen=True, slots=True)
class Probed:
    """Answer the probe with `reply`, and end a waiting poll with a noop."""

    reply: Packet


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The WebSocket is the transport now; what polling has not delivered goes out there first."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The client closed the session."""


class Session:
    """See the module's text. `state` changes only here."""

    __slots__ = ("state", "version")

    def __init__(self, version: Version, *, websocket: bool) -> None:
        self.version: Version = version
        self.state = State.WEBSOCKET if websocket else State.POLLING

    def receive(self, packet: Packet) -> Message | Reply | Alive | Closed | None:
        """Take a packet of the transport in use. Raises SessionError, after which the session is closed."""
        if self.state is State.CLOSED:
            return None
        kind = packet.type
        if kind is PacketType.MESSAGE:
            return Message(packet.data)
        if kind is PacketType.PING and self.version == V3:
            return Reply(Packet(PacketType.PONG))
        if kind is PacketType.PONG and self.version == V4:
            return Alive()
        if kind in {PacketType.PING, PacketType.PONG}:
            self.state = State.CLOSED
            raise SessionError("invalid heartbeat direction")
        if kind is PacketType.CLOSE:
            self.state = State.CLOSED
            return Closed()
        return None

    def probe(self, packet: Packet) -> Probed | Upgraded:
        """Take a packet of a WebSocket that wants to become the transport.

        Raises SessionError if it does not follow the upgrade's steps: then that WebSocket is closed, the session
        goes on with polling, and the caller owes `probe_lost`.
        """
        if self.state in {State.POLLING, State.PROBED}:
            if packet.type is PacketType.PING and packet.data == _PROBE:
                self.state = State.PROBED
                return Probed(Packet(PacketType.PONG, _PROBE))
            if packet.type is PacketType.UPGRADE and self.state is State.PROBED:
                self.state = State.WEBSOCKET
                return Upgraded()
        raise SessionError("not a step of an upgrade")

    def probe_lost(self) -> None:
        """Go on with polling: the WebSocket that tried to take over is gone."""
        if self.state is State.PROBED:
            self.state = State.POLLING

    def close(self) -> None:
        """End the session from this side."""
        self.state = State.CLOSED


def open_packet(sid: str, upgrades: Collection[str], timing: Timing, max_payload: int) -> Packet:
    """Build the first packet of a session. Protocol 3 knows no `maxPayload`; its clients ignore the key."""
    body = {
        "sid": sid,
        "upgrades": list(upgrades),
        "pingInterval": timing.ping_interval,
        "pingTimeout": timing.ping_timeout,
        "maxPayload": max_payload,
    }
    return Packet(PacketType.OPEN, msgspec.json.encode(body).decode())


def negotiate_version(text: str | None, allowed: Collection[int], missing: Version | None) -> Version | None:
    """Read the `EIO` of a handshake's query; None if it is not spoken here.

    `missing` is what a client without `EIO` speaks. Plain WebSocket programs leave it out and mean 3
    (`vendor-apis.md` 1.2.1, fact 3); the official test suite expects them to be refused.
    """
    if text is None:
        return missing if missing in allowed else None
    if text == "4" and V4 in allowed:
        return V4
    if text == "3" and V3 in allowed:
        return V3
    return None
