"""The opening handshake against RFC 6455 section 4."""

import pytest

from doorstream.protocols.websocket import HandshakeError, UpgradeRequest, accept, check, refuse

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def head(*, drop: str = "", line: str = "GET /chat?a=1 HTTP/1.1", **changed: str) -> bytes:
    """Build the RFC's example request, with changes."""
    headers = {
        "Host": "server.example.com",
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    lines = [line, *(f"{name}: {value}" for name, value in headers.items() if name != drop)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def test_the_rfc_example_is_accepted() -> None:
    """RFC 6455 1.3 gives key and answer."""
    request = UpgradeRequest.parse(head())
    check(request)
    answer = accept(request)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")
    assert b"Sec-WebSocket-Protocol" not in answer
    assert b"Sec-WebSocket-Extensions" not in answer


def test_a_subprotocol_is_named_in_the_answer() -> None:
    assert b"\r\nSec-WebSocket-Protocol: chat\r\n" in accept(UpgradeRequest.parse(head()), "chat")


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head(line="POST / HTTP/1.1"), 405),
        (head(line="GET / HTTP/1.0"), 400),
        (head(drop="Host"), 400),
        (head(drop="Upgrade"), 426),
        (head(Upgrade="h2c"), 426),
        (head(Connection="close"), 426),
        (head(Sec_WebSocket_Version="8"), 426),
        (head(drop="Sec-WebSocket-Version"), 426),
        (head(drop="Sec-WebSocket-Key"), 400),
        (head(Sec_WebSocket_Key="c2hvcnQ="), 400),
        (head(Sec_WebSocket_Key="!" * 24), 400),
        (head(Sec_WebSocket_Key="\xe9" * 24), 400),
    ],
)
def test_what_is_not_an_upgrade_is_refused(request_head: bytes, status: int) -> None:
    with pytest.raises(HandshakeError) as raised:
        check(UpgradeRequest.parse(request_head))
    assert raised.value.status == status


def test_another_version_is_told_which_one_is_spoken() -> None:
    """RFC 6455 4.4."""
    with pytest.raises(HandshakeError) as raised:
        check(UpgradeRequest.parse(head(Sec_WebSocket_Version="25")))
    assert ("Sec-WebSocket-Version", "13") in raised.value.headers


@pytest.mark.parametrize("garbage", [b"", b"GET", b"GET /", b"GET / HTTP/1.1\r\nno colon here", b"\x00\xff\r\n\r\n"])
def test_garbage_is_refused_with_400(garbage: bytes) -> None:
    with pytest.raises(HandshakeError) as raised:
        check(UpgradeRequest.parse(garbage))
    assert raised.value.status in {400, 405}


def test_the_parts_of_a_request() -> None:
    request = UpgradeRequest.parse(
        b"GET /a%20b/?EIO=4&transport=polling&t=%C3%A9&empty=&EIO=3 HTTP/1.1\r\n"
        b'HOST: x\r\nX-Multi: a\r\nx-multi: b\r\nCookie: s=1; t="q"\r\ncookie: s=2\r\nOrigin: https://o.example\r\n\r\n',
        "10.0.0.1",
    )
    assert request.method == "GET"
    assert request.path == "/a b/"
    assert request.query == [("EIO", "4"), ("transport", "polling"), ("t", "é"), ("empty", ""), ("EIO", "3")]
    assert request.get("EIO") == "4"
    assert request.get("none") is None
    assert request.headers["x-multi"] == "a, b"
    assert request.cookies == {"s": "1", "t": "q"}
    assert request.origin == "https://o.example"
    assert request.peer == "10.0.0.1"


def test_a_request_built_from_parts_reads_the_same() -> None:
    request = UpgradeRequest.build("GET", b"/x?y=z", [(b"host", b"h"), (b"origin", b"o")])
    assert (request.method, request.path, request.get("y"), request.origin) == ("GET", "/x", "z", "o")


def test_a_refusal_is_a_complete_answer() -> None:
    answer = refuse(401, [("WWW-Authenticate", "Bearer"), ("content-length", "999")], b"no")
    assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"\r\nContent-Length: 2\r\n" in answer
    assert b"\r\nConnection: close\r\n" in answer
    assert b"999" not in answer
    assert answer.endswith(b"\r\n\r\nno")


def test_a_refusal_may_use_a_status_without_a_name() -> None:
    assert refuse(499).startswith(b"HTTP/1.1 499 ")
