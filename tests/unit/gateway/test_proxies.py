"""Whose word about a request's origin counts (reliability.md section 5, H1)."""

import pytest
from echo_support import RecordingEndpoint
from gateway_support import Start, eventually

from doorstream.gateway import Gateway
from doorstream.gateway.proxies import TrustedProxies
from doorstream.gateway.serve import gateway_app

PROXIES = TrustedProxies(["10.0.0.0/8", "fd00::/8", "127.0.0.1"])


def client(peer: str, *lines: str) -> str | None:
    found = PROXIES.read(peer, [(b"x-forwarded-for", line.encode()) for line in lines])
    return found.client if found is not None else None


@pytest.mark.parametrize(
    ("peer", "lines", "expected"),
    [
        ("192.0.2.1", ["198.51.100.7"], None),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, 10.1.2.3"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7", "10.1.2.3"], "198.51.100.7"),
        ("10.0.0.1", ["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("fd00::1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, unknown, 10.1.2.3"], "10.1.2.3"),
        ("", ["198.51.100.7"], None),
    ],
)
def test_the_client_is_the_last_address_that_no_proxy_has(peer: str, lines: list[str], expected: str | None) -> None:
    """What stands before it the client may have written himself."""
    assert client(peer, *lines) == expected


def test_scheme_and_host_are_those_of_the_nearest_proxy() -> None:
    headers = [(b"x-forwarded-proto", b"https, HTTP"), (b"x-forwarded-host", b"evil.example, doors.example.com")]
    found = PROXIES.read("127.0.0.1", headers)
    assert found is not None
    assert (found.scheme, found.host) == ("http", b"doors.example.com")
    found = PROXIES.read("127.0.0.1", [(b"x-forwarded-proto", b"gopher")])
    assert found is not None
    assert (found.scheme, found.host) == (None, None)


def test_what_is_no_network_is_refused() -> None:
    for text in ("10.0.0.0/33", "proxy.example", "10.0.0.1/8"):
        with pytest.raises(ValueError, match=text.partition("/")[0]):
            TrustedProxies([text])
    assert not TrustedProxies([])


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_requests_and_websockets_alike(start: Start, is_trusted: bool) -> None:
    """From anybody else the headers change nothing."""
    gateway = Gateway(proxies=TrustedProxies(["127.0.0.1"] if is_trusted else ["192.0.2.0/24"]))
    endpoint = RecordingEndpoint()
    gateway.add("/socket", endpoint)
    scopes = []

    async def app(scope, receive, send) -> None:
        if scope["type"] == "http":
            scopes.append(scope)
        await gateway_app(gateway)(scope, receive, send)

    server = await start(gateway, app)
    headers = {
        "X_Forwarded_For": "203.0.113.9, 198.51.100.7",
        "X_Forwarded_Proto": "https",
        "X_Forwarded_Host": "doors.example.com",
    }
    client = await server.open("/socket", **headers)
    client.send("hello")
    await eventually(lambda: bool(endpoint.handlers[0].messages))
    [request] = endpoint.requests
    seen = (request.peer, endpoint.handlers[0].connection.peer, request.headers["host"])
    plain = await server.connect()
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    plain.writer.write(("\r\n".join(["GET /none HTTP/1.1", "Host: server", *lines]) + "\r\n\r\n").encode())
    await plain.reader.readuntil(b"\r\n\r\n")
    [scope] = scopes
    assert (scope["client"][0], scope["scheme"], dict(scope["headers"])[b"host"].decode()) == (
        ("198.51.100.7", "https", "doors.example.com") if is_trusted else ("127.0.0.1", "http", "server")
    )
    expected = ("198.51.100.7", "198.51.100.7", "doors.example.com") if is_trusted else ("127.0.0.1",) * 2 + ("server",)
    assert seen == expected
