"""The state machine of one Engine.IO session."""

import json

import pytest

from doorstream.protocols.engineio import (
    Alive,
    Closed,
    Message,
    Packet,
    PacketType,
    Probed,
    Reply,
    Session,
    SessionError,
    State,
    Timing,
    Upgraded,
    negotiate_version,
    open_packet,
)

PING, PONG = Packet(PacketType.PING), Packet(PacketType.PONG)
PROBE = Packet(PacketType.PING, "probe")
UPGRADE = Packet(PacketType.UPGRADE)


@pytest.mark.parametrize("version", [3, 4])
def test_messages_and_close(version) -> None:
    """The same in both versions; after a close nothing counts."""
    session = Session(version, websocket=True)
    assert session.receive(Packet(PacketType.MESSAGE, "x")) == Message("x")
    assert session.receive(Packet(PacketType.NOOP)) is None
    assert session.receive(Packet(PacketType.CLOSE)) == Closed()
    assert session.state is State.CLOSED
    assert session.receive(Packet(PacketType.MESSAGE, "x")) is None


def test_version_3_answers_pings() -> None:
    """The client beats (`vendor-apis.md` 1.2.1, fact 5)."""
    session = Session(3, websocket=True)
    assert session.receive(PING) == Reply(PONG)
    with pytest.raises(SessionError):
        session.receive(PONG)
    assert session.state is State.CLOSED


def test_version_4_takes_pongs() -> None:
    """The server beats; a client that pings is wrong."""
    session = Session(4, websocket=True)
    assert session.receive(PONG) == Alive()
    with pytest.raises(SessionError):
        session.receive(PING)
    assert session.state is State.CLOSED


def test_an_upgrade() -> None:
    """Probe, answer, upgrade (`vendor-apis.md` 1.2.1, fact 9)."""
    session = Session(4, websocket=False)
    assert session.state is State.POLLING
    assert session.probe(PROBE) == Probed(Packet(PacketType.PONG, "probe"))
    assert session.state is State.PROBED
    assert session.receive(PONG) == Alive()
    assert session.probe(UPGRADE) == Upgraded()
    assert session.state is State.WEBSOCKET


@pytest.mark.parametrize("packet", [UPGRADE, PING, PONG, Packet(PacketType.MESSAGE, "x")])
def test_an_upgrade_begins_with_the_probe(packet: Packet) -> None:
    """Anything else leaves the session with polling."""
    session = Session(4, websocket=False)
    with pytest.raises(SessionError):
        session.probe(packet)
    assert session.state is State.POLLING


def test_a_lost_probe_leaves_polling_and_another_may_try() -> None:
    """Also after the probe was answered."""
    session = Session(4, websocket=False)
    session.probe(PROBE)
    session.probe_lost()
    assert session.state is State.POLLING
    session.probe(PROBE)
    session.probe(UPGRADE)
    session.probe_lost()
    assert session.state is State.WEBSOCKET


@pytest.mark.parametrize("websocket", [True, False])
def test_no_upgrade_of_what_is_closed_or_upgraded(websocket) -> None:
    """A probe there is an error."""
    session = Session(4, websocket=websocket)
    if not websocket:
        session.close()
    with pytest.raises(SessionError):
        session.probe(PROBE)


def test_the_open_packet() -> None:
    """`vendor-apis.md` 1.2.1, fact 4."""
    packet = open_packet("abc", ["websocket"], Timing(25_000, 20_000), 100_000)
    assert packet.type is PacketType.OPEN
    assert json.loads(packet.data) == {
        "sid": "abc",
        "upgrades": ["websocket"],
        "pingInterval": 25_000,
        "pingTimeout": 20_000,
        "maxPayload": 100_000,
    }


@pytest.mark.parametrize(
    ("text", "missing", "version"),
    [("4", 3, 4), ("3", 3, 3), (None, 3, 3), (None, None, None), ("abc", 3, None), ("", 3, None), ("04", 3, None)],
)
def test_pdk_5_the_version_of_a_handshake(text, missing, version) -> None:
    """A client without `EIO` speaks what the setting says."""
    assert negotiate_version(text, (3, 4), missing) == version


def test_versions_that_are_off_are_refused() -> None:
    """Whether named or implied."""
    assert negotiate_version("3", (4,), 3) is None
    assert negotiate_version(None, (4,), 3) is None
    assert negotiate_version("4", (3,), 3) is None
