"""What may come when on one Socket.IO connection."""

import pytest

from doorstream.protocols.socketio import Ack, Connect, Disconnect, Event, Reply, Session, SessionError


def joined(revision=5) -> Session:
    """A connection whose client is in the default namespace."""
    session = Session(revision, {"/", "/custom"})
    if revision == 5:
        session.receive("0")
    else:
        session.open()
    session.accept("/", {"sid": "s"})
    return session


def test_protocol_5_the_client_asks_first() -> None:
    """`vendor-apis.md` 1.2.1, fact 6."""
    session = Session(5)
    assert session.open() is None
    assert session.receive('0{"token":"t"}') == Connect("/", {"token": "t"}, '{"token":"t"}')
    assert session.accept("/", {"sid": "s", "pid": "p"}) == '0{"sid":"s","pid":"p"}'
    assert session.connected == ("/",)


def test_pdk_5_protocol_4_the_client_is_in_from_the_start() -> None:
    """The server says `0` without a payload."""
    session = Session(4)
    assert session.open() == Connect("/")
    assert session.accept("/", {"sid": "s"}) == "0"
    assert session.receive('2["x"]') == Event("/", "x", [], None)


def test_protocol_4_a_connect_all_the_same_is_answered_again() -> None:
    """Programs that were written by hand send it."""
    session = joined(4)
    assert session.receive("0") == Reply("0")
    assert session.connected == ("/",)


def test_protocol_4_a_query_is_no_part_of_the_namespace() -> None:
    """`/custom?token=x`."""
    session = joined(4)
    assert session.receive("0/custom?token=x,") == Connect("/custom")
    assert session.accept("/custom") == "0/custom,"


@pytest.mark.parametrize("message", ['2["x"]', "1", "31[]", '4"x"', '2/custom,["x"]', "1/custom"])
def test_nothing_comes_before_the_namespace_is_joined(message: str) -> None:
    """Whatever it is, the connection ends."""
    with pytest.raises(SessionError):
        Session(5, {"/", "/custom"}).receive(message)


@pytest.mark.parametrize("answer", [True, False])
def test_a_namespace_is_joined_once(answer) -> None:
    """A second CONNECT ends the connection, also while the first waits."""
    session = Session(5)
    session.receive("0")
    if answer:
        session.accept("/", {"sid": "s"})
    with pytest.raises(SessionError):
        session.receive("0")


def test_a_refused_client_may_try_again() -> None:
    """With other credentials."""
    session = Session(5)
    session.receive("0")
    assert session.refuse("/", "invalid token", {"code": 1}) == '4{"message":"invalid token","data":{"code":1}}'
    assert session.connected == ()
    assert session.receive('0{"token":"better"}') == Connect("/", {"token": "better"}, '{"token":"better"}')


def test_refusals_differ_by_protocol() -> None:
    """`vendor-apis.md` 1.2.1, fact 7."""
    for revision, message, data, text in [
        (5, "no", None, '4{"message":"no"}'),
        (4, "no", None, '4"no"'),
        (4, "no", {"code": 1}, '4{"code":1}'),
    ]:
        assert Session(revision).refuse("/", message, data) == text


def test_unknown_namespaces_are_refused() -> None:
    """The connection goes on."""
    session = joined()
    assert session.receive("0/random") == Reply('4/random,{"message":"Invalid namespace"}')
    assert joined(4).receive("0/random") == Reply('4/random,"Invalid namespace"')
    assert session.receive('2["x"]') == Event("/", "x", [], None)


def test_events_acknowledgements_and_leaving() -> None:
    """Each names its namespace."""
    session = joined()
    session.receive("0/custom")
    session.accept("/custom", {"sid": "s"})
    assert session.receive('2/custom,12["x",1,{}]') == Event("/custom", "x", [1, {}], 12)
    assert session.receive('3/custom,5["y"]') == Ack("/custom", 5, ["y"])
    assert session.receive("1/custom") == Disconnect("/custom")
    assert session.connected == ("/",)
    with pytest.raises(SessionError):
        session.receive('2/custom,["x"]')


def test_attachments_keep_their_packet_waiting() -> None:
    """And nothing is kept when it is complete."""
    session = joined()
    assert session.receive('51-["x",{"_placeholder":true,"num":0}]') is None
    assert session.receive(b"\x01") == Event("/", "x", [b"\x01"], None)
    assert session._decoder is None


def test_the_server_puts_a_client_out_once() -> None:
    """The second time there is nothing to send."""
    session = joined()
    assert session.leave("/") == "1"
    assert session.leave("/") is None


def test_a_connect_error_does_not_come_from_a_client() -> None:
    """The connection ends."""
    with pytest.raises(SessionError):
        joined().receive('4"x"')
